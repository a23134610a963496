#include "space/legal.h"

#include <stdlib.h>
#include <string.h>

#define POINTS_MAX 1000000   /* points of one kernel's axes, legal or not */
#define CONFIG_SIZE_MAX 1000 /* of a configuration's text */

/* ---- opening ---- */

static const char *op_name(tri_op op) {
    return op == TRI_OP_BSR_GEMM ? "bsr_gemm" : "unknown";
}

static triage_status name_file(tri_space *space, tri_op op, const char *path) {
    space->is_path = path != NULL;
    return path ? tri_strdup(&space->file, path)
                : tri_format(&space->file, "tuner/spaces/%s.lua", op_name(op));
}

static triage_status check_points(const tri_space *space) {
    for (size_t i = 0; i < space->kernel_count; i++) {
        const tri_space_kernel *kernel = &space->kernels[i];
        size_t points = 1;
        for (size_t j = 0; j < kernel->axis_count; j++) {
            points *= kernel->axes[j].count;
            if (points > POINTS_MAX)
                return tri_fail(TRIAGE_E_DATA, "%s: the axes of kernel %s span more than %d points",
                                space->file, kernel->name, POINTS_MAX);
        }
    }
    return TRIAGE_OK;
}

static triage_status load_model(tri_space *space, const tri_space_options *options) {
    triage_status status = TRIAGE_OK;
    char *vocabulary = NULL, *text = NULL;
    tri_model_job job = {.space = space};
    TRI_TRY(tri_sandbox_read(&vocabulary, &job.vocabulary_size, space->data_dir, "tuner/triage.lua", NULL));
    TRI_TRY(tri_sandbox_read(&text, &job.text_size, space->data_dir, space->file, options->path));
    job.vocabulary = vocabulary;
    job.text = text;
    TRI_TRY(tri_sandbox_call(space->sandbox, tri_model_load, &job, space->file));
done:
    free(vocabulary);
    free(text);
    return status;
}

triage_status tri_space_open(tri_space **out, tri_op op, const tri_space_options *options) {
    static const tri_space_options defaults = {0};
    const tri_space_options *given = options ? options : &defaults;
    triage_status status = TRIAGE_OK;
    tri_space *space = NULL;
    TRI_TRY(tri_calloc(&space, 1, sizeof *space));
    TRI_TRY(name_file(space, op, given->path));
    if (given->data_dir)
        TRI_TRY(tri_strdup(&space->data_dir, given->data_dir));
    TRI_TRY(tri_sandbox_open(&space->sandbox, given->instruction_limit, given->memory_limit));
    TRI_TRY(load_model(space, given));
    if (strcmp(space->op, op_name(op)) != 0) {
        status = tri_fail(TRIAGE_E_DATA, "%s: this space is for the operation %s, not %s", space->file,
                          space->op, op_name(op));
        goto done;
    }
    TRI_TRY(check_points(space));
    *out = space;
    space = NULL;
done:
    tri_space_free(space);
    return status;
}

void tri_space_free(tri_space *space) {
    if (!space)
        return;
    tri_model_free(space);
    tri_sandbox_free(space->sandbox);
    free(space->file);
    free(space->data_dir);
    free(space);
}

const char *tri_space_name(const tri_space *space) {
    return space->name;
}

/* ---- configuration text ---- */

static triage_status point_text(char **out, const tri_space_kernel *kernel, const int32_t *point) {
    triage_status status = TRIAGE_OK;
    tri_text text = TRI_TEXT_INIT;
    TRI_TRY(tri_text_format(&text, "%s", kernel->name));
    for (size_t i = 0; i < kernel->axis_count; i++)
        TRI_TRY(
            tri_text_format(&text, " %s=%s", kernel->axes[i].name, kernel->axes[i].values[point[i]].text));
    *out = text.data;
    text = (tri_text)TRI_TEXT_INIT;
done:
    tri_text_free(&text);
    return status;
}

/* Takes the word up to the next space off *text. */
static size_t take_word(const char **word, const char **text) {
    *word = *text;
    size_t size = strcspn(*text, " ");
    *text += size;
    if (**text == ' ')
        (*text)++;
    return size;
}

static bool same(const char *word, size_t size, const char *text) {
    return strlen(text) == size && !memcmp(word, text, size);
}

static triage_status fail_config(const tri_space *space, const char *config, const char *why,
                                 const char *word, size_t size) {
    return tri_fail(TRIAGE_E_DATA, "'%.200s' is not a configuration of %s: %s '%.*s'", config, space->file,
                    why, (int)(size < 60 ? size : 60), word);
}

