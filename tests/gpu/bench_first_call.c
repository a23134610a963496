/* What a first call with options.first_call_ms makes of a problem: which kernel it chose, and how long it took.
 *
 *   bench_first_call DEVICE DB CACHE MS KEY PATTERN     KEY: a problem's; PATTERN: a .smtx file, or a sparsity (seed 1)
 *
 * The operands are those that triage_tune would draw. The call is made twice in a context of its own, the second with another
 * beta, and rows of both results are held against float64. One line of JSON; exit code 1: wrong, or a call failed. */
#include <jansson.h>
#include <math.h>

#include "gpu/bench_world.h"

typedef struct subject {
    triage_context *context;
    tri_problem problem;
    tri_pattern pattern;
    tri_inputs inputs;
    triage_bsr_matrix *a;
    triage_dense b, c;
    triage_epilogue epilogue;
    void *got;
    size_t c_bytes;
} subject;

static void *place(const subject *s, int index) {
    const tri_input *input = &s->inputs.at[index];
    void *memory = NULL;
    if (!input->data || triage_device_alloc(&memory, s->context, input->bytes) != TRIAGE_OK ||
        triage_device_upload(s->context, memory, input->data, input->bytes) != TRIAGE_OK)
        return NULL;
    return memory;
}

static triage_status make_problem(subject *s, const char *key, const char *pattern) {
    char *end = NULL;
    const double sparsity = strtod(pattern, &end);
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_problem_parse(&s->problem, key));
    tri_bsr_problem *p = tri_bsr_edit(&s->problem);
    if (*end == '\0')
        TRI_TRY(tri_pattern_random(&s->pattern, p->m / p->block_m, p->k / p->block_k, sparsity, 1));
    else
        TRI_TRY(tri_pattern_read(&s->pattern, pattern));
    p->nnzb = s->pattern.nnzb;
    tri_fingerprint_of(&p->fingerprint, &s->pattern);
    TRI_TRY(tri_bsr_draw(&s->inputs, &s->problem, &s->pattern, 1, 0));
done:
    return status;
}

static triage_status make_operands(subject *s) {
    const tri_bsr_problem *p = tri_bsr(&s->problem);
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    triage_status status = TRIAGE_OK;
    desc.dtype = p->in_type;
    desc.rows = p->m, desc.cols = p->k;
    desc.block_rows = p->block_m, desc.block_cols = p->block_k;
    desc.nnzb = p->nnzb;
    desc.row_ptr = s->pattern.row_ptr, desc.col_idx = s->pattern.col_idx;
    desc.values = s->inputs.at[TRI_BSR_VALUES].data;
    TRI_TRY(triage_bsr_matrix_create(&s->a, s->context, &desc));
    s->c_bytes = s->inputs.at[TRI_BSR_C_IN].bytes;
    TRI_TRY(tri_calloc(&s->got, s->c_bytes, 1));
    s->b = (triage_dense){place(s, TRI_BSR_B), p->k, p->n, p->ldb, p->in_type, p->b_layout};
    s->c = (triage_dense){place(s, TRI_BSR_C_IN), p->m, p->n, p->ldc, p->out_type, p->c_layout};
    s->epilogue = (triage_epilogue)TRIAGE_EPILOGUE_INIT;
    s->epilogue.bias = place(s, TRI_BSR_BIAS);
    s->epilogue.activation = p->activation;
    if (!s->b.data || !s->c.data || (p->bias && !s->epilogue.bias))
        status = tri_fail(TRIAGE_E_MEMORY, "no memory for the operands");
done:
    return status;
}

#define ROWS 24 /* that are checked: at even steps, and the last */

static int64_t checked_row(const tri_bsr_problem *p, int64_t i) {
    return i * (p->m - 1) / (ROWS - 1);
}

static double rms_of(const double *of, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += of[i] * of[i];
    return sqrt(sum / (double)count);
}

/* scale: of the values, which their errors are held against. */
static bool is_row_right(const subject *s, int64_t at, const double *row, double scale) {
    const tri_bsr_problem *p = tri_bsr(&s->problem);
    const double unit = p->out_type == TRIAGE_F32 ? 0x1p-18 : p->out_type == TRIAGE_F16 ? 0x1p-9 : 0x1p-6;
    bool right = true;
    for (int64_t j = 0; j < p->n; j++) {
        const int64_t place_of = p->c_layout == TRIAGE_ROW_MAJOR ? at * p->ldc + j : j * p->ldc + at;
        const double value = (double)tri_to_float(s->got, p->out_type, (size_t)place_of);
        right = right && fabs(value - row[j]) <= unit * (fabs(row[j]) + scale + 1e-30);
    }
    return right;
}

