#include "measure/codec.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

json_t *tri_json_text(const char *text) {
    size_t size = strlen(text);
    char *copy = strdup(text);
    for (size_t i = 0; copy && i < size; i++)
        if ((unsigned char)copy[i] >= 0x80)
            copy[i] = '?';
    json_t *json = copy ? json_string(copy) : NULL;
    free(copy);
    return json;
}

json_t *tri_json_path(const char *path) {
    char *text = path ? malloc(3 * strlen(path) + 1) : NULL;
    if (!text)
        return path ? NULL : json_null();
    char *to = text;
    for (const char *from = path; *from; from++)
        if ((unsigned char)*from >= 0x80 || *from == '%')
            to += sprintf(to, "%%%02X", (unsigned)(unsigned char)*from);
        else
            *to++ = *from;
    *to = '\0';
    json_t *json = json_string(text);
    free(text);
    return json;
}

/* The byte that %XX stands for; 0: it is none. */
static unsigned char escaped_byte(const char *text) {
    static const char digits[] = "0123456789ABCDEF";
    const char *high = text[1] ? strchr(digits, text[1]) : NULL,
               *low = high && text[2] ? strchr(digits, text[2]) : NULL;
    return low ? (unsigned char)((high - digits) * 16 + (low - digits)) : 0;
}

triage_status tri_path_from_json(char **out, const json_t *json) {
    const char *text = json_string_value(json);
    triage_status status = TRIAGE_OK;
    *out = NULL;
    if (!json || json_is_null(json))
        return TRIAGE_OK;
    if (!text)
        return tri_fail(TRIAGE_E_DATA, "a path between processes is not text");
    TRI_TRY(tri_strdup(out, text));
    char *to = *out;
    for (const char *from = text; *from; from++) {
        if (*from == '%' && !escaped_byte(from)) {
            free(*out);
            *out = NULL;
            return tri_fail(TRIAGE_E_DATA, "a path between processes has no two digits behind %%");
        }
        *to++ = *from == '%' ? (char)escaped_byte(from) : *from;
        from += *from == '%' ? 2 : 0;
    }
    *to = '\0';
done:
    return status;
}

triage_status tri_json_read(const json_t *json, const char *format, ...) {
    json_error_t error;
    va_list arguments;
    va_start(arguments, format);
    int failed = json_vunpack_ex((json_t *)(uintptr_t)json, &error, 0, format, arguments);
    va_end(arguments);
    return failed ? tri_fail(TRIAGE_E_DATA, "a message between processes is malformed: %s", error.text)
                  : TRIAGE_OK;
}

/* ---- source ------------------------------------------------------------------------------------------- */

json_t *tri_json_source(const tri_source *source) {
    json_t *includes = json_array(), *options = json_array();
    bool whole = includes && options;
    for (size_t i = 0; i < source->include_count && whole; i++)
        whole = json_array_append_new(
                    includes, json_pack("[s, s]", source->includes[i].name, source->includes[i].text)) == 0;
    for (size_t i = 0; i < source->option_count && whole; i++)
        whole = json_array_append_new(options, json_string(source->options[i])) == 0;
    if (whole)
        return json_pack("{s:s, s:s, s:o, s:o}", "name", source->name, "text", source->text, "includes",
                         includes, "options", options);
    json_decref(includes);
    json_decref(options);
    return NULL;
}

static triage_status read_lists(tri_source *out, const json_t *includes, const json_t *options) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&out->includes, json_array_size(includes) + 1, sizeof *out->includes));
    TRI_TRY(tri_calloc(&out->options, json_array_size(options) + 1, sizeof *out->options));
    for (size_t i = 0; i < json_array_size(includes); i++) {
        tri_include *include = &out->includes[out->include_count++];
        TRI_TRY(tri_json_read(json_array_get(includes, i), "[s, s]", &include->name, &include->text));
    }
    for (size_t i = 0; i < json_array_size(options); i++)
        TRI_TRY(tri_json_read(json_array_get(options, i), "s", &out->options[out->option_count++]));
done:
    return status;
}

triage_status tri_source_from_json(tri_source *out, const json_t *json) {
    json_t *includes = NULL, *options = NULL;
    triage_status status = TRIAGE_OK;
    *out = (tri_source){0};
    TRI_TRY(tri_json_read(json, "{s:s, s:s, s:o, s:o}", "name", &out->name, "text", &out->text, "includes",
                          &includes, "options", &options));
    TRI_TRY(read_lists(out, includes, options));
done:
    if (status != TRIAGE_OK)
        tri_borrowed_source_free(out);
    return status;
}

