#include "cli/db/pack.h"

#include <stdlib.h>
#include <string.h>

#include "cli/common/common.h"
#include "cli/common/devices.h"
#include "cli/common/fleet.h"
#include "cli/common/output.h"
#include "cli/common/shared.h"
#include "cli/db/pipes.h"
#include "device/pack.h"
#include "evidence/explain.h"
#include "evidence/pretuned.h"
#include "evidence/teach.h"

/* One device, and what is known of it. */
typedef struct place {
    tri_device_info info;
    char *key;
    tri_store *shipped;
    tri_sisters *sisters;
    tri_predictor *predictors[TRI_OPERATIONS_MAX]; /* by operation, once asked */
    bool asked[TRI_OPERATIONS_MAX];
} place;

typedef struct packing {
    const tri_cli_pack_options *options;
    const tri_log *log;
    char *cache; /* NULL: none */
    tri_store *own;
    tri_space *spaces[TRI_OPERATIONS_MAX]; /* by operation, once asked */
    tri_pack *pack;
    size_t by_source[TRIAGE_SOURCE_PREDICTED + 1];
} packing;

/* ---- the devices of a target ---- */

typedef struct device_search {
    const tri_cli_pack_options *options;
    tri_cli_devices found;
} device_search;

/* A tri_device_fn. */
static triage_status note_device(void *user, const char *key, const char *name) {
    device_search *search = user;
    const char *wanted = search->options->device;
    tri_device_info info;
    if (tri_device_parse(&info, key) != TRIAGE_OK || strcmp(info.target, search->options->target) != 0 ||
        (wanted && !strstr(key, wanted) && !strstr(name, wanted)))
        return TRIAGE_OK;
    return tri_cli_devices_add(&search->found, key, name);
}

/* Where nothing is known of a device of that architecture: one with its usual limits. */
static triage_status add_typical(tri_cli_devices *devices, const tri_cli_pack_options *o,
                                 const tri_log *log) {
    tri_device_info info;
    char *key = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_device_info_of_target(&info, o->target));
    TRI_TRY(tri_device_key(&key, &info));
    if (o->device && (info.cc || (!strstr(key, o->device) && !strstr(info.name, o->device))))
        TRI_TRY(tri_fail(TRIAGE_E_DATA,
                         "--device %.200s: no device of %.24s with that in its name or key is known "
                         "(triage_db list)",
                         o->device, o->target));
    TRI_TRY(tri_cli_devices_add(devices, key, info.name));
    if (info.cc)
        tri_log_line(log, TRIAGE_LOG_WARNING, "no evidence of a device of %s: the kernels are the defaults",
                     o->target);
done:
    free(key);
    return status;
}

/* The CPU of this machine is the only one of its kind. */
static triage_status find_devices(tri_cli_devices *out, const packing *p) {
    device_search search = {.options = p->options};
    triage_status status = TRIAGE_OK;
    if (strcmp(p->options->target, "host") != 0) {
        if (p->own)
            TRI_TRY(tri_store_devices(p->own, note_device, &search));
        TRI_TRY(tri_pretuned_devices(p->options->data_dir, note_device, &search));
    }
    if (search.found.count == 0)
        TRI_TRY(add_typical(&search.found, p->options, p->log));
done:
    *out = search.found;
    return status;
}

static triage_status place_open(place *out, const packing *p, const char *key, const char *name) {
    const char *data_dir = p->options->data_dir;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_device_parse(&out->info, key));
    snprintf(out->info.name, sizeof out->info.name, "%s", name);
    TRI_TRY(tri_strdup(&out->key, key));
    TRI_TRY(tri_pretuned_open(&out->shipped, &out->info, data_dir, p->log));
    TRI_TRY(tri_sisters_open(&out->sisters, p->own, &out->info, data_dir, p->log));
done:
    return status;
}

static void place_close(place *at) {
    for (size_t i = 0; i < TRI_OPERATIONS_MAX; i++)
        tri_predictor_free(at->predictors[i]);
    tri_sisters_close(at->sisters);
    tri_store_close(at->shipped);
    free(at->key);
}

static triage_status predictor_of(const tri_predictor **out, place *at, const packing *p,
                                  const tri_operation *op) {
    const size_t i = tri_operation_index(op);
    triage_status status = TRIAGE_OK;
    if (!at->asked[i])
        TRI_TRY(tri_predictor_open(&at->predictors[i], &(tri_teaching){.op = op,
                                                                       .info = &at->info,
                                                                       .own = p->own,
                                                                       .shipped = at->shipped,
                                                                       .data_dir = p->options->data_dir,
                                                                       .log = p->log}));
    at->asked[i] = true;
    *out = at->predictors[i];
done:
    return status;
}

