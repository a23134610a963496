/* What the lists of problems share: see candidate_problem.h. */
#include "gpu/candidate_problem.h"

#include <stdio.h>
#include <stdlib.h>

void must(triage_status status) {
    if (status == TRIAGE_OK)
        return;
    printf("run_candidates: %s: %s\n", triage_status_name(status), triage_last_error());
    exit(status == TRIAGE_E_NO_DEVICE ? 77 : 1);
}

void outline_free(outline *of) {
    tri_pattern_free(&of->pattern);
    *of = (outline){0};
}

const tri_pattern *outline_pattern(const outline *of) {
    return of->pattern.row_ptr ? &of->pattern : NULL;
}

void name_config(char text[CONFIG_NAME_SIZE], const char *group, const char *config) {
    snprintf(text, CONFIG_NAME_SIZE, "%s %s", group, config);
}
