#include "cli/common/options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/common/common.h"

/* ---- the table, as argp reads it ---------------------------------------------------------------------- */

enum { KEY_FIRST = 1000, GROUP_FIRST = 2, GROUP_LAST = 99 };

static struct argp_option built[TRI_CLI_OPTIONS_MAX + 1]; /* the last is {0} */
static const tri_cli_line *lines[TRI_CLI_OPTIONS_MAX];    /* of each; NULL: a heading */
static size_t built_count;
static bool takes_arguments;

static void build_line(const tri_cli_line *line, int group) {
    lines[built_count] = line;
    built[built_count] =
        (struct argp_option){.name = line->name,
                             .key = line->letter ? line->letter : KEY_FIRST + (int)built_count,
                             .arg = line->arg,
                             .doc = line->help,
                             .group = group};
    built_count++;
}

static void build(const tri_cli_program *program) {
    int number = GROUP_FIRST;
    tri_cli_problem_start();
    takes_arguments = program->arguments != NULL;
    for (const tri_cli_group *group = program->groups; group && group->lines; group++, number++) {
        if (group->heading)
            built[built_count++] = (struct argp_option){.doc = group->heading, .group = number};
        for (const tri_cli_line *line = group->lines; line->name && built_count < TRI_CLI_OPTIONS_MAX; line++)
            build_line(line, number);
    }
}

static const tri_cli_line *line_of(int key) {
    for (size_t i = 0; i < built_count; i++)
        if (lines[i] && built[i].key == key)
            return lines[i];
    return NULL;
}

static void add(tri_cli_option out[TRI_CLI_OPTIONS_MAX], size_t *count, const struct argp_option *options,
                const char *heading) {
    for (const struct argp_option *o = options; o && (o->name || o->doc); o++) {
        if (!o->name)
            heading = o->doc;
        else if (*count < TRI_CLI_OPTIONS_MAX)
            out[(*count)++] = (tri_cli_option){o, heading};
    }
}

static void add_problem(tri_cli_option out[TRI_CLI_OPTIONS_MAX], size_t *count, const char *heading) {
    add(out, count, tri_cli_problem_argp.options, heading);
    for (const struct argp_child *c = tri_cli_problem_argp.children; c->argp; c++)
        add(out, count, c->argp->options, c->header);
}

size_t tri_cli_options_of(tri_cli_option out[TRI_CLI_OPTIONS_MAX], const tri_cli_program *program) {
    size_t count = 0;
    if (program->problem && !program->problem_last)
        add_problem(out, &count, program->problem);
    add(out, &count, built, NULL);
    if (program->problem && program->problem_last)
        add_problem(out, &count, program->problem);
    return count;
}

/* ---- parsing -------------------------------------------------------------------------------------------- */

static void note_typed(tri_cli_shared *out, const char *name) {
    for (size_t i = 0; i < out->typed_count; i++)
        if (out->typed[i] == name)
            return;
    out->typed[out->typed_count++] = name; /* as many as there are lines, at most */
}

static void store(tri_cli_shared *out, const tri_cli_line *line, const char *argument) {
    char *at = (char *)out + line->at;
    if (line->arg)
        *(const char **)(void *)at = argument;
    else
        *(bool *)(void *)at = true;
    note_typed(out, line->name);
}

