/* e4m3 end to end on the host device: products with one scale and with one a block, against float64 computed here
 * from the bytes by the definition of the type; what the API refuses; every configuration on every CPU target. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/bsr_of.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "bsr_gemm/args.h"
#include "render/render.h"
#include "api/bsr_gemm/bsr_gemm.h"
#include "support/scratch.h"

/* ---- a product ---- */

typedef struct shape {
    int block_m, block_k, block_rows, block_cols, n;
    triage_dtype out;
    triage_layout b_layout, c_layout;
    bool per_block, bias;
    triage_activation activation;
    float alpha, beta;
} shape;

typedef struct product {
    shape is;
    int64_t m, k, ldb, ldc;
    tri_pattern pattern;
    uint8_t *values, *b;
    void *c, *bias; /* as drawn */
    size_t c_count;
    float *scale_a, scale_b; /* scale_a [nnzb] in both cases; one scale is the first */
    double *expected;        /* [m][n] */
    double *terms;           /* [m][n]: the sum of the terms' magnitudes */
} product;

/* By the definition: (-1)^s 2^(e-7) (1 + m/8), subnormal 2^-6 m/8. */
static double decode(uint8_t byte) {
    int exponent = byte >> 3 & 15, mantissa = byte & 7;
    double magnitude = exponent ? ldexp(8 + mantissa, exponent - 10) : ldexp(mantissa, -9);
    return byte & 0x80 ? -magnitude : magnitude;
}

static void *draw(triage_dtype dtype, size_t count, uint64_t seed) {
    void *data = calloc(count + 1, tri_dtype_size(dtype));
    assert_non_null(data);
    assert_int_equal(tri_fill_normal(data, dtype, count, seed), TRIAGE_OK);
    return data;
}

static double activate(triage_activation activation, double v) {
    return activation == TRIAGE_ACT_RELU   ? fmax(v, 0)
           : activation == TRIAGE_ACT_GELU ? 0.5 * v * (1 + erf(v / sqrt(2)))
           : activation == TRIAGE_ACT_SILU ? v / (1 + exp(-v))
                                           : v;
}

static size_t c_at(const product *p, int64_t row, int64_t col) {
    return (size_t)(p->is.c_layout == TRIAGE_ROW_MAJOR ? row * p->ldc + col : col * p->ldc + row);
}

/* scales: how a reader of the API would apply them; a test may pass others to see that they matter. */
static void expect(product *p, const float *scale_a, bool per_block, double scale_b) {
    const shape *is = &p->is;
    for (int64_t row = 0; row < p->m; row++)
        for (int64_t col = 0; col < is->n; col++) {
            double sum = 0, terms = 0;
            for (int32_t i = p->pattern.row_ptr[row / is->block_m];
                 i < p->pattern.row_ptr[row / is->block_m + 1]; i++)
                for (int64_t k = 0; k < is->block_k; k++) {
                    int64_t at_k = (int64_t)p->pattern.col_idx[i] * is->block_k + k;
                    double a = decode(p->values[(i * is->block_m + row % is->block_m) * is->block_k + k]);
                    double b = decode(
                        p->b[is->b_layout == TRIAGE_ROW_MAJOR ? at_k * p->ldb + col : col * p->ldb + at_k]);
                    double term = a * (scale_a ? (double)scale_a[per_block ? i : 0] : 1) * b * scale_b;
                    sum += term;
                    terms += fabs(term);
                }
            double v = is->alpha * sum + (is->bias ? (double)tri_to_float(p->bias, is->out, (size_t)row) : 0);
            if (is->beta != 0)
                v += is->beta * (double)tri_to_float(p->c, is->out, c_at(p, row, col));
            p->expected[row * is->n + col] = activate(is->activation, v);
            p->terms[row * is->n + col] = fabs(is->alpha) * terms + fabs(v);
        }
}

