/* Two lines at the foot of the terminal: how far, the best so far and how long still; and below what is done now. */
#ifndef TRIAGE_CLI_PROGRESS_H
#define TRIAGE_CLI_PROGRESS_H

#include "base/base.h"

typedef struct tri_cli_progress {
    bool shown; /* stderr is a terminal and nobody asked for quiet */
    int64_t start_ns, drawn_ns;
    size_t done; /* as last drawn, like the next */
    char doing[64];
} tri_cli_progress;

/* One picture of it. Lines that are longer than the terminal is wide are cut. */
typedef struct tri_cli_progress_view {
    size_t done, total; /* total 0: not known yet */
    double limit_s;     /* what is left at most; < 0: no limit */
    const char *note;   /* of the best so far; "" nothing */
    const char *now;    /* "timing: a candidate"; "" nothing */
} tri_cli_progress_view;

void tri_cli_progress_start(tri_cli_progress *progress, bool quiet);
/* At most ten times a second, but for what is newly done. */
void tri_cli_progress_draw(tri_cli_progress *progress, const tri_cli_progress_view *view);
/* Clears the lines, so that other output can follow. */
void tri_cli_progress_clear(tri_cli_progress *progress);
/* The same for who only knows that there may be one. */
void tri_cli_progress_hide(void);

#endif
