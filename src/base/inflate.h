/* What zlib compressed, by the system's zlib, found at run time: Debian has it in every installation. */
#ifndef TRIAGE_BASE_INFLATE_H
#define TRIAGE_BASE_INFLATE_H

#include "base/base.h"

typedef enum tri_inflate_kind { TRI_INFLATE_GZIP, TRI_INFLATE_RAW /* as in a zip file */ } tri_inflate_kind;

/* *out is NUL-terminated and owned by the caller. TRIAGE_E_DATA: it is not what kind says, ends early, or is more than limit
 * bytes; TRIAGE_E_UNSUPPORTED: there is no zlib. what begins messages. */
triage_status tri_inflate(char **out, size_t *out_size, const char *data, size_t size, tri_inflate_kind kind,
                          size_t limit, const char *what);

#endif
