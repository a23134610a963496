/* triage::attention and its relatives: softmax(scale Q K^T + mask) V, forward. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "contexts.h"
#include "kept.h"
#include "operators.h"

/* ---- what is kept: one triage_attention for each description ---- */

typedef struct attention_key {
    const triage_context *context;
    triage_attention_desc desc;
} attention_key;

_Static_assert(sizeof(attention_key) <= KEPT_KEY_BYTES, "a key of this table holds all of a description");

static void free_attention(void *of) {
    triage_attention_free(of);
}

static kept_table attentions = {.free_value = free_attention, .lock = PTHREAD_MUTEX_INITIALIZER};

void drop_attentions(void) {
    kept_drop(&attentions, NULL, NULL);
}

static kept *attention_of(triage_context *context, const triage_attention_desc *desc) {
    attention_key key;
    triage_attention *made = NULL;
    memset(&key, 0, sizeof key);
    key.context = context;
    memcpy(&key.desc, desc, sizeof *desc);
    kept *found = kept_take(&attentions, &key, sizeof key);
    if (found || !succeeded(triage_attention_create(&made, context, desc)))
        return found;
    found = kept_put(&attentions, &key, sizeof key, made);
    if (!found)
        fail("no memory for an attention");
    return found;
}

/* ---- operands ---- */

enum {
    Q,
    K,
    V,
    CU_Q,
    CU_K,
    LEN_K,
    PAGES,
    FULL_COUNT,
    FULL_COLS,
    PARTIAL_COUNT,
    PARTIAL_COLS,
    BITS,
    Q_SCALE,
    K_SCALE,
    V_SCALE,
    OPERANDS
};

typedef struct attention_run {
    call *of;
    operand in[OPERANDS], o, lse;
    triage_attention_desc desc;
    triage_attention_call call;
} attention_run;

static void begin(attention_run *run, call *of) {
    static const triage_attention_desc desc =
        TRIAGE_ATTENTION_DESC_INIT; /* static: its padding is zero, too */
    memset(run, 0, sizeof *run);
    memcpy(&run->desc, &desc, sizeof desc);
    run->call = (triage_attention_call)TRIAGE_ATTENTION_CALL_INIT;
    run->of = of;
    run->in[Q] = of->in[0].tensor, run->in[K] = of->in[1].tensor;
}

static bool as_int32(int32_t *out, const char *name, const argument *in) {
    *out = (int32_t)in->integer;
    return in->integer == *out ||
           fail("%s is %" PRId64 "; must be -2147483648 to 2147483647", name, in->integer);
}

/* (str mask, int left, int right) */
static bool take_mask(triage_attention_desc *desc, const argument *in) {
    static const char *const masks[] = {"full", "causal", "causal_top_left", "window"};
    int mask = 0;
    if (!require_word(&mask, "mask", in[0].text, masks, "full, causal, causal_top_left or window") ||
        !as_int32(&desc->left, "left", &in[1]) || !as_int32(&desc->right, "right", &in[2]))
        return false;
    desc->mask = (triage_mask)mask;
    if (desc->mask != TRIAGE_MASK_WINDOW)
        desc->left = desc->right = 0;
    return true;
}

/* (mask ..., float scale, float softcap, bool lse, q_scale, k_scale, v_scale): what every attention ends with */
static bool take_options(attention_run *run, const argument *in) {
    run->desc.scale = (float)in[3].number;
    run->desc.softcap = (float)in[4].number;
    run->desc.lse = in[5].integer != 0;
    for (int i = 0; i < 3; i++)
        run->in[Q_SCALE + i] = in[6 + i].tensor;
    return take_mask(&run->desc, in);
}

/* ---- checks ---- */

static bool require_rows(const operand *of) {
    return of->strides[of->dim - 1] == 1 || of->sizes[of->dim - 1] <= 1 ||
           fail("%s has the stride %" PRId64 " in its last dimension; must be 1", of->name,
                of->strides[of->dim - 1]);
}

