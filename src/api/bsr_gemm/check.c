/* What is wrong with a call: one line, the value and its range. */
#include "api/bsr_gemm/bsr_gemm.h"

triage_status tri_bsr_check_dense(const triage_dense *dense, const char *name, tri_bsr_empty_side side) {
    if (!dense)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", name);
    if ((unsigned)dense->dtype > TRIAGE_E4M3)
        return tri_fail(TRIAGE_E_INVALID, "%s.dtype is %d; must be a triage_dtype", name, (int)dense->dtype);
    if (dense->layout != TRIAGE_ROW_MAJOR && dense->layout != TRIAGE_COL_MAJOR)
        return tri_fail(TRIAGE_E_INVALID, "%s.layout is %d; must be a triage_layout", name,
                        (int)dense->layout);
    const int least_rows = side == TRI_BSR_EMPTY_COLS, least_cols = side == TRI_BSR_EMPTY_ROWS;
    if (dense->cols < least_cols || dense->cols > INT32_MAX || dense->rows < least_rows ||
        dense->rows > INT32_MAX)
        return tri_fail(TRIAGE_E_INVALID,
                        "%s is %lld x %lld; must be %d .. 2147483647 rows and %d .. 2147483647 columns", name,
                        (long long)dense->rows, (long long)dense->cols, least_rows, least_cols);
    if (dense->cols > 0 && dense->rows > 0 && !dense->data)
        return tri_fail(TRIAGE_E_INVALID, "%s.data is NULL", name);
    if ((uintptr_t)dense->data % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "%s.data is %p; must be 16-byte aligned", name, dense->data);
    int64_t least = dense->layout == TRIAGE_ROW_MAJOR ? dense->cols : dense->rows;
    if (dense->ld < least || dense->ld > INT32_MAX)
        return tri_fail(TRIAGE_E_INVALID, "%s.ld is %lld; must be %lld .. 2147483647", name,
                        (long long)dense->ld, (long long)least);
    return TRIAGE_OK;
}

static triage_status check_shapes(const triage_bsr_matrix *a, const triage_dense *b, const triage_dense *c,
                                  const tri_bsr_operand_names *names) {
    if (b->rows != a->cols)
        return tri_fail(TRIAGE_E_INVALID, "%s has %lld rows; must be %lld, the columns of %s", names->b,
                        (long long)b->rows, (long long)a->cols, names->a);
    if (c->rows != a->rows)
        return tri_fail(TRIAGE_E_INVALID, "%s has %lld rows; must be %lld, the rows of %s", names->c,
                        (long long)c->rows, (long long)a->rows, names->a);
    if (c->cols != b->cols)
        return tri_fail(TRIAGE_E_INVALID, "%s has %lld columns; must be %lld, the columns of %s", names->c,
                        (long long)c->cols, (long long)b->cols, names->b);
    if (b->dtype != a->dtype)
        return tri_fail(TRIAGE_E_INVALID, "%s is %s; must be %s, the type of %s", names->b,
                        tri_dtype_name(b->dtype), tri_dtype_name(a->dtype), names->a);
    if (c->dtype == TRIAGE_E4M3)
        return tri_fail(TRIAGE_E_INVALID, "%s is e4m3; must be f32, f16 or bf16", names->c);
    return TRIAGE_OK;
}

/* Bytes from the first element to the end of the last. */
static uintptr_t extent(const triage_dense *dense) {
    bool row = dense->layout == TRIAGE_ROW_MAJOR;
    int64_t inner = row ? dense->cols : dense->rows, outer = row ? dense->rows : dense->cols;
    return (uintptr_t)((outer - 1) * dense->ld + inner) * tri_dtype_size(dense->dtype);
}

static triage_status check_overlap(const triage_dense *b, const triage_dense *c,
                                   const tri_bsr_operand_names *names) {
    uintptr_t b_start = (uintptr_t)b->data, c_start = (uintptr_t)c->data;
    if (c->cols > 0 && b_start < c_start + extent(c) && c_start < b_start + extent(b))
        return tri_fail(TRIAGE_E_INVALID, "%s (at %p) and %s (at %p) overlap; must be apart", names->b,
                        b->data, names->c, c->data);
    return TRIAGE_OK;
}

static triage_status check_scales(const triage_epilogue *epilogue, const triage_bsr_matrix *a) {
    if (a->dtype != TRIAGE_E4M3 && (epilogue->scale_a || epilogue->scale_b || epilogue->scale_a_per_block))
        return tri_fail(TRIAGE_E_INVALID, "epilogue has scales with %s matrices; they are for e4m3 only",
                        tri_dtype_name(a->dtype));
    if ((uintptr_t)epilogue->scale_a % sizeof(float) != 0 ||
        (uintptr_t)epilogue->scale_b % sizeof(float) != 0)
        return tri_fail(TRIAGE_E_INVALID, "epilogue.scale_%s is %p; must be 4-byte aligned",
                        (uintptr_t)epilogue->scale_a % sizeof(float) != 0 ? "a" : "b",
                        (uintptr_t)epilogue->scale_a % sizeof(float) != 0 ? (const void *)epilogue->scale_a
                                                                          : (const void *)epilogue->scale_b);
    return TRIAGE_OK;
}

static triage_status check_epilogue(const triage_epilogue *epilogue, const triage_bsr_matrix *a,
                                    const triage_dense *c) {
    if (epilogue->version != TRIAGE_EPILOGUE_VERSION)
        return tri_fail(TRIAGE_E_INVALID, "epilogue.version is %u; must be %u (TRIAGE_EPILOGUE_INIT)",
                        epilogue->version, TRIAGE_EPILOGUE_VERSION);
    if ((unsigned)epilogue->activation > TRIAGE_ACT_SILU)
        return tri_fail(TRIAGE_E_INVALID, "epilogue.activation is %d; must be a triage_activation",
                        (int)epilogue->activation);
    if ((uintptr_t)epilogue->bias % tri_dtype_size(c->dtype) != 0)
        return tri_fail(TRIAGE_E_INVALID, "epilogue.bias is %p; must be aligned to its type, %s",
                        epilogue->bias, tri_dtype_name(c->dtype));
    return check_scales(epilogue, a);
}

triage_status tri_bsr_check_call(const triage_bsr_matrix *a, const tri_bsr_call *call,
                                 const tri_bsr_operand_names *names) {
    triage_status status = TRIAGE_OK;
    const triage_dense *b = call->b, *c = call->c;
    TRI_TRY(tri_bsr_check_dense(b, names->b, TRI_BSR_EMPTY_COLS));
    TRI_TRY(tri_bsr_check_dense(c, names->c, TRI_BSR_EMPTY_COLS));
    TRI_TRY(check_shapes(a, b, c, names));
    TRI_TRY(check_overlap(b, c, names));
    if (call->epilogue)
        TRI_TRY(check_epilogue(call->epilogue, a, c));
done:
    return status;
}
