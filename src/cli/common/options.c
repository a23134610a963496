#include "cli/common/options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/common/common.h"

/* ---- the table, as argp reads it -------------------------------------------------------------------- */

static void add(tri_cli_option out[TRI_CLI_OPTIONS_MAX], size_t *count, const struct argp *argp,
                const char *heading) {
    for (const struct argp_option *o = argp->options; o && (o->name || o->doc); o++) {
        if (!o->name)
            heading = o->doc;
        else if (*count < TRI_CLI_OPTIONS_MAX)
            out[(*count)++] = (tri_cli_option){o, heading};
    }
}

/* As --help has them: the children's first, they describe the problem. */
static void add_all(tri_cli_option out[TRI_CLI_OPTIONS_MAX], size_t *count, const struct argp *argp,
                    const char *heading) {
    const bool below = argp->children && !argp->children[0].argp->children;
    if (below)
        add(out, count, argp, heading);
    for (const struct argp_child *c = argp->children; c && c->argp; c++)
        add_all(out, count, c->argp, c->header ? c->header : heading);
    if (!below)
        add(out, count, argp, heading);
}

size_t tri_cli_options_of(tri_cli_option out[TRI_CLI_OPTIONS_MAX], const struct argp *argp) {
    size_t count = 0;
    add_all(out, &count, argp, NULL);
    return count;
}

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

const char *tri_cli_nearest(const char *typed, const char *const *words, size_t count) {
    const char *nearest = NULL;
    size_t least = strlen(typed) / 3 + 1; /* a third of it may be wrong */
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(typed, words[i]);
        if (d < least + !nearest) {
            least = d;
            nearest = words[i];
        }
    }
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
    size_t count = tri_cli_options_of(options, program->argp);
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

void tri_cli_parse(const tri_cli_program *program, int argc, char **argv, void *input) {
    static const struct {
        const char *argument;
        void (*print)(const tri_cli_program *program);
    } prints[] = {{"--man", tri_cli_print_man},
                  {"--completion=bash", tri_cli_print_bash},
                  {"--completion=zsh", tri_cli_print_zsh}};
    for (size_t i = 0; argc == 2 && i < sizeof prints / sizeof *prints; i++)
        if (strcmp(argv[1], prints[i].argument) == 0) {
            prints[i].print(program);
            exit(tri_cli_finish(TRI_EXIT_OK));
        }
    check(program, argc, argv);
    argp_parse(program->argp, argc, argv, 0, NULL, input);
}
