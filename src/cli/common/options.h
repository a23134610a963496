/* The table of a program's options, and all that is made of it: what argp reads, --help, the man page, the completion of bash
 * and zsh, and "did you mean". Who adds a line has it in all of them. Options that several programs have are in shared.h, those
 * that describe a problem of an operation in op_NAME.c (problem.h). */
#ifndef TRIAGE_CLI_OPTIONS_H
#define TRIAGE_CLI_OPTIONS_H

#include <argp.h>
#include <stddef.h>

#include "cli/common/problem.h"

enum { TRI_CLI_OPTIONS_MAX = 128 };

/* What a program's own struct of options begins with. */
typedef struct tri_cli_shared {
    tri_cli_problem_options problem;
    const char *device, *wait, *seed, *space, *data_dir, *cache_dir, *db, *server;
    bool warm, dry_run, json, quiet, no_color, wide;
    const char *typed[TRI_CLI_OPTIONS_MAX]; /* names of the options that were, those of a problem apart */
    size_t typed_count;
    char *const *arguments; /* what is no option */
    size_t argument_count;
} tri_cli_shared;

/* One option: --name or -letter (0: none), with an argument or without (NULL), what --help says, and where it goes in the
 * program's struct: its text into a const char *, or true into a bool. */
typedef struct tri_cli_line {
    const char *name, *arg, *help;
    size_t at;
    char letter;
} tri_cli_line;
#define TRI_CLI_TEXT(name, arg, type, member, help)                                                          \
    { name, arg, help, offsetof(type, member), 0 }
#define TRI_CLI_FLAG(name, letter, type, member, help)                                                       \
    { name, NULL, help, offsetof(type, member), letter }

typedef struct tri_cli_group {
    const char *heading;       /* NULL: none */
    const tri_cli_line *lines; /* ends with {0} */
} tri_cli_group;

typedef struct tri_cli_program {
    const char *name, *about;    /* "triage_db", what the first line of its man page says */
    const char *doc;             /* what is said above the options, and after a \v below */
    const char *arguments;       /* "COMMAND [ARGUMENT...]"; NULL: it takes none */
    const tri_cli_group *groups; /* ends with {0}; NULL: no options */
    const char *problem;         /* heading of the options that describe a problem; NULL: it has none */
    bool problem_last;           /* they stand behind the others; else before */
    const char *const *commands; /* ends with NULL; NULL: the program has none */
    /* Does the option mean something to the command? NULL: all do to all. */
    bool (*takes)(size_t command, const char *option);
} tri_cli_program;

/* Fills the program's struct, zeroed before. An option that is not there, or a value that is none of its list, is an error (64)
 * that names the nearest; --man prints the man page, --completion=bash|zsh the completion, which the build keeps as files. */
void tri_cli_parse(const tri_cli_program *program, int argc, char **argv, tri_cli_shared *out);

/* ---- for what is made of the table ---- */

/* One option of a program, as --help shows it; those of one heading follow each other. */
typedef struct tri_cli_option {
    const struct argp_option *option;
    const char *heading; /* NULL: none */
} tri_cli_option;
/* All, but for --help, --usage and --version, in their order; how many. */
size_t tri_cli_options_of(tri_cli_option out[TRI_CLI_OPTIONS_MAX], const tri_cli_program *program);
/* The words between which an option's argument chooses, "row|col"; *count 0: it is free. Borrowed from words. */
enum { TRI_CLI_WORDS_MAX = 16, TRI_CLI_WORDS_SIZE = 128 };
size_t tri_cli_words_of(const char *out[TRI_CLI_WORDS_MAX], char words[TRI_CLI_WORDS_SIZE],
                        const struct argp_option *option);

/* Other people's names of an element type, as ours: "fp16", "half" is "f16"; any other text is itself. */
const char *tri_cli_type_of(const char *typed);

#define TRI_CLI_TARGETS "sm_80|sm_86|sm_89|sm_90a|sm_100a|sm_120a|host"

/* The word that is typed most like this one: NULL if none is near. */
const char *tri_cli_nearest(const char *typed, const char *const *words, size_t count);

void tri_cli_print_man(const tri_cli_program *program);
void tri_cli_print_bash(const tri_cli_program *program);
void tri_cli_print_zsh(const tri_cli_program *program);

#endif