/* dim 4: [batch or pages][head][row][d]; 3: [row][head][d]. */
static bool check_qk(attention_run *run, int64_t dim) {
    const operand *q = &run->in[Q], *k = &run->in[K];
    const int64_t head = 1, d = dim - 1;
    for (int i = Q; i <= K; i++)
        if (!require_dim(&run->in[i], dim, dim) || !require_device(&run->in[i], q) ||
            !require_rows(&run->in[i]))
            return false;
    if (!operand_dtype(&run->desc.in_type, q) || !require_type(k, q->type, ", the type of q") ||
        !require_size(k, d, q->sizes[d], "the head dimension of q"))
        return false;
    if (k->sizes[head] < 1 || q->sizes[head] % k->sizes[head] != 0)
        return fail("k has %" PRId64 " heads; must divide %" PRId64 ", the heads of q", k->sizes[head],
                    q->sizes[head]);
    run->desc.out_type = run->desc.in_type == TRIAGE_E4M3 ? TRIAGE_BF16 : run->desc.in_type;
    run->desc.heads_q = q->sizes[head], run->desc.heads_kv = k->sizes[head];
    run->desc.head_dim = run->desc.head_dim_v = (int32_t)q->sizes[d];
    return true;
}

static bool check_qkv(attention_run *run, int64_t dim) {
    const operand *q = &run->in[Q], *k = &run->in[K], *v = &run->in[V];
    if (!check_qk(run, dim) || !require_dim(v, dim, dim) || !require_device(v, q) || !require_rows(v) ||
        !require_type(v, q->type, ", the type of q"))
        return false;
    for (int64_t i = 0; i < dim - 1; i++)
        if (!require_size(v, i, k->sizes[i], "as in k"))
            return false;
    run->desc.head_dim_v = (int32_t)v->sizes[dim - 1];
    return true;
}

static bool check_words(const operand *of, const operand *like, int64_t dim) {
    return !of->is_given || (require_dim(of, dim, dim) && require_type(of, torch.int32(), "") &&
                             require_contiguous(of) && require_device(of, like));
}

/* [batch][KV heads], float32, for e4m3. */
static bool check_scales(attention_run *run) {
    const operand *q = &run->in[Q];
    for (int i = Q_SCALE; i <= V_SCALE; i++) {
        const operand *scale = &run->in[i];
        if (!scale->is_given)
            continue;
        if (run->desc.in_type != TRIAGE_E4M3)
            return fail("%s is given and q is %s; scales are for float8_e4m3fn", scale->name,
                        type_name(q->type));
        if (!require_dim(scale, 2, 2) || !require_type(scale, torch.float32(), "") ||
            !require_contiguous(scale) || !require_device(scale, q) ||
            !require_size(scale, 0, run->desc.batch, "the batch") ||
            !require_size(scale, 1, run->desc.heads_kv, "the heads of k"))
            return false;
    }
    run->call.scale_q = run->in[Q_SCALE].data, run->call.scale_k = run->in[K_SCALE].data;
    run->call.scale_v = run->in[V_SCALE].data;
    return true;
}

/* ---- results and the call ---- */

static triage_tensor rows_of(const operand *of) {
    const int64_t *s = of->strides;
    if (!s)
        return (triage_tensor){0}; /* of nothing */
    return of->dim == 4 ? (triage_tensor){of->data, s[0], s[1], s[2]}
                        : (triage_tensor){of->data, 0, s[1], s[0]};
}

/* sizes: of O. Nobody but torch wants an empty one where none is asked. */
static bool make_lse(attention_run *run, const int64_t *sizes) {
    const operand *q = &run->in[Q];
    const int64_t none[] = {0}, one[] = {1};
    if (!run->desc.lse)
        return run->of->is_direct ||
               operand_make(&run->lse, "the log-sum-exp", q, torch.float32(), 1, none, one);
    if (q->dim == 4) {
        const int64_t of[] = {sizes[0], sizes[1], sizes[2]}, by[] = {sizes[1] * sizes[2], sizes[2], 1};
        return operand_make(&run->lse, "the log-sum-exp", q, torch.float32(), 3, of, by);
    }
    const int64_t of[] = {sizes[1], sizes[0]}, by[] = {sizes[0] > 0 ? sizes[0] : 1, 1};
    return operand_make(&run->lse, "the log-sum-exp", q, torch.float32(), 2, of, by);
}

/* O lies as Q does: heads within rows, or rows within heads. */
static bool make_results(attention_run *run) {
    const operand *q = &run->in[Q];
    const int64_t dv = run->desc.head_dim_v;
    int64_t sizes[4], strides[4] = {0}, step = dv;
    bool is_of_rows = q->dim == 4 && q->strides[1] < q->strides[2];
    memcpy(sizes, q->sizes, (size_t)q->dim * sizeof *sizes);
    sizes[q->dim - 1] = dv;
    strides[q->dim - 1] = 1;
    for (int64_t i = q->dim - 1; i-- > 0;) {
        int64_t at = is_of_rows && i > 0 ? 3 - i : i;
        strides[at] = step;
        step *= sizes[at] > 0 ? sizes[at] : 1;
    }
    int32_t type = run->desc.out_type == TRIAGE_BF16 ? torch.bfloat16() : q->type;
    return make_lse(run, sizes) && operand_make(&run->o, "the result", q, type, q->dim, sizes, strides);
}

