/* triage_db pack: the compiled kernels of a list of problems, for applications (device/pack.h). */
#ifndef TRIAGE_CLI_DB_PACK_H
#define TRIAGE_CLI_DB_PACK_H

#include "base/sign.h"

typedef struct tri_cli_pack_options {
    const char *db, *device, *space, *data_dir, *cache; /* as typed; NULL: defaults */
    const char *target, *shapes, *output;
    const tri_signing_key *key; /* NULL: not signed */
    bool json;
} tri_cli_pack_options;

/* Whatever evidence answers each problem on each known device of the target is compiled. TRIAGE_E_INVALID: wrong options,
 * TRIAGE_E_DATA: a bad file of shapes, TRIAGE_E_COMPILE, _NO_DEVICE (no compiler), _IO. */
triage_status tri_cli_pack(const tri_cli_pack_options *options);

#endif
