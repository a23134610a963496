/* triage::bsr_linear and triage::bsr_mm: products with a block-sparse matrix that is three tensors. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contexts.h"
#include "kept.h"
#include "operators.h"

/* ---- the matrix: made once for a pattern ---- */

typedef struct matrix_operands {
    operand row_ptr, col_idx, values;
    int64_t cols;
} matrix_operands;

typedef struct matrix_key {
    const triage_context *context;
    const void *row_ptr, *col_idx;
    int64_t block_rows, nnzb, cols;
    int32_t block[2];
    int64_t dtype;
} matrix_key;

/* Its pattern's tensors are kept, so that no other tensor can come to lie at their addresses. */
typedef struct matrix {
    triage_bsr_matrix *handle;
    torch_tensor row_ptr, col_idx;
    const triage_bsr_matrix *transpose; /* the handle's, once it was asked for */
    pthread_mutex_t lock;               /* from setting the values to the launch */
    const void *values;                 /* those set last, borrowed for the launch */
} matrix;

static void free_matrix(void *memory) {
    matrix *of = memory;
    triage_bsr_matrix_free(of->handle);
    pthread_mutex_destroy(&of->lock);
    if (of->row_ptr)
        torch.delete_tensor(of->row_ptr);
    if (of->col_idx)
        torch.delete_tensor(of->col_idx);
    free(of);
}

static kept_table matrices = {.free_value = free_matrix, .lock = PTHREAD_MUTEX_INITIALIZER};

void drop_matrices(void) {
    kept_drop(&matrices, NULL, NULL);
}

static bool is_of_pattern(const kept *of, const void *with) {
    const void *const *addresses = with;
    const matrix_key *key = (const void *)of->key;
    return key->row_ptr == addresses[0] && key->col_idx == addresses[1];
}

TRIAGE_API void triage_torch_forget(const void *row_ptr, const void *col_idx);
TRIAGE_API uint64_t triage_torch_matrices(void);

/* A pattern whose Python object is gone. */
void triage_torch_forget(const void *row_ptr, const void *col_idx) {
    const void *addresses[] = {row_ptr, col_idx};
    kept_drop(&matrices, is_of_pattern, addresses);
}

uint64_t triage_torch_matrices(void) {
    return kept_count(&matrices);
}

/* row_ptr, col_idx, values, cols */
static matrix_operands matrix_at(const argument *in) {
    return (matrix_operands){in[0].tensor, in[1].tensor, in[2].tensor, in[3].integer};
}

static bool check_matrix(const matrix_operands *m, const operand *like) {
    triage_dtype dtype;
    if (!operand_dtype(&dtype, &m->values) || !require_dim(&m->values, 3, 3) ||
        !require_contiguous(&m->values) || !require_aligned(&m->values) || !require_device(&m->values, like))
        return false;
    const operand *const indices[] = {&m->row_ptr, &m->col_idx};
    for (int i = 0; i < 2; i++)
        if (!require_dim(indices[i], 1, 1) || !require_type(indices[i], torch.int32(), "") ||
            !require_contiguous(indices[i]) || !require_device(indices[i], like))
            return false;
    if (m->row_ptr.sizes[0] < 2)
        return fail("row_ptr has 1 number or none; must have one more than the matrix has rows of blocks");
    if (m->cols < 1 || m->values.sizes[2] < 1 || m->cols % m->values.sizes[2] != 0)
        return fail("cols is %" PRId64 "; must be a multiple of %" PRId64 ", the width of a block of values",
                    m->cols, m->values.sizes[2]);
    return require_size(&m->col_idx, 0, m->values.sizes[0], "the number of blocks in values");
}

static int64_t rows_of(const matrix_operands *m) {
    return (m->row_ptr.sizes[0] - 1) * m->values.sizes[1];
}

