/* What a bench of attention draws and runs, and the rows that it compares with float64. Bounds: bounds.c. */
#include "op/attention/attention.h"
#include "attention/mask.h"

#include <math.h>
#include <string.h>

/* ---- inputs ---- */

_Static_assert(TRI_ATTENTION_INPUTS <= TRI_INPUTS_MAX, "more inputs than there is room for");

/* An array of tri_attention_inputs becomes the bench's; NULL: it is absent. */
static void give(tri_inputs *to, size_t index, void *array_pointer, size_t count, size_t size) {
    void **array = (void **)array_pointer;
    if (*array)
        to->at[index] = (tri_input){.data = *array, .bytes = count * size};
    *array = NULL;
}

static void give_lists(tri_inputs *to, tri_attention_inputs *in, const tri_attention_problem *p,
                       const tri_pattern *mask) {
    size_t rows = (size_t)mask->block_rows + 1, entries = (size_t)in->partial_ptr[mask->block_rows];
    size_t words = (size_t)p->mask.rows * (size_t)((p->mask.cols + 31) / 32);
    give(to, TRI_ATTENTION_FULL_COLS, &in->full_cols, (size_t)in->full_ptr[mask->block_rows],
         sizeof(int32_t));
    give(to, TRI_ATTENTION_FULL_PTR, &in->full_ptr, rows, sizeof(int32_t));
    if (!p->mask.bits)
        return;
    give(to, TRI_ATTENTION_PARTIAL_PTR, &in->partial_ptr, rows, sizeof(int32_t));
    give(to, TRI_ATTENTION_PARTIAL_COLS, &in->partial_cols, entries, sizeof(int32_t));
    give(to, TRI_ATTENTION_BITS, &in->bits, entries * words, sizeof(uint32_t));
}

static void give_all(tri_inputs *to, tri_attention_inputs *in, const tri_attention_problem *p,
                     const tri_pattern *mask) {
    size_t batch = (size_t)p->batch, scales = (size_t)(p->batch * p->heads_kv);
    give(to, TRI_ATTENTION_Q, &in->q, in->q_bytes, 1);
    give(to, TRI_ATTENTION_K, &in->k, in->k_bytes, 1);
    give(to, TRI_ATTENTION_V, &in->v, in->v_bytes, 1);
    give(to, TRI_ATTENTION_SCALE_Q, &in->scale_q, scales, sizeof(float));
    give(to, TRI_ATTENTION_SCALE_K, &in->scale_k, scales, sizeof(float));
    give(to, TRI_ATTENTION_SCALE_V, &in->scale_v, scales, sizeof(float));
    give(to, TRI_ATTENTION_CU_Q, &in->cu_q, batch + 1, sizeof(int32_t));
    give(to, TRI_ATTENTION_CU_K, &in->cu_k, batch + 1, sizeof(int32_t));
    give(to, TRI_ATTENTION_LEN_K, &in->len_k, batch, sizeof(int32_t));
    give(to, TRI_ATTENTION_PAGES, &in->page_table, batch * (size_t)in->args.page_stride, sizeof(int32_t));
    if (p->mask.rows)
        give_lists(to, in, p, mask);
}

/* A later case has other lengths, and garbage in its page table from there on. */
static triage_status draw_lengths(tri_inputs *out, const tri_attention_problem *p, uint64_t seed,
                                  size_t which) {
    size_t batch = (size_t)p->batch, pages;
    int32_t *lengths = NULL, *table = NULL;
    tri_attention_inputs in;
    triage_status status;
    TRI_TRY(tri_attention_inputs_lengths(&in, p, seed));
    pages = batch * (size_t)in.args.page_stride;
    TRI_TRY(tri_inputs_add(&lengths, out, TRI_ATTENTION_LEN_K, batch, sizeof *lengths));
    memcpy(lengths, in.len_k + which * batch, batch * sizeof *lengths);
    if (in.page_table) {
        TRI_TRY(tri_inputs_add(&table, out, TRI_ATTENTION_PAGES, pages, sizeof *table));
        memcpy(table, in.page_table + which * pages, pages * sizeof *table);
    }
done:
    tri_attention_inputs_free(&in);
    return status;
}