static void make(product *p, const shape *is) {
    *p = (product){.is = *is, .m = is->block_m * is->block_rows, .k = is->block_k * is->block_cols};
    assert_int_equal(tri_pattern_random(&p->pattern, is->block_rows, is->block_cols, 0.5, 3), TRIAGE_OK);
    bool b_row = is->b_layout == TRIAGE_ROW_MAJOR, c_row = is->c_layout == TRIAGE_ROW_MAJOR;
    p->ldb = (b_row ? is->n : p->k) + 3;
    p->ldc = (c_row ? is->n : p->m) + 5;
    p->c_count = (size_t)(p->ldc * (c_row ? p->m : is->n));
    p->values = draw(TRIAGE_E4M3, (size_t)(p->pattern.nnzb * is->block_m * is->block_k), 1);
    p->b = draw(TRIAGE_E4M3, (size_t)(p->ldb * (b_row ? p->k : is->n)), 2);
    p->c = draw(is->out, p->c_count, 3);
    p->bias = draw(is->out, (size_t)p->m, 4);
    p->scale_a = calloc((size_t)p->pattern.nnzb + 1, sizeof *p->scale_a);
    p->expected = calloc((size_t)(p->m * is->n), sizeof *p->expected);
    p->terms = calloc((size_t)(p->m * is->n), sizeof *p->terms);
    assert_true(p->scale_a && p->expected && p->terms);
    tri_fill_scales(p->scale_a, (size_t)p->pattern.nnzb + 1, 5);
    tri_fill_scales(&p->scale_b, 1, 6);
    expect(p, p->scale_a, is->per_block, (double)p->scale_b);
    if (is->beta == 0)
        memset(p->c, 0xff, p->c_count * tri_dtype_size(is->out)); /* NaN: must not be read */
}

static void drop(product *p) {
    tri_pattern_free(&p->pattern);
    free(p->values);
    free(p->b);
    free(p->c);
    free(p->bias);
    free(p->scale_a);
    free(p->expected);
    free(p->terms);
}

/* Elements beyond one rounding to the type of C and a few of float32. */
static int64_t count_wrong(const product *p, const void *got) {
    double unit = p->is.out == TRIAGE_F32 ? 0x1p-22 : p->is.out == TRIAGE_F16 ? 0x1p-10 : 0x1p-7;
    int64_t wrong = 0;
    for (int64_t row = 0; row < p->m; row++)
        for (int64_t col = 0; col < p->is.n; col++) {
            double want = p->expected[row * p->is.n + col], terms = p->terms[row * p->is.n + col];
            double v = (double)tri_to_float(got, p->is.out, c_at(p, row, col));
            wrong += !(fabs(v - want) <= unit * fabs(want) + 0x1p-21 * terms + 1e-6);
        }
    return wrong;
}

/* ---- through the API ---- */

static triage_context *host;

static int open_host(void **state) {
    (void)state;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    return triage_context_open(&host, &options) == TRIAGE_OK ? 0 : -1;
}

static int close_host(void **state) {
    (void)state;
    triage_context_free(host);
    return 0;
}

typedef struct call {
    triage_bsr_matrix *a;
    triage_dense b, c;
    triage_epilogue epilogue;
} call;

static void *upload(const void *data, size_t bytes) {
    void *memory = NULL;
    assert_int_equal(triage_device_alloc(&memory, host, bytes), TRIAGE_OK);
    assert_int_equal(triage_device_upload(host, memory, data, bytes), TRIAGE_OK);
    return memory;
}