/* Another tensor of the same memory: its size and place cannot be changed from outside. */
static bool keep_tensor(torch_tensor *out, const operand *of) {
    int64_t offset = 0;
    return (torch.offset(of->handle, &offset) == 0 &&
            torch.alias(of->handle, of->dim, of->sizes, of->strides, offset, out) == 0) ||
           fail("%s cannot be kept", of->name);
}

static bool make_matrix(matrix **out, triage_context *context, const matrix_operands *m, triage_dtype dtype) {
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    matrix *made = calloc(1, sizeof *made);
    if (!made)
        return fail("no memory for a matrix");
    desc.dtype = dtype;
    desc.rows = rows_of(m), desc.cols = m->cols;
    desc.block_rows = (int32_t)m->values.sizes[1], desc.block_cols = (int32_t)m->values.sizes[2];
    desc.nnzb = m->values.sizes[0];
    desc.memory = TRIAGE_MEMORY_DEVICE;
    pthread_mutex_init(&made->lock, NULL);
    made->values = m->values.data;
    desc.row_ptr = m->row_ptr.data, desc.col_idx = m->col_idx.data, desc.values = m->values.data;
    if (keep_tensor(&made->row_ptr, &m->row_ptr) && keep_tensor(&made->col_idx, &m->col_idx) &&
        succeeded(triage_bsr_matrix_create(&made->handle, context, &desc))) {
        *out = made;
        return true;
    }
    free_matrix(made);
    return false;
}

/* What waits for the device would break the capture of a graph. */
static bool refuse_capture(const triage_context *context, void *stream) {
    return !triage_stream_is_capturing(context, stream) ||
           fail("a first call with a pattern inside a graph capture: make one like it before");
}

/* The kept matrix of these tensors, given back by the caller; NULL: failed. */
static kept *matrix_of(call *of, triage_context *context, const matrix_operands *m, void *stream) {
    triage_dtype dtype;
    matrix *made = NULL;
    matrix_key key;
    if (!operand_dtype(&dtype, &m->values))
        return NULL;
    memset(&key, 0, sizeof key);
    key.context = context;
    key.row_ptr = m->row_ptr.data, key.col_idx = m->col_idx.data;
    key.block_rows = m->row_ptr.sizes[0], key.nnzb = m->values.sizes[0], key.cols = m->cols;
    key.block[0] = (int32_t)m->values.sizes[1], key.block[1] = (int32_t)m->values.sizes[2];
    key.dtype = dtype;
    kept *found = kept_take(&matrices, &key, sizeof key);
    if (!found && of->is_direct) {
        of->wants_torch = true; /* the pattern's tensors are to be kept */
        return NULL;
    }
    if (found || !refuse_capture(context, stream) || !make_matrix(&made, context, m, dtype))
        return found;
    found = kept_put(&matrices, &key, sizeof key, made);
    if (!found)
        fail("no memory for a matrix");
    return found;
}

/* ---- dense operands ---- */

/* All dimensions but the last as rows of one matrix; they must lie as if they were one. */
static bool rows_as_matrix(triage_dense *out, const operand *of) {
    int64_t rows = 1, ld = 0, last = of->dim - 1;
    int64_t cols = of->sizes[last];
    for (int64_t i = last; i-- > 0;) {
        if (of->sizes[i] == 1)
            continue;
        if (rows > 1 && of->strides[i] != ld * rows)
            return fail("%s has rows that lie at no one step (its dimension %" PRId64
                        " has the stride %" PRId64 "); must be contiguous but for one step of rows",
                        of->name, i, of->strides[i]);
        if (rows == 1)
            ld = of->strides[i];
        rows *= of->sizes[i];
    }
    if (cols > 1 && of->strides[last] != 1)
        return fail("%s has the stride %" PRId64 " in its last dimension; must be 1", of->name,
                    of->strides[last]);
    if (rows > 1 && ld < cols)
        return fail("%s has the stride %" PRId64 " from row to row (is it expanded?); must be %" PRId64
                    " or more",
                    of->name, ld, cols);
    *out = (triage_dense){of->data, rows, cols, rows > 1 ? ld : cols, TRIAGE_F32, TRIAGE_ROW_MAJOR};
    return require_aligned(of) && operand_dtype(&out->dtype, of);
}

