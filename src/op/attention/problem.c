/* A problem's ranges, costs, and how far two are apart. */
#include "op/attention/attention.h"

#include <inttypes.h>
#include <math.h>

#define SIZE_LIMIT INT64_C(2147483647)

static triage_status check_range(const char *name, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_INVALID, "%s is %" PRId64 "; allowed %" PRId64 " .. %" PRId64, name, value, low,
                    high);
}

const char *tri_attention_band_name(tri_attention_band band) {
    static const char *const names[] = {"full", "causal", "causal-top-left", "window"};
    return (unsigned)band < sizeof names / sizeof names[0] ? names[band] : "?";
}

static triage_status check_types(const tri_attention_problem *p) {
    triage_status status;
    TRI_TRY(check_range("in_type", (int64_t)p->in_type, TRIAGE_F32, TRIAGE_E4M3));
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
    TRI_TRY(check_range("batch", p->batch, 1, SIZE_LIMIT));
    TRI_TRY(check_range("heads of Q", p->heads_q, 1, SIZE_LIMIT / p->batch));
    TRI_TRY(check_range("heads of K and V", p->heads_kv, 1, p->heads_q));
    if (p->heads_q % p->heads_kv != 0)
        TRI_TRY(tri_fail(TRIAGE_E_INVALID,
                         "%" PRId64 " heads of Q; allowed multiples of those of K and V, %" PRId64,
                         p->heads_q, p->heads_kv));
    TRI_TRY(check_range("queries", p->sq, 0, SIZE_LIMIT));
    TRI_TRY(check_range("keys", p->sk, 0, SIZE_LIMIT));
    TRI_TRY(check_range("head dimension of Q and K", p->d, 1, TRI_ATTENTION_D_MAX));
    TRI_TRY(check_range("head dimension of V", p->dv, 1, TRI_ATTENTION_D_MAX));
done:
    return status;
}

static triage_status check_band(const tri_attention_problem *p) {
    triage_status status;
    bool window = p->band == TRI_BAND_WINDOW;
    TRI_TRY(check_range("mask", (int64_t)p->band, TRI_BAND_FULL, TRI_BAND_WINDOW));
    TRI_TRY(check_range("left side of the window", p->left, window ? -1 : 0, window ? SIZE_LIMIT : 0));
    TRI_TRY(check_range("right side of the window", p->right, window ? -1 : 0, window ? SIZE_LIMIT : 0));
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
    TRI_TRY(check_range("heads of the lists", (int64_t)mask->heads, TRI_MASK_ALL_HEADS, TRI_MASK_Q_HEADS));
    TRI_TRY(check_range("rows of lists", tri_attention_mask_rows(p), 0, SIZE_LIMIT - 1));
done:
    return status;
}