void tri_borrowed_source_free(tri_source *source) {
    free(source->includes);
    free(source->options);
    *source = (tri_source){0};
}

/* ---- launch ------------------------------------------------------------------------------------------- */

static json_t *json_triple(const uint32_t v[3]) {
    return json_pack("[I, I, I]", (json_int_t)v[0], (json_int_t)v[1], (json_int_t)v[2]);
}

static json_t *json_box(const tri_tensor_box *box) {
    return json_pack("[i, [i, i, i, i, i], i, i, i]", box->rank, box->box[0], box->box[1], box->box[2],
                     box->box[3], box->box[4], box->inner_split, box->swizzle, box->l2_promotion);
}

static json_t *json_maps(const tri_launch *launch) {
    json_t *list = json_array();
    for (int i = 0; i < TRI_MAPS_MAX; i++)
        json_array_append_new(list, json_box(&launch->maps[i]));
    return list;
}

/* The operation's part, whatever it means: its fields are all of 32 bits (tri_launch_field). */
#define OWN_NUMBERS (TRI_LAUNCH_BYTES / sizeof(int32_t))

static json_t *json_own(const tri_launch *launch) {
    int32_t own[OWN_NUMBERS];
    json_t *list = json_array();
    memcpy(own, launch->own, sizeof own);
    for (size_t i = 0; i < OWN_NUMBERS; i++)
        json_array_append_new(list, json_integer(own[i]));
    return list;
}

/* A field that is not sent would be a kernel launched otherwise than it was asked for. */
_Static_assert(sizeof(tri_tensor_box) == 9 * 4 &&
                   sizeof(tri_launch) ==
                       9 * 4 + 4 * 4 + TRI_MAPS_MAX * sizeof(tri_tensor_box) + 4 + TRI_LAUNCH_BYTES,
               "tri_launch has changed: the codec has to follow");

json_t *tri_json_launch(const tri_launch *launch) {
    return json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:b, s:o, s:o}", "grid", json_triple(launch->grid),
                     "block", json_triple(launch->block), "cluster", json_triple(launch->cluster), "smem",
                     (json_int_t)launch->smem_bytes, "workspace", (json_int_t)launch->workspace_bytes,
                     "workspace_zero", (json_int_t)launch->workspace_zero_bytes, "keeps_workspace",
                     (int)launch->keeps_workspace, "maps", json_maps(launch), "own", json_own(launch));
}

static triage_status read_triple(uint32_t out[3], const json_t *json) {
    json_int_t v[3] = {0};
    triage_status status = tri_json_read(json, "[I, I, I]", &v[0], &v[1], &v[2]);
    for (size_t i = 0; i < 3; i++)
        out[i] = (uint32_t)v[i];
    return status;
}

static triage_status read_maps(tri_launch *out, const json_t *list) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < TRI_MAPS_MAX; i++) {
        tri_tensor_box *box = &out->maps[i];
        TRI_TRY(tri_json_read(json_array_get(list, i), "[i, [i, i, i, i, i], i, i, i]", &box->rank,
                              &box->box[0], &box->box[1], &box->box[2], &box->box[3], &box->box[4],
                              &box->inner_split, &box->swizzle, &box->l2_promotion));
    }
done:
    return status;
}

static triage_status read_own(tri_launch *out, const json_t *list) {
    int32_t own[OWN_NUMBERS] = {0};
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < OWN_NUMBERS; i++)
        TRI_TRY(tri_json_read(json_array_get(list, i), "i", &own[i]));
    memcpy(out->own, own, sizeof own);
done:
    return status;
}

triage_status tri_launch_from_json(tri_launch *out, const json_t *json) {
    json_t *grid = NULL, *block = NULL, *cluster = NULL, *maps = NULL, *own = NULL;
    json_int_t smem = 0, workspace = 0, zero = 0;
    int keeps = 0;
    triage_status status = TRIAGE_OK;
    *out = (tri_launch){0};
    TRI_TRY(tri_json_read(json, "{s:o, s:o, s:o, s:I, s:I, s:I, s:b, s:o, s:o}", "grid", &grid, "block",
                          &block, "cluster", &cluster, "smem", &smem, "workspace", &workspace,
                          "workspace_zero", &zero, "keeps_workspace", &keeps, "maps", &maps, "own", &own));
    TRI_TRY(read_triple(out->grid, grid));
    TRI_TRY(read_triple(out->block, block));
    TRI_TRY(read_triple(out->cluster, cluster));
    TRI_TRY(read_maps(out, maps));
    TRI_TRY(read_own(out, own));
    out->smem_bytes = (uint32_t)smem;
    out->workspace_bytes = (uint32_t)workspace;
    out->workspace_zero_bytes = (uint32_t)zero;
    out->keeps_workspace = keeps;
done:
    return status;
}

