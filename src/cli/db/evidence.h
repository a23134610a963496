/* Evidence for people and for programs: the winners, all that is known of a problem, one measurement. */
#ifndef TRIAGE_CLI_EVIDENCE_H
#define TRIAGE_CLI_EVIDENCE_H

#include "cli/common/problem.h"
#include "store/store.h"

typedef struct tri_cli_evidence_options {
    const char *device;    /* part of a device's name or key; NULL: all */
    tri_cli_filter filter; /* of problems */
    bool json, color;
    size_t width; /* columns that tables may take; 0: what they need */
} tri_cli_evidence_options;

/* Databases to look into: one's own, or what is shipped for each device. */
typedef struct tri_cli_stores {
    tri_store **items;
    size_t count, capacity;
} tri_cli_stores;
triage_status tri_cli_stores_shipped(tri_cli_stores *out, const char *data_dir);
void tri_cli_stores_close(tri_cli_stores *stores);

/* The winner of each problem on each device. */
triage_status tri_cli_list(const tri_cli_stores *stores, const tri_cli_evidence_options *options);

/* what: an id or the beginning of one, or a problem as "list" prints it; NULL: every problem that passes the filter.
 * TRIAGE_E_DATA if there is none. */
triage_status tri_cli_show(const tri_cli_stores *stores, const char *what,
                           const tri_cli_evidence_options *options);

#endif
