#include "space/local.h"
#include "space/remote.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG_SIZE_MAX 1000 /* of a configuration's text */

/* ---- opening ---- */

static triage_status name_file(tri_space *space, const tri_operation *op, const char *path) {
    space->is_path = path != NULL;
    return path ? tri_strdup(&space->file, path) : tri_format(&space->file, "tuner/spaces/%s.lua", op->name);
}

typedef triage_status (*open_fn)(tri_space *space, const tri_space_text *text, const tri_files *files);

static triage_status load(tri_space *space, const tri_space_options *options, open_fn open) {
    triage_status status = TRIAGE_OK;
    char *vocabulary = NULL, *text = NULL;
    const tri_files files = tri_files_of(space);
    tri_space_text texts = {.instruction_limit = options->instruction_limit,
                            .memory_limit = options->memory_limit};
    TRI_TRY(tri_lua_file_read(&vocabulary, &texts.vocabulary_size, space->data_dir, TRI_VOCABULARY, NULL));
    TRI_TRY(tri_lua_file_read(&text, &texts.text_size, space->data_dir, space->file, options->path));
    texts.vocabulary = vocabulary;
    texts.text = text;
    TRI_TRY(open(space, &texts, &files));
done:
    free(vocabulary);
    free(text);
    return status;
}

static triage_status open_space(tri_space **out, const tri_operation *op, const tri_space_options *given,
                                open_fn open) {
    triage_status status = TRIAGE_OK;
    tri_space *space = NULL;
    TRI_TRY(tri_calloc(&space, 1, sizeof *space));
    TRI_TRY(name_file(space, op, given->path));
    if (given->data_dir)
        TRI_TRY(tri_strdup(&space->data_dir, given->data_dir));
    TRI_TRY(load(space, given, open));
    const tri_operation *own = tri_space_operation(space);
    if (!own || (op && op != own)) {
        status = tri_fail(TRIAGE_E_DATA, "%s: this space is for the operation %s, not %s", space->file,
                          space->op, op ? op->name : tri_operation_names());
        goto done;
    }
    *out = space;
    space = NULL;
done:
    tri_space_free(space);
    return status;
}

static triage_status open_whole(tri_space *space, const tri_space_text *text, const tri_files *files) {
    const triage_status status = tri_local_open(space, text, files);
    return status == TRIAGE_OK ? tri_local_load_all(space) : status;
}

triage_status tri_space_open_here(tri_space **out, const tri_operation *op,
                                  const tri_space_options *options) {
    static const tri_space_options defaults = {0};
    return open_space(out, op, options ? options : &defaults, open_whole);
}

/* Only Lua that is built in runs in this process. */
triage_status tri_space_open(tri_space **out, const tri_operation *op, const tri_space_options *options) {
    static const tri_space_options defaults = {0};
    const tri_space_options *given = options ? options : &defaults;
    return open_space(out, op, given, given->path || given->data_dir ? tri_remote_open : tri_local_open);
}

const tri_operation *tri_space_operation(const tri_space *space) {
    return tri_operation_find(space->op);
}

void tri_space_free(tri_space *space) {
    if (!space)
        return;
    if (space->state)
        space->answerer->close(space);
    tri_model_free(space);
    free(space->file);
    free(space->data_dir);
    free(space);
}

const char *tri_space_name(const tri_space *space) {
    return space->name;
}

/* ---- kernels ---- */

/* Makes the kernel if only its name is known yet. */
static triage_status want(tri_space *space, size_t kernel) {
    return space->kernels[kernel].later ? space->answerer->load(space, kernel) : TRIAGE_OK;
}

static triage_status want_all(tri_space *space) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < space->kernel_count && status == TRIAGE_OK; i++)
        status = want(space, i);
    return status;
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
static triage_status parse_config(size_t *kernel, int32_t point[TRI_AXES_MAX], tri_space *space,
                                  const char *config) {
    triage_status status = TRIAGE_OK;
    if (strnlen(config, CONFIG_SIZE_MAX) == CONFIG_SIZE_MAX)
        return tri_fail(TRIAGE_E_DATA, "a configuration has less than %d characters", CONFIG_SIZE_MAX);
    const char *rest = config, *word = NULL;
    size_t size = take_word(&word, &rest);
    for (*kernel = 0; *kernel < space->kernel_count; (*kernel)++)
        if (same(word, size, space->kernels[*kernel].name))
            break;
    if (*kernel == space->kernel_count)
        return fail_config(space, config, "no such kernel:", word, size);
    TRI_TRY(want(space, *kernel));
    const tri_space_kernel *found = &space->kernels[*kernel];
    for (size_t i = 0; i < found->axis_count; i++)
        TRI_TRY(parse_axis(&point[i], space, &found->axes[i], config, &rest));
    if (*rest || (rest > config && rest[-1] == ' '))
        status = fail_config(space, config, "more than its axes:", rest, strlen(rest));
done:
    return status;
}

