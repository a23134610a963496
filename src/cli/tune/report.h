/* What triage_tune prints of a result. */
#ifndef TRIAGE_CLI_TUNE_REPORT_H
#define TRIAGE_CLI_TUNE_REPORT_H

#include "tune/tune.h"

typedef struct tri_cli_tune_view {
    const tri_problem *problem;
    const tri_tune_result *result;
    bool compile_only;
    bool verbose; /* every row, not only the best */
    bool color;
    size_t width, height; /* of the window; 0: as wide, as high as it gets */
    uint64_t seed;
    size_t number;       /* of the problem in a file; 0: there is none */
    const char *db_path; /* NULL: nothing was stored */
} tri_cli_tune_view;

triage_status tri_cli_tune_print(const tri_cli_tune_view *view);
triage_status tri_cli_tune_json(const tri_cli_tune_view *view);

/* "9.99 ms +-0.3 %  245 TFLOP/s" of one candidate, or why it has no time. */
void tri_cli_tune_line(char *out, size_t size, const tri_problem *problem, const tri_tune_row *row);

#endif
