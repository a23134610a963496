#include "cli/common/problem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common/common.h"
#include "cli/common/options.h"

#define TRI_OPERATION(name) extern const tri_cli_op tri_cli_op_##name;
#include "op/list.def"
#undef TRI_OPERATION

static const tri_cli_op *const ops[] = {
#define TRI_OPERATION(name) &tri_cli_op_##name,
#include "op/list.def"
#undef TRI_OPERATION
};
enum {
    OPS = 0
#define TRI_OPERATION(name) +1
#include "op/list.def"
#undef TRI_OPERATION
};

/* ---- the command line --------------------------------------------------------------------------------- */

enum { KEY_OP = 0x4000, KEY_FIRST, OPTIONS_MAX = TRI_CLI_GIVEN_MAX };

static struct argp_option
    own_options[OPS][OPTIONS_MAX + 1]; /* with keys: KEY_FIRST + operation * OPTIONS_MAX + option */
static struct argp argps[OPS];
static struct argp_child children[OPS + 1];
static char op_help[300], op_words[300];
static struct argp_option op_option[] = {{"op", KEY_OP, op_words, 0, op_help, 0}, {0}};

const char *tri_cli_given(const tri_cli_problem_options *options, const char *name) {
    const char *text = NULL;
    for (size_t i = 0; i < options->count; i++)
        if (strcmp(options->texts[i].name, name) == 0)
            text = options->texts[i].text;
    return text;
}

triage_status tri_cli_give(tri_cli_problem_options *options, const char *name, const char *text) {
    if (options->count == TRI_CLI_GIVEN_MAX)
        return tri_cli_usage("more than %d options for a problem", TRI_CLI_GIVEN_MAX);
    options->texts[options->count].name = name;
    options->texts[options->count].text = strstr(name, "dtype") ? tri_cli_type_of(text) : text;
    options->count++;
    return TRIAGE_OK;
}

/* One operation's option. */
static error_t parse_own(int key, char *argument, struct argp_state *state) {
    tri_cli_problem_options *o = state->input;
    if (key < KEY_FIRST || key >= KEY_FIRST + OPS * OPTIONS_MAX)
        return ARGP_ERR_UNKNOWN;
    const char *name = own_options[(key - KEY_FIRST) / OPTIONS_MAX][(key - KEY_FIRST) % OPTIONS_MAX].name;
    if (tri_cli_give(o, name, argument ? argument : "yes") != TRIAGE_OK)
        argp_error(state, "%s", triage_last_error());
    if (!o->given)
        o->given = name;
    return 0;
}

/* --op, and passing the input on. */
static error_t parse_all(int key, char *argument, struct argp_state *state) {
    tri_cli_problem_options *o = state->input;
    if (key == ARGP_KEY_INIT)
        for (size_t i = 0; i < OPS; i++)
            state->child_inputs[i] = o;
    if (key != KEY_OP)
        return ARGP_ERR_UNKNOWN;
    o->op = argument;
    return 0;
}

struct argp tri_cli_problem_argp = {.options = op_option, .parser = parse_all, .children = children};

/* Of an operation before this one in the list. */
static bool is_shown(size_t op, const char *name) {
    for (size_t i = 0; i < op; i++)
        for (const struct argp_option *o = ops[i]->options; o->name; o++)
            if (strcmp(o->name, name) == 0)
                return true;
    return false;
}

void tri_cli_problem_start(void) {
    snprintf(op_help, sizeof op_help, "Operation (default %s)", ops[0]->op->name);
    op_words[0] = '\0';
    for (size_t i = 0; i < OPS; i++)
        snprintf(op_words + strlen(op_words), sizeof op_words - strlen(op_words), "%s%s", i ? "|" : "",
                 ops[i]->op->name);
    for (size_t i = 0; i < OPS; i++) {
        size_t count = 0;
        for (const struct argp_option *o = ops[i]->options; o->name && count < OPTIONS_MAX; o++) {
            if (is_shown(i, o->name))
                continue;
            own_options[i][count] = *o;
            own_options[i][count].key = KEY_FIRST + (int)(i * OPTIONS_MAX + count);
            count++;
        }
        /* glibc's argp never frees the help of an empty list */
        argps[i] = (struct argp){.options = count ? own_options[i] : NULL, .parser = parse_own};
        children[i] = (struct argp_child){&argps[i], 0, ops[i]->heading, (int)i + 1};
    }
}

/* ---- for the operations' files -------------------------------------------------------------------------- */

char tri_cli_separator(const char *shape) {
    return strchr(shape, ',') ? ',' : 'x';
}

triage_status tri_cli_parse_list(int64_t *out, size_t count, size_t *found, const char *text, char separator,
                                 int64_t high, const char *const *names) {
    char *copy = NULL;
    triage_status status = TRIAGE_OK;
    *found = 0;
    TRI_TRY(tri_strdup(&copy, text));
    for (char *at = copy, *end; at; at = end) {
        end = strchr(at, separator);
        if (end)
            *end++ = '\0';
        if (*found < count)
            TRI_TRY(tri_parse_int64(&out[*found], at, 1, high, names[*found]));
        (*found)++;
    }
done:
    free(copy);
    return status;
}