static bool launch(attention_run *run) {
    const operand *q = &run->in[Q];
    void *stream = NULL;
    run->call.q = rows_of(q), run->call.k = rows_of(&run->in[K]), run->call.v = rows_of(&run->in[V]);
    run->call.o = rows_of(&run->o);
    if (run->desc.lse) {
        const int64_t *s = run->lse.strides;
        run->call.lse = q->dim == 4 ? (triage_tensor){run->lse.data, s[0], s[1], s[2]}
                                    : (triage_tensor){run->lse.data, 0, s[0], s[1]};
    }
    triage_context *context = stream_of(&stream, q) ? context_of(q) : NULL;
    kept *of = context ? attention_of(context, &run->desc) : NULL;
    if (!of)
        return false;
    bool done = succeeded(triage_attention_run(of->value, &run->call, stream));
    kept_give_back(&attentions, of);
    return done;
}

/* The two that were made become the call's results, or go. */
static bool give(attention_run *run, bool done) {
    if (!done) {
        operand_release(&run->o);
        operand_release(&run->lse);
    }
    run->of->results[0] = run->o.handle;
    run->of->results[1] = run->lse.handle;
    return done;
}

static bool finish_run(attention_run *run) {
    return give(run, check_scales(run) && make_results(run) && (operand_count(&run->o) == 0 || launch(run)));
}

/* ---- the operators ---- */

static bool size_dense(attention_run *run) {
    const operand *q = &run->in[Q], *k = &run->in[K];
    run->desc.batch = q->sizes[0];
    run->desc.max_q = q->sizes[2], run->desc.max_k = k->sizes[2];
    return require_size(k, 0, q->sizes[0], "the batch of q");
}

static bool check_dense(attention_run *run) {
    return check_qkv(run, 4) && size_dense(run);
}

/* (q, k, v, mask ...) */
bool op_attention(call *of) {
    attention_run run;
    begin(&run, of);
    run.in[V] = of->in[2].tensor;
    return take_options(&run, of->in + 3) && check_dense(&run) && finish_run(&run);
}

static bool check_varlen(attention_run *run, int64_t max_q, int64_t max_k) {
    const operand *q = &run->in[Q], *k = &run->in[K], *cu_q = &run->in[CU_Q], *cu_k = &run->in[CU_K];
    if (!check_qkv(run, 3) || !check_words(cu_q, q, 1) || !check_words(cu_k, q, 1))
        return false;
    if (cu_q->sizes[0] < 2)
        return fail("cu_q has %" PRId64 " numbers; must have one more than there are sequences",
                    cu_q->sizes[0]);
    run->desc.lengths = TRIAGE_LENGTHS_OFFSETS;
    run->desc.batch = cu_q->sizes[0] - 1;
    run->desc.max_q = max_q, run->desc.max_k = max_k;
    run->call.cu_q = cu_q->data, run->call.cu_k = cu_k->data;
    run->call.rows_q = q->sizes[0], run->call.rows_k = k->sizes[0];
    return require_size(cu_k, 0, cu_q->sizes[0], "as in cu_q");
}

/* (q, k, v, cu_q, cu_k, max_q, max_k, mask ...) */
bool op_attention_varlen(call *of) {
    attention_run run;
    begin(&run, of);
    run.in[V] = of->in[2].tensor;
    run.in[CU_Q] = of->in[3].tensor, run.in[CU_K] = of->in[4].tensor;
    return take_options(&run, of->in + 7) && check_varlen(&run, of->in[5].integer, of->in[6].integer) &&
           finish_run(&run);
}

