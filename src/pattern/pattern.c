/* Patterns from a seed or from a caller's arrays. */
#include "pattern/pattern.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_LIMIT INT64_C(2147483647)

triage_status tri_pattern_transpose(tri_pattern *out, const tri_pattern *from) {
    tri_pattern made = {.block_rows = from->block_cols, .block_cols = from->block_rows, .nnzb = from->nnzb};
    triage_status status = TRIAGE_OK;
    int32_t *next = NULL; /* [block_cols of from]: where its next block goes */
    TRI_TRY(tri_calloc(&made.row_ptr, (size_t)from->block_cols + 1, sizeof *made.row_ptr));
    TRI_TRY(tri_calloc(&made.col_idx, from->nnzb > 0 ? (size_t)from->nnzb : 1, sizeof *made.col_idx));
    TRI_TRY(tri_calloc(&next, (size_t)from->block_cols, sizeof *next));
    for (int64_t i = 0; i < from->nnzb; i++)
        made.row_ptr[from->col_idx[i] + 1]++;
    for (int64_t row = 0; row < made.block_rows; row++) {
        next[row] = made.row_ptr[row];
        made.row_ptr[row + 1] += made.row_ptr[row];
    }
    for (int64_t row = 0; row < from->block_rows; row++)
        for (int32_t i = from->row_ptr[row]; i < from->row_ptr[row + 1]; i++)
            made.col_idx[next[from->col_idx[i]]++] = (int32_t)row;
    *out = made;
    made = (tri_pattern){0};
done:
    free(next);
    tri_pattern_free(&made);
    return status;
}

void tri_pattern_free(tri_pattern *pattern) {
    if (!pattern)
        return;
    free(pattern->row_ptr);
    free(pattern->col_idx);
    *pattern = (tri_pattern){0};
}

static triage_status check_sizes(int64_t block_rows, int64_t block_cols, int64_t nnzb) {
    if (block_rows < 1 || block_rows > INDEX_LIMIT - 1 || block_cols < 1 || block_cols > INDEX_LIMIT)
        return tri_fail(TRIAGE_E_DATA,
                        "a pattern of %" PRId64 " x %" PRId64 " blocks; allowed 1 .. %" PRId64
                        " rows and 1 .. %" PRId64 " columns",
                        block_rows, block_cols, INDEX_LIMIT - 1, INDEX_LIMIT);
    int64_t most = block_rows * block_cols < INDEX_LIMIT ? block_rows * block_cols : INDEX_LIMIT;
    if (nnzb < 0 || nnzb > most)
        return tri_fail(TRIAGE_E_DATA, "a pattern of %" PRId64 " stored blocks; allowed 0 .. %" PRId64, nnzb,
                        most);
    return TRIAGE_OK;
}

static triage_status allocate(tri_pattern *out, int64_t block_rows, int64_t block_cols, int64_t nnzb) {
    *out = (tri_pattern){.block_rows = block_rows, .block_cols = block_cols, .nnzb = nnzb};
    triage_status status = tri_calloc(&out->row_ptr, (size_t)block_rows + 1, sizeof *out->row_ptr);
    if (status == TRIAGE_OK)
        status = tri_calloc(&out->col_idx, (size_t)nnzb, sizeof *out->col_idx);
    return status;
}

/* Row i gets nnzb (i + 1) / rows - nnzb i / rows: the same count everywhere, give or take one. */
static void spread_evenly(tri_pattern *pattern) {
    for (int64_t row = 0; row <= pattern->block_rows; row++)
        pattern->row_ptr[row] = (int32_t)(pattern->nnzb * row / pattern->block_rows);
}

/* Draws `count` of the columns without repetition (the head of a Fisher-Yates shuffle; any order of deck is
 * as good a start as another) and writes them in ascending order by way of a bit set. */
static void draw_row(int32_t *out, int64_t count, int32_t *deck, uint64_t *bits, int64_t cols,
                     tri_random *random) {
    for (int64_t i = 0; i < count; i++) {
        int64_t j = i + (int64_t)tri_random_below(random, (uint64_t)(cols - i));
        int32_t drawn = deck[j];
        deck[j] = deck[i];
        deck[i] = drawn;
        bits[drawn / 64] |= UINT64_C(1) << (drawn % 64);
    }
    for (int64_t word = 0, made = 0; made < count; word++) {
        for (; bits[word]; bits[word] &= bits[word] - 1)
            out[made++] = (int32_t)(word * 64 + __builtin_ctzll(bits[word]));
    }
}