static triage_status space_of(tri_space **out, packing *p, const tri_operation *op) {
    const tri_space_options options = {.data_dir = p->options->data_dir, .path = p->options->space};
    tri_space **space = &p->spaces[tri_operation_index(op)];
    triage_status status = *space ? TRIAGE_OK : tri_space_open(space, op, &options);
    *out = *space;
    return status;
}

/* ---- one problem on one device ---- */

static triage_status compile(packing *p, const tri_found *found, const char *kernel, const char *target) {
    tri_image image = {0};
    triage_status status = TRIAGE_OK;
    if (tri_pack_has(p->pack, kernel))
        return TRIAGE_OK;
    TRI_TRY(tri_compile(&image, target, &found->rendered, p->cache));
    if (image.spill_bytes > found->candidate.spill_limit)
        TRI_TRY(tri_fail(TRIAGE_E_COMPILE, "%s spills %d bytes; must be at most %d", found->candidate.config,
                         image.spill_bytes, found->candidate.spill_limit));
    TRI_TRY(tri_pack_add_image(p->pack, kernel, &image));
done:
    tri_image_free(&image);
    return status;
}

static triage_status add_found(packing *p, const place *at, char *problem, const tri_found *found) {
    char kernel[TRI_HASH_SIZE];
    triage_status status = TRIAGE_OK;
    tri_source_hash(kernel, &found->rendered, at->info.target);
    TRI_TRY(compile(p, found, kernel, at->info.target));
    TRI_TRY(tri_pack_add_answer(p->pack, &(tri_pack_answer){.problem = problem,
                                                            .device = at->key,
                                                            .config = found->candidate.config,
                                                            .kernel = kernel,
                                                            .donor = found->donor,
                                                            .donor_device = found->device,
                                                            .source = found->source,
                                                            .distance = found->distance,
                                                            .median_ns = found->median_ns,
                                                            .expected_loss = found->expected_loss}));
    p->by_source[found->source]++;
done:
    return status;
}

/* What was fast elsewhere may not compile by this compiler: then the default takes its place, as for an application. */
static triage_status add_default(packing *p, const place *at, tri_space *space, const tri_problem *problem,
                                 char *key) {
    tri_found found = {0};
    triage_status status = TRIAGE_OK;
    tri_log_line(p->log, TRIAGE_LOG_WARNING, "%s: %s: the default takes its place", key, triage_last_error());
    TRI_TRY(tri_lookup(&found, NULL, space, problem, &at->info, p->options->data_dir));
    TRI_TRY(add_found(p, at, key, &found));
done:
    tri_found_free(&found);
    return status;
}

static triage_status add_problem(packing *p, place *at, const tri_problem *problem) {
    const tri_predictor *predictor = NULL;
    tri_explanation told = {0};
    tri_space *space = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(space_of(&space, p, problem->op));
    TRI_TRY(predictor_of(&predictor, at, p, problem->op));
    const tri_setting setting = {space, &at->info, p->options->data_dir};
    TRI_TRY(tri_explain(&told, p->own, at->shipped, at->sisters, predictor, &setting, problem, 0));
    if (tri_pack_find(p->pack, told.problem, at->key))
        goto done; /* a line that comes twice */
    status = add_found(p, at, told.problem, &told.found);
    if (status == TRIAGE_E_COMPILE && told.found.source != TRIAGE_SOURCE_DEFAULT)
        status = add_default(p, at, space, problem, told.problem);
done:
    tri_explanation_free(&told);
    return status;
}

static triage_status add_spec(packing *p, place *at, const char *spec) {
    tri_cli_problem problem = {0};
    tri_cli_problem_options options;
    json_t *texts = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_problem_of_job(&problem, &options, &texts, spec));
    if (at->info.cc == 0)
        tri_cli_problem_for_host(&problem);
    TRI_TRY(add_problem(p, at, &problem.problem));
done:
    tri_cli_problem_free(&problem);
    json_decref(texts);
    return status;
}

/* ---- the whole ---- */

/* The files that are read: the list, the database, and the patterns of the list. */
static triage_status check_output(const tri_cli_pack_options *o, const tri_cli_specs *specs) {
    const char *const inputs[] = {o->shapes, o->db};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_check_output(o->output, inputs, sizeof inputs / sizeof *inputs));
    for (size_t i = 0; i < specs->count && status == TRIAGE_OK; i++) {
        json_t *texts = json_loads(specs->specs[i], 0, NULL);
        const char *const pattern[] = {json_string_value(json_object_get(texts, "pattern"))};
        status = tri_cli_check_output(o->output, pattern, 1);
        json_decref(texts);
    }
done:
    return status;
}

/* A tri_write_fn. */
static triage_status write_pack(void *user, const char *path) {
    const packing *p = user;
    return tri_pack_write(p->pack, path, p->options->key);
}