triage_status tri_attention_draw(tri_inputs *out, const tri_problem *of, const tri_pattern *mask,
                                 uint64_t seed, size_t case_index) {
    const tri_attention_problem *p = tri_attention(of);
    tri_attention_inputs in;
    if (p->pairs == 0)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "no query sees a key: there is nothing to measure");
    if (case_index > 0)
        return draw_lengths(out, p, seed, case_index);
    triage_status status = tri_attention_inputs_draw(&in, p, mask, seed);
    if (status == TRIAGE_OK)
        give_all(out, &in, p, mask);
    tri_attention_inputs_free(&in);
    return status;
}

size_t tri_attention_case_count(const tri_problem *problem) {
    return (size_t)tri_attention_cases(tri_attention(problem));
}

void tri_attention_case_text(char *out, size_t size, const tri_problem *problem, size_t case_index) {
    (void)problem;
    snprintf(out, size, "%s", case_index == 0 ? "as it is timed" : "sequences of all lengths");
}

/* ---- arguments ---- */

static const void *at(const tri_inputs *inputs, size_t index, bool on_device) {
    const tri_input *input = &inputs->at[index];
    return on_device ? (const void *)(uintptr_t)input->address : input->data;
}

/* The block with the addresses of one side; without results. */
static void bind(tri_attention_args *out, const tri_attention_problem *p, const tri_inputs *inputs,
                 bool on_device) {
    tri_attention_layout(out, p);
    out->q = at(inputs, TRI_ATTENTION_Q, on_device);
    out->k = at(inputs, TRI_ATTENTION_K, on_device);
    out->v = at(inputs, TRI_ATTENTION_V, on_device);
    out->scale_q = at(inputs, TRI_ATTENTION_SCALE_Q, on_device);
    out->scale_k = at(inputs, TRI_ATTENTION_SCALE_K, on_device);
    out->scale_v = at(inputs, TRI_ATTENTION_SCALE_V, on_device);
    out->cu_q = at(inputs, TRI_ATTENTION_CU_Q, on_device);
    out->cu_k = at(inputs, TRI_ATTENTION_CU_K, on_device);
    out->len_k = at(inputs, TRI_ATTENTION_LEN_K, on_device);
    out->page_table = at(inputs, TRI_ATTENTION_PAGES, on_device);
    out->full.ptr = at(inputs, TRI_ATTENTION_FULL_PTR, on_device);
    out->full.cols = at(inputs, TRI_ATTENTION_FULL_COLS, on_device);
    out->partial.ptr = at(inputs, TRI_ATTENTION_PARTIAL_PTR, on_device);
    out->partial.cols = at(inputs, TRI_ATTENTION_PARTIAL_COLS, on_device);
    out->partial_bits = at(inputs, TRI_ATTENTION_BITS, on_device);
}

/* Dims (d, row, head, batch); pages: (d, row of a page, head, page); offsets: without the last. A size of 1 is never
 * stepped over: its stride only has to be one that the copy engine takes. */
static tri_tensor_view map_view(const void *base, triage_dtype dtype, int64_t d, int64_t rows, int64_t heads,
                                int64_t batch, bool offsets, tri_attention_stride stride) {
    int64_t size = (int64_t)tri_dtype_size(dtype), sizes[4] = {d, rows, heads, batch};
    int64_t strides[4] = {0, stride.row * size, stride.head * size, stride.batch * size};
    tri_tensor_view view = {.dtype = dtype, .rank = offsets ? 3 : 4, .base = (tri_address)(uintptr_t)base};
    for (int i = 0; i < 4; i++) {
        view.dims[i] = sizes[i] > 0 ? sizes[i] : 1;
        view.strides[i] = view.dims[i] > 1 ? strides[i] : (d * size + 15) / 16 * 16;
    }
    return view;
}

