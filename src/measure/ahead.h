/* Several problems are tuned one after the other: another process compiles for the next ones while this one times. It has no
 * part in what is found, only in how long it takes. */
#ifndef TRIAGE_MEASURE_AHEAD_H
#define TRIAGE_MEASURE_AHEAD_H

#include <sys/types.h>

#include "base/base.h"

typedef struct tri_ahead {
    pid_t pid;  /* 0: there is none */
    int *begun; /* [count], shared: this process is at that problem, or was */
    size_t count;
} tri_ahead;

/* Compiles for problem i, in the other process, and leaves off when *begun is set. */
typedef void (*tri_ahead_fn)(void *user, size_t i, volatile const int *begun);

/* Starts the other process, with less right to the cores; fn is called for each problem that is not begun, in order.
 * Problem 0 is this process's. Zero-initialise *ahead. */
triage_status tri_ahead_start(tri_ahead *ahead, size_t count, tri_ahead_fn fn, void *user);
/* This process is at problem i now; nothing where there is no other. */
void tri_ahead_begin(tri_ahead *ahead, size_t i);
/* Ends the other process: its user's handlers hear SIGTERM. Nothing where there is none. */
void tri_ahead_end(tri_ahead *ahead);

#endif
