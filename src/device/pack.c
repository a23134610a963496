#include "device/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char title[] = "TRIPACK 1 ";
enum { kLineMax = 320, kIndexMax = 64 << 20, kImageMax = 256 << 20 };

/* ---- reading: the first line ---- */

typedef struct first_line {
    char hash[TRI_HASH_SIZE];
    int64_t index_bytes;
    char key[TRI_PUBLIC_KEY_SIZE], signature[TRI_SIGNATURE_SIZE];
    int64_t size; /* its own, with the line's end */
} first_line;

static triage_status read_exactly(void *to, int fd, int64_t at, int64_t size, const char *path) {
    for (int64_t done = 0; done < size;) {
        const ssize_t got = pread(fd, (char *)to + done, (size_t)(size - done), at + done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tri_fail(TRIAGE_E_IO, "%s: cannot read: %s", path, strerror(errno));
        if (got == 0)
            return tri_fail(TRIAGE_E_DATA, "%s: it is cut short", path);
        done += got;
    }
    return TRIAGE_OK;
}

static triage_status parse_first_line(first_line *out, const char *line, const char *path) {
    int end = 0;
    *out = (first_line){0};
    const int read = sscanf(line, "TRIPACK 1 %32s %19" SCNd64 " %64s %128s%n", out->hash, &out->index_bytes,
                            out->key, out->signature, &end);
    if (strncmp(line, title, sizeof title - 1) != 0)
        return tri_fail(TRIAGE_E_DATA, "%s: not a pack of this version of triage (TRIPACK 1)", path);
    if (read != 4 || line[end] != '\n' || out->index_bytes < 1 || out->index_bytes > kIndexMax)
        return tri_fail(TRIAGE_E_DATA, "%s: its first line is damaged", path);
    out->size = end + 1;
    return TRIAGE_OK;
}

/* Ours or another's: code that anybody may replace is nobody's. */
static triage_status open_file(int *out, const char *path) {
    struct stat info;
    *out = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*out < 0)
        return tri_fail(TRIAGE_E_IO, "pack %s: %s", path, strerror(errno));
    if (fstat(*out, &info) != 0 || !S_ISREG(info.st_mode))
        return tri_fail(TRIAGE_E_IO, "pack %s: not a regular file", path);
    if (info.st_mode & S_IWOTH)
        return tri_fail(TRIAGE_E_IO, "pack %s has mode %03o: all may write to it (chmod o-w)", path,
                        (unsigned)(info.st_mode & 0777));
    return TRIAGE_OK;
}

static triage_status check_index(const first_line *first, const char *index, const char *trust,
                                 const char *path) {
    char hash[TRI_HASH_SIZE];
    tri_hash(hash, index, (size_t)first->index_bytes);
    if (strcmp(hash, first->hash) != 0)
        return tri_fail(TRIAGE_E_DATA, "%s: its index is damaged (its hash is %s, %s was written)", path,
                        hash, first->hash);
    if (trust && (strcmp(first->key, trust) != 0 ||
                  !tri_is_signed(trust, first->signature, index, (size_t)first->index_bytes)))
        return tri_fail(TRIAGE_E_DATA, "%s: not signed by the trusted key %s", path, trust);
    return TRIAGE_OK;
}

/* ---- reading: the index ---- */

static triage_status take_text(char **out, const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? tri_strdup(out, text) : tri_fail(TRIAGE_E_DATA, "\"%s\" is missing or no text", name);
}

static triage_status take_integer(int64_t *out, const json_t *object, const char *name, int64_t low,
                                  int64_t high) {
    const json_t *value = json_object_get(object, name);
    *out = json_integer_value(value);
    if (!json_is_integer(value) || *out < low || *out > high)
        return tri_fail(TRIAGE_E_DATA, "\"%s\" is not an integer of %" PRId64 " .. %" PRId64, name, low,
                        high);
    return TRIAGE_OK;
}

static triage_status take_number(double *out, const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    *out = json_number_value(value);
    return json_is_number(value) ? TRIAGE_OK
                                 : tri_fail(TRIAGE_E_DATA, "\"%s\" is missing or no number", name);
}

