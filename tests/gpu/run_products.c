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
#include <stdlib.h>

#include "gpu/gate_keys.h"
#include "op/bsr_gemm/bsr_gemm.h"
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

#define TRANSPOSED(types, layouts, epilogue, sizes, block, density, imbalance)                               \
    "bsr_gemm " types " " layouts " " epilogue " transposed " sizes " block=" block " density=" density      \
    " imbalance=" imbalance " overlap=5"

static const char *const transposed[] = {
    /* as a gradient of X has it, whole tiles and not; long rows, more than a warp reads ahead */
    TRANSPOSED("f16 f16", "col col", "none nobias", "m=592 n=136 k=1984", "16x16", "3000", "10"),
    TRANSPOSED("bf16 bf16", "col col", "none nobias", "m=608 n=72 k=1312", "32x32", "3000", "10"),
    TRANSPOSED("f16 f16", "col col", "none nobias", "m=320 n=520 k=576", "64x64", "4000", "10"),
    TRANSPOSED("bf16 bf16", "col col", "none nobias", "m=384 n=520 k=640", "128x128", "4000", "10"),
    TRANSPOSED("f16 f16", "row row", "none nobias", "m=592 n=136 k=1984", "16x16", "1000", "14"),
    TRANSPOSED("bf16 f32", "row row", "none nobias", "m=608 n=72 k=1312", "32x32", "2000", "14"),
    TRANSPOSED("f16 f16", "row row", "none nobias", "m=320 n=520 k=576", "64x64", "4000", "10"),
    TRANSPOSED("f16 f16", "row row", "none nobias", "m=384 n=576 k=640", "128x128", "4000", "10"),
    /* uneven rows: tiles that are dealt, rows in pieces */
    TRANSPOSED("f16 f16", "row row", "none bias", "m=592 n=136 k=496", "16x16", "3000", "20"),
    TRANSPOSED("f16 f16", "col col", "none nobias", "m=1184 n=136 k=672", "32x32", "3000", "20"),
    /* few columns, an epilogue, oblong blocks, one block row */
    TRANSPOSED("f16 f16", "col col", "silu bias", "m=320 n=8 k=576", "64x64", "4000", "10"),
    TRANSPOSED("bf16 bf16", "row row", "gelu bias", "m=592 n=8 k=496", "16x16", "2000", "10"),
    TRANSPOSED("f16 f16", "col col", "none nobias", "m=640 n=264 k=576", "128x64", "4000", "10"),
    TRANSPOSED("bf16 bf16", "row row", "none nobias", "m=320 n=264 k=640", "64x128", "4000", "10"),
    TRANSPOSED("f16 f16", "row row", "none nobias", "m=320 n=264 k=576", "64x32", "4000", "10"),
    TRANSPOSED("f16 f16", "row row", "none nobias", "m=16 n=264 k=1040", "16x16", "9000", "10"),
    /* what only the plain kernel takes */
    TRANSPOSED("f32 f32", "col col", "none nobias", "m=96 n=50 k=160", "32x32", "4000", "10"),
    TRANSPOSED("f16 f16", "row row", "relu bias", "m=320 n=37 k=576", "64x64", "4000", "10"),
    TRANSPOSED("f16 f32", "row col", "none nobias", "m=96 n=50 k=168", "48x24", "4000", "10"),
};

/* imbalance 20: by turns few and many blocks in a row. */
static triage_status uneven_blocks(tri_pattern *out, const tri_pattern *even) {
    int32_t *row_ptr = NULL, *col_idx = NULL, count = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&row_ptr, (size_t)even->block_rows + 1, sizeof *row_ptr));
    TRI_TRY(tri_calloc(&col_idx, (size_t)(even->block_rows * even->block_cols), sizeof *col_idx));
    for (int64_t row = 0; row < even->block_rows; row++) {
        for (int32_t col = 0; row % 7 == 3 && col < even->block_cols; col++)
            col_idx[count++] = col;
        for (int32_t i = even->row_ptr[row]; row % 7 != 3 && i < even->row_ptr[row + 1];
             i += 1 + (int32_t)(row % 3))
            col_idx[count++] = even->col_idx[i];
        row_ptr[row + 1] = count;
    }
    TRI_TRY(tri_pattern_copy(out, even->block_rows, even->block_cols, count, row_ptr, col_idx));
done:
    free(row_ptr);
    free(col_idx);
    return status;
}

static triage_status blocks_of_product(tri_pattern *out, tri_problem *problem) {
    tri_bsr_problem *p = tri_bsr_edit(problem);
    const double density = p->fingerprint.density_e4 / 1e4;
    tri_pattern even = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_pattern_random(&even, p->m / p->block_m, p->k / p->block_k, 1 - density, 5));
    if (p->fingerprint.imbalance_e1 == 20)
        TRI_TRY(uneven_blocks(out, &even));
    else
        *out = even, even = (tri_pattern){0};
    p->nnzb = out->nnzb;
done:
    tri_pattern_free(&even);
    return status;
}

static triage_status random_blocks(tri_pattern *out, tri_problem *problem) {
    tri_sddmm_problem *p = tri_sddmm_edit(problem);
    const double density = p->fingerprint.density_e4 / 1e4;
    triage_status status = tri_pattern_random(out, p->m / p->block_m, p->k / p->block_k, 1 - density, 5);
    p->nnzb = out->nnzb;
    return status;
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
    s.pattern_of = blocks_of_product;
    gate_keys(&s, &o, &tri_op_bsr_gemm, transposed, sizeof transposed / sizeof *transposed);
    gate_close(&s);
    return gate_end("run_products");
}