/* One "axis=value" to an index; the axes come in their order, all of them. */
static triage_status parse_axis(int32_t *out, const tri_space *space, const tri_axis *axis,
                                const char *config, const char **rest) {
    const char *word = NULL;
    size_t size = take_word(&word, rest), name_size = strlen(axis->name);
    if (size <= name_size || memcmp(word, axis->name, name_size) != 0 || word[name_size] != '=')
        return tri_fail(TRIAGE_E_DATA, "'%.200s' is not a configuration of %s: %s=... is expected at '%.*s'",
                        config, space->file, axis->name, (int)(size < 60 ? size : 60), word);
    for (size_t i = 0; i < axis->count; i++)
        if (same(word + name_size + 1, size - name_size - 1, axis->values[i].text)) {
            *out = (int32_t)i;
            return TRIAGE_OK;
        }
    return fail_config(space, config, "not a value of its axis:", word, size);
}

/* The inverse of point_text: accepts exactly what that writes. */
static triage_status parse_config(size_t *kernel, int32_t point[TRI_POINT_MAX], const tri_space *space,
                                  const char *config) {
    if (strnlen(config, CONFIG_SIZE_MAX) == CONFIG_SIZE_MAX)
        return tri_fail(TRIAGE_E_DATA, "a configuration has less than %d characters", CONFIG_SIZE_MAX);
    const char *rest = config, *word = NULL;
    size_t size = take_word(&word, &rest);
    for (*kernel = 0; *kernel < space->kernel_count; (*kernel)++)
        if (same(word, size, space->kernels[*kernel].name))
            break;
    if (*kernel == space->kernel_count)
        return fail_config(space, config, "no such kernel:", word, size);
    const tri_space_kernel *found = &space->kernels[*kernel];
    for (size_t i = 0; i < found->axis_count; i++) {
        triage_status status = parse_axis(&point[i], space, &found->axes[i], config, &rest);
        if (status != TRIAGE_OK)
            return status;
    }
    if (*rest || (rest > config && rest[-1] == ' '))
        return fail_config(space, config, "more than its axes:", rest, strlen(rest));
    return TRIAGE_OK;
}

triage_status tri_space_knows(tri_space *space, const char *config) {
    size_t kernel = 0;
    int32_t point[TRI_POINT_MAX];
    return parse_config(&kernel, point, space, config);
}

/* ---- enumeration ---- */

typedef struct enumerate_job {
    tri_space *space;
    const tri_problem *problem;
    const tri_device_info *info;
    tri_configs *out;
    size_t capacity;
    bool default_found;
    tri_text why; /* what keeps each kernel out */
} enumerate_job;

static bool kernel_runs_on(const tri_space_kernel *kernel, const tri_device_info *info) {
    for (size_t i = 0; i < kernel->target_count; i++)
        if (tri_target_matches(kernel->targets[i], info))
            return true;
    return false;
}

static triage_status grow(enumerate_job *job) {
    if (job->out->count < job->capacity)
        return TRIAGE_OK;
    size_t capacity = job->capacity ? job->capacity * 2 : 64, columns = job->out->axes;
    char **text = realloc(job->out->text, capacity * sizeof *text);
    if (text)
        job->out->text = text;
    int32_t *coordinates = realloc(job->out->coordinates, capacity * columns * sizeof *coordinates);
    if (coordinates)
        job->out->coordinates = coordinates;
    if (!text || !coordinates)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for %zu configurations", capacity);
    job->capacity = capacity;
    return TRIAGE_OK;
}

static triage_status add_config(enumerate_job *job, size_t kernel, const int32_t *point) {
    triage_status status = TRIAGE_OK;
    tri_configs *out = job->out;
    const tri_space_kernel *of = &job->space->kernels[kernel];
    TRI_TRY(grow(job));
    TRI_TRY(point_text(&out->text[out->count], of, point));
    int32_t *row = out->coordinates + out->count * out->axes;
    row[0] = (int32_t)kernel;
    for (size_t i = 1; i < out->axes; i++)
        row[i] = i <= of->axis_count ? point[i - 1] : -1;
    out->count++;
done:
    return status;
}

/* The next point, last axis fastest: the order in which the file reads. */
static bool advance(const tri_space_kernel *kernel, int32_t *point) {
    for (size_t i = kernel->axis_count; i-- > 0;) {
        if ((size_t)++point[i] < kernel->axes[i].count)
            return true;
        point[i] = 0;
    }
    return false;
}