/* What is no option comes last, all at once: argp sorts. */
static error_t parse_argument(int key, const char *argument, const struct argp_state *state) {
    if (!takes_arguments)
        argp_error(state, "unexpected argument '%s'", argument);
    if (key == ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    tri_cli_shared *out = state->input;
    out->arguments = state->argv + state->next;
    out->argument_count = (size_t)(state->argc - state->next);
    return 0;
}

static error_t parse_one(int key, char *argument, struct argp_state *state) {
    tri_cli_shared *out = state->input;
    const tri_cli_line *line = line_of(key);
    if (line) {
        store(out, line, argument);
        return 0;
    }
    if (key == ARGP_KEY_INIT && state->child_inputs)
        state->child_inputs[0] = &out->problem;
    return key == ARGP_KEY_ARG || key == ARGP_KEY_ARGS ? parse_argument(key, argument, state)
                                                       : ARGP_ERR_UNKNOWN;
}

static void parse(const tri_cli_program *program, int argc, char **argv, tri_cli_shared *out) {
    const struct argp_child children[] = {
        {&tri_cli_problem_argp, 0, program->problem, program->problem_last ? GROUP_LAST : GROUP_FIRST - 1},
        {0}};
    const bool has_options = built[0].name || built[0].doc; /* of an empty list argp never frees the help */
    const struct argp argp = {.options = has_options ? built : NULL,
                              .parser = parse_one,
                              .args_doc = program->arguments,
                              .doc = program->doc,
                              .children = program->problem ? children : NULL};
    argp_parse(&argp, argc, argv, 0, NULL, out);
}

/* ---- an argument of words ---------------------------------------------------------------------------------- */

/* "row|col" is a list, "PATH|URL" names two kinds. */
size_t tri_cli_words_of(const char *out[TRI_CLI_WORDS_MAX], char words[TRI_CLI_WORDS_SIZE],
                        const struct argp_option *option) {
    size_t count = 0;
    const char *arg = option->arg;
    if (!arg || !strchr(arg, '|') || strlen(arg) >= TRI_CLI_WORDS_SIZE)
        return 0;
    for (const char *c = arg; *c; c++)
        if (isupper((unsigned char)*c))
            return 0;
    strcpy(words, arg); /* NOLINT(clang-analyzer-security.insecureAPI.strcpy): its length was looked at */
    for (char *rest = NULL, *word = strtok_r(words, "|", &rest); word && count < TRI_CLI_WORDS_MAX;
         word = strtok_r(NULL, "|", &rest))
        out[count++] = word;
    return count;
}

/* ---- what was meant ----------------------------------------------------------------------------------- */

enum { WORD_MAX = 40 };

/* Letters to change, add, leave out or swap with the next. */
static size_t distance(const char *a, const char *b) {
    size_t rows[3][WORD_MAX + 1], m = strlen(a), n = strlen(b);
    if (m > WORD_MAX || n > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= n; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t *now = rows[i % 3], *last = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[m % 3][n];
}

/* "sprsty" is short for "sparsity": the same beginning, and letters of it in their order. */
static bool is_short_for(const char *typed, const char *word) {
    const size_t size = strlen(typed);
    if (size < 3 || typed[0] != word[0])
        return false;
    for (; *typed && word; typed++)
        word = strchr(word, *typed) ? strchr(word, *typed) + 1 : NULL;
    return word != NULL;
}

const char *tri_cli_nearest(const char *typed, const char *const *words, size_t count) {
    const char *nearest = NULL;
    size_t least = strlen(typed) / 3 + 1; /* a third of it may be wrong */
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(typed, words[i]);
        if (d < least + !nearest || (d == least && strncmp(words[i], typed, strlen(typed)) == 0)) {
            least = d;
            nearest = words[i];
        }
    }
    for (size_t i = 0; i < count && !nearest; i++)
        nearest = is_short_for(typed, words[i]) ? words[i] : NULL;
    return nearest;
}

const char *tri_cli_type_of(const char *typed) {
    static const char *const names[][2] = {{"fp16", "f16"},          {"half", "f16"},    {"float16", "f16"},
                                           {"fp32", "f32"},          {"float32", "f32"}, {"float", "f32"},
                                           {"bfloat16", "bf16"},     {"fp8", "e4m3"},    {"fp8_e4m3", "e4m3"},
                                           {"float8_e4m3fn", "e4m3"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(typed, names[i][0]) == 0)
            return names[i][1];
    return typed;
}

static void fail_option(const char *typed, const tri_cli_option *options, size_t count) {
    const char *names[TRI_CLI_OPTIONS_MAX + 3] = {"help", "usage", "version"};
    for (size_t i = 0; i < count; i++)
        names[3 + i] = options[i].option->name;
    const char *nearest = tri_cli_nearest(typed, names, count + 3);
    if (nearest)
        tri_cli_error("there is no option --%.40s; did you mean --%s?", typed, nearest);
    else
        tri_cli_error("there is no option --%.40s; --help lists all", typed);
    exit(TRI_EXIT_USAGE);
}

/* The option of a name or of its beginning; NULL: none, several, or one of argp's own, which argp knows best. */
static const struct argp_option *find(const char *typed, const tri_cli_option *options, size_t count) {
    static const char *const argps[] = {"help", "usage", "version"};
    const struct argp_option *found = NULL;
    size_t size = strlen(typed), matches = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(options[i].option->name, typed) == 0)
            return options[i].option;
        if (strncmp(options[i].option->name, typed, size) == 0) {
            found = options[i].option;
            matches++;
        }
    }
    for (size_t i = 0; i < sizeof argps / sizeof *argps; i++)
        matches += strncmp(argps[i], typed, size) == 0;
    if (matches == 0)
        fail_option(typed, options, count);
    return matches == 1 ? found : NULL;
}