triage_status tri_attention_maps(tri_attention_args *args, tri_device *device, const tri_launch *launch,
                                 const tri_attention_problem *p, tri_attention_extent extent) {
    bool offsets_q = args->cu_q != NULL, offsets_k = args->cu_k != NULL, paged = args->page_table != NULL;
    int64_t sq = offsets_q ? extent.rows_q : p->sq, sk = offsets_k ? extent.rows_k
                                                         : paged   ? p->page_size
                                                                   : p->sk;
    int64_t batch_k = paged ? extent.pages : p->batch;
    const tri_tensor_view views[4] = {
        map_view(args->q, p->in_type, p->d, sq, p->heads_q, p->batch, offsets_q, args->q_stride),
        map_view(args->k, p->in_type, p->d, sk, p->heads_kv, batch_k, offsets_k, args->k_stride),
        map_view(args->v, p->in_type, p->dv, sk, p->heads_kv, batch_k, offsets_k, args->v_stride),
        map_view(args->o, p->out_type, p->dv, sq, p->heads_q, p->batch, offsets_q, args->o_stride)};
    tri_tensor_map *maps[4] = {&args->map_q, &args->map_k, &args->map_v, &args->map_o};
    triage_status status = TRIAGE_OK;
    for (int i = 0; i < 4; i++)
        TRI_TRY(tri_tensor_map_encode(maps[i], device, &launch->maps[i], &views[i]));
done:
    return status;
}

triage_status tri_attention_arguments(void *out, const tri_binding *binding) {
    const tri_attention_problem *p = tri_attention(binding->problem);
    tri_attention_args *args = out;
    int64_t pages = p->page_size ? p->batch * ((p->sk + p->page_size - 1) / p->page_size) : 0;
    bind(args, p, binding->inputs, true);
    args->o = (void *)(uintptr_t)binding->results[0];
    args->lse = p->lse ? (float *)(uintptr_t)binding->results[1] : NULL;
    args->workspace = (void *)(uintptr_t)binding->workspace;
    if (args->splits == 0)
        args->splits = tri_attention_launch_of(binding->launch)->splits;
    return tri_attention_maps(args, binding->device, binding->launch, p,
                              (tri_attention_extent){p->queries, p->keys, pages});
}

/* ---- rows: [sequence][query][head] ---- */

typedef struct place {
    int b, head;
    int64_t i;
} place;

static place place_of(const tri_attention_problem *p, int64_t row) {
    tri_attention_lengths_drawn drawn;
    int64_t query = row / p->heads_q, first = 0, b = 0;
    if (p->lengths != TRI_LENGTHS_OFFSETS)
        return (place){(int)(query / p->sq), (int)(row % p->heads_q), query % p->sq};
    tri_attention_lengths_begin(&drawn, p);
    for (int64_t sq; query >= first + (sq = tri_attention_lengths_next(&drawn).sq); b++)
        first += sq;
    return (place){(int)b, (int)(row % p->heads_q), query - first};
}

/* The first, the last, the last of the first sequence, and one of each kind of input that is not plain. */
size_t tri_attention_telling_rows(int64_t out[TRI_TELLING_ROWS], const tri_problem *of,
                                  const tri_pattern *pattern, tri_random *random) {
    const tri_attention_problem *p = tri_attention(of);
    int64_t rows = p->queries * p->heads_q, looked_at = rows < 4096 ? rows : 4096;
    int64_t from = (int64_t)tri_random_below(random, (uint64_t)(rows - looked_at + 1));
    size_t made = 3;
    (void)pattern;
    out[0] = 0;
    out[1] = rows - 1;
    out[2] = (p->sq - 1) * p->heads_q;
    for (int kind = 5; kind < 8; kind++)
        for (int64_t row = from; row < from + looked_at; row++) {
            place at = place_of(p, row);
            if (tri_attention_row_kind(at.b, at.head, at.i) == kind) {
                out[made++] = row;
                break;
            }
        }
    return made;
}

/* A row that cannot be computed for want of memory is NaN: the gate refuses it. */
void tri_attention_reference(double *const out[TRI_VIEWS_MAX], const tri_operands *operands, int64_t row) {
    const tri_attention_problem *p = tri_attention(operands->problem);
    place at = place_of(p, row);
    tri_attention_args args;
    double lse = NAN;
    bind(&args, p, operands->inputs, false);
    if (tri_attention_reference_row(out[0], &lse, p, &args, at.b, at.head, at.i) != TRIAGE_OK)
        for (int x = 0; x < p->dv; x++)
            out[0][x] = NAN;
    if (p->lse)
        out[1][0] = lse;
}