/* The constraint that stopped the points that came furthest down the list. */
static triage_status explain_constraint(lua_State *L, tri_text *why, const tri_space_kernel *kernel,
                                        int64_t furthest) {
    return tri_text_format(why, "%s%s needs '%s'", why->size ? "; " : "", kernel->name,
                           tri_push_reason(L, (size_t)furthest));
}

static triage_status enumerate_kernel(lua_State *L, enumerate_job *job, size_t index) {
    const tri_space_kernel *kernel = &job->space->kernels[index];
    triage_status status = TRIAGE_OK;
    int32_t point[TRI_POINT_MAX] = {0};
    size_t before = job->out->count;
    int64_t furthest = -1;
    tri_select_kernel(L, job->space, index);
    do {
        tri_set_config(L, kernel, point);
        int64_t violated = tri_first_violated(L, kernel);
        furthest = violated > furthest ? violated : furthest;
        if (violated < 0)
            TRI_TRY(add_config(job, index, point));
    } while (advance(kernel, point));
    if (job->out->count == before)
        TRI_TRY(explain_constraint(L, &job->why, kernel, furthest));
done:
    return status;
}

/* Where a kernel's first legal default is among its configurations first .. count - 1. */
static void find_default(enumerate_job *job, size_t index, size_t first) {
    const tri_space_kernel *kernel = &job->space->kernels[index];
    const tri_configs *out = job->out;
    for (size_t i = 0; i < kernel->default_count && !job->default_found; i++)
        for (size_t at = first; at < out->count && !job->default_found; at++)
            if (!memcmp(out->coordinates + at * out->axes + 1, kernel->defaults + i * kernel->axis_count,
                        kernel->axis_count * sizeof *kernel->defaults)) {
                job->out->default_index = at;
                job->default_found = true;
            }
}

static triage_status enumerate(lua_State *L, void *user) {
    enumerate_job *job = user;
    triage_status status = TRIAGE_OK;
    bool any_runs = false;
    tri_push_problem_and_device(L, job->problem, job->info);
    for (size_t i = 0; i < job->space->kernel_count; i++) {
        size_t first = job->out->count;
        if (!kernel_runs_on(&job->space->kernels[i], job->info))
            continue;
        any_runs = true;
        TRI_TRY(enumerate_kernel(L, job, i));
        find_default(job, i, first);
    }
    if (!any_runs)
        TRI_TRY(tri_text_format(&job->why, "none of its kernels runs there"));
done:
    return status;
}

static size_t coordinate_columns(const tri_space *space) {
    size_t most = 0;
    for (size_t i = 0; i < space->kernel_count; i++)
        if (space->kernels[i].axis_count > most)
            most = space->kernels[i].axis_count;
    return most + 1;
}

static triage_status fail_unsupported(const tri_space *space, const tri_problem *problem,
                                      const tri_device_info *info, const char *why) {
    char *key = NULL;
    triage_status status = tri_problem_key(&key, problem);
    if (status == TRIAGE_OK)
        status = tri_fail(TRIAGE_E_UNSUPPORTED, "no kernel of %s covers %s on %s: %s", space->file, key,
                          info->target, why);
    free(key);
    return status;
}

triage_status tri_space_enumerate(tri_configs *out, tri_space *space, const tri_problem *problem,
                                  const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    tri_configs configs = {.axes = coordinate_columns(space)};
    enumerate_job job = {.space = space, .problem = problem, .info = info, .out = &configs};
    memset(out, 0, sizeof *out);
    TRI_TRY(tri_sandbox_call(space->sandbox, enumerate, &job, space->file));
    if (configs.count == 0) {
        status = fail_unsupported(space, problem, info, job.why.data);
        goto done;
    }
    *out = configs;
    memset(&configs, 0, sizeof configs);
done:
    tri_configs_free(&configs);
    tri_text_free(&job.why);
    return status;
}

void tri_configs_free(tri_configs *configs) {
    if (!configs)
        return;
    for (size_t i = 0; configs->text && i < configs->count; i++)
        free(configs->text[i]);
    free(configs->text);
    free(configs->coordinates);
    memset(configs, 0, sizeof *configs);
}

/* ---- one candidate ---- */

typedef struct candidate_job {
    tri_space *space;
    const tri_problem *problem;
    const tri_device_info *info;
    const char *config;
    size_t kernel;
    const int32_t *point;
    tri_candidate *out;
} candidate_job;