static triage_status take_image(tri_pack *pack, const json_t *object) {
    triage_status status = TRIAGE_OK;
    int64_t registers, spills, smem;
    const char *hash = json_string_value(json_object_get(object, "hash"));
    TRI_TRY(tri_grow(&pack->images, &pack->image_capacity, pack->image_count, sizeof *pack->images,
                     "images of a pack"));
    tri_pack_image *image = &pack->images[pack->image_count++];
    *image = (tri_pack_image){0};
    if (!hash || strlen(hash) != TRI_HASH_SIZE - 1)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "\"hash\" is not one of %d digits", TRI_HASH_SIZE - 1));
    memcpy(image->hash, hash, TRI_HASH_SIZE);
    TRI_TRY(take_text(&image->kernel, object, "kernel"));
    TRI_TRY(take_integer(&image->offset, object, "offset", 0, INT64_MAX / 2));
    TRI_TRY(take_integer(&image->size, object, "size", 1, kImageMax));
    TRI_TRY(take_integer(&registers, object, "registers", -1, 65536));
    TRI_TRY(take_integer(&spills, object, "spill_bytes", -1, INT32_MAX));
    TRI_TRY(take_integer(&smem, object, "static_smem_bytes", -1, INT32_MAX));
    image->registers = (int32_t)registers;
    image->spill_bytes = (int32_t)spills;
    image->static_smem_bytes = (int32_t)smem;
done:
    return status;
}

static triage_status take_answer(tri_pack *pack, const json_t *object) {
    triage_status status = TRIAGE_OK;
    int64_t source;
    TRI_TRY(tri_grow(&pack->answers, &pack->answer_capacity, pack->answer_count, sizeof *pack->answers,
                     "answers of a pack"));
    tri_pack_answer *answer = &pack->answers[pack->answer_count++];
    *answer = (tri_pack_answer){0};
    TRI_TRY(take_text(&answer->problem, object, "problem"));
    TRI_TRY(take_text(&answer->device, object, "device"));
    TRI_TRY(take_text(&answer->config, object, "config"));
    TRI_TRY(take_text(&answer->kernel, object, "kernel"));
    TRI_TRY(take_text(&answer->donor, object, "donor"));
    TRI_TRY(take_text(&answer->donor_device, object, "donor_device"));
    TRI_TRY(take_integer(&source, object, "source", TRIAGE_SOURCE_EXACT, TRIAGE_SOURCE_PREDICTED));
    answer->source = (triage_source)source;
    TRI_TRY(take_number(&answer->distance, object, "distance"));
    TRI_TRY(take_number(&answer->median_ns, object, "median_ns"));
    TRI_TRY(take_number(&answer->expected_loss, object, "expected_loss"));
done:
    return status;
}

static triage_status parse_index(tri_pack *pack, const char *text, size_t size) {
    triage_status status = TRIAGE_OK;
    size_t i;
    json_t *item, *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    if (!root)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "it is no JSON"));
    TRI_TRY(take_text(&pack->target, root, "target"));
    TRI_TRY(take_text(&pack->compiler, root, "compiler"));
    json_array_foreach(json_object_get(root, "images"), i, item) TRI_TRY(take_image(pack, item));
    json_array_foreach(json_object_get(root, "answers"), i, item) TRI_TRY(take_answer(pack, item));
done:
    if (status == TRIAGE_E_DATA) {
        char reason[200];
        snprintf(reason, sizeof reason, "%s", triage_last_error());
        (void)tri_fail(status, "%s: its index: %s", pack->path, reason);
    }
    json_decref(root);
    return status;
}

/* A driver runs what a compiler of its own major release or an older one made. */
static triage_status check_machine(const tri_pack *pack, const tri_device_info *info) {
    int major = 0;
    if (strcmp(pack->target, info->target) != 0)
        return tri_fail(TRIAGE_E_DATA, "%s: its kernels are for %.24s; this device is %s", pack->path,
                        pack->target, info->target);
    if (sscanf(pack->compiler, "nvrtc %d.", &major) == 1 && major > info->driver_version / 1000)
        return tri_fail(TRIAGE_E_DATA, "%s: made by %.40s; this driver is of CUDA %d.%d", pack->path,
                        pack->compiler, info->driver_version / 1000, info->driver_version % 1000 / 10);
    return TRIAGE_OK;
}