static bool check_cache(attention_run *run) {
    const operand *q = &run->in[Q], *k = &run->in[K], *len = &run->in[LEN_K], *pages = &run->in[PAGES];
    if (!check_qkv(run, 4) || !check_words(len, q, 1) || !check_words(pages, q, 2) ||
        !require_size(len, 0, q->sizes[0], "the batch of q") ||
        !require_size(pages, 0, q->sizes[0], "the batch of q"))
        return false;
    run->desc.lengths = TRIAGE_LENGTHS_CACHE;
    run->desc.batch = q->sizes[0];
    run->desc.max_q = q->sizes[2], run->desc.max_k = k->sizes[2];
    run->call.len_k = len->data;
    if (!pages->is_given)
        return require_size(k, 0, q->sizes[0], "the batch of q");
    run->desc.page_size = (int32_t)k->sizes[2];
    run->desc.max_k = pages->sizes[1] * k->sizes[2];
    run->call.page_table = pages->data;
    run->call.page_stride = pages->sizes[1];
    run->call.pages = k->sizes[0];
    return true;
}

/* (q, k, v, len_k, pages, splits, mask ...) */
bool op_attention_kvcache(call *of) {
    attention_run run;
    begin(&run, of);
    run.in[V] = of->in[2].tensor;
    run.in[LEN_K] = of->in[3].tensor, run.in[PAGES] = of->in[4].tensor;
    return take_options(&run, of->in + 6) && as_int32(&run.desc.splits, "splits", &of->in[5]) &&
           check_cache(&run) && finish_run(&run);
}

static bool check_block(const attention_run *run) {
    return (run->desc.mask_rows > 0 && run->desc.mask_cols > 0) ||
           fail("the block is %d x %d; must be 16, 32, 64 or 128 each", run->desc.mask_rows,
                run->desc.mask_cols);
}

/* [batch or 1][q heads, KV heads or 1][blocks of queries](, [capacity]) */
static bool check_list(triage_device_lists *out, attention_run *run, int count_at) {
    const operand *count = &run->in[count_at], *cols = &run->in[count_at + 1], *q = &run->in[Q];
    if (!count->is_given && !cols->is_given)
        return true;
    if (!count->is_given || !cols->is_given)
        return fail("%s is given without %s; must be both or none",
                    count->is_given ? count->name : cols->name, count->is_given ? cols->name : count->name);
    if (!check_words(count, q, 3) || !check_words(cols, q, 4))
        return false;
    for (int64_t i = 0; i < 3; i++)
        if (!require_size(cols, i, count->sizes[i], count->name))
            return false;
    const int64_t batch = count->sizes[0], heads = count->sizes[1];
    if (batch != 1 && !require_size(count, 0, run->desc.batch, "the batch of q, or 1"))
        return false;
    if (heads != 1 && heads != run->desc.heads_kv &&
        !require_size(count, 1, run->desc.heads_q, "the heads of q or k, or 1"))
        return false;
    int64_t blocks = (run->desc.max_q + run->desc.mask_rows - 1) / run->desc.mask_rows;
    run->desc.lists_per_sequence = batch > 1;
    run->desc.lists = heads == 1                   ? TRIAGE_LISTS_ALL
                      : heads == run->desc.heads_q ? TRIAGE_LISTS_Q_HEADS
                                                   : TRIAGE_LISTS_KV_HEADS;
    *out = (triage_device_lists){count->data, cols->data, cols->sizes[3]};
    return require_size(count, 2, blocks, "the blocks of queries");
}

static bool check_sparse(attention_run *run) {
    const operand *bits = &run->in[BITS], *full = &run->in[FULL_COUNT], *partial = &run->in[PARTIAL_COUNT];
    if (!check_dense(run) || !check_block(run))
        return false;
    if (!full->is_given && !partial->is_given)
        return fail("full_count and partial_count are not given; must be one at least");
    if (!check_list(&run->call.full, run, FULL_COUNT) || !check_list(&run->call.partial, run, PARTIAL_COUNT))
        return false;
    if (full->is_given && partial->is_given)
        for (int64_t i = 0; i < 2; i++)
            if (!require_size(partial, i, full->sizes[i], "as in full_count"))
                return false;
    if (bits->is_given && !check_words(bits, &run->in[Q], 6))
        return false;
    if (bits->is_given && operand_count(bits) != operand_count(&run->in[PARTIAL_COLS]) * run->desc.mask_rows *
                                                     ((run->desc.mask_cols + 31) / 32))
        return fail("partial_bits has %" PRId64
                    " words; must have %d rows of %d for each place of partial_cols",
                    operand_count(bits), run->desc.mask_rows, (run->desc.mask_cols + 31) / 32);
    run->call.partial_bits = bits->data;
    run->desc.lists_memory = TRIAGE_MEMORY_DEVICE;
    return true;
}

