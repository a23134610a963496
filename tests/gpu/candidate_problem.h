/* A problem of the list (run_candidates.h), made out: sizes, pattern and name; and the names of what runs on it. */
#ifndef TRIAGE_TESTS_GPU_CANDIDATE_PROBLEM_H
#define TRIAGE_TESTS_GPU_CANDIDATE_PROBLEM_H

#include "gpu/run_candidates.h"

#define PROBES (sizeof probes / sizeof probes[0])

typedef struct outline {
    const probe *probe; /* NULL: empty */
    char name[160];
    tri_problem problem;
    tri_pattern pattern;
} outline;

/* Ends the program unless all is well: 77 without a device or NVRTC, else 1. */
void must(triage_status status);

void outline_make(outline *out, const probe *from);
void outline_free(outline *of);

/* The sizes alone, of a pattern with nnzb blocks. */
void make_problem(tri_problem *out, const probe *from, int64_t nnzb);

/* "half 16x16 panel ...": configurations of the same name are the same kernel but for types and layouts. */
#define CONFIG_NAME_SIZE 400
void name_config(char text[CONFIG_NAME_SIZE], const tri_problem *problem, const char *config);

#endif