static void prepare(call *c, const product *p) {
    const shape *is = &p->is;
    triage_bsr_desc desc = {TRIAGE_BSR_DESC_VERSION,
                            TRIAGE_E4M3,
                            p->m,
                            p->k,
                            is->block_m,
                            is->block_k,
                            p->pattern.nnzb,
                            TRIAGE_MEMORY_HOST,
                            p->pattern.row_ptr,
                            p->pattern.col_idx,
                            p->values};
    *c = (call){.epilogue = TRIAGE_EPILOGUE_INIT};
    if (triage_bsr_matrix_create(&c->a, host, &desc) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    size_t b_count = (size_t)(p->ldb * (is->b_layout == TRIAGE_ROW_MAJOR ? p->k : is->n));
    c->b = (triage_dense){upload(p->b, b_count), p->k, is->n, p->ldb, TRIAGE_E4M3, is->b_layout};
    c->c = (triage_dense){
        upload(p->c, p->c_count * tri_dtype_size(is->out)), p->m, is->n, p->ldc, is->out, is->c_layout};
    c->epilogue.activation = is->activation;
    if (is->bias)
        c->epilogue.bias = upload(p->bias, (size_t)p->m * tri_dtype_size(is->out));
    c->epilogue.scale_a = upload(p->scale_a, ((size_t)p->pattern.nnzb + 1) * sizeof(float));
    c->epilogue.scale_b = upload(&p->scale_b, sizeof(float));
    c->epilogue.scale_a_per_block = is->per_block;
}

static void put_away(call *c) {
    triage_device_release(host, c->b.data);
    triage_device_release(host, c->c.data);
    triage_device_release(host, (void *)(uintptr_t)c->epilogue.bias);
    triage_device_release(host, (void *)(uintptr_t)c->epilogue.scale_a);
    triage_device_release(host, (void *)(uintptr_t)c->epilogue.scale_b);
    triage_bsr_matrix_free(c->a);
}

/* Runs on a fresh C; elements that are wrong. */
static int64_t run(const call *c, const product *p, const triage_epilogue *epilogue) {
    size_t bytes = p->c_count * tri_dtype_size(p->is.out);
    void *got = malloc(bytes);
    assert_non_null(got);
    assert_int_equal(triage_device_upload(host, c->c.data, p->c, bytes), TRIAGE_OK);
    if (triage_bsr_gemm(host, p->is.alpha, c->a, &c->b, p->is.beta, &c->c, epilogue, NULL) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    assert_int_equal(triage_device_download(host, got, c->c.data, bytes), TRIAGE_OK);
    int64_t wrong = count_wrong(p, got);
    free(got);
    return wrong;
}

static const shape shapes[] = {
    {32, 32, 4, 6, 40, TRIAGE_BF16, 1, 1, false, false, 0, 1, 0},
    {32, 32, 4, 6, 40, TRIAGE_BF16, 1, 1, true, false, 0, 1, 0},
    {16, 16, 5, 7, 33, TRIAGE_F16, 1, 1, true, true, TRIAGE_ACT_GELU, 1.25f, -0.5f},
    {64, 128, 2, 3, 17, TRIAGE_F32, 1, 0, true, true, 0, -0.5f, 2},
    {128, 64, 2, 4, 50, TRIAGE_F32, 0, 0, false, false, TRIAGE_ACT_RELU, 1, 1},
    {3, 5, 7, 6, 1, TRIAGE_F16, 0, 1, true, false, TRIAGE_ACT_SILU, 1, 0},
    {20, 100, 3, 2, 65, TRIAGE_BF16, 0, 0, true, true, 0, 2, 0}, /* a k of two pieces, the second short */
    {1, 1, 8, 8, 31, TRIAGE_F32, 1, 1, true, false, 0, 1, 0},
};

static void products_are_right(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        product p;
        call c;
        make(&p, &shapes[i]);
        prepare(&c, &p);
        for (int again = 0; again < 2; again++)
            if (run(&c, &p, &c.epilogue) != 0)
                fail_msg("shape %zu, call %d: %lld of %lld elements are wrong", i, again,
                         (long long)run(&c, &p, &c.epilogue), (long long)(p.m * p.is.n));
        put_away(&c);
        drop(&p);
    }
}

/* One matrix, called in turn with one scale, one a block, and none: never with another's kernel. */
static void kinds_of_scale_take_turns(void **state) {
    (void)state;
    product p;
    call c;
    make(&p, &shapes[1]);
    prepare(&c, &p);
    triage_epilogue tensor = c.epilogue, none = TRIAGE_EPILOGUE_INIT, only_b = none, ones = none;
    tensor.scale_a_per_block = 0;
    only_b.scale_b = c.epilogue.scale_b;
    ones.scale_a_per_block = 1;
    for (int round = 0; round < 2; round++) {
        expect(&p, p.scale_a, true, (double)p.scale_b);
        assert_int_equal(run(&c, &p, &c.epilogue), 0);
        assert_true(run(&c, &p, &tensor) > p.m * p.is.n / 2); /* the check sees the wrong kind */
        expect(&p, p.scale_a, false, (double)p.scale_b);
        assert_int_equal(run(&c, &p, &tensor), 0);
        expect(&p, NULL, false, (double)p.scale_b);
        assert_int_equal(run(&c, &p, &only_b), 0);
        expect(&p, NULL, false, 1);
        assert_int_equal(run(&c, &p, &none), 0);
        assert_int_equal(run(&c, &p, &ones), 0);
        assert_int_equal(run(&c, &p, NULL), 0);
    }
    int plans = 0;
    for (size_t i = 0; i < TRI_PLAN_BUCKETS; i++)
        for (const tri_plan *plan = atomic_load(&c.a->caller.plans[i]); plan; plan = plan->next)
            plans++;
    assert_int_equal(plans, 2);
    put_away(&c);
    drop(&p);
}

/* The numbers are read by the kernel, not by the call that made the plan. */
static void scales_may_change_between_calls(void **state) {
    (void)state;
    product p;
    call c;
    make(&p, &shapes[2]);
    prepare(&c, &p);
    assert_int_equal(run(&c, &p, &c.epilogue), 0);
    for (int32_t i = 0; i < p.pattern.nnzb; i++)
        p.scale_a[i] *= (float)(1 + i % 3);
    p.scale_b *= 3;
    size_t bytes = (size_t)p.pattern.nnzb * sizeof(float);
    assert_int_equal(triage_device_upload(host, (void *)(uintptr_t)c.epilogue.scale_a, p.scale_a, bytes),
                     TRIAGE_OK);
    assert_int_equal(
        triage_device_upload(host, (void *)(uintptr_t)c.epilogue.scale_b, &p.scale_b, sizeof(float)),
        TRIAGE_OK);
    expect(&p, p.scale_a, true, (double)p.scale_b);
    assert_int_equal(run(&c, &p, &c.epilogue), 0);
    put_away(&c);
    drop(&p);
}

static void linear_form(void **state) {
    (void)state;
    product p;
    call c;
    make(&p, &shapes[1]);
    prepare(&c, &p);
    triage_dense x = {c.b.data, p.is.n, p.k, p.ldb, TRIAGE_E4M3, TRIAGE_ROW_MAJOR};
    triage_dense y = {c.c.data, p.is.n, p.m, p.ldc, p.is.out, TRIAGE_ROW_MAJOR};
    if (triage_bsr_linear(host, c.a, &x, &y, &c.epilogue, NULL) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    void *got = malloc(p.c_count * tri_dtype_size(p.is.out));
    assert_non_null(got);
    assert_int_equal(triage_device_download(host, got, y.data, p.c_count * tri_dtype_size(p.is.out)),
                     TRIAGE_OK);
    assert_int_equal(count_wrong(&p, got), 0);
    free(got);
    put_away(&c);
    drop(&p);
}

static void expect_call(const call *c, const triage_dense *out, const triage_epilogue *epilogue,
                        const char *message) {
    assert_int_equal(triage_bsr_gemm(host, 1, c->a, &c->b, 0, out, epilogue, NULL), TRIAGE_E_INVALID);
    if (!strstr(triage_last_error(), message))
        fail_msg("'%s' is not in '%s'", message, triage_last_error());
}

static void calls_are_checked(void **state) {
    (void)state;
    product p;
    call c;
    make(&p, &shapes[0]);
    prepare(&c, &p);
    triage_epilogue e = c.epilogue;
    triage_dense out = c.c;
    e.scale_a = (const float *)((const char *)c.epilogue.scale_a + 2);
    expect_call(&c, &out, &e, "epilogue.scale_a is");
    e = c.epilogue;
    e.scale_b = (const float *)((const char *)c.epilogue.scale_b + 1);
    expect_call(&c, &out, &e, "must be 4-byte aligned");
    out.dtype = TRIAGE_E4M3;
    expect_call(&c, &out, &c.epilogue, "c is e4m3; must be f32, f16 or bf16");
    put_away(&c);
    drop(&p);
}

static void choice_names_the_kernel(void **state) {
    (void)state;
    product p;
    call c;
    make(&p, &shapes[1]);
    prepare(&c, &p);
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    assert_int_equal(triage_bsr_gemm_choice(&choice, host, c.a, &c.b, &c.c, &c.epilogue), TRIAGE_OK);
    assert_string_equal(choice.kernel, "host_fp8");
    put_away(&c);
    drop(&p);
}

/* ---- every configuration, on every CPU target that runs here ---- */

static void describe(tri_problem *out, const product *p) {
    *out = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_E4M3,
                                                .out_type = p->is.out,
                                                .scale_per_block = p->is.per_block,
                                                .b_layout = p->is.b_layout,
                                                .c_layout = p->is.c_layout,
                                                .activation = p->is.activation,
                                                .bias = p->is.bias,
                                                .m = p->m,
                                                .n = p->is.n,
                                                .k = p->k,
                                                .ldb = p->ldb,
                                                .ldc = p->ldc,
                                                .block_m = p->is.block_m,
                                                .block_k = p->is.block_k,
                                                .nnzb = p->pattern.nnzb});
    tri_fingerprint_of(&bsr_of(out)->fingerprint, &p->pattern);
}

