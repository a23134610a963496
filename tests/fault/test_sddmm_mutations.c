/* The gate can fail, for bsr_sddmm: every way that we know to break a kernel's text is refused, and the unbroken text passes. */
#include "support/gate_world.h"
#include "op/bsr_sddmm/bsr_sddmm.h"

static const mutation of_host[] = {
    {"none", NULL, NULL},
    {"its neighbour's column", "args->col_idx[block]", "args->col_idx[block ? block - 1 : 0]"},
    {"the last of n dropped", "args->n - n0 < kDepth ? args->n - n0",
     "args->n - n0 < kDepth ? args->n - n0 - 1"},
    {"transposed blocks", "sums[row * kWidth + j]", "sums[j * kWidth + row]"},
    {"one element 5 % off", "args->alpha * sums[row * kWidth + j]",
     "(block == 2 && row == 3 && j == 5 ? 1.0f : 0.0f) + args->alpha * sums[row * kWidth + j]"},
    {"beta ignored", "v += args->beta * to_float(d[j]);", "v += 0.0f;"},
    {"last column unwritten", "j < kBlockK; j++) {\n            float v",
     "j < kBlockK - 1; j++) {\n            float v"},
};

static void open_world_of(world *w, const char *key) {
    *w = (world){0};
    must(tri_problem_parse(&w->problem, key));
    tri_sddmm_problem *p = tri_sddmm_edit(&w->problem);
    must(tri_pattern_random(&w->pattern, p->m / p->block_m, p->k / p->block_k, 0.5, 3));
    p->nnzb = w->pattern.nnzb;
    open_gate(w, "host", NULL, NULL);
}

#define PROBLEM "m=64 n=150 k=96 block=16x16 density=5000 imbalance=10 overlap=5"

static void test_f32(void **state) {
    (void)state;
    world w;
    open_world_of(&w, "bsr_sddmm f32 f32 row row " PROBLEM);
    check_table(&w, &w.source, &w.candidate.launch, of_host, sizeof of_host / sizeof of_host[0]);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_f32)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
