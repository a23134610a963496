/* The cache of compiled kernels, seen from outside: what lies there, and what may go. */
#ifndef TRIAGE_CLI_CACHE_H
#define TRIAGE_CLI_CACHE_H

#include "base/base.h"

typedef struct tri_cli_cache_limits {
    double max_age_s;  /* since an entry was last used */
    int64_t max_bytes; /* of all entries; the least recently used go first */
    bool dry_run;      /* count, remove nothing */
} tri_cli_cache_limits;

typedef struct tri_cli_cache_result {
    int64_t entries, bytes;       /* found */
    int64_t removed, freed_bytes; /* of those, gone */
} tri_cli_cache_result;

/* Removes stale entries below cache_dir: files that have the name and the first bytes of an entry, and the
 * temporaries that a killed writer left; nothing else. An absent cache is an empty one. */
triage_status tri_cli_cache_collect(tri_cli_cache_result *out, const char *cache_dir,
                                    const tri_cli_cache_limits *limits);

#endif
