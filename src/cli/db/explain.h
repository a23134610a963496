/* triage_db explain: how a lookup would be answered on a device that need not be here, and what nearest kernels
 * cost. */
#ifndef TRIAGE_CLI_EXPLAIN_H
#define TRIAGE_CLI_EXPLAIN_H

#include "cli/common/problem.h"

typedef struct tri_cli_explain_options {
    tri_cli_problem_options problem; /* ignored with loss */
    const char *db;                  /* NULL: the default one, which need not be there */
    const char
        *device; /* part of the key or name of a device in a database; auto, cuda, cuda:N, host: one of this
                         * machine; NULL: auto, with loss all */
    const char *space, *data_dir;
    bool loss, json, color;
    size_t width; /* columns that text may take; 0: what it needs */
} tri_cli_explain_options;

triage_status tri_cli_explain(const tri_cli_explain_options *options);

#endif