triage_status tri_cli_check_memory(double bytes, const char *what) {
    double have = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    char need[TRI_CLI_NUMBER], there[TRI_CLI_NUMBER];
    if (bytes <= have)
        return TRIAGE_OK;
    tri_cli_bytes(need, bytes < 9e18 ? (int64_t)bytes : INT64_MAX);
    tri_cli_bytes(there, (int64_t)have);
    return tri_cli_usage("%s needs about %s of memory: this machine has %s", what, need, there);
}

triage_status tri_cli_read_pattern(tri_pattern *out, const char *path) {
    const triage_status status = tri_pattern_read(out, path);
    return status == TRIAGE_E_IO || status == TRIAGE_E_NOT_FOUND ? TRIAGE_E_DATA : status;
}

triage_status tri_cli_pattern_of_key(tri_pattern *out, const char *file, int64_t rows, int64_t cols,
                                     const tri_fingerprint *wanted) {
    tri_fingerprint found;
    if (!file)
        return tri_fail(TRIAGE_E_DATA, "the file of its pattern is not named");
    triage_status status = tri_cli_read_pattern(out, file);
    if (status != TRIAGE_OK)
        return status;
    tri_fingerprint_of(&found, out);
    if (out->block_rows == rows && out->block_cols == cols && memcmp(&found, wanted, sizeof found) == 0)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DATA, "%.200s is not the pattern of that problem", file);
}

/* ---- the problem -------------------------------------------------------------------------------------- */

static const tri_cli_op *find_op(const char *name) {
    for (size_t i = 0; i < OPS; i++)
        if (!name || strcmp(ops[i]->op->name, name) == 0)
            return ops[i];
    return NULL;
}

static const tri_cli_op *op_of(const tri_problem *problem) {
    return find_op(problem->op->name);
}

static triage_status check_given(const tri_cli_op *op, const tri_cli_problem_options *options) {
    for (size_t i = 0; i < options->count; i++) {
        const struct argp_option *o = op->options;
        while (o->name && strcmp(o->name, options->texts[i].name) != 0)
            o++;
        if (!o->name)
            return tri_cli_usage("--%s does not apply to %s", options->texts[i].name, op->op->name);
    }
    return TRIAGE_OK;
}

triage_status tri_cli_problem_make(tri_cli_problem *out, const tri_cli_problem_options *options) {
    const tri_cli_op *op = find_op(options->op);
    triage_status status = TRIAGE_OK;
    *out = (tri_cli_problem){0};
    if (!op)
        return tri_cli_usage("--op %.32s is not one of %s", options->op, tri_operation_names());
    out->problem.op = op->op;
    TRI_TRY(check_given(op, options));
    TRI_TRY(op->make(out, options));
    TRI_TRY(tri_problem_check(&out->problem));
done:
    if (status != TRIAGE_OK)
        tri_cli_problem_free(out);
    return status;
}

void tri_cli_problem_for_host(tri_cli_problem *problem) {
    if (!problem->dtype_given)
        op_of(&problem->problem)->for_host(problem);
}

void tri_cli_problem_json(json_t *object, const tri_problem *problem) {
    if (op_of(problem)->json)
        op_of(problem)->json(object, problem);
}

triage_status tri_cli_problem_describe(tri_text *out, const tri_problem *problem) {
    const tri_cli_op *op = op_of(problem);
    return op && op->describe ? op->describe(out, problem) : TRIAGE_OK;
}

/* ---- filters ---- */

/* --dtype alone means something to every operation. */
static bool is_dtype_alone(const tri_cli_problem_options *options) {
    for (size_t i = 0; i < options->count; i++)
        if (strcmp(options->texts[i].name, "dtype") != 0)
            return false;
    return true;
}

triage_status tri_cli_filter_make(tri_cli_filter *out, const tri_cli_problem_options *options) {
    const tri_cli_op *op = find_op(options->op);
    triage_status status = TRIAGE_OK;
    *out = (tri_cli_filter){.op = options->op, .dtype = tri_cli_given(options, "dtype")};
    if (is_dtype_alone(options))
        return TRIAGE_OK; /* whatever --op says: a dense product's keys begin with a word of their own */
    if (!op)
        return tri_cli_usage("--op %.32s is not one of %s", options->op, tri_operation_names());
    out->op = op->op->name;
    TRI_TRY(check_given(op, options));
    if (!op->key_words)
        TRI_TRY(tri_cli_usage("--%s is no filter of %s", options->given, op->op->name));
    TRI_TRY(op->key_words(&out->words, options));
done:
    if (status != TRIAGE_OK)
        tri_cli_filter_free(out);
    return status;
}

