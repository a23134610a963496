/* One line at the foot of the terminal: how far, the best so far, how long still. */
#ifndef TRIAGE_CLI_PROGRESS_H
#define TRIAGE_CLI_PROGRESS_H

#include "base/base.h"

typedef struct tri_cli_progress {
    bool shown; /* stderr is a terminal and nobody asked for quiet */
    int64_t start_ns, drawn_ns;
} tri_cli_progress;

void tri_cli_progress_start(tri_cli_progress *progress, bool quiet);
/* note: what to say of the best so far; "" nothing. At most ten times a second. */
void tri_cli_progress_draw(tri_cli_progress *progress, size_t done, size_t total, const char *note);
/* Clears the line, so that other output can follow. */
void tri_cli_progress_clear(tri_cli_progress *progress);

#endif
