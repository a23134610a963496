/* Which problems there are: the ranges of each part. */
#include "op/attention/attention.h"

#include <inttypes.h>
#include <math.h>

#define SIZE_LIMIT INT64_C(2147483647)

const char *tri_attention_band_name(tri_attention_band band) {
    static const char *const names[] = {"full", "causal", "causal-top-left", "window"};
    return (unsigned)band < sizeof names / sizeof names[0] ? names[band] : "?";
}

static triage_status check_types(const tri_attention_problem *p) {
    triage_status status;
    TRI_TRY(tri_check_range("in_type", (int64_t)p->in_type, TRIAGE_F32, TRIAGE_E4M3));
    if ((unsigned)p->out_type > TRIAGE_BF16)
        TRI_TRY(tri_fail(TRIAGE_E_INVALID, "O of type %s; allowed f32, f16, bf16",
                         (unsigned)p->out_type <= TRIAGE_E4M3 ? tri_dtype_name(p->out_type) : "unknown"));
    if ((p->in_type == TRIAGE_F32) != (p->out_type == TRIAGE_F32))
        TRI_TRY(tri_fail(TRIAGE_E_INVALID,
                         "types %s in, %s out; allowed f32 with f32, f16, bf16 or e4m3 with f16 or bf16",
                         tri_dtype_name(p->in_type), tri_dtype_name(p->out_type)));
done:
    return status;
}

static triage_status check_sizes(const tri_attention_problem *p) {
    triage_status status;
    TRI_TRY(tri_check_range("batch", p->batch, 1, SIZE_LIMIT));
    TRI_TRY(tri_check_range("heads of Q", p->heads_q, 1, SIZE_LIMIT / p->batch));
    TRI_TRY(tri_check_range("heads of K and V", p->heads_kv, 1, p->heads_q));
    if (p->heads_q % p->heads_kv != 0)
        TRI_TRY(tri_fail(TRIAGE_E_INVALID,
                         "%" PRId64 " heads of Q; allowed multiples of those of K and V, %" PRId64,
                         p->heads_q, p->heads_kv));
    TRI_TRY(tri_check_range("queries", p->sq, 0, SIZE_LIMIT));
    TRI_TRY(tri_check_range("keys", p->sk, 0, SIZE_LIMIT));
    TRI_TRY(tri_check_range("head dimension of Q and K", p->d, 1, TRI_ATTENTION_D_MAX));
    TRI_TRY(tri_check_range("head dimension of V", p->dv, 1, TRI_ATTENTION_D_MAX));
done:
    return status;
}

static triage_status check_band(const tri_attention_problem *p) {
    triage_status status;
    bool window = p->band == TRI_BAND_WINDOW;
    TRI_TRY(tri_check_range("mask", (int64_t)p->band, TRI_BAND_FULL, TRI_BAND_WINDOW));
    TRI_TRY(tri_check_range("left side of the window", p->left, window ? -1 : 0, window ? SIZE_LIMIT : 0));
    TRI_TRY(tri_check_range("right side of the window", p->right, window ? -1 : 0, window ? SIZE_LIMIT : 0));
    if (window && p->left < 0 && p->right <= 0) /* one problem, one name */
        TRI_TRY(tri_fail(TRIAGE_E_INVALID, "a window open to the left%s; that is the mask %s",
                         p->right < 0 ? " and to the right" : " that ends with the query itself",
                         p->right < 0 ? "full" : "causal"));
done:
    return status;
}

static bool is_block_size(int32_t size) {
    return size == 16 || size == 32 || size == 64 || size == 128;
}

/* Elements of a tensor, and pairs, are counted in 64 bits. */
static triage_status check_products(const tri_attention_problem *p) {
    double rows = (double)p->batch * (double)p->heads_q * (double)(p->sq > p->sk ? p->sq : p->sk);
    double most = rows * fmax((double)p->sk, TRI_ATTENTION_D_MAX);
    if (most < 0x1p62)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_INVALID, "%.3g pairs of a query and a key; allowed up to 2^62", most);
}

static triage_status check_mask(const tri_attention_problem *p) {
    const tri_block_mask_kind *mask = &p->mask;
    triage_status status = TRIAGE_OK;
    if (mask->rows == 0 && mask->cols == 0)
        return mask->per_batch || mask->bits || mask->heads
                   ? tri_fail(TRIAGE_E_INVALID, "blocks of 0 x 0, but lists of blocks")
                   : TRIAGE_OK;
    if (!is_block_size(mask->rows) || !is_block_size(mask->cols))
        TRI_TRY(tri_fail(TRIAGE_E_INVALID,
                         "mask blocks of %" PRId32 " x %" PRId32 "; allowed 16, 32, 64 and 128 each",
                         mask->rows, mask->cols));
    TRI_TRY(
        tri_check_range("heads of the lists", (int64_t)mask->heads, TRI_MASK_ALL_HEADS, TRI_MASK_Q_HEADS));
    TRI_TRY(tri_check_range("rows of lists", tri_attention_mask_rows(p), 0, SIZE_LIMIT - 1));
done:
    return status;
}

static triage_status check_lengths(const tri_attention_problem *p) {
    triage_status status;
    bool cache = p->lengths == TRI_LENGTHS_CACHE;
    TRI_TRY(tri_check_range("kind of lengths", (int64_t)p->lengths, TRI_LENGTHS_DENSE, TRI_LENGTHS_CACHE));
    TRI_TRY(tri_check_range("page size", p->page_size, 0, cache ? SIZE_LIMIT : 0));
    TRI_TRY(tri_check_range("splits", p->splits, 0, TRI_ATTENTION_SPLITS_MAX));
    /* cumulative offsets are 32-bit */
    if (p->lengths == TRI_LENGTHS_OFFSETS) {
        TRI_TRY(tri_check_range("sequences of any length", p->batch, 1, TRI_VARLEN_BATCH_MAX));
        TRI_TRY(tri_check_range("queries of all sequences", p->sq * p->batch, 0, SIZE_LIMIT));
        TRI_TRY(tri_check_range("keys of all sequences", p->sk * p->batch, 0, SIZE_LIMIT));
    }
done:
    return status;
}

triage_status tri_attention_check(const tri_attention_problem *problem) {
    triage_status status;
    TRI_TRY(check_types(problem));
    TRI_TRY(check_sizes(problem));
    TRI_TRY(check_products(problem));
    TRI_TRY(check_band(problem));
    TRI_TRY(check_mask(problem));
    TRI_TRY(check_lengths(problem));
done:
    return status;
}