/* As the gate (src/check/verdict.c): a short row, and one that an activation leaves next to nothing of, says little about its
 * own scale, so that of all checked rows stands in where it is larger. */
static bool is_right(const subject *s, double beta) {
    const tri_bsr_problem *p = tri_bsr(&s->problem);
    const tri_bsr_operands operands = {.problem = &s->problem,
                                       .pattern = &s->pattern,
                                       .values = s->inputs.at[TRI_BSR_VALUES].data,
                                       .b = s->inputs.at[TRI_BSR_B].data,
                                       .c_in = s->inputs.at[TRI_BSR_C_IN].data,
                                       .bias = s->inputs.at[TRI_BSR_BIAS].data,
                                       .alpha = 1,
                                       .beta = beta};
    double *rows = calloc((size_t)(ROWS * p->n), sizeof *rows);
    bool right = rows != NULL;
    for (int64_t i = 0; i < ROWS && right; i++)
        tri_reference_row(rows + i * p->n, &operands, checked_row(p, i));
    const bool shares_scale = p->n < 32 || p->activation != TRIAGE_ACT_NONE;
    const double scale = right && shares_scale ? rms_of(rows, ROWS * p->n) : 0;
    for (int64_t i = 0; i < ROWS && right; i++)
        right =
            is_row_right(s, checked_row(p, i), rows + i * p->n, fmax(scale, rms_of(rows + i * p->n, p->n)));
    free(rows);
    return right;
}

static triage_status call(subject *s, float beta, bool *right) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(triage_bsr_gemm(s->context, 1, s->a, &s->b, beta, &s->c, &s->epilogue, NULL));
    TRI_TRY(triage_device_synchronize(s->context));
    TRI_TRY(triage_device_download(s->context, s->got, s->c.data, s->c_bytes));
    *right = *right && is_right(s, (double)beta);
done:
    return status;
}

static void say(void *user, triage_log_level level, const char *line) {
    (void)user, (void)level;
    fprintf(stderr, "%s\n", line);
}

static triage_status run(subject *s, char **argv, bool *right) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    triage_status status = TRIAGE_OK;
    options.device = argv[1];
    options.db_path = argv[2];
    options.cache_dir = strcmp(argv[3], "none") == 0 ? NULL : argv[3];
    options.first_call_ms = atof(argv[4]);
    options.log = say;
    TRI_TRY(triage_context_open(&s->context, &options));
    TRI_TRY(make_problem(s, argv[5], argv[6]));
    TRI_TRY(make_operands(s));
    const int64_t start = tri_now_ns();
    TRI_TRY(call(s, 0, right));
    const double ms = bench_ms(start);
    TRI_TRY(triage_device_upload(s->context, s->c.data, s->inputs.at[TRI_BSR_C_IN].data, s->c_bytes));
    TRI_TRY(call(s, 0.5f, right));
    TRI_TRY(triage_bsr_gemm_choice(&choice, s->context, s->a, &s->b, &s->c, &s->epilogue));
    static const char *const sources[] = {"exact", "nearest", "default", "predicted"};
    json_t *line = json_pack("{s:s, s:s, s:f, s:f, s:b}", "source", sources[choice.source], "config",
                             choice.config, "median_ns", choice.median_ns, "call_ms", ms, "right", *right);
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
done:
    return status;
}

int main(int argc, char **argv) {
    subject s = {0};
    bool right = true;
    if (argc != 7) {
        fprintf(stderr, "usage: bench_first_call DEVICE DB CACHE MS KEY PATTERN\n");
        return 64;
    }
    const triage_status status = run(&s, argv, &right);
    if (status != TRIAGE_OK)
        fprintf(stderr, "bench_first_call: %s\n", triage_last_error());
    triage_bsr_matrix_free(s.a); /* what is on the device ends with the process */
    tri_inputs_free(&s.inputs);
    tri_pattern_free(&s.pattern);
    free(s.got);
    triage_context_free(s.context);
    return status == TRIAGE_OK && right ? 0 : 1;
}