/* ---- problem ------------------------------------------------------------------------------------------ */

/* The key lacks numbers that a run needs (leading dimensions, the exact number of blocks). */
json_t *tri_json_problem(const tri_problem *problem) {
    char *key = NULL;
    if (tri_problem_key(&key, problem) != TRIAGE_OK)
        return NULL;
    json_t *json = json_pack("{s:s}", "key", key);
    for (const tri_number *number = problem->op->numbers; number && number->name; number++) {
        int64_t value;
        memcpy(&value, problem->data + number->offset, sizeof value);
        json_object_set_new(json, number->name, json_integer(value));
    }
    free(key);
    return json;
}

triage_status tri_problem_from_json(tri_problem *out, const json_t *json) {
    const char *key = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_json_read(json, "{s:s}", "key", &key));
    TRI_TRY(tri_problem_parse(out, key));
    for (const tri_number *number = out->op->numbers; number && number->name; number++) {
        json_int_t read = 0;
        TRI_TRY(tri_json_read(json, "{s:I}", number->name, &read));
        const int64_t value = read;
        memcpy(out->data + number->offset, &value, sizeof value);
    }
    TRI_TRY(tri_problem_check(out));
done:
    return status;
}

/* ---- device ------------------------------------------------------------------------------------------- */

json_t *tri_json_device(const tri_device_info *info) {
    return json_pack("{s:s, s:o, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:i, s:s}", "backend",
                     info->backend, "name", tri_json_text(info->name), "target", info->target, "cc", info->cc,
                     "sms", info->sm_count, "clock", info->clock_khz, "memory_clock", info->memory_clock_khz,
                     "bus", info->memory_bus_bits, "l2", (json_int_t)info->l2_bytes, "smem",
                     (json_int_t)info->smem_bytes_max, "memory", (json_int_t)info->memory_bytes, "driver",
                     info->driver_version, "uuid", info->uuid);
}

triage_status tri_device_from_json(tri_device_info *out, const json_t *json) {
    const char *backend = NULL, *name = NULL, *target = NULL, *uuid = NULL;
    json_int_t l2 = 0, smem = 0, memory = 0;
    triage_status status = TRIAGE_OK;
    *out = (tri_device_info){0};
    TRI_TRY(tri_json_read(json, "{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:i, s:s}",
                          "backend", &backend, "name", &name, "target", &target, "cc", &out->cc, "sms",
                          &out->sm_count, "clock", &out->clock_khz, "memory_clock", &out->memory_clock_khz,
                          "bus", &out->memory_bus_bits, "l2", &l2, "smem", &smem, "memory", &memory, "driver",
                          &out->driver_version, "uuid", &uuid));
    snprintf(out->uuid, sizeof out->uuid, "%s", uuid);
    snprintf(out->backend, sizeof out->backend, "%s", backend);
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->target, sizeof out->target, "%s", target);
    out->l2_bytes = l2;
    out->smem_bytes_max = smem;
    out->memory_bytes = memory;
done:
    return status;
}

/* ---- report ------------------------------------------------------------------------------------------- */

/* JSON has no NaN and no infinity: an error beyond measure is written as -1. */
static double finite_or(double value, double otherwise) {
    return isfinite(value) ? value : otherwise;
}

json_t *tri_json_report(const tri_report *report) {
    const tri_timing *t = &report->timing;
    return json_pack("{s:s, s:o, s:f, s:f, s:f, s:f, s:I, s:b, s:f, s:f, s:i, s:b, s:b, s:b}", "outcome",
                     tri_outcome_name(report->outcome), "reason", tri_json_text(report->reason), "median",
                     t->median_ns, "low", t->low_ns, "high", t->high_ns, "min", t->min_ns, "samples",
                     (json_int_t)t->samples, "cold", (int)t->cold_l2, "error",
                     finite_or(report->row_error, -1), "limit", finite_or(report->row_error_limit, -1),
                     "batch", report->batch, "damaged", (int)report->damaged, "troubled",
                     (int)report->troubled, "lost", (int)report->lost);
}

