/* Which problems there are: the ranges of each part. */
#include "op/bsr_sddmm/bsr_sddmm.h"

#define SIZE_LIMIT INT64_C(2147483647)
#define PRODUCT_LIMIT (INT64_C(1) << 62)

triage_status tri_sddmm_check_identity(const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    triage_status status;
    TRI_TRY(tri_check_range("in_type", (int64_t)p->in_type, TRIAGE_F32, TRIAGE_BF16));
    TRI_TRY(tri_check_range("out_type", (int64_t)p->out_type, TRIAGE_F32, TRIAGE_BF16));
    TRI_TRY(tri_check_range("y_layout", (int64_t)p->y_layout, TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR));
    TRI_TRY(tri_check_range("x_layout", (int64_t)p->x_layout, TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR));
    TRI_TRY(tri_check_range("m", p->m, 1, SIZE_LIMIT));
    TRI_TRY(tri_check_range("n", p->n, 1, SIZE_LIMIT));
    TRI_TRY(tri_check_range("k", p->k, 1, SIZE_LIMIT));
    TRI_TRY(tri_check_range("block_m", p->block_m, 1, 1024));
    TRI_TRY(tri_check_range("block_k", p->block_k, 1, 1024));
    TRI_TRY(tri_check_divides("m", p->m, "block_m", p->block_m));
    TRI_TRY(tri_check_divides("k", p->k, "block_k", p->block_k));
done:
    return status;
}

int64_t tri_sddmm_packed_ldy(const tri_sddmm_problem *p) {
    return p->y_layout == TRIAGE_ROW_MAJOR ? p->n : p->m;
}

int64_t tri_sddmm_packed_ldx(const tri_sddmm_problem *p) {
    return p->x_layout == TRIAGE_ROW_MAJOR ? p->n : p->k;
}

int64_t tri_sddmm_blocks(const tri_sddmm_problem *p) {
    return (p->m / p->block_m) * (p->k / p->block_k);
}

triage_status tri_sddmm_check(const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    triage_status status;
    TRI_TRY(tri_sddmm_check_identity(of));
    const int64_t y_lines = p->y_layout == TRIAGE_ROW_MAJOR ? p->m : p->n;
    const int64_t x_lines = p->x_layout == TRIAGE_ROW_MAJOR ? p->k : p->n;
    const int64_t blocks = tri_sddmm_blocks(p);
    TRI_TRY(tri_check_range("ldy", p->ldy, tri_sddmm_packed_ldy(p), (PRODUCT_LIMIT - 1) / y_lines));
    TRI_TRY(tri_check_range("ldx", p->ldx, tri_sddmm_packed_ldx(p), (PRODUCT_LIMIT - 1) / x_lines));
    TRI_TRY(tri_check_range("nnzb", p->nnzb, 1, blocks < SIZE_LIMIT ? blocks : SIZE_LIMIT));
done:
    return status;
}
