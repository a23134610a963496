/* Evidence for people and for programs: the winners, all that is known of a problem, one measurement. */
#ifndef TRIAGE_CLI_EVIDENCE_H
#define TRIAGE_CLI_EVIDENCE_H

#include "store/store.h"

typedef struct tri_cli_evidence_options {
    const char *device; /* part of a device's name or key; NULL: all */
    const char *op;     /* first word of a problem's key; NULL: all */
    bool json, color;
} tri_cli_evidence_options;

/* The winner of each problem on each device. */
triage_status tri_cli_list(tri_store *store, const tri_cli_evidence_options *options);

/* what: an id or the beginning of one, or a problem as "list" prints it. TRIAGE_E_DATA if there is none. */
triage_status tri_cli_show(tri_store *store, const char *what, const tri_cli_evidence_options *options);

#endif