static void launch(const product *p, const tri_problem *problem, const tri_candidate *candidate,
                   const char *target) {
    tri_device *device = host->device;
    tri_source source = {0};
    tri_image image = {0};
    tri_kernel *kernel = NULL;
    tri_schedule schedule = {0};
    tri_bsr_gemm_args args;
    size_t bytes = p->c_count * tri_dtype_size(p->is.out);
    void *c = upload(p->c, bytes); /* host memory */
    assert_int_equal(tri_render(&source, candidate, TRI_SOURCE_DIR), TRIAGE_OK);
#ifdef __SANITIZE_ADDRESS__ /* in a sanitized test the kernels are sanitized too */
    char *options[] = {(char *)(uintptr_t) "-fsanitize=address,undefined",
                       (char *)(uintptr_t) "-fno-sanitize-recover=undefined"};
    tri_source checked = source;
    checked.options = options;
    checked.option_count = 2;
#else
    tri_source checked = source;
#endif
    if (tri_compile(&image, target, &checked, TEST_KERNELS) != TRIAGE_OK ||
        tri_kernel_load(&kernel, device, &image, &candidate->launch) != TRIAGE_OK)
        fail_msg("%s on %s: %s", candidate->config, target, triage_last_error());
    tri_panel_shape panels = tri_launch_panels(&candidate->launch, false);
    assert_int_equal(tri_schedule_build(&schedule, &p->pattern, &panels), TRIAGE_OK);
    const tri_bsr_buffers buffers = {.values = (tri_address)(uintptr_t)p->values,
                                     .row_ptr = (tri_address)(uintptr_t)p->pattern.row_ptr,
                                     .col_idx = (tri_address)(uintptr_t)p->pattern.col_idx,
                                     .b = (tri_address)(uintptr_t)p->b,
                                     .c = (tri_address)(uintptr_t)c,
                                     .bias = p->is.bias ? (tri_address)(uintptr_t)p->bias : 0,
                                     .scale_a = (tri_address)(uintptr_t)p->scale_a,
                                     .scale_b = (tri_address)(uintptr_t)&p->scale_b,
                                     .schedule.rows = (tri_address)(uintptr_t)schedule.rows};
    assert_int_equal(
        tri_bsr_args_make(&args, device, &candidate->launch, problem, &buffers, p->is.alpha, p->is.beta),
        TRIAGE_OK);
    assert_int_equal(tri_kernel_launch(kernel, &args, NULL), TRIAGE_OK);
    if (count_wrong(p, c) != 0)
        fail_msg("%s on %s is wrong", candidate->config ? candidate->config : "the plain kernel", target);
    tri_kernel_unload(kernel);
    tri_schedule_free(&schedule);
    tri_image_free(&image);
    tri_source_free(&source);
    triage_device_release(host, c);
}