static triage_status read_pack(tri_pack *pack, const char *trust, const tri_device_info *info) {
    char line[kLineMax + 1] = "";
    char *index = NULL;
    first_line first;
    triage_status status = TRIAGE_OK;
    TRI_TRY(open_file(&pack->fd, pack->path));
    const ssize_t got = pread(pack->fd, line, kLineMax, 0);
    if (got < 0)
        TRI_TRY(tri_fail(TRIAGE_E_IO, "%s: cannot read: %s", pack->path, strerror(errno)));
    line[got] = '\0';
    TRI_TRY(parse_first_line(&first, line, pack->path));
    TRI_TRY(tri_calloc(&index, (size_t)first.index_bytes, 1));
    TRI_TRY(read_exactly(index, pack->fd, first.size, first.index_bytes, pack->path));
    TRI_TRY(check_index(&first, index, trust, pack->path));
    pack->images_at = first.size + first.index_bytes;
    TRI_TRY(parse_index(pack, index, (size_t)first.index_bytes));
    TRI_TRY(check_machine(pack, info));
done:
    free(index);
    return status;
}

triage_status tri_pack_open(tri_pack **out, const char *path, const char *trust,
                            const tri_device_info *info) {
    tri_pack *pack = NULL;
    triage_status status = TRIAGE_OK;
    *out = NULL;
    TRI_TRY(tri_calloc(&pack, 1, sizeof *pack));
    pack->fd = -1;
    TRI_TRY(tri_strdup(&pack->path, path));
    TRI_TRY(read_pack(pack, trust, info));
    *out = pack;
    pack = NULL;
done:
    tri_pack_close(pack);
    return status;
}

void tri_pack_close(tri_pack *pack) {
    if (!pack)
        return;
    for (size_t i = 0; i < pack->answer_count; i++) {
        tri_pack_answer *a = &pack->answers[i];
        free(a->problem);
        free(a->device);
        free(a->config);
        free(a->kernel);
        free(a->donor);
        free(a->donor_device);
    }
    for (size_t i = 0; i < pack->image_count; i++)
        free(pack->images[i].kernel);
    if (pack->fd >= 0)
        close(pack->fd);
    free(pack->answers);
    free(pack->images);
    free(pack->target);
    free(pack->compiler);
    free(pack->path);
    tri_text_free(&pack->bytes);
    free(pack);
}

/* ---- what it has ---- */

const tri_pack_answer *tri_pack_find(const tri_pack *pack, const char *problem, const char *device) {
    for (size_t i = 0; i < pack->answer_count; i++)
        if (strcmp(pack->answers[i].problem, problem) == 0 && strcmp(pack->answers[i].device, device) == 0)
            return &pack->answers[i];
    return NULL;
}

static const tri_pack_image *find_image(const tri_pack *pack, const char *kernel) {
    for (size_t i = 0; i < pack->image_count; i++)
        if (strcmp(pack->images[i].kernel, kernel) == 0)
            return &pack->images[i];
    return NULL;
}

bool tri_pack_has(const tri_pack *pack, const char *kernel) {
    return find_image(pack, kernel) != NULL;
}

triage_status tri_pack_read(tri_image *out, const tri_pack *pack, const char *kernel) {
    const tri_pack_image *image = find_image(pack, kernel);
    char hash[TRI_HASH_SIZE];
    triage_status status = TRIAGE_OK;
    *out = (tri_image){0};
    if (!image)
        return TRIAGE_E_NOT_FOUND;
    TRI_TRY(tri_calloc(&out->data, (size_t)image->size, 1));
    TRI_TRY(read_exactly(out->data, pack->fd, pack->images_at + image->offset, image->size, pack->path));
    tri_hash(hash, out->data, (size_t)image->size);
    if (strcmp(hash, image->hash) != 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s: the kernel %s is damaged (its hash is %s, %s was written)",
                         pack->path, kernel, hash, image->hash));
    TRI_TRY(tri_strdup(&out->log, ""));
    out->size = (size_t)image->size;
    out->registers = image->registers;
    out->spill_bytes = image->spill_bytes;
    out->static_smem_bytes = image->static_smem_bytes;
    out->from_pack = true;
done:
    if (status != TRIAGE_OK)
        tri_image_free(out);
    return status;
}