/* A matrix with one stride of 1. */
static bool as_matrix(triage_dense *out, const operand *of) {
    const int64_t *sizes = of->sizes, *strides = of->strides;
    bool is_row_major = (strides[1] == 1 || sizes[1] == 1) && (sizes[0] == 1 || strides[0] >= sizes[1]);
    bool is_column_major = (strides[0] == 1 || sizes[0] == 1) && (sizes[1] == 1 || strides[1] >= sizes[0]);
    if (!is_row_major && !is_column_major)
        return fail("%s has the strides (%" PRId64 ", %" PRId64
                    ") (is it expanded?); one must be 1, the other at "
                    "least the length of a row or column",
                    of->name, strides[0], strides[1]);
    int which = is_row_major ? 0 : 1;
    int64_t step = sizes[which] > 1 ? strides[which] : sizes[1 - which];
    *out = (triage_dense){of->data, sizes[0],   sizes[1],
                          step,     TRIAGE_F32, is_row_major ? TRIAGE_ROW_MAJOR : TRIAGE_COL_MAJOR};
    return require_aligned(of) && operand_dtype(&out->dtype, of);
}

static uintptr_t bytes_of(const triage_dense *dense) {
    static const uintptr_t size_of[] = {
        [TRIAGE_F32] = 4, [TRIAGE_F16] = 2, [TRIAGE_BF16] = 2, [TRIAGE_E4M3] = 1};
    bool is_row_major = dense->layout == TRIAGE_ROW_MAJOR;
    int64_t lines = is_row_major ? dense->rows : dense->cols,
            length = is_row_major ? dense->cols : dense->rows;
    return (uintptr_t)((lines - 1) * dense->ld + length) * size_of[dense->dtype];
}

static bool require_apart(const operand *a, const triage_dense *of_a, const operand *b,
                          const triage_dense *of_b) {
    uintptr_t from_a = (uintptr_t)a->data, from_b = (uintptr_t)b->data;
    return from_a >= from_b + bytes_of(of_b) || from_b >= from_a + bytes_of(of_a) ||
           fail("%s overlaps %s; must be memory of its own", a->name, b->name);
}

/* ---- the epilogue ---- */

typedef struct epilogue_operands {
    operand bias, scale, other_scale;
    triage_activation activation;
} epilogue_operands;

/* bias, activation, and the scales of the matrix and of the dense operand. */
static bool take_epilogue(epilogue_operands *out, const argument *in) {
    static const char *const names[] = {"none", "relu", "gelu", "silu"};
    int activation = 0;
    bool done = require_word(&activation, "activation", in[1].text, names, "none, relu, gelu or silu");
    *out = (epilogue_operands){in[0].tensor, in[2].tensor, in[3].tensor, (triage_activation)activation};
    return done;
}

static bool check_scale(const operand *scale, int64_t blocks, const operand *like) {
    if (!scale->is_given)
        return true;
    int64_t count = operand_count(scale);
    if (!require_device(scale, like) || !require_type(scale, torch.float32(), "") ||
        !require_contiguous(scale))
        return false;
    if (like->type != torch.float8_e4m3fn())
        return fail("%s is given and %s is %s; scales are for float8_e4m3fn", scale->name, like->name,
                    type_name(like->type));
    if (count == 1 || (blocks > 1 && count == blocks))
        return true;
    return blocks > 1 ? fail("%s has %" PRId64 " numbers; must have 1 or %" PRId64 ", one for each block",
                             scale->name, count, blocks)
                      : fail("%s has %" PRId64 " numbers; must have 1", scale->name, count);
}

