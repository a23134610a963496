/* What --help, the man pages, the completion of bash and zsh and "did you mean" are made of: the table of options that argp
 * reads. Who adds a line there has it in all of them. */
#ifndef TRIAGE_CLI_OPTIONS_H
#define TRIAGE_CLI_OPTIONS_H

#include <argp.h>

#include "base/base.h"

typedef struct tri_cli_program {
    const char *name, *about; /* "triage_db", what the first line of its man page says */
    const struct argp *argp;
    const char *const *commands; /* ends with NULL; NULL: the program has none */
    /* Does the option mean something to the command? NULL: all do to all. */
    bool (*takes)(size_t command, const char *option);
} tri_cli_program;

/* As argp_parse, and before it: an option that is not there or a value that is none of its list is an error (64) that names
 * the nearest; --man prints the man page, --completion=bash|zsh the completion, which the build keeps as files. */
void tri_cli_parse(const tri_cli_program *program, int argc, char **argv, void *input);

/* One option of a program; those of one heading follow each other. */
typedef struct tri_cli_option {
    const struct argp_option *option;
    const char *heading; /* NULL: none */
} tri_cli_option;
enum { TRI_CLI_OPTIONS_MAX = 128 };
/* All that --help shows, --help, --usage and --version apart; how many. */
size_t tri_cli_options_of(tri_cli_option out[TRI_CLI_OPTIONS_MAX], const struct argp *argp);
/* The words between which an option's argument chooses, "row|col"; *count 0: it is free. Borrowed from words. */
enum { TRI_CLI_WORDS_MAX = 16, TRI_CLI_WORDS_SIZE = 128 };
size_t tri_cli_words_of(const char *out[TRI_CLI_WORDS_MAX], char words[TRI_CLI_WORDS_SIZE],
                        const struct argp_option *option);

/* Other people's names of an element type, as ours: "fp16", "half" is "f16"; any other text is itself. */
const char *tri_cli_type_of(const char *typed);

/* The word that is typed most like this one: NULL if none is near. */
const char *tri_cli_nearest(const char *typed, const char *const *words, size_t count);

void tri_cli_print_man(const tri_cli_program *program);
void tri_cli_print_bash(const tri_cli_program *program);
void tri_cli_print_zsh(const tri_cli_program *program);

#endif