/* (q, k, v, full_count, full_cols, partial_count, partial_cols, partial_bits, block_q, block_k, density, mask ...) */
bool op_sparse_attention(call *of) {
    attention_run run;
    begin(&run, of);
    run.in[V] = of->in[2].tensor;
    for (int i = 0; i < 5; i++)
        run.in[FULL_COUNT + i] = of->in[3 + i].tensor;
    run.desc.density = of->in[10].number;
    return take_options(&run, of->in + 11) && as_int32(&run.desc.mask_rows, "block_q", &of->in[8]) &&
           as_int32(&run.desc.mask_cols, "block_k", &of->in[9]) && check_sparse(&run) && finish_run(&run);
}

/* ---- the best blocks ---- */

/* count [batch, heads, blocks of queries] and cols [.., top] take the places of O and LSE. */
static bool make_selection(attention_run *run, int64_t top) {
    const triage_attention_desc *d = &run->desc;
    const int64_t heads = d->lists == TRIAGE_LISTS_Q_HEADS ? d->heads_q : d->heads_kv;
    const int64_t rows = (d->max_q + d->mask_rows - 1) / d->mask_rows;
    const int64_t sizes[] = {d->batch, heads, rows, top};
    const int64_t count[] = {heads * rows, rows, 1}, cols[] = {heads * rows * top, rows * top, top, 1};
    return operand_make(&run->o, "the counts", &run->in[Q], torch.int32(), 3, sizes, count) &&
           operand_make(&run->lse, "the lists", &run->in[Q], torch.int32(), 4, sizes, cols);
}

static bool select_blocks(attention_run *run, const triage_attention *of, triage_selection *selection,
                          void *stream) {
    operand workspace = {0};
    size_t bytes = 0;
    if (!succeeded(triage_attention_select_bytes(&bytes, of)))
        return false;
    const int64_t words[] = {(int64_t)((bytes + 3) / 4)}, one[] = {1};
    if (!operand_make(&workspace, "the workspace", &run->in[Q], torch.int32(), 1, words, one))
        return false;
    selection->workspace = workspace.data;
    bool done = succeeded(triage_attention_select(of, &run->call, selection, stream));
    operand_release(&workspace); /* torch reuses it behind what this stream runs */
    return done;
}

static bool launch_selection(attention_run *run, int32_t top) {
    triage_selection selection = TRIAGE_SELECTION_INIT;
    void *stream = NULL;
    selection.top = top, selection.capacity = top;
    selection.count = run->o.data, selection.cols = run->lse.data;
    run->call.q = rows_of(&run->in[Q]), run->call.k = rows_of(&run->in[K]);
    triage_context *context = stream_of(&stream, &run->in[Q]) ? context_of(&run->in[Q]) : NULL;
    kept *of = context ? attention_of(context, &run->desc) : NULL;
    if (!of)
        return false;
    bool done = select_blocks(run, of->value, &selection, stream);
    kept_give_back(&attentions, of);
    return done;
}

static bool run_selection(attention_run *run, int32_t top) {
    const int64_t blocks =
        check_block(run) ? (run->in[K].sizes[2] + run->desc.mask_cols - 1) / run->desc.mask_cols : 0;
    if (blocks == 0)
        return fail("k has no rows; must have a block of keys at least");
    if (top < 1 || top > blocks)
        return fail("top is %d; must be 1 to %" PRId64 ", the blocks of keys", top, blocks);
    run->desc.lists_memory = TRIAGE_MEMORY_DEVICE;
    run->desc.lists_per_sequence = 1;
    run->desc.density = (double)top / (double)blocks;
    return make_selection(run, top) && (operand_count(&run->o) == 0 || launch_selection(run, top));
}

/* (q, k, block_q, block_k, top, per_kv_head, mask, left, right) -> (count, cols) */
bool op_select_blocks(call *of) {
    const argument *in = of->in;
    attention_run run;
    int32_t top = 0;
    begin(&run, of);
    run.desc.lists = in[5].integer ? TRIAGE_LISTS_KV_HEADS : TRIAGE_LISTS_Q_HEADS;
    return take_mask(&run.desc, in + 6) && as_int32(&run.desc.mask_rows, "block_q", &in[2]) &&
           as_int32(&run.desc.mask_cols, "block_k", &in[3]) && as_int32(&top, "top", &in[4]) &&
           check_qk(&run, 4) && size_dense(&run) && give(&run, run_selection(&run, top));
}