static triage_status print_packed(const packing *p, size_t shapes, size_t devices) {
    char size[TRI_CLI_NUMBER];
    if (p->options->json) {
        json_t *document = tri_cli_json_new("pack");
        json_object_set_new(document, "path", json_string(p->options->output));
        json_object_set_new(document, "target", json_string(p->pack->target));
        json_object_set_new(document, "compiler", json_string(p->pack->compiler));
        json_object_set_new(document, "shapes", json_integer((json_int_t)shapes));
        json_object_set_new(document, "devices", json_integer((json_int_t)devices));
        json_object_set_new(document, "answers", json_integer((json_int_t)p->pack->answer_count));
        json_object_set_new(document, "kernels", json_integer((json_int_t)p->pack->image_count));
        json_object_set_new(document, "kernel_bytes", json_integer((json_int_t)p->pack->bytes.size));
        return tri_cli_json_print(document);
    }
    fprintf(tri_cli_is_stdout(p->options->output) ? stderr : stdout,
            "%s: %zu kernels (%s) by %s, for %zu shapes on %zu devices of %s\n"
            "answers: %zu tuned, %zu predicted, %zu of near problems, %zu defaults\n",
            tri_cli_is_stdout(p->options->output) ? "the pack" : p->options->output, p->pack->image_count,
            tri_cli_bytes(size, (int64_t)p->pack->bytes.size), p->pack->compiler, shapes, devices,
            p->pack->target, p->by_source[TRIAGE_SOURCE_EXACT], p->by_source[TRIAGE_SOURCE_PREDICTED],
            p->by_source[TRIAGE_SOURCE_NEAREST], p->by_source[TRIAGE_SOURCE_DEFAULT]);
    return TRIAGE_OK;
}

static triage_status add_device(packing *p, const char *key, const char *name, const tri_cli_specs *specs) {
    place at = {.key = NULL};
    triage_status status = TRIAGE_OK;
    TRI_TRY(place_open(&at, p, key, name));
    for (size_t i = 0; i < specs->count; i++)
        TRI_TRY(add_spec(p, &at, specs->specs[i]));
done:
    place_close(&at);
    return status;
}

/* A database that was named must be there; the default one need not. */
static triage_status open_own(tri_store **out, const char *db) {
    char *path = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(db ? tri_strdup(&path, db) : tri_cli_default_db(&path));
    status = tri_store_open(out, path, TRI_STORE_READ);
    if (status == TRIAGE_E_NOT_FOUND && !db)
        status = TRIAGE_OK;
done:
    free(path);
    return status;
}

static triage_status start_pack(packing *p, const tri_cli_devices *devices) {
    char compiler[TRI_COMPILER_SIZE];
    tri_device_info info;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_device_parse(&info, devices->keys[0]));
    TRI_TRY(tri_compiler_version(compiler, sizeof compiler, info.target));
    TRI_TRY(tri_pack_new(&p->pack, info.target, compiler));
done:
    return status;
}

triage_status tri_cli_pack(const tri_cli_pack_options *o) {
    const tri_log log = {tri_cli_log, NULL};
    packing p = {.options = o, .log = &log};
    tri_cli_specs specs = {0};
    tri_cli_devices devices = {0};
    triage_status status = TRIAGE_OK;
    if (!o->target || !o->shapes || !o->output)
        TRI_TRY(tri_cli_usage("pack needs --target (sm_90a, ... or host), --shapes FILE.csv and -o FILE: %s",
                              !o->target   ? "--target is not given"
                              : !o->shapes ? "--shapes is not given"
                                           : "-o is not given"));
    if (o->json && tri_cli_is_stdout(o->output))
        TRI_TRY(tri_cli_usage("-o - writes the pack alone: leave out --json"));
    tri_device_info any;
    TRI_TRY(tri_device_info_of_target(&any, o->target));
    TRI_TRY(tri_cli_read_shapes(&specs, o->shapes));
    TRI_TRY(check_output(o, &specs));
    TRI_TRY(tri_cli_choose_cache(&p.cache, o->cache));
    TRI_TRY(open_own(&p.own, o->db));
    TRI_TRY(find_devices(&devices, &p));
    TRI_TRY(start_pack(&p, &devices));
    for (size_t i = 0; i < devices.count; i++)
        TRI_TRY(add_device(&p, devices.keys[i], devices.names[i], &specs));
    TRI_TRY(tri_cli_write_by(o->output, write_pack, &p));
    TRI_TRY(print_packed(&p, specs.count, devices.count));
done:
    for (size_t i = 0; i < TRI_OPERATIONS_MAX; i++)
        tri_space_free(p.spaces[i]);
    tri_pack_close(p.pack);
    tri_store_close(p.own);
    tri_cli_devices_free(&devices);
    tri_cli_specs_free(&specs);
    free(p.cache);
    return status;
}
