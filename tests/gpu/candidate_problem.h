/* Small ragged problems of an operation, on which together every candidate of its space is legal: what run_candidates runs
 * under compute-sanitizer. One file an operation, linked into a program of its own: candidate_problem.c (bsr_gemm),
 * candidate_attention.c. */
#ifndef TRIAGE_TESTS_GPU_CANDIDATE_PROBLEM_H
#define TRIAGE_TESTS_GPU_CANDIDATE_PROBLEM_H

#include "device/device.h"
#include "op/op.h"
#include "pattern/pattern.h"

#define PROBES_MAX 128

/* A problem of the list made out. Its group is two words: configurations of a group that are the same, are the same kernel
 * but for types and layouts. */
typedef struct outline {
    size_t number; /* in the list */
    char name[200], group[40];
    int raggedness; /* of the list's problems, the most ragged ones are run where one is enough */
    double cost;
    tri_problem problem;
    tri_pattern pattern; /* where there is one */
    bool made;
} outline;

/* Ends the program unless all is well: 77 without a device or NVRTC, else 1. */
void must(triage_status status);

const tri_operation *probes_of(void);
size_t probe_count(void);
void outline_make(outline *out, size_t number);
void outline_free(outline *of);
const tri_pattern *outline_pattern(const outline *of); /* NULL: it has none */

/* Larger problems, whose configurations must all be on the list: the i-th, with its group. False: there are no more. */
bool large_problem(tri_problem *out, char group[40], size_t i);

/* "half 16x16 panel ...": the group and the configuration. */
#define CONFIG_NAME_SIZE 400
void name_config(char text[CONFIG_NAME_SIZE], const char *group, const char *config);

#endif
