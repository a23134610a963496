/* Which problems there are: the ranges of each part. */
#include "op/bsr_sddmm/bsr_sddmm.h"

#include <inttypes.h>

#define SIZE_LIMIT INT64_C(2147483647)
#define PRODUCT_LIMIT (INT64_C(1) << 62)

static triage_status check_range(const char *name, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_INVALID, "%s is %" PRId64 "; allowed %" PRId64 " .. %" PRId64, name, value, low,
                    high);
}

static triage_status check_divides(const char *name, int64_t size, const char *block_name, int64_t block) {
    if (size % block == 0)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_INVALID, "%s is %" PRId64 "; allowed multiples of %s, %" PRId64, name, size,
                    block_name, block);
}

triage_status tri_sddmm_check_identity(const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    triage_status status;
    TRI_TRY(check_range("in_type", (int64_t)p->in_type, TRIAGE_F32, TRIAGE_BF16));
    TRI_TRY(check_range("out_type", (int64_t)p->out_type, TRIAGE_F32, TRIAGE_BF16));
    TRI_TRY(check_range("y_layout", (int64_t)p->y_layout, TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR));
    TRI_TRY(check_range("x_layout", (int64_t)p->x_layout, TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR));
    TRI_TRY(check_range("m", p->m, 1, SIZE_LIMIT));
    TRI_TRY(check_range("n", p->n, 1, SIZE_LIMIT));
    TRI_TRY(check_range("k", p->k, 1, SIZE_LIMIT));
    TRI_TRY(check_range("block_m", p->block_m, 1, 1024));
    TRI_TRY(check_range("block_k", p->block_k, 1, 1024));
    TRI_TRY(check_divides("m", p->m, "block_m", p->block_m));
    TRI_TRY(check_divides("k", p->k, "block_k", p->block_k));
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
    TRI_TRY(check_range("ldy", p->ldy, tri_sddmm_packed_ldy(p), (PRODUCT_LIMIT - 1) / y_lines));
    TRI_TRY(check_range("ldx", p->ldx, tri_sddmm_packed_ldx(p), (PRODUCT_LIMIT - 1) / x_lines));
    TRI_TRY(check_range("nnzb", p->nnzb, 1, blocks < SIZE_LIMIT ? blocks : SIZE_LIMIT));
done:
    return status;
}
