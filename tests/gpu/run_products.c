/* Fixed cases of the gradients' products on a device: every candidate of the space, or the first of each kernel, through the
 * house's gate, untimed. What compute-sanitizer may watch, too. (run_candidates has the forward product's.)
 *
 *   run_products [options]     see gate_keys.h
 *   --all: every candidate, else the first of each kernel. --keys: only problems whose key has that text.
 *   --part: of the problems, dealt in turn: several processes fill one cache.
 *   --compile: no device; the candidates are compiled for TARGET (sm_90a) into the cache, and nothing is run.
 *
 * The last line is for scripts. Exit codes: 0 all is right, 1 not, 64 usage, 77 no device. */
#include <stdio.h>

#include "gpu/gate_keys.h"
#include "op/bsr_sddmm/bsr_sddmm.h"

#define SAMPLED(types, layouts, sizes, block, density)                                                       \
    "bsr_sddmm " types " " layouts " " sizes " block=" block " density=" density " imbalance=10 overlap=5"

static const char *const sampled[] = {
    /* whole steps; rows of blocks that fill no tile */
    SAMPLED("f16 f16", "row row", "m=592 n=256 k=496", "16x16", "2000"),
    SAMPLED("f16 f16", "row row", "m=992 n=192 k=800", "32x32", "2000"),
    SAMPLED("f16 f16", "row row", "m=320 n=320 k=576", "64x64", "4000"),
    SAMPLED("f16 f16", "row row", "m=384 n=448 k=640", "128x128", "4000"),
    /* n that fills no step, of the layouts of a gradient */
    SAMPLED("f16 f32", "col col", "m=592 n=200 k=496", "16x16", "2000"),
    SAMPLED("bf16 bf16", "col col", "m=608 n=137 k=672", "32x32", "3000"),
    SAMPLED("f16 f32", "col col", "m=320 n=71 k=576", "64x64", "5000"),
    SAMPLED("bf16 bf16", "col col", "m=384 n=33 k=512", "128x128", "5000"),
    SAMPLED("f16 f16", "row row", "m=592 n=104 k=496", "16x16", "1000"),
    SAMPLED("bf16 f32", "row row", "m=320 n=72 k=576", "64x64", "9000"),
    /* n of one, and rows that no copy of 16 bytes reads */
    SAMPLED("f16 f16", "col col", "m=64 n=1 k=96", "16x16", "5000"),
    SAMPLED("f16 f32", "row row", "m=592 n=37 k=496", "16x16", "2000"),
    SAMPLED("bf16 bf16", "row row", "m=96 n=45 k=160", "32x32", "5000"),
    SAMPLED("f16 f16", "row row", "m=192 n=61 k=320", "64x64", "5000"),
    /* mixed layouts, oblong blocks */
    SAMPLED("f16 f16", "row col", "m=320 n=136 k=576", "64x64", "4000"),
    SAMPLED("bf16 f32", "col row", "m=640 n=136 k=576", "128x64", "4000"),
    SAMPLED("f16 f16", "col col", "m=320 n=136 k=640", "64x128", "4000"),
    SAMPLED("f16 f16", "row row", "m=320 n=72 k=512", "32x64", "4000"),
    SAMPLED("f16 f32", "col col", "m=336 n=72 k=512", "16x32", "4000"),
    /* one block row, one block; all blocks; types and blocks that only the plain kernel takes */
    SAMPLED("f16 f16", "row row", "m=64 n=256 k=64", "64x64", "9000"),
    SAMPLED("bf16 bf16", "col col", "m=16 n=256 k=512", "16x16", "3000"),
    SAMPLED("f32 f32", "col col", "m=96 n=50 k=160", "32x32", "4000"),
    SAMPLED("f16 f16", "row row", "m=96 n=50 k=168", "48x24", "4000"),
};

static triage_status random_blocks(tri_pattern *out, const tri_problem *problem) {
    const tri_sddmm_problem *p = tri_sddmm(problem);
    const double density = p->fingerprint.density_e4 / 1e4;
    return tri_pattern_random(out, p->m / p->block_m, p->k / p->block_k, 1 - density, 5);
}

int main(int argc, char **argv) {
    gate_options o;
    gate_stand s = {.pattern_of = random_blocks};
    if (!gate_read_options(&o, argc, argv)) {
        fprintf(stderr, "usage: run_products " GATE_USAGE "\n");
        return 64;
    }
    int code = gate_open(&s, &o);
    if (code != 0)
        return code;
    gate_keys(&s, &o, &tri_op_bsr_sddmm, sampled, sizeof sampled / sizeof *sampled);
    gate_close(&s);
    return gate_end("run_products");
}