static bool check_epilogue(triage_epilogue *out, const epilogue_operands *e, const matrix_operands *m,
                           const operand *x, const operand *y) {
    if (!require_device(&e->bias, x) || !require_dim(&e->bias, 1, 1) ||
        !require_type(&e->bias, y->type, ", the type of the result") || !require_contiguous(&e->bias) ||
        !require_size(&e->bias, 0, rows_of(m), "the rows of the matrix") ||
        !check_scale(&e->scale, m->values.sizes[0], &m->values) || !check_scale(&e->other_scale, 1, x))
        return false;
    *out = (triage_epilogue)TRIAGE_EPILOGUE_INIT;
    out->bias = e->bias.data;
    out->activation = e->activation;
    out->scale_a = e->scale.data;
    out->scale_b = e->other_scale.data;
    out->scale_a_per_block = e->scale.is_given && operand_count(&e->scale) > 1;
    return true;
}

/* ---- the products ---- */

typedef struct product {
    call *of;
    matrix_operands m;
    operand x, y; /* the dense operand and the result */
    epilogue_operands e;
    bool transposed; /* the matrix is */
    float alpha, beta;
    triage_dense in, out;
    triage_choice *choice; /* not NULL: nothing is launched, what would be is described */
} product;

static bool use_values(matrix *w, const matrix_operands *m) {
    if (w->values != m->values.data && !succeeded(triage_bsr_matrix_set_values(w->handle, m->values.data)))
        return false;
    w->values = m->values.data;
    return true;
}

/* The handle that multiplies. Under the matrix's lock. */
static bool handle_of(const triage_bsr_matrix **out, matrix *w, const product *p, triage_context *context,
                      void *stream) {
    *out = w->handle;
    if (!p->transposed)
        return true;
    if (!w->transpose && (!refuse_capture(context, stream) ||
                          !succeeded(triage_bsr_matrix_transposed(&w->transpose, w->handle))))
        return false;
    *out = w->transpose;
    return true;
}

static bool enqueue(const product *p, matrix *w, triage_context *context, const triage_epilogue *epilogue,
                    void *stream) {
    const triage_bsr_matrix *handle = NULL;
    if (!use_values(w, &p->m) || !handle_of(&handle, w, p, context, stream))
        return false;
    return succeeded(
        p->choice ? triage_bsr_gemm_choice(p->choice, context, handle, &p->in, &p->out, epilogue)
                  : triage_bsr_gemm(context, p->alpha, handle, &p->in, p->beta, &p->out, epilogue, stream));
}

static bool launch(product *p) {
    triage_epilogue epilogue;
    void *stream = NULL;
    if (p->in.dtype != TRIAGE_E4M3 && p->in.dtype == p->out.dtype && !require_type(&p->y, p->x.type, ""))
        return false;
    if (!require_type(&p->x, p->m.values.type, ", the type of values") ||
        !require_apart(&p->y, &p->out, &p->x, &p->in) ||
        !check_epilogue(&epilogue, &p->e, &p->m, &p->x, &p->y) || !stream_of(&stream, &p->x))
        return false;
    triage_context *context = context_of(&p->x);
    kept *of = context ? matrix_of(p->of, context, &p->m, stream) : NULL;
    if (!of)
        return false;
    matrix *w = of->value;
    pthread_mutex_lock(&w->lock);
    bool done = enqueue(p, w, context, &epilogue, stream);
    pthread_mutex_unlock(&w->lock);
    kept_give_back(&matrices, of);
    return done;
}

static bool result_type(int32_t *out, const argument *given, const operand *x) {
    *out = x->type == torch.float8_e4m3fn() ? torch.bfloat16() : x->type;
    if (given->integer < 0)
        return true;
    *out = (int32_t)given->integer;
    return *out == torch.float32() || *out == torch.float16() || *out == torch.bfloat16() ||
           fail("out_dtype is %s; must be float32, float16 or bfloat16", type_name(*out));
}

static triage_dense transposed(const triage_dense *of) {
    return (triage_dense){of->data, of->cols, of->rows, of->ld, of->dtype, TRIAGE_COL_MAJOR};
}

#define MOST_DIMS 16