/* Is it one of the key's words? */
static bool has_key_word(const char *key, const char *word, size_t size) {
    for (const char *at = strchr(key, ' '); at; at = strchr(at + 1, ' '))
        if (strncmp(at + 1, word, size) == 0 && (at[1 + size] == ' ' || !at[1 + size]))
            return true;
    return false;
}

bool tri_cli_filter_passes(const tri_cli_filter *filter, const char *key) {
    const char *first = strchr(key, ' ');
    if (filter->op && (strncmp(key, filter->op, strlen(filter->op)) != 0 || key[strlen(filter->op)] != ' '))
        return false;
    if (filter->dtype) { /* the word behind the operation's */
        const size_t size = strlen(filter->dtype);
        if (!first || strncmp(first + 1, filter->dtype, size) != 0 || !strchr(" -", first[1 + size]))
            return false;
    }
    for (const char *word = filter->words.data; word && *word;) {
        word += *word == ' ';
        const size_t size = strcspn(word, " ");
        if (size && !has_key_word(key, word, size))
            return false;
        word += size;
    }
    return true;
}

void tri_cli_filter_free(tri_cli_filter *filter) {
    tri_text_free(&filter->words);
    *filter = (tri_cli_filter){0};
}

triage_status tri_cli_problem_fits(const tri_problem *problem) {
    return tri_cli_check_memory(problem->op->host_bytes(problem), "measuring this shape");
}

const tri_pattern *tri_cli_pattern(const tri_cli_problem *problem) {
    return tri_problem_has_pattern(&problem->problem) ? &problem->pattern : NULL;
}

void tri_cli_problem_free(tri_cli_problem *problem) {
    tri_pattern_free(&problem->pattern);
    *problem = (tri_cli_problem){0};
}

/* ---- a job's ------------------------------------------------------------------------------------------- */

/* "mask_block" to "mask-block": the option's own name, which lives as long as the program. */
static const char *option_name(const tri_cli_op *op, const char *member) {
    for (const struct argp_option *o = op->options; o->name; o++) {
        const char *a = o->name, *b = member;
        while (*a && (*a == *b || (*a == '-' && *b == '_')))
            a++, b++;
        if (!*a && !*b)
            return o->name;
    }
    return NULL;
}

triage_status tri_cli_give_members(tri_cli_problem_options *out, const tri_cli_op *op, json_t *texts) {
    const char *member;
    json_t *value;
    json_object_foreach(texts, member, value) {
        if (strcmp(member, "op") == 0 || strcmp(member, "seed") == 0)
            continue;
        const char *name = option_name(op, member);
        if (!name || !json_is_string(value))
            return tri_fail(TRIAGE_E_DATA, "%.40s does not apply to %s", member, op->op->name);
        triage_status status = tri_cli_give(out, name, json_string_value(value));
        if (status != TRIAGE_OK)
            return status;
    }
    return TRIAGE_OK;
}

/* ---- a recorded one's ---- */

triage_status tri_cli_problem_of_key(tri_cli_problem *out, json_t *texts, uint64_t seed) {
    const char *key = json_string_value(json_object_get(texts, "problem"));
    triage_status status = TRIAGE_OK;
    *out = (tri_cli_problem){.dtype_given = true};
    if (!key)
        return tri_fail(TRIAGE_E_DATA, "\"problem\" is not a text");
    TRI_TRY(tri_problem_parse(&out->problem, key));
    const tri_cli_op *op = op_of(&out->problem);
    if (!tri_problem_has_pattern(&out->problem))
        goto done;
    if (!op || !op->find_pattern)
        TRI_TRY(
            tri_fail(TRIAGE_E_DATA, "a %s has a pattern, which a key does not hold", out->problem.op->name));
    TRI_TRY(op->find_pattern(out, json_string_value(json_object_get(texts, "pattern")), seed));
    TRI_TRY(tri_problem_check(&out->problem));
done:
    if (status != TRIAGE_OK)
        tri_cli_problem_free(out);
    return status;
}

triage_status tri_cli_options_of_job(tri_cli_problem_options *out, json_t *texts) {
    triage_status status = TRIAGE_OK;
    int64_t seed = 1;
    *out = (tri_cli_problem_options){.op = json_string_value(json_object_get(texts, "op"))};
    const char *drawn = json_string_value(json_object_get(texts, "seed"));
    const tri_cli_op *op = find_op(out->op);
    if (!op)
        return tri_fail(TRIAGE_E_DATA, "op %.32s is not one of %s", out->op, tri_operation_names());
    if (drawn)
        TRI_TRY(tri_parse_int64(&seed, drawn, 0, INT64_MAX, "seed"));
    out->seed = (uint64_t)seed;
    TRI_TRY(op->from_job ? op->from_job(out, texts) : tri_cli_give_members(out, op, texts));
done:
    return status;
}
