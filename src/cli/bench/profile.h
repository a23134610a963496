/* What limits triage's kernel, by Nsight Compute (ncu) where that is installed. */
#ifndef TRIAGE_CLI_BENCH_PROFILE_H
#define TRIAGE_CLI_BENCH_PROFILE_H

#include <jansson.h>

#include "base/base.h"

/* The figures that decide. */
typedef enum tri_profile_figure {
    TRI_PROFILE_TENSOR = 0, /* tensor cores: cycles at work */
    TRI_PROFILE_L2,         /* its throughput */
    TRI_PROFILE_DRAM,
    TRI_PROFILE_SHARED, /* shared memory: cycles in which its banks are read or written */
    TRI_PROFILE_STALL,  /* cycles in which no warp of a scheduler could issue */
    TRI_PROFILE_FIGURES
} tri_profile_figure;

/* One launch. */
typedef struct tri_profile_launch {
    char grid[48], block[48];
    double share[TRI_PROFILE_FIGURES]; /* of what is possible, 0 to 1; < 0: this ncu does not say */
    char waits_for[48];                /* what most warps wait for; "": not known */
} tri_profile_launch;

enum { TRI_PROFILE_MAX = 8 };
typedef struct tri_profile {
    tri_profile_launch launches[TRI_PROFILE_MAX]; /* of the one call that is looked at */
    size_t count;
} tri_profile;

/* Runs this program with its arguments once more, under ncu, with nothing but triage in it. Without a context of its own and
 * without a lock on the device, which are the other process's then. TRIAGE_E_NO_DEVICE says what is missing. */
triage_status tri_profile_take(tri_profile *out, char *const *argv, bool cold,
                               volatile const int *interrupted);
/* Is this process that other one? */
bool tri_profile_is_taken(void);

/* Of what ncu prints with --csv --page raw. TRIAGE_E_DATA: there is no launch in it. */
triage_status tri_profile_parse(tri_profile *out, const char *text);

void tri_profile_print(const tri_profile *profile);
json_t *tri_profile_json(const tri_profile *profile);

#endif