/* y = x W^T, or x W: as many dimensions, the last one as long as the matrix is high or wide. */
static bool run_linear(product *p, int32_t type) {
    int64_t sizes[MOST_DIMS], strides[MOST_DIMS], step = 1;
    triage_dense x, y;
    if (!require_dim(&p->x, 1, MOST_DIMS) || !check_matrix(&p->m, &p->x) ||
        !require_size(&p->x, p->x.dim - 1, p->transposed ? rows_of(&p->m) : p->m.cols,
                      p->transposed ? "the rows of the matrix" : "the columns of the matrix"))
        return false;
    for (int64_t i = p->x.dim; i-- > 0; step *= sizes[i]) {
        sizes[i] = i < p->x.dim - 1 ? p->x.sizes[i] : p->transposed ? p->m.cols : rows_of(&p->m);
        strides[i] = step > 0 ? step : 1;
    }
    if (!operand_make(&p->y, "the result", &p->x, type, p->x.dim, sizes, strides))
        return false;
    if (operand_count(&p->x) == 0)
        return true;
    if (!rows_as_matrix(&x, &p->x) || !rows_as_matrix(&y, &p->y))
        return false;
    p->in = transposed(&x), p->out = transposed(&y);
    return launch(p);
}

/* What was made becomes the call's result, or goes. */
static bool give(call *of, operand *made, bool done) {
    if (!done)
        operand_release(made);
    of->results[0] = made->handle;
    return done;
}

/* (x, row_ptr, col_idx, values, cols, bias, activation, w_scale, x_scale, out_dtype) -> y */
bool op_bsr_linear(call *of) {
    const argument *in = of->in;
    product p = {.of = of, .x = in[0].tensor, .m = matrix_at(in + 1), .alpha = 1};
    int32_t type = 0;
    bool done = take_epilogue(&p.e, in + 5) && result_type(&type, &in[9], &p.x) && run_linear(&p, type);
    return give(of, &p.y, done);
}

/* (grad, row_ptr, col_idx, values, cols) -> grad W, the gradient of x */
bool op_bsr_linear_transposed(call *of) {
    product p = {.of = of, .x = of->in[0].tensor, .m = matrix_at(of->in + 1), .alpha = 1, .transposed = true};
    return give(of, &p.y, run_linear(&p, p.x.type));
}

static bool check_mm(product *p) {
    return require_dim(&p->x, 2, 2) && check_matrix(&p->m, &p->x) &&
           require_size(&p->x, 0, p->m.cols, "the columns of the matrix");
}

static bool run_mm(product *p) {
    return operand_count(&p->y) == 0 || (as_matrix(&p->in, &p->x) && as_matrix(&p->out, &p->y) && launch(p));
}

/* (row_ptr, col_idx, values, cols, b, bias, activation, a_scale, b_scale, out_dtype) -> c */
bool op_bsr_mm(call *of) {
    const argument *in = of->in;
    product p = {.of = of, .m = matrix_at(in), .x = in[4].tensor, .alpha = 1};
    int32_t type = 0;
    if (!take_epilogue(&p.e, in + 5) || !result_type(&type, &in[9], &p.x) || !check_mm(&p))
        return false;
    const int64_t sizes[] = {rows_of(&p.m), p.x.sizes[1]}, strides[] = {sizes[1] > 0 ? sizes[1] : 1, 1};
    return give(of, &p.y, operand_make(&p.y, "the result", &p.x, type, 2, sizes, strides) && run_mm(&p));
}

/* ---- the gradient of the values ---- */

typedef struct sampled {
    call *of;
    matrix_operands m;
    operand grad, x, d; /* d: the result */
} sampled;

static bool check_sampled(const sampled *s) {
    return require_dim(&s->x, 1, MOST_DIMS) && require_dim(&s->grad, 1, MOST_DIMS) &&
           check_matrix(&s->m, &s->x) && require_device(&s->grad, &s->x) &&
           require_type(&s->x, s->m.values.type, ", the type of values") &&
           require_type(&s->grad, s->m.values.type, ", the type of values") &&
           require_size(&s->x, s->x.dim - 1, s->m.cols, "the columns of the matrix") &&
           require_size(&s->grad, s->grad.dim - 1, rows_of(&s->m), "the rows of the matrix");
}

