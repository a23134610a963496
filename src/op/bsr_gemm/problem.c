/* Which problems there are: the ranges of each part. */
#include "op/bsr_gemm/bsr_gemm.h"

#define SIZE_LIMIT INT64_C(2147483647)
#define PRODUCT_LIMIT (INT64_C(1) << 62)

static triage_status check_types(const tri_bsr_problem *problem) {
    triage_status status;
    TRI_TRY(tri_check_range("in_type", (int64_t)problem->in_type, TRIAGE_F32, TRIAGE_E4M3));
    TRI_TRY(tri_check_range("out_type", (int64_t)problem->out_type, TRIAGE_F32, TRIAGE_BF16));
    TRI_TRY(tri_check_range("b_layout", (int64_t)problem->b_layout, TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR));
    TRI_TRY(tri_check_range("c_layout", (int64_t)problem->c_layout, TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR));
    TRI_TRY(tri_check_range("activation", (int64_t)problem->activation, TRIAGE_ACT_NONE, TRIAGE_ACT_SILU));
    TRI_TRY(tri_check_range("a_transposed of such a type", problem->a_transposed, 0,
                            problem->in_type != TRIAGE_E4M3));
    TRI_TRY(tri_check_range("scale_per_block", problem->scale_per_block, 0, problem->in_type == TRIAGE_E4M3));
done:
    return status;
}

triage_status tri_bsr_check_identity(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    triage_status status;
    TRI_TRY(check_types(problem));
    TRI_TRY(tri_check_range("m", problem->m, 1, SIZE_LIMIT));
    TRI_TRY(tri_check_range("n", problem->n, 1, SIZE_LIMIT));
    TRI_TRY(tri_check_range("k", problem->k, 1, SIZE_LIMIT));
    TRI_TRY(tri_check_range("block_m", problem->block_m, 1, 1024));
    TRI_TRY(tri_check_range("block_k", problem->block_k, 1, 1024));
    TRI_TRY(tri_check_divides("m", problem->m, "block_m", problem->block_m));
    TRI_TRY(tri_check_divides("k", problem->k, "block_k", problem->block_k));
done:
    return status;
}

int64_t tri_bsr_packed_ldb(const tri_bsr_problem *problem) {
    return problem->b_layout == TRIAGE_ROW_MAJOR ? problem->n : problem->k;
}

int64_t tri_bsr_packed_ldc(const tri_bsr_problem *problem) {
    return problem->c_layout == TRIAGE_ROW_MAJOR ? problem->n : problem->m;
}

int64_t tri_bsr_blocks(const tri_bsr_problem *problem) {
    return (problem->m / problem->block_m) * (problem->k / problem->block_k);
}

/* m, n and k are below 2^31, so their products are below 2^62 by themselves; those with a leading
 * dimension need their own limit. */
triage_status tri_bsr_check(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    triage_status status;
    TRI_TRY(tri_bsr_check_identity(of));
    int64_t b_lines = problem->b_layout == TRIAGE_ROW_MAJOR ? problem->k : problem->n;
    int64_t c_lines = problem->c_layout == TRIAGE_ROW_MAJOR ? problem->m : problem->n;
    int64_t blocks = tri_bsr_blocks(problem);
    TRI_TRY(tri_check_range("ldb", problem->ldb, tri_bsr_packed_ldb(problem), (PRODUCT_LIMIT - 1) / b_lines));
    TRI_TRY(tri_check_range("ldc", problem->ldc, tri_bsr_packed_ldc(problem), (PRODUCT_LIMIT - 1) / c_lines));
    TRI_TRY(tri_check_range("nnzb", problem->nnzb, 0, blocks < SIZE_LIMIT ? blocks : SIZE_LIMIT));
    TRI_TRY(tri_check_range("elements of A's blocks",
                            problem->nnzb * ((int64_t)problem->block_m * problem->block_k), 0,
                            PRODUCT_LIMIT - 1));
done:
    return status;
}

size_t tri_bsr_scales(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    return problem->scale_per_block && problem->nnzb > 0 ? (size_t)problem->nnzb : 1;
}
