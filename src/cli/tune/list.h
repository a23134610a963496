/* triage_tune --from: the problems of a file, one after the other. On a GPU another process compiles for the next ones meanwhile. */
#ifndef TRIAGE_CLI_TUNE_LIST_H
#define TRIAGE_CLI_TUNE_LIST_H

#include "cli/common/problem.h"
#include "tune/tune.h"

typedef struct tri_cli_list {
    const char *path;
    tri_tune_options *tune; /* of each problem; seed and time limit are set for it */
    double limit_s;         /* for all of them, what saves most first; 0: none, in the file's order */
    bool quiet;
    /* Tunes one and prints what came of it; number: in the file, from 1. */
    triage_status (*one)(void *user, tri_cli_problem *problem, size_t number);
    void *user;
} tri_cli_list;

/* A problem that fails is told of, and the others are tuned; then the first failure is the list's. *left: so many were not begun
 * when the limit was over. */
triage_status tri_cli_tune_list(size_t *left, const tri_cli_list *list);

#endif