static bool launch_sampled(const sampled *s) {
    triage_dense x = {0}, grad = {0};
    void *stream = NULL;
    if (!rows_as_matrix(&x, &s->x) || !rows_as_matrix(&grad, &s->grad) || !stream_of(&stream, &s->x))
        return false;
    if (x.rows != grad.rows)
        return fail("x has %" PRId64 " rows; must be %" PRId64 ", the rows of the gradient", x.rows,
                    grad.rows);
    const triage_dense right = transposed(&x), left = transposed(&grad);
    triage_context *context = context_of(&s->x);
    kept *of = context ? matrix_of(s->of, context, &s->m, stream) : NULL;
    if (!of)
        return false;
    const matrix *w = of->value;
    bool done =
        succeeded(triage_bsr_sddmm(context, 1, &left, &right, 0, w->handle, s->d.data, right.dtype, stream));
    kept_give_back(&matrices, of);
    return done;
}

/* Without blocks there is nothing to compute; without rows the callers have zeros (triage wants one row at least). */
static bool run_sampled(sampled *s) {
    const int64_t *sizes = s->m.values.sizes;
    const int64_t strides[] = {sizes[1] * sizes[2], sizes[2], 1};
    if (!operand_make(&s->d, "the result", &s->x, s->x.type, 3, sizes, strides))
        return false;
    return operand_count(&s->d) == 0 || launch_sampled(s);
}

/* (grad, x, row_ptr, col_idx, values, cols) -> the stored blocks of grad^T x */
bool op_bsr_sddmm(call *of) {
    const argument *in = of->in;
    sampled s = {.of = of, .grad = in[0].tensor, .x = in[1].tensor, .m = matrix_at(in + 2)};
    return check_sampled(&s) && give(of, &s.d, run_sampled(&s));
}

/* ---- into a tensor that is given ---- */

/* The arguments of bsr_mm_out up to b_scale, and out. */
static bool mm_into(product *p, const argument *in, const argument *out) {
    p->m = matrix_at(in), p->x = in[4].tensor, p->y = out->tensor;
    return take_epilogue(&p->e, in + 5) && check_mm(p) && require_dim(&p->y, 2, 2) &&
           require_device(&p->y, &p->x) && require_size(&p->y, 0, rows_of(&p->m), "the rows of the matrix") &&
           require_size(&p->y, 1, p->x.sizes[1], "the columns of b") && run_mm(p);
}

/* (row_ptr, col_idx, values, cols, b, bias, activation, a_scale, b_scale, alpha, beta, out!) -> () */
bool op_bsr_mm_out(call *of) {
    const argument *in = of->in;
    product p = {.of = of, .alpha = (float)in[9].number, .beta = (float)in[10].number};
    return mm_into(&p, in, &in[11]);
}

/* The fields of a choice, one a line, in the order of triage_choice. */
static bool give_choice(torch_string *out, const triage_choice *c) {
    static const char *const sources[] = {"exact", "nearest", "default", "predicted"};
    char text[1200];
    snprintf(text, sizeof text, "%s\n%s\n%s\n%s\n%.17g\n%.17g\n%.17g\n%.17g\n%d", sources[c->source],
             c->kernel, c->config, c->donor, c->distance, c->median_ns, c->expected_loss, c->dense_median_ns,
             c->dense_is_faster);
    return torch.new_string(text, strlen(text), out) == 0 || fail("no memory for a text");
}

/* (row_ptr, col_idx, values, cols, b, bias, activation, a_scale, b_scale, out) -> what bsr_mm_out would run */
bool op_bsr_mm_choice(call *of) {
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    product p = {.of = of, .alpha = 1, .choice = &choice};
    return mm_into(&p, of->in, &of->in[9]) && give_choice(&of->text, &choice);
}