triage_status tri_space_knows(tri_space *space, const char *config) {
    size_t kernel = 0;
    int32_t point[TRI_AXES_MAX];
    return parse_config(&kernel, point, space, config);
}

/* ---- enumeration ---- */

typedef struct enumeration {
    tri_space *space;
    tri_question question;
    const tri_device_info *info;
    tri_configs *out;
    size_t capacity;
    tri_verdicts verdicts; /* of the kernel in hand */
    bool default_found;
    tri_text why; /* what keeps each kernel out */
} enumeration;

static bool kernel_runs_on(const tri_space_kernel *kernel, const tri_device_info *info) {
    for (size_t i = 0; i < kernel->target_count; i++)
        if (tri_target_matches(kernel->targets[i], info))
            return true;
    return false;
}

static triage_status grow(enumeration *job) {
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

static triage_status add_config(enumeration *job, size_t kernel, const int32_t *point) {
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

/* Of the constraints that keep its points out, the one furthest down the list. */
static triage_status explain_constraint(tri_text *why, const tri_space_kernel *kernel, int32_t furthest) {
    return tri_text_format(why, "%s%s needs '%s'", why->size ? "; " : "", kernel->name,
                           kernel->constraints[furthest].reason);
}

static triage_status enumerate_kernel(enumeration *job, size_t index) {
    const tri_space_kernel *kernel = &job->space->kernels[index];
    triage_status status = TRIAGE_OK;
    tri_verdicts *verdicts = &job->verdicts;
    tri_point point = {0};
    free(verdicts->points);
    *verdicts = (tri_verdicts){0};
    TRI_TRY(job->space->answerer->judge(verdicts, job->space, &job->question, index));
    job->out->asked += verdicts->asked;
    for (size_t i = 0; i < verdicts->count; i++) {
        tri_point_of(point, kernel, verdicts->points[i]);
        TRI_TRY(add_config(job, index, point));
    }
    if (verdicts->count == 0)
        TRI_TRY(explain_constraint(&job->why, kernel, verdicts->furthest));
done:
    return status;
}

/* Where a kernel's first legal default is among its configurations first .. count - 1. */
static void find_default(enumeration *job, size_t index, size_t first) {
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

static triage_status enumerate(enumeration *job) {
    triage_status status = TRIAGE_OK;
    bool any_runs = false;
    for (size_t i = 0; i < job->space->kernel_count; i++) {
        size_t first = job->out->count;
        if (!kernel_runs_on(&job->space->kernels[i], job->info))
            continue;
        any_runs = true;
        TRI_TRY(enumerate_kernel(job, i));
        find_default(job, i, first);
    }
    if (!any_runs)
        TRI_TRY(tri_text_format(&job->why, "none of its kernels runs there"));
done:
    return status;
}

static void pose(tri_question *out, const tri_problem *problem, const tri_device_info *info) {
    tri_facts_of_problem(&out->problem, problem);
    tri_facts_of_device(&out->device, info);
    out->backend = info->backend;
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

static triage_status fill_scale(tri_scale *out, const tri_axis *axis) {
    triage_status status = TRIAGE_OK;
    out->count = axis->count;
    for (size_t i = 0; i < axis->count; i++)
        if (!axis->values[i].is_integer)
            return TRIAGE_OK;
    TRI_TRY(tri_calloc(&out->numbers, axis->count, sizeof *out->numbers));
    for (size_t i = 0; i < axis->count; i++)
        out->numbers[i] = axis->values[i].number;
done:
    return status;
}

static triage_status fill_scales(tri_configs *out, const tri_space *space) {
    const size_t columns = out->axes - 1;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&out->scales, space->kernel_count * columns + 1, sizeof *out->scales));
    out->scale_count = space->kernel_count * columns;
    for (size_t i = 0; i < space->kernel_count; i++)
        for (size_t j = 0; j < space->kernels[i].axis_count; j++)
            TRI_TRY(fill_scale(&out->scales[i * columns + j], &space->kernels[i].axes[j]));
done:
    return status;
}

triage_status tri_space_enumerate(tri_configs *out, tri_space *space, const tri_problem *problem,
                                  const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    tri_configs configs = {0};
    enumeration job = {.space = space, .info = info, .out = &configs};
    memset(out, 0, sizeof *out);
    TRI_TRY(want_all(space));
    configs.axes = coordinate_columns(space);
    pose(&job.question, problem, info);
    TRI_TRY(enumerate(&job));
    TRI_TRY(fill_scales(&configs, space));
    if (configs.count == 0) {
        status = fail_unsupported(space, problem, info, job.why.data);
        goto done;
    }
    *out = configs;
    memset(&configs, 0, sizeof configs);
done:
    tri_configs_free(&configs);
    tri_text_free(&job.why);
    free(job.verdicts.points);
    return status;
}

/* Of one kernel; *out stays NULL where none of its defaults is legal. */
static triage_status default_of(char **out, tri_space *space, const tri_problem *problem,
                                const tri_device_info *info, const tri_space_kernel *kernel) {
    triage_status status = TRIAGE_OK;
    char *text = NULL;
    for (size_t i = 0; i < kernel->default_count && !*out; i++) {
        tri_candidate made = {0};
        TRI_TRY(point_text(&text, kernel, kernel->defaults + i * kernel->axis_count));
        status = tri_space_candidate(&made, space, problem, info, text);
        tri_candidate_free(&made);
        if (status == TRIAGE_OK)
            *out = text;
        else
            free(text);
        text = NULL;
        if (status == TRIAGE_E_UNSUPPORTED)
            status = TRIAGE_OK;
        TRI_TRY(status);
    }
done:
    free(text);
    return status;
}

triage_status tri_space_default(char **out, tri_space *space, const tri_problem *problem,
                                const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    tri_configs configs = {0};
    *out = NULL;
    for (size_t i = 0; i < space->kernel_count && !*out; i++) {
        TRI_TRY(want(space, i));
        if (kernel_runs_on(&space->kernels[i], info))
            TRI_TRY(default_of(out, space, problem, info, &space->kernels[i]));
    }
    if (*out)
        goto done;
    TRI_TRY(tri_space_enumerate(&configs, space, problem, info)); /* the first, or why there is none */
    TRI_TRY(tri_strdup(out, configs.text[configs.default_index]));
done:
    tri_configs_free(&configs);
    return status;
}

void tri_configs_free(tri_configs *configs) {
    if (!configs)
        return;
    for (size_t i = 0; configs->text && i < configs->count; i++)
        free(configs->text[i]);
    free(configs->text);
    free(configs->coordinates);
    for (size_t i = 0; i < configs->scale_count; i++)
        free(configs->scales[i].numbers);
    free(configs->scales);
    memset(configs, 0, sizeof *configs);
}

/* ---- one candidate ---- */

/* The parts of a candidate that the space says without being asked. */
static triage_status name_candidate(tri_candidate *out, const char *kernel, const char *config,
                                    const tri_maker *maker, int32_t spill_limit) {
    triage_status status = TRIAGE_OK;
    out->spill_limit = spill_limit;
    TRI_TRY(tri_strdup(&out->kernel, kernel));
    TRI_TRY(tri_strdup(&out->config, config));
    TRI_TRY(tri_strdup(&out->template_name, maker->template_name));
done:
    return status;
}

triage_status tri_space_candidate(tri_candidate *out, tri_space *space, const tri_problem *problem,
                                  const tri_device_info *info, const char *config) {
    triage_status status = TRIAGE_OK;
    tri_point point = {0};
    size_t index = 0;
    int32_t violated = TRI_LEGAL;
    tri_question question;
    tri_candidate candidate = {0};
    memset(out, 0, sizeof *out);
    TRI_TRY(parse_config(&index, point, space, config));
    const tri_space_kernel *kernel = &space->kernels[index];
    if (!kernel_runs_on(kernel, info))
        return tri_fail(TRIAGE_E_UNSUPPORTED, "kernel %s does not run on %s", kernel->name, info->target);
    pose(&question, problem, info);
    TRI_TRY(space->answerer->fill(&candidate, &violated, space, &question, index, point));
    if (violated != TRI_LEGAL) {
        status = tri_fail(TRIAGE_E_UNSUPPORTED, "'%s' does not satisfy '%s'", config,
                          kernel->constraints[violated].reason);
        goto done;
    }
    TRI_TRY(name_candidate(&candidate, kernel->name, config, &kernel->maker, kernel->spill_limit));
    *out = candidate;
    memset(&candidate, 0, sizeof candidate);
done:
    tri_candidate_free(&candidate);
    return status;
}

triage_status tri_space_reference(tri_candidate *out, tri_space *space, const tri_problem *problem,
                                  const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    tri_candidate candidate = {0};
    tri_question question;
    const tri_maker *maker =
        &space->references[strcmp(info->backend, "host") ? TRI_REFERENCE_CUDA : TRI_REFERENCE_HOST];
    memset(out, 0, sizeof *out);
    if (!maker->template_name)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "%s: has no reference kernel for %s", space->file,
                        info->backend);
    pose(&question, problem, info);
    TRI_TRY(space->answerer->fill_reference(&candidate, space, &question));
    /* slow is no fault of a yardstick */
    TRI_TRY(name_candidate(&candidate, "reference", "reference", maker, INT32_MAX));
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
