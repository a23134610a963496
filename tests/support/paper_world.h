/* A GPU that is only described, the built-in space, and evidence that is made up: for tests of what is looked up.
 * Nothing is compiled. */
#ifndef TRIAGE_TESTS_SUPPORT_PAPER_WORLD_H
#define TRIAGE_TESTS_SUPPORT_PAPER_WORLD_H

#include "support/bsr_of.h"
#include "support/check.h"

#include <stdlib.h>
#include <string.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "render/render.h"
#include "store/store.h"

#define OTHER_HASH "0123456789abcdef0123456789abcdef" /* no source's */

static tri_space *space;
static tri_device_info info;
static tri_configs configs; /* of problem_of(1024, 0.75) */

static inline tri_problem problem_of(int64_t size, double sparsity) {
    tri_pattern pattern = {0};
    must(tri_pattern_random(&pattern, size / 64, size / 64, sparsity, 1));
    tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                               .out_type = TRIAGE_F16,
                                                               .m = size,
                                                               .n = size,
                                                               .k = size,
                                                               .ldb = size,
                                                               .ldc = size,
                                                               .block_m = 64,
                                                               .block_k = 64,
                                                               .nnzb = pattern.nnzb});
    tri_fingerprint_of(&bsr_of(&problem)->fingerprint, &pattern);
    tri_pattern_free(&pattern);
    return problem;
}

static inline int open_space(void **state) {
    (void)state;
    must(tri_device_info_of_target(&info, "sm_90a"));
    must(tri_space_open(&space, &tri_op_bsr_gemm, &(tri_space_options){0}));
    tri_problem problem = problem_of(1024, 0.75);
    must(tri_space_enumerate(&configs, space, &problem, &info));
    /* those that only small problems may run come last: tests take the first for larger ones too */
    const char *by_default = configs.text[configs.default_index];
    for (size_t i = 0, kept = 0; i < configs.count; i++)
        if (!strstr(configs.text[i], "c_slabs=0")) {
            char *text = configs.text[i];
            memmove(&configs.text[kept + 1], &configs.text[kept], (i - kept) * sizeof configs.text[0]);
            configs.text[kept++] = text;
        }
    for (size_t i = 0; i < configs.count; i++)
        if (configs.text[i] == by_default)
            configs.default_index = i;
    return configs.count >= 8 ? 0 : -1;
}

static inline int close_space(void **state) {
    (void)state;
    tri_configs_free(&configs);
    tri_space_free(space);
    return 0;
}

/* ---- evidence ---- */

/* The hash that config has today for a problem. */
static inline void hash_of(char out[TRI_HASH_SIZE], const tri_problem *problem, const char *config) {
    tri_candidate candidate = {0};
    tri_source source = {0};
    must(tri_space_candidate(&candidate, space, problem, &info, config));
    must(tri_render(&source, &candidate, NULL));
    tri_source_hash(out, &source, info.target);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
}

typedef struct claim { /* one row of evidence; NULLs are filled in truthfully */
    const char *config, *source_hash, *stage, *device, *key;
    double median_ns;
    tri_outcome outcome;
    bool warm;
    int64_t later_ms;
} claim;

static inline void add_to(tri_store *store, const tri_problem *problem, claim said) {
    char *key = NULL, *device = NULL, kernel[64], hash[TRI_HASH_SIZE];
    if (!said.source_hash)
        hash_of(hash, problem, said.config);
    must(tri_problem_key(&key, problem));
    must(tri_device_key(&device, &info));
    snprintf(kernel, sizeof kernel, "%.*s", (int)strcspn(said.config, " "), said.config);
    tri_measurement row = {.problem = said.key ? (char *)(uintptr_t)said.key : key,
                           .device = said.device ? (char *)(uintptr_t)said.device : device,
                           .device_name = "paper",
                           .kernel = kernel,
                           .config = (char *)(uintptr_t)said.config,
                           .source_hash = said.source_hash ? (char *)(uintptr_t)said.source_hash : hash,
                           .compiler = "nvrtc 13.0",
                           .stage = said.stage ? (char *)(uintptr_t)said.stage : "search",
                           .outcome = said.outcome,
                           .reason = said.outcome == TRI_RIGHT ? "" : "made up",
                           .median_ns = said.median_ns,
                           .low_ns = said.median_ns * 0.999,
                           .high_ns = said.median_ns * 1.001,
                           .min_ns = said.median_ns * 0.99,
                           .samples = 30,
                           .cold_l2 = !said.warm,
                           .row_error = 1e-4,
                           .row_error_limit = 2e-4,
                           .registers = 100,
                           .smem_bytes = 1024,
                           .measured_at_ms = 1700000000000 + said.later_ms,
                           .host = "00000000000000000000000000000000",
                           .version = TRIAGE_VERSION,
                           .circumstances = "{}"};
    must(tri_store_add(store, &row));
    free(device);
    free(key);
}

#endif