triage_status tri_report_from_json(tri_report *out, const json_t *json) {
    const char *outcome = NULL, *reason = NULL;
    tri_timing *t = &out->timing;
    json_int_t samples = 0;
    int cold = 0, damaged = 0, troubled = 0, lost = 0;
    triage_status status = TRIAGE_OK;
    *out = (tri_report){0};
    TRI_TRY(tri_json_read(json, "{s:s, s:s, s:F, s:F, s:F, s:F, s:I, s:b, s:F, s:F, s:i, s:b, s:b, s:b}",
                          "outcome", &outcome, "reason", &reason, "median", &t->median_ns, "low", &t->low_ns,
                          "high", &t->high_ns, "min", &t->min_ns, "samples", &samples, "cold", &cold, "error",
                          &out->row_error, "limit", &out->row_error_limit, "batch", &out->batch, "damaged",
                          &damaged, "troubled", &troubled, "lost", &lost));
    TRI_TRY(tri_outcome_parse(&out->outcome, outcome));
    snprintf(out->reason, sizeof out->reason, "%s", reason);
    t->samples = samples;
    t->cold_l2 = cold;
    out->damaged = damaged;
    out->troubled = troubled;
    out->lost = lost;
done:
    return status;
}

/* ---- pattern ------------------------------------------------------------------------------------------ */

static triage_status write_all(int fd, const void *data, size_t size) {
    for (const char *at = data; size > 0;) {
        ssize_t done = write(fd, at, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return tri_fail(TRIAGE_E_IO, "cannot share the pattern with the workers: %s", strerror(errno));
        at += done;
        size -= (size_t)done;
    }
    return TRIAGE_OK;
}

triage_status tri_pattern_share(int *fd, const tri_pattern *pattern) {
    if (!pattern) { /* an operation without one */
        *fd = -1;
        return TRIAGE_OK;
    }
    int64_t head[3] = {pattern->block_rows, pattern->block_cols, pattern->nnzb};
    triage_status status = TRIAGE_OK;
    int file = memfd_create("triage-pattern", MFD_CLOEXEC);
    if (file < 0)
        return tri_fail(TRIAGE_E_IO, "cannot share the pattern with the workers: %s", strerror(errno));
    TRI_TRY(write_all(file, head, sizeof head));
    TRI_TRY(write_all(file, pattern->row_ptr, ((size_t)pattern->block_rows + 1) * sizeof *pattern->row_ptr));
    TRI_TRY(write_all(file, pattern->col_idx, (size_t)pattern->nnzb * sizeof *pattern->col_idx));
    *fd = file;
    file = -1;
done:
    if (file >= 0)
        close(file);
    return status;
}

/* tri_pattern_copy checks the arrays; here only their extent. */
triage_status tri_pattern_from_fd(tri_pattern *out, int fd) {
    struct stat about;
    if (fstat(fd, &about) != 0)
        return tri_fail(TRIAGE_E_IO, "cannot read the pattern: %s", strerror(errno));
    if (about.st_size < (off_t)(3 * sizeof(int64_t)))
        return tri_fail(TRIAGE_E_DATA, "the worker got no pattern");
    size_t size = (size_t)about.st_size;
    const int64_t *head = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (head == MAP_FAILED)
        return tri_fail(TRIAGE_E_IO, "cannot read the pattern: %s", strerror(errno));
    const int32_t *row_ptr = (const int32_t *)(head + 3);
    uint64_t rows = (uint64_t)head[0], blocks = (uint64_t)head[2];
    triage_status status =
        rows < size && blocks < size && (rows + 1 + blocks) * 4 + 24 == size
            ? tri_pattern_copy(out, head[0], head[1], head[2], row_ptr, row_ptr + rows + 1)
            : tri_fail(TRIAGE_E_DATA, "the pattern given to the worker has the wrong size");
    munmap((void *)(uintptr_t)head, size);
    return status;
}

/* ---- circumstances ---- */

triage_status tri_report_circumstances(char **out, tri_device *device, const tri_report *report) {
    char *text = NULL;
    json_t *object = NULL;
    if (device && tri_device_circumstances(&text, device) == TRIAGE_OK)
        object = json_loads(text, 0, NULL);
    free(text);
    if (!json_is_object(object)) {
        json_decref(object);
        object = json_object();
    }
    json_object_set_new(object, "launch", json_string(report->batch > 1 ? "graph" : "single"));
    json_object_set_new(object, "batch", json_integer(report->batch));
    json_object_set_new(object, "l2", json_string(report->timing.cold_l2 ? "cold" : "warm"));
    *out = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(object);
    return *out ? TRIAGE_OK : tri_fail(TRIAGE_E_MEMORY, "out of memory for circumstances");
}