/* Template name of the table at index. */
static void copy_template(lua_State *L, tri_candidate *out, int index) {
    lua_getfield(L, index, "template");
    tri_sandbox_check(L, tri_strdup(&out->template_name, tri_lua_text(L, -1, "template")));
    lua_pop(L, 1);
}

static triage_status fill_kernel(lua_State *L, void *user) {
    candidate_job *job = user;
    const tri_space_kernel *kernel = &job->space->kernels[job->kernel];
    tri_push_problem_and_device(L, job->problem, job->info);
    tri_select_kernel(L, job->space, job->kernel);
    tri_set_config(L, kernel, job->point);
    int64_t violated = tri_first_violated(L, kernel);
    if (violated >= 0)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "'%s' does not satisfy '%s'", job->config,
                        tri_push_reason(L, (size_t)violated));
    tri_sandbox_check(L, tri_strdup(&job->out->kernel, kernel->name));
    tri_sandbox_check(L, tri_strdup(&job->out->config, job->config));
    job->out->spill_limit = kernel->spill_limit;
    copy_template(L, job->out, TRI_SLOT_KERNEL);
    tri_fill_candidate(L, job->out, TRI_SLOT_KERNEL, lua_pushfstring(L, "kernel %s", kernel->name));
    return TRIAGE_OK;
}

triage_status tri_space_candidate(tri_candidate *out, tri_space *space, const tri_problem *problem,
                                  const tri_device_info *info, const char *config) {
    triage_status status = TRIAGE_OK;
    int32_t point[TRI_POINT_MAX];
    tri_candidate candidate = {0};
    candidate_job job = {space, problem, info, config, 0, point, &candidate};
    memset(out, 0, sizeof *out);
    TRI_TRY(parse_config(&job.kernel, point, space, config));
    if (!kernel_runs_on(&space->kernels[job.kernel], info)) {
        status = tri_fail(TRIAGE_E_UNSUPPORTED, "kernel %s does not run on %s",
                          space->kernels[job.kernel].name, info->target);
        goto done;
    }
    TRI_TRY(tri_sandbox_call(space->sandbox, fill_kernel, &job, space->file));
    *out = candidate;
    memset(&candidate, 0, sizeof candidate);
done:
    tri_candidate_free(&candidate);
    return status;
}

static triage_status fill_reference(lua_State *L, void *user) {
    candidate_job *job = user;
    tri_push_problem_and_device(L, job->problem, job->info);
    lua_getfield(L, LUA_REGISTRYINDEX, TRI_SPACE_KEY);
    lua_getfield(L, -1, "reference");
    if (lua_getfield(L, -1, job->info->backend) != LUA_TTABLE)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "%s: has no reference kernel for %s", job->space->file,
                        job->info->backend);
    lua_replace(L, TRI_SLOT_KERNEL);
    lua_newtable(L); /* no constraints */
    lua_replace(L, TRI_SLOT_CONSTRAINTS);
    lua_newtable(L); /* no axes either */
    tri_sandbox_check(L, tri_strdup(&job->out->kernel, "reference"));
    tri_sandbox_check(L, tri_strdup(&job->out->config, "reference"));
    job->out->spill_limit = INT32_MAX; /* slow is no fault of a yardstick */
    copy_template(L, job->out, TRI_SLOT_KERNEL);
    tri_fill_candidate(L, job->out, TRI_SLOT_KERNEL, "reference");
    return TRIAGE_OK;
}

triage_status tri_space_reference(tri_candidate *out, tri_space *space, const tri_problem *problem,
                                  const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    tri_candidate candidate = {0};
    candidate_job job = {.space = space, .problem = problem, .info = info, .out = &candidate};
    memset(out, 0, sizeof *out);
    TRI_TRY(tri_sandbox_call(space->sandbox, fill_reference, &job, space->file));
    *out = candidate;
    memset(&candidate, 0, sizeof candidate);
done:
    tri_candidate_free(&candidate);
    return status;
}

void tri_candidate_free(tri_candidate *candidate) {
    if (!candidate)
        return;
    for (size_t i = 0; candidate->params && i < candidate->param_count; i++) {
        free(candidate->params[i].name);
        free(candidate->params[i].value);
    }
    for (size_t i = 0; candidate->options && i < candidate->option_count; i++)
        free(candidate->options[i]);
    free(candidate->kernel);
    free(candidate->config);
    free(candidate->template_name);
    free(candidate->params);
    free(candidate->options);
    memset(candidate, 0, sizeof *candidate);
}