static void check_value(const struct argp_option *option, const char *value) {
    const char *list[TRI_CLI_WORDS_MAX];
    char words[TRI_CLI_WORDS_SIZE], all[TRI_CLI_WORDS_SIZE + 2 * TRI_CLI_WORDS_MAX] = "";
    size_t count = tri_cli_words_of(list, words, option);
    if (strstr(option->name, "dtype"))
        value = tri_cli_type_of(value);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], value) == 0)
            return;
        strcat(strcat(all, i ? ", " : ""), list[i]); /* NOLINT: all has room for every word */
    }
    const char *nearest = count ? tri_cli_nearest(value, list, count) : NULL;
    if (!count)
        return;
    if (nearest)
        tri_cli_error("--%s %.32s is not one of %s; did you mean %s?", option->name, value, all, nearest);
    else
        tri_cli_error("--%s %.32s is not one of %s", option->name, value, all);
    exit(TRI_EXIT_USAGE);
}

static void check(const tri_cli_program *program, int argc, char **argv) {
    tri_cli_option options[TRI_CLI_OPTIONS_MAX];
    size_t count = tri_cli_options_of(options, program);
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        char name[WORD_MAX + 1];
        if (strncmp(argv[i], "--", 2) != 0)
            continue;
        const char *value = strchr(argv[i], '=');
        snprintf(name, sizeof name, "%.*s", (int)(value ? value - argv[i] - 2 : WORD_MAX), argv[i] + 2);
        const struct argp_option *option = find(name, options, count);
        const bool wants = option && option->arg && !(option->flags & OPTION_ARG_OPTIONAL);
        if (wants && !value && i + 1 < argc)
            value = argv[++i];
        else if (value)
            value++;
        if (option && option->arg && value)
            check_value(option, value);
    }
}

void tri_cli_parse(const tri_cli_program *program, int argc, char **argv, tri_cli_shared *out) {
    static const struct {
        const char *argument;
        void (*print)(const tri_cli_program *program);
    } prints[] = {{"--man", tri_cli_print_man},
                  {"--completion=bash", tri_cli_print_bash},
                  {"--completion=zsh", tri_cli_print_zsh}};
    static char version[64];
    snprintf(version, sizeof version, "%s %s", program->name, TRIAGE_VERSION);
    argp_program_version = version; /* a definition of ours would be hidden from libc */
    build(program);
    for (size_t i = 0; argc == 2 && i < sizeof prints / sizeof *prints; i++)
        if (strcmp(argv[1], prints[i].argument) == 0) {
            prints[i].print(program);
            exit(tri_cli_finish(TRI_EXIT_OK));
        }
    check(program, argc, argv);
    parse(program, argc, argv, out);
}
