/* What a bench of attention draws, what it runs, and where the results are. */
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

/* ---- results ---- */

/* What bounds a right result. u and w are the unit roundoffs of O's type and of what a weight is rounded to before it
 * meets V (the type of V, as a tensor core wants it; f32: 0), v = 2^-24, T the keys of a row, s the largest score of
 * the inputs (inputs.c: 12), e what a score may be off by.
 *
 * Scores. A sum of d products of float32, of which the largest partial sum is about the score: s v (4 + sqrt(d)), four
 * for scale, cap, exponential and difference. Very large scores of the inputs are whole numbers: exact. e4m3: scores are
 * up to 35 by their scales, and some tensor cores keep 14 bits of a sum: 2^-13 of it each of the d / 32 steps, at most
 * 8, in one direction:   e = s v (4 + sqrt(d))      e4m3: + 8 * 35 * 2^-13 / 3 (a third of the worst, which needs all
 * steps at their largest).
 * O, element, in units of u (|O| + rms): the last rounding 1; weights w / sqrt(3) each in the mean square, of as much of
 * the sum as they are, hence 0.58 w of the rms, six sigma 3.5 w; sums as in check/verdict.c; scores e, twice for the
 * difference to the row's mean:
 *       Xe = 1 + (3.5 w + (8 + 2.5 sqrt(T)) v + 2 e) / u
 * O, row: both roundings are independent, 0.6 of a unit each in the mean square; a mean of n values strays by a few
 * 1 / sqrt(n):
 *       Xr = min(u Xe, (sqrt((0.6 u)^2 + (0.6 w)^2) + (8 + 0.41 sqrt(T)) v + e) (1 + 6 / sqrt(n)))
 * LSE, absolutely, where it is less than 1, else of it: no weight is rounded in the sum.
 *       Xl = (8 + 2.5 sqrt(T)) v + e
 * Y >= 2/3 X as there; the plain kernel, whose sums are float32 of any type, counts as wrong from 8 (u + w + (8 +
 * sqrt(T)) v + s v (4 + sqrt(d))) on. */
#define F32_UNIT 0x1p-24
#define LARGEST_SCORE 12

static double unit_of(triage_dtype type) {
    static const double units[] = {F32_UNIT, 0x1p-11, 0x1p-8, 0x1p-4};
    return units[type];
}

static double exact_score_error(const tri_attention_problem *p) {
    return LARGEST_SCORE * F32_UNIT * (4 + sqrt((double)p->d));
}

static double score_error(const tri_attention_problem *p) {
    return exact_score_error(p) + (p->in_type == TRIAGE_E4M3 ? 8 * 35 * 0x1p-13 / 3 : 0);
}

static tri_view view_of_o(const tri_attention_problem *p, int64_t rows) {
    double u = unit_of(p->out_type), w = p->in_type == TRIAGE_F32 ? 0 : unit_of(p->in_type);
    double terms = sqrt((double)p->sk), e = score_error(p);
    double element = 1 + (3.5 * w + (8 + 2.5 * terms) * F32_UNIT + 2 * e) / u;
    double mean = 0.6 * sqrt(u * u + w * w) + (8 + 0.41 * terms) * F32_UNIT + e;
    double row = fmin(u * element, mean * (1 + 6 / sqrt((double)p->dv)));
    return (tri_view){.name = "O",
                      .dtype = p->out_type,
                      .rows = rows,
                      .cols = p->dv,
                      .ld = p->dv,
                      .terms = (double)p->sk,
                      .row_floor = row * 2 / 3,
                      .element_floor = element * 2 / 3,
                      .sane = 8 * (u + w + (8 + terms) * F32_UNIT + exact_score_error(p))};
}

static tri_view view_of_lse(const tri_attention_problem *p, int64_t rows) {
    double off = (8 + 2.5 * sqrt((double)p->sk)) * F32_UNIT + score_error(p);
    return (tri_view){.name = "LSE",
                      .dtype = TRIAGE_F32,
                      .rows = rows,
                      .cols = 1,
                      .ld = 1,
                      .terms = (double)p->sk,
                      .minus_infinity = true,
                      .scale = 1,
                      .row_floor = off * 2 / 3,
                      .element_floor = off / F32_UNIT * 2 / 3,
                      .sane = 8 * off};
}

size_t tri_attention_views(tri_view out[TRI_VIEWS_MAX], const tri_problem *of) {
    const tri_attention_problem *p = tri_attention(of);
    int64_t rows = p->queries * p->heads_q;
    out[0] = view_of_o(p, rows);
    if (p->lse)
        out[1] = view_of_lse(p, rows);
    return p->lse ? 2 : 1;
}

int tri_attention_before(const tri_problem *problem, size_t case_index, size_t view) {
    (void)problem, (void)case_index, (void)view;
    return -1;
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