triage_status tri_pattern_random(tri_pattern *out, int64_t block_rows, int64_t block_cols, double sparsity,
                                 uint64_t seed) {
    triage_status status;
    int32_t *deck = NULL;
    uint64_t *bits = NULL;
    tri_random random;
    *out = (tri_pattern){0};
    if (!(sparsity >= 0 && sparsity <= 1))
        return tri_fail(TRIAGE_E_INVALID, "sparsity is %g; allowed 0 .. 1", sparsity);
    TRI_TRY(check_sizes(block_rows, block_cols, 0));
    double nnzb = round((1 - sparsity) * ((double)block_rows * (double)block_cols));
    TRI_TRY(check_sizes(block_rows, block_cols, nnzb < 0x1p62 ? (int64_t)nnzb : INT64_MAX));
    TRI_TRY(allocate(out, block_rows, block_cols, (int64_t)nnzb));
    TRI_TRY(tri_calloc(&deck, (size_t)block_cols, sizeof *deck));
    TRI_TRY(tri_calloc(&bits, (size_t)block_cols / 64 + 1, sizeof *bits));
    for (int64_t i = 0; i < block_cols; i++)
        deck[i] = (int32_t)i;
    spread_evenly(out);
    tri_random_seed(&random, seed);
    for (int64_t row = 0; row < block_rows; row++)
        draw_row(out->col_idx + out->row_ptr[row], out->row_ptr[row + 1] - out->row_ptr[row], deck, bits,
                 block_cols, &random);
done:
    free(deck);
    free(bits);
    if (status != TRIAGE_OK)
        tri_pattern_free(out);
    return status == TRIAGE_E_DATA ? TRIAGE_E_INVALID : status; /* arguments, not a file */
}

static triage_status check_row_ptr(int64_t block_rows, int64_t nnzb, const int32_t *row_ptr) {
    if (row_ptr[0] != 0)
        return tri_fail(TRIAGE_E_DATA, "row_ptr[0] is %" PRId32 "; it must be 0", row_ptr[0]);
    for (int64_t row = 0; row < block_rows; row++)
        if (row_ptr[row + 1] < row_ptr[row] || row_ptr[row + 1] > nnzb)
            return tri_fail(TRIAGE_E_DATA,
                            "row_ptr[%" PRId64 "] is %" PRId32 "; allowed %" PRId32 " .. %" PRId64, row + 1,
                            row_ptr[row + 1], row_ptr[row], nnzb);
    if (row_ptr[block_rows] != nnzb)
        return tri_fail(TRIAGE_E_DATA, "row_ptr[%" PRId64 "] is %" PRId32 "; it must be nnzb, %" PRId64,
                        block_rows, row_ptr[block_rows], nnzb);
    return TRIAGE_OK;
}

static triage_status check_col_idx(const tri_pattern *pattern) {
    for (int64_t row = 0; row < pattern->block_rows; row++) {
        int64_t last = -1;
        for (int32_t i = pattern->row_ptr[row]; i < pattern->row_ptr[row + 1]; i++) {
            int64_t col = pattern->col_idx[i];
            if (col < 0 || col >= pattern->block_cols)
                return tri_fail(TRIAGE_E_DATA,
                                "block row %" PRId64 ": col_idx[%" PRId32 "] is %" PRId64
                                "; allowed 0 .. %" PRId64,
                                row, i, col, pattern->block_cols - 1);
            if (col <= last)
                return tri_fail(TRIAGE_E_DATA,
                                "block row %" PRId64 ": col_idx[%" PRId32 "] is %" PRId64 " after %" PRId64
                                "; columns must ascend without repetition",
                                row, i, col, last);
            last = col;
        }
    }
    return TRIAGE_OK;
}

triage_status tri_pattern_copy(tri_pattern *out, int64_t block_rows, int64_t block_cols, int64_t nnzb,
                               const int32_t *row_ptr, const int32_t *col_idx) {
    triage_status status;
    *out = (tri_pattern){0};
    TRI_TRY(check_sizes(block_rows, block_cols, nnzb));
    TRI_TRY(check_row_ptr(block_rows, nnzb, row_ptr));
    TRI_TRY(allocate(out, block_rows, block_cols, nnzb));
    memcpy(out->row_ptr, row_ptr, ((size_t)block_rows + 1) * sizeof *row_ptr);
    if (nnzb)
        memcpy(out->col_idx, col_idx, (size_t)nnzb * sizeof *col_idx);
    TRI_TRY(check_col_idx(out));
done:
    if (status != TRIAGE_OK)
        tri_pattern_free(out);
    return status;
}