static void check_target(const product *p, const char *target) {
    tri_space *space = NULL;
    tri_device_info info = *tri_device_describe(host->device);
    tri_configs configs = {0};
    tri_candidate candidate = {0};
    tri_problem problem;
    describe(&problem, p);
    snprintf(info.target, sizeof info.target, "%s", target);
    assert_int_equal(
        tri_space_open(&space, &tri_op_bsr_gemm, &(tri_space_options){.data_dir = TRI_SOURCE_DIR}),
        TRIAGE_OK);
    assert_int_equal(tri_space_enumerate(&configs, space, &problem, &info), TRIAGE_OK);
    assert_true(configs.count >= 2);
    for (size_t i = 0; i < configs.count; i++) {
        assert_int_equal(tri_space_candidate(&candidate, space, &problem, &info, configs.text[i]), TRIAGE_OK);
        launch(p, &problem, &candidate, target);
        tri_candidate_free(&candidate);
    }
    candidate = (tri_candidate){0};
    assert_int_equal(tri_space_reference(&candidate, space, &problem, &info), TRIAGE_OK);
    launch(p, &problem, &candidate, target);
    tri_candidate_free(&candidate);
    tri_configs_free(&configs);
    tri_space_free(space);
}

static void every_configuration_is_right(void **state) {
    (void)state;
    const char *own = tri_device_describe(host->device)->target;
    const shape is[] = {shapes[2], shapes[6], shapes[0]};
    for (size_t i = 0; i < sizeof is / sizeof *is; i++) {
        product p;
        make(&p, &is[i]);
        check_target(&p, own);
        if (i == 0 && strncmp(own, "x86_64-", 7) == 0) {
            check_target(&p, "x86_64");
            check_target(&p, "x86_64-avx2");
        }
        drop(&p);
    }
}