static triage_status check_lengths(const tri_attention_problem *p) {
    triage_status status;
    bool cache = p->lengths == TRI_LENGTHS_CACHE;
    TRI_TRY(check_range("kind of lengths", (int64_t)p->lengths, TRI_LENGTHS_DENSE, TRI_LENGTHS_CACHE));
    TRI_TRY(check_range("page size", p->page_size, 0, cache ? SIZE_LIMIT : 0));
    TRI_TRY(check_range("splits", p->splits, 0, TRI_ATTENTION_SPLITS_MAX));
    /* cumulative offsets are 32-bit */
    if (p->lengths == TRI_LENGTHS_OFFSETS) {
        TRI_TRY(check_range("sequences of any length", p->batch, 1, TRI_VARLEN_BATCH_MAX));
        TRI_TRY(check_range("queries of all sequences", p->sq * p->batch, 0, SIZE_LIMIT));
        TRI_TRY(check_range("keys of all sequences", p->sk * p->batch, 0, SIZE_LIMIT));
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

/* ---- cost --------------------------------------------------------------------------------------------- */

double tri_attention_flops(const tri_attention_problem *problem) {
    return 2.0 * (double)problem->pairs * (problem->d + problem->dv);
}

double tri_attention_dense_flops(const tri_attention_problem *problem) {
    double pairs =
        (double)problem->batch * (double)problem->heads_q * (double)problem->sq * (double)problem->sk;
    return 2 * pairs * (problem->d + problem->dv);
}

double tri_attention_bytes(const tri_attention_problem *p) {
    double in = (double)tri_dtype_size(p->in_type), out = (double)tri_dtype_size(p->out_type);
    double queries = (double)p->queries * (double)p->heads_q, keys = (double)p->keys * (double)p->heads_kv;
    double lists =
        p->mask.rows ? (double)tri_attention_mask_rows(p) * (8 + 4.0 * p->mask.fingerprint.density_e4 / 1e4 *
                                                                     (double)tri_attention_mask_cols(p))
                     : 0;
    double pages = p->page_size ? 4 * (double)p->batch * ceil((double)p->sk / p->page_size) : 0;
    double lse = p->lse ? 4 * queries : 0;
    return queries * (p->d * in + p->dv * out) + keys * (p->d + p->dv) * in + lists + pages + lse;
}

/* ---- distance ------------------------------------------------------------------------------------------ */

/* Few queries are for the kernels of a decode step, more for the others: each would be slow at the other's work. */
#define FEW_QUERIES 16 /* as in tuner/spaces/attention/decode.lua */

static bool can_serve(const tri_attention_problem *a, const tri_attention_problem *b) {
    const bool few = a->sq <= FEW_QUERIES;
    return tri_dtype_size(a->in_type) == tri_dtype_size(b->in_type) &&
           tri_dtype_size(a->out_type) == tri_dtype_size(b->out_type) && a->d == b->d && a->dv == b->dv &&
           few == (b->sq <= FEW_QUERIES) && a->mask.rows == b->mask.rows && a->mask.cols == b->mask.cols &&
           (a->lengths == b->lengths ||
            (few && a->lengths != TRI_LENGTHS_OFFSETS && b->lengths != TRI_LENGTHS_OFFSETS));
}

/* Where a family ends, kernels go on: bf16 takes as long as f16; the two ways to align a causal band differ only in where it
 * ends, a window has fewer steps to deal out, and a full mask has them all alike. */
static double kind_squared(const tri_attention_problem *a, const tri_attention_problem *b) {
    const bool causal = a->band != TRI_BAND_FULL && b->band != TRI_BAND_FULL;
    const bool window = a->band == TRI_BAND_WINDOW || b->band == TRI_BAND_WINDOW;
    const double band = a->band == b->band ? 0 : !causal ? 1 : window ? 0.5 : 0.02;
    return band + 0.01 * (a->in_type != b->in_type) + 0.01 * (a->out_type != b->out_type) +
           0.25 * (a->softcap != b->softcap) + 0.25 * (a->lengths != b->lengths) +
           0.25 * (!a->page_size != !b->page_size);
}

/* Doublings from a to b, squared. */
static double octaves_squared(double a, double b) {
    double octaves = log2(a / b);
    return octaves * octaves;
}

/* A size of 0 is as good as 1. */
static double apart_squared(int64_t a, int64_t b) {
    double apart =
        tri_size_coordinate((double)(a > 1 ? a : 1)) - tri_size_coordinate((double)(b > 1 ? b : 1));
    return apart * apart;
}

/* Keys of the window; open sides reach to the end. */
static int64_t width_of(const tri_attention_problem *p) {
    int64_t left = p->left < 0 ? p->sk : p->left, right = p->right < 0 ? p->sk : p->right;
    return left + right + 1 < p->sk ? left + right + 1 : p->sk;
}

static double pattern_squared(const tri_block_mask_kind *a, const tri_block_mask_kind *b) {
    const tri_fingerprint *p = &a->fingerprint, *q = &b->fingerprint;
    const double overlap = (p->overlap_e1 - q->overlap_e1) / 5.0; /* none to all: two octaves */
    return octaves_squared(p->imbalance_e1 + 1.0, q->imbalance_e1 + 1.0) / 4 + overlap * overlap +
           0.01 * (a->heads != b->heads) + 0.01 * (a->per_batch != b->per_batch) +
           0.25 * (a->bits != b->bits);
}

bool tri_attention_distance_squares(double out[TRI_DISTANCE_PARTS], const tri_attention_problem *a,
                                    const tri_attention_problem *b) {
    const tri_fingerprint *p = &a->mask.fingerprint, *q = &b->mask.fingerprint;
    out[0] = apart_squared(a->sq, b->sq) + apart_squared(a->sk, b->sk) + apart_squared(a->d, b->d) +
             apart_squared(a->batch * a->heads_kv, b->batch * b->heads_kv) +
             apart_squared(a->heads_q / a->heads_kv, b->heads_q / b->heads_kv);
    out[1] = octaves_squared(p->density_e4 + 1.0, q->density_e4 + 1.0);
    if (a->band == TRI_BAND_WINDOW && b->band == TRI_BAND_WINDOW)
        out[1] += apart_squared(width_of(a), width_of(b));
    out[2] = pattern_squared(&a->mask, &b->mask);
    out[3] = 0.01 * (a->lse != b->lse) + 0.25 * (a->splits != b->splits) +
             (a->page_size && b->page_size ? apart_squared(a->page_size, b->page_size) / 4 : 0) +
             kind_squared(a, b);
    return can_serve(a, b);
}

/* f16 and bf16 in each other's place. */
static void swap_types(tri_attention_problem *p) {
    static const triage_dtype other[] = {[TRIAGE_F32] = TRIAGE_F32,
                                         [TRIAGE_F16] = TRIAGE_BF16,
                                         [TRIAGE_BF16] = TRIAGE_F16,
                                         [TRIAGE_E4M3] = TRIAGE_E4M3};
    p->in_type = other[p->in_type];
    p->out_type = other[p->out_type];
}

static void set_lengths(tri_attention_problem *p, tri_attention_lengths lengths, int32_t page_size) {
    p->lengths = lengths;
    p->page_size = page_size;
}

/* One thing changed, and that with the other type. A window is no kin to ask for, since it has a width. */
size_t tri_attention_kin(tri_problem out[TRI_KIN_MAX], const tri_problem *of) {
    enum { SAME, FULL, CAUSAL, CAUSAL_TOP_LEFT, SOFTCAP, DENSE, CACHE, PAGED, CHANGES };
    const tri_attention_problem *own = tri_attention(of);
    size_t count = 0;
    for (int change = SAME; change < CHANGES; change++) {
        for (int swap = 0; swap < 2; swap++) {
            tri_attention_problem p = *own;
            if (change >= FULL && change <= CAUSAL_TOP_LEFT) {
                p.band = (tri_attention_band)(TRI_BAND_FULL + change - FULL);
                p.left = p.right = 0;
            }
            p.softcap = change == SOFTCAP ? !p.softcap : p.softcap;
            if (change >= DENSE)
                set_lengths(&p, change == DENSE ? TRI_LENGTHS_DENSE : TRI_LENGTHS_CACHE,
                            change == PAGED ? 16 : 0);
            if (swap)
                swap_types(&p);
            const bool same_family = p.band == own->band && p.softcap == own->softcap &&
                                     p.lengths == own->lengths && !p.page_size == !own->page_size &&
                                     p.in_type == own->in_type && p.out_type == own->out_type;
            if (!same_family && can_serve(own, &p))
                out[count++] = tri_attention_problem_of(&p);
        }
    }
    return count;
}
_Static_assert(TRI_BAND_CAUSAL == TRI_BAND_FULL + 1 && TRI_BAND_CAUSAL_TOP_LEFT == TRI_BAND_FULL + 2,
               "as above");
