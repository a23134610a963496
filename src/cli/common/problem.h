/* From the options that describe a problem to the problem and its pattern. What an operation's options are is in a file
 * of its own, op_NAME.c; src/op/list.def has its name. */
#ifndef TRIAGE_CLI_PROBLEM_H
#define TRIAGE_CLI_PROBLEM_H

#include <argp.h>
#include <jansson.h>

#include "op/op.h"

#define TRI_CLI_GIVEN_MAX 32

/* The options' texts as they were typed. Zero-initialise. */
typedef struct tri_cli_problem_options {
    const char *op; /* NULL: the first operation of the list */
    struct {
        const char *name, *text; /* "shape", "4096,4096,4096": the last one counts */
    } texts[TRI_CLI_GIVEN_MAX];
    size_t count;
    uint64_t seed;     /* each program's own: it seeds more than the pattern */
    const char *given; /* the name of the first of these options that was typed, --op apart; NULL: none */
} tri_cli_problem_options;

/* What was typed for an option, without its dashes; NULL: nothing. */
const char *tri_cli_given(const tri_cli_problem_options *options, const char *name);
/* As if it had been typed. TRIAGE_E_INVALID: too many. Borrows both texts. */
triage_status tri_cli_give(tri_cli_problem_options *options, const char *name, const char *text);

/* These options as a child of a program's parser, a group for each operation; its input is a tri_cli_problem_options.
 * For argp, complete after tri_cli_problem_start. */
extern struct argp tri_cli_problem_argp;
void tri_cli_problem_start(void);

typedef struct tri_cli_problem {
    tri_problem problem;
    tri_pattern pattern; /* of an operation that has one */
    bool dtype_given;
} tri_cli_problem;
void tri_cli_problem_free(tri_cli_problem *problem);
/* The pattern, or NULL for an operation without one: as tri_tune_run and the bench take it. */
const tri_pattern *tri_cli_pattern(const tri_cli_problem *problem);

/* Checks everything and makes the pattern. Without a dtype the types are those of the cuda device, f16;
 * tri_cli_problem_for_host() corrects that. TRIAGE_E_INVALID: wrong options; TRIAGE_E_DATA: a bad file. */
triage_status tri_cli_problem_make(tri_cli_problem *out, const tri_cli_problem_options *options);
void tri_cli_problem_for_host(tri_cli_problem *problem);
/* What a report says of the problem beside its key and costs. */
void tri_cli_problem_json(json_t *object, const tri_problem *problem);

/* The options that a job on a server describes (docs/fleet.md), borrowing its texts. TRIAGE_E_DATA. */
triage_status tri_cli_options_of_job(tri_cli_problem_options *out, json_t *texts);

/* The problem of a key, as an application recorded it (options.record_path): texts has "problem" and mostly "pattern", a file.
 * TRIAGE_E_DATA. */
triage_status tri_cli_problem_of_key(tri_cli_problem *out, json_t *texts, uint64_t seed);

/* A problem's key in words; nothing where its operation has none. */
triage_status tri_cli_problem_describe(tri_text *out, const tri_problem *problem);

/* Some problems of many: those whose keys have all that was asked for (--op, --dtype, --shape, ...). Zero: all. */
typedef struct tri_cli_filter {
    const char *op, *dtype; /* NULL: any */
    tri_text words;         /* " word word" of the key */
} tri_cli_filter;
/* Borrows the options' texts. TRIAGE_E_INVALID: one of them is no filter. */
triage_status tri_cli_filter_make(tri_cli_filter *out, const tri_cli_problem_options *options);
bool tri_cli_filter_passes(const tri_cli_filter *filter, const char *key);
void tri_cli_filter_free(tri_cli_filter *filter);

/* Does a run's host memory fit this machine? TRIAGE_E_INVALID when it clearly does not. */
triage_status tri_cli_problem_fits(const tri_problem *problem);

/* ---- one operation's options: op_NAME.c defines tri_cli_op_NAME -------------------------------------------- */

typedef struct tri_cli_op {
    const tri_operation *op;
    const char *heading; /* of its options in --help */
    /* As for argp, but for the keys, which are given here; ends with {0}. Two operations may have options of one name;
     * of those the first in the list is shown, and each reads its own meaning from the text. */
    const struct argp_option *options;
    /* Fills problem (its op is set), pattern and dtype_given; checks all but tri_problem_check. What it has made before a
     * failure is freed by the caller. */
    triage_status (*make)(tri_cli_problem *out, const tri_cli_problem_options *options);
    void (*for_host)(tri_cli_problem *problem);               /* called unless dtype_given */
    void (*json)(json_t *object, const tri_problem *problem); /* NULL: nothing more */
    /* Which members of a job on a server (docs/fleet.md) are which options; "op" and "seed" apart. NULL: each member is
     * an option, with "_" for "-". What is made for it is kept in texts. */
    triage_status (*from_job)(tri_cli_problem_options *out, json_t *texts);
    /* The words of a key that these options ask for, e.g. " m=512 n=512 k=512": all but dtype's. NULL: none can be asked for. */
    triage_status (*key_words)(tri_text *out, const tri_cli_problem_options *options);
    /* A problem in a sentence or two, for who cannot read keys. NULL: no words. */
    triage_status (*describe)(tri_text *out, const tri_problem *problem);
    /* Finds the pattern of a problem that is known by its key, and that has a pattern. It is read from the file, or drawn where the
     * key alone says enough. NULL: a problem of this operation cannot be made of its key. */
    triage_status (*find_pattern)(tri_cli_problem *out, const char *file, uint64_t seed);
} tri_cli_op;

/* ---- for those files ---- */

/* Splits text at the separator into count integers, each 1 .. high; *found tells how many there were. */
triage_status tri_cli_parse_list(int64_t *out, size_t count, size_t *found, const char *text, char separator,
                                 int64_t high, const char *const *names);
/* Of a shape: commas, or the x of "512x512x512" where there are none. */
char tri_cli_separator(const char *shape);
/* Linux overcommits: an allocation beyond the machine would succeed and the process die later. */
triage_status tri_cli_check_memory(double bytes, const char *what);
/* The members of a job as options of these names, with "_" for "-". TRIAGE_E_DATA names one that is none. */
triage_status tri_cli_give_members(tri_cli_problem_options *out, const tri_cli_op *op, json_t *texts);
/* The pattern of a key: rows and columns of blocks and the fingerprint must be the key's. TRIAGE_E_DATA. */
triage_status tri_cli_pattern_of_key(tri_pattern *out, const char *file, int64_t rows, int64_t cols,
                                     const tri_fingerprint *wanted);
/* A file of --pattern: one that cannot be read is bad input (TRIAGE_E_DATA), not a failure of ours. */
triage_status tri_cli_read_pattern(tri_pattern *out, const char *path);

#endif