/* The plain kernel of verification compiles for both kinds of scale, where there is NVRTC; and what no kernel
 * covers is said in one line. */
static void the_gpu_has_a_plain_kernel(void **state) {
    (void)state;
    tri_space *space = NULL;
    tri_device_info info;
    tri_problem problem = tri_bsr_problem_of(
        (tri_bsr_problem){.in_type = TRIAGE_E4M3, .out_type = TRIAGE_BF16, .m = 256, .n = 64, .k = 256});
    bsr_of(&problem)->block_m = bsr_of(&problem)->block_k = 64;
    bsr_of(&problem)->ldb = bsr_of(&problem)->ldc = 64;
    bsr_of(&problem)->nnzb = 5;
    assert_int_equal(tri_device_info_of_target(&info, "sm_90a"), TRIAGE_OK);
    assert_int_equal(
        tri_space_open(&space, &tri_op_bsr_gemm, &(tri_space_options){.data_dir = TRI_SOURCE_DIR}),
        TRIAGE_OK);
    for (int per_block = 0; per_block < 2; per_block++) {
        tri_candidate candidate = {0};
        tri_source source = {0};
        tri_image image = {0};
        tri_configs configs = {0};
        bsr_of(&problem)->scale_per_block = per_block;
        assert_int_equal(tri_space_reference(&candidate, space, &problem, &info), TRIAGE_OK);
        assert_int_equal(tri_render(&source, &candidate, TRI_SOURCE_DIR), TRIAGE_OK);
        assert_non_null(strstr(source.text, per_block ? "kScalePerBlock = 1;" : "kScalePerBlock = 0;"));
        triage_status status = tri_compile(&image, info.target, &source, NULL);
        if (status != TRIAGE_E_NO_DEVICE && status != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        /* row-major B: no tensor-core kernel */
        assert_int_equal(tri_space_enumerate(&configs, space, &problem, &info), TRIAGE_E_UNSUPPORTED);
        assert_non_null(
            strstr(triage_last_error(), per_block ? "e4m3-block bf16 row row" : "e4m3 bf16 row row"));
        assert_null(strchr(triage_last_error(), '\n'));
        tri_configs_free(&configs);
        tri_image_free(&image);
        tri_source_free(&source);
        tri_candidate_free(&candidate);
    }
    tri_space_free(space);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_right),
        cmocka_unit_test(kinds_of_scale_take_turns),
        cmocka_unit_test(scales_may_change_between_calls),
        cmocka_unit_test(linear_form),
        cmocka_unit_test(calls_are_checked),
        cmocka_unit_test(choice_names_the_kernel),
        cmocka_unit_test(every_configuration_is_right),
        cmocka_unit_test(the_gpu_has_a_plain_kernel),
    };
    return cmocka_run_group_tests(tests, open_host, close_host);
}
