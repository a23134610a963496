/* What the public API has to do on any device: test_api runs it on the host, test_api_cuda on a GPU. */
#ifndef TRIAGE_TESTS_API_CASES_H
#define TRIAGE_TESTS_API_CASES_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/bsr_of.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "api/bsr_gemm/bsr_gemm.h"

/* ---- a product with everything around it ---- */

typedef struct api_case {
    int64_t m, n, k;
    int32_t block;
    double sparsity;
    triage_dtype in, out;
    triage_layout b_layout, c_layout;
    triage_activation activation;
    bool bias;
    float alpha, beta;
    int64_t
        pad; /* elements beyond the packed leading dimensions; keeps 16-byte alignment when a multiple of 8 */
} api_case;

typedef struct api_world {
    triage_context *context;
    tri_problem problem;
    tri_pattern pattern;
    void *values, *b_host, *c_host, *bias_host; /* as drawn */
    size_t b_bytes, c_bytes;
    triage_bsr_matrix *a;
    triage_dense b, c;
    triage_epilogue epilogue;
} api_world;

static inline triage_context *api_open(const char *device, const char *db, const char *cache) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_context *context = NULL;
    options.device = device;
    options.db_path = db;
    options.cache_dir = cache;
    triage_status status = triage_context_open(&context, &options);
    if (status != TRIAGE_OK)
        fail_msg("cannot open %s: %s", device, triage_last_error());
    return context;
}

static inline void *api_upload(triage_context *context, const void *data, size_t bytes) {
    void *memory = NULL;
    assert_int_equal(triage_device_alloc(&memory, context, bytes), TRIAGE_OK);
    assert_int_equal(triage_device_upload(context, memory, data, bytes), TRIAGE_OK);
    return memory;
}

static inline void *api_draw(triage_dtype dtype, size_t count, uint64_t seed) {
    void *data = calloc(count, tri_dtype_size(dtype));
    assert_non_null(data);
    assert_int_equal(tri_fill_normal(data, dtype, count, seed), TRIAGE_OK);
    return data;
}

/* A matrix as stored has outer x ld elements. */
static inline triage_dense api_dense(int64_t rows, int64_t cols, triage_layout layout, triage_dtype dtype,
                                     int64_t pad) {
    int64_t inner = layout == TRIAGE_ROW_MAJOR ? cols : rows;
    return (triage_dense){NULL, rows, cols, inner + pad, dtype, layout};
}

static inline size_t api_elements(const triage_dense *dense) {
    return (size_t)((dense->layout == TRIAGE_ROW_MAJOR ? dense->rows : dense->cols) * dense->ld);
}

static inline void api_make_matrix(api_world *world, const api_case *test) {
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    desc.dtype = test->in;
    desc.rows = test->m;
    desc.cols = test->k;
    desc.block_rows = desc.block_cols = test->block;
    desc.nnzb = world->pattern.nnzb;
    desc.row_ptr = world->pattern.row_ptr;
    desc.col_idx = world->pattern.col_idx;
    desc.values = world->values;
    triage_status status = triage_bsr_matrix_create(&world->a, world->context, &desc);
    if (status != TRIAGE_OK)
        fail_msg("matrix: %s", triage_last_error());
}

static inline void api_describe(api_world *world, const api_case *test) {
    world->problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = test->in,
                                                          .out_type = test->out,
                                                          .b_layout = test->b_layout,
                                                          .c_layout = test->c_layout,
                                                          .activation = test->activation,
                                                          .bias = test->bias,
                                                          .m = test->m,
                                                          .n = test->n,
                                                          .k = test->k,
                                                          .ldb = world->b.ld,
                                                          .ldc = world->c.ld,
                                                          .block_m = test->block,
                                                          .block_k = test->block,
                                                          .nnzb = world->pattern.nnzb});
    tri_fingerprint_of(&bsr_of(&world->problem)->fingerprint, &world->pattern);
}

static inline void api_build(api_world *world, triage_context *context, const api_case *test) {
    *world = (api_world){.context = context, .epilogue = TRIAGE_EPILOGUE_INIT};
    assert_int_equal(
        tri_pattern_random(&world->pattern, test->m / test->block, test->k / test->block, test->sparsity, 7),
        TRIAGE_OK);
    size_t block_elements = (size_t)test->block * (size_t)test->block;
    world->values = api_draw(test->in, (size_t)world->pattern.nnzb * block_elements + 1, 1);
    api_make_matrix(world, test);
    world->b = api_dense(test->k, test->n, test->b_layout, test->in, test->pad);
    world->c = api_dense(test->m, test->n, test->c_layout, test->out, test->pad);
    world->b_bytes = api_elements(&world->b) * tri_dtype_size(test->in);
    world->c_bytes = api_elements(&world->c) * tri_dtype_size(test->out);
    world->b_host = api_draw(test->in, api_elements(&world->b), 2);
    world->c_host = api_draw(test->out, api_elements(&world->c), 3);
    if (test->beta == 0) /* must not be read */
        memset(world->c_host, 0xff, world->c_bytes);
    world->b.data = api_upload(context, world->b_host, world->b_bytes);
    world->c.data = api_upload(context, world->c_host, world->c_bytes);
    if (test->bias) {
        world->bias_host = api_draw(test->out, (size_t)test->m, 4);
        world->epilogue.bias =
            api_upload(context, world->bias_host, (size_t)test->m * tri_dtype_size(test->out));
    }
    world->epilogue.activation = test->activation;
    api_describe(world, test);
}

static inline void api_destroy(api_world *world) {
    triage_device_release(world->context, (void *)(uintptr_t)world->epilogue.bias);
    triage_device_release(world->context, world->c.data);
    triage_device_release(world->context, world->b.data);
    triage_bsr_matrix_free(world->a);
    tri_pattern_free(&world->pattern);
    free(world->values);
    free(world->b_host);
    free(world->c_host);
    free(world->bias_host);
}

/* Elements of got (C as stored) that are not what float64 gives for world's inputs. Counts instead of
 * asserting, so that threads may use it. */
static inline int64_t api_wrong(const api_world *world, const void *got, float alpha, float beta) {
    const tri_problem *p = &world->problem;
    tri_bsr_operands operands = {.problem = p,
                                 .pattern = &world->pattern,
                                 .values = world->values,
                                 .b = world->b_host,
                                 .c_in = beta != 0 ? world->c_host : NULL,
                                 .bias = world->bias_host,
                                 .alpha = alpha,
                                 .beta = beta};
    double unit = bsr_of(p)->out_type == TRIAGE_F32   ? 64 * 0x1p-24
                  : bsr_of(p)->out_type == TRIAGE_F16 ? 2 * 0x1p-11
                                                      : 2 * 0x1p-8;
    double *row = calloc((size_t)bsr_of(p)->n, sizeof *row);
    int64_t wrong = row ? 0 : 1;
    for (int64_t i = 0; row && i < bsr_of(p)->m; i++) {
        double sum = 0;
        tri_reference_row(row, &operands, i);
        for (int64_t j = 0; j < bsr_of(p)->n; j++)
            sum += row[j] * row[j];
        for (int64_t j = 0; j < bsr_of(p)->n; j++) {
            int64_t at =
                bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? i * bsr_of(p)->ldc + j : j * bsr_of(p)->ldc + i;
            double value = tri_to_float(got, bsr_of(p)->out_type, (size_t)at);
            wrong +=
                !(fabs(value - row[j]) <= unit * (fabs(row[j]) + sqrt(sum / (double)bsr_of(p)->n) + 1e-30));
        }
    }
    free(row);
    return wrong;
}

/* What lies between the rows of a padded C must stay as it was. */
static inline int64_t api_touched(const api_world *world, const void *got) {
    const tri_problem *p = &world->problem;
    size_t size = tri_dtype_size(bsr_of(p)->out_type);
    int64_t inner = bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->n : bsr_of(p)->m;
    int64_t outer = bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->m : bsr_of(p)->n, touched = 0;
    for (int64_t i = 0; i < outer; i++) {
        size_t from = (size_t)(i * bsr_of(p)->ldc + inner) * size,
               bytes = (size_t)(bsr_of(p)->ldc - inner) * size;
        touched += memcmp((const char *)got + from, (const char *)world->c_host + from, bytes) != 0;
    }
    return touched;
}

static inline void *api_result(const api_world *world, const void *from) {
    void *got = malloc(world->c_bytes);
    assert_non_null(got);
    assert_int_equal(triage_device_synchronize(world->context), TRIAGE_OK);
    assert_int_equal(triage_device_download(world->context, got, from, world->c_bytes), TRIAGE_OK);
    return got;
}

/* ---- products ---- */

static inline void api_run_case(triage_context *context, const api_case *test) {
    api_world world;
    api_build(&world, context, test);
    for (int call = 0; call < 2; call++) { /* the second one finds plan and arguments */
        assert_int_equal(triage_device_upload(context, world.c.data, world.c_host, world.c_bytes), TRIAGE_OK);
        triage_status status = triage_bsr_gemm(context, test->alpha, world.a, &world.b, test->beta, &world.c,
                                               &world.epilogue, NULL);
        if (status != TRIAGE_OK)
            fail_msg("%lldx%lldx%lld block %d: %s", (long long)test->m, (long long)test->n,
                     (long long)test->k, test->block, triage_last_error());
        void *got = api_result(&world, world.c.data);
        int64_t wrong = api_wrong(&world, got, test->alpha, test->beta), touched = api_touched(&world, got);
        free(got);
        if (wrong || touched)
            fail_msg("%lldx%lldx%lld block %d call %d: %lld wrong, %lld rows written beyond",
                     (long long)test->m, (long long)test->n, (long long)test->k, test->block, call,
                     (long long)wrong, (long long)touched);
    }
    api_destroy(&world);
}

/* New pointers, factors and leading dimensions on one plan must not be answered with old arguments. */
static inline void api_run_changing_operands(triage_context *context, const api_case *test) {
    api_world world;
    api_build(&world, context, test);
    void *other = api_upload(context, world.c_host, world.c_bytes);
    triage_dense c_other = world.c;
    c_other.data = other;
    assert_int_equal(triage_bsr_gemm(context, 1, world.a, &world.b, 0, &world.c, &world.epilogue, NULL),
                     TRIAGE_OK);
    assert_int_equal(triage_bsr_gemm(context, -2, world.a, &world.b, 0, &c_other, &world.epilogue, NULL),
                     TRIAGE_OK);
    assert_int_equal(triage_bsr_gemm(context, 3, world.a, &world.b, 0, &world.c, &world.epilogue, NULL),
                     TRIAGE_OK);
    void *got = api_result(&world, world.c.data), *got_other = api_result(&world, other);
    assert_int_equal(api_wrong(&world, got, 3, 0), 0);
    assert_int_equal(api_wrong(&world, got_other, -2, 0), 0);
    assert_int_not_equal(api_wrong(&world, got, 1, 0), 0); /* the check can fail */
    free(got_other);
    free(got);
    triage_device_release(context, other);
    api_destroy(&world);
}

/* One matrix with several widths: the first columns of B and C, so that pointers and ld stay the same. */
static inline void api_run_widths(triage_context *context, const api_case *test) {
    api_world world;
    api_build(&world, context, test);
    for (int64_t n = test->n; n >= 1; n -= test->n / 3) {
        world.b.cols = world.c.cols = bsr_of(&world.problem)->n = n;
        assert_int_equal(triage_device_upload(context, world.c.data, world.c_host, world.c_bytes), TRIAGE_OK);
        assert_int_equal(triage_bsr_gemm(context, 1, world.a, &world.b, 0, &world.c, NULL, NULL), TRIAGE_OK);
        void *got = api_result(&world, world.c.data);
        assert_int_equal(api_wrong(&world, got, 1, 0), 0);
        assert_int_equal(api_touched(&world, got), 0);
        free(got);
    }
    api_destroy(&world);
}

static inline void api_run_linear(triage_context *context, triage_dtype dtype) {
    const api_case test = {.m = 96,
                           .n = 40,
                           .k = 128,
                           .block = 32,
                           .sparsity = 0.5,
                           .in = dtype,
                           .out = dtype,
                           .b_layout = TRIAGE_COL_MAJOR,
                           .c_layout = TRIAGE_COL_MAJOR,
                           .activation = TRIAGE_ACT_SILU,
                           .bias = true,
                           .alpha = 1};
    api_world world;
    api_build(&world, context, &test);
    triage_dense x = {world.b.data, test.n, test.k, world.b.ld, dtype, TRIAGE_ROW_MAJOR};
    triage_dense y = {world.c.data, test.n, test.m, world.c.ld, dtype, TRIAGE_ROW_MAJOR};
    triage_status status = triage_bsr_linear(context, world.a, &x, &y, &world.epilogue, NULL);
    if (status != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    void *got = api_result(&world, y.data);
    assert_int_equal(api_wrong(&world, got, 1, 0), 0);
    free(got);
    x.layout = TRIAGE_COL_MAJOR;
    assert_int_equal(triage_bsr_linear(context, world.a, &x, &y, NULL, NULL), TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), "x is not row-major; both x and y must be");
    x.layout = TRIAGE_ROW_MAJOR;
    y.rows--;
    assert_int_equal(triage_bsr_linear(context, world.a, &x, &y, NULL, NULL), TRIAGE_E_INVALID);
    api_destroy(&world);
}

/* ---- after the first call: nothing behind the lock ---- */

/* Compiling, allocating device memory, the space and the database are all behind the context's lock: a call
 * that gets through while somebody holds it has done none of them. A call that needs it hangs: alarm. */
static inline void api_run_without_lock(triage_context *context, const api_case *test) {
    api_world world;
    api_build(&world, context, test);
    assert_int_equal(triage_bsr_gemm(context, 1, world.a, &world.b, 0, &world.c, &world.epilogue, NULL),
                     TRIAGE_OK);
    pthread_mutex_lock(&context->lock);
    alarm(60);
    triage_status again = triage_bsr_gemm(context, 2, world.a, &world.b, 0, &world.c, &world.epilogue, NULL);
    alarm(0);
    pthread_mutex_unlock(&context->lock);
    assert_int_equal(again, TRIAGE_OK);
    void *got = api_result(&world, world.c.data);
    assert_int_equal(api_wrong(&world, got, 2, 0), 0);
    free(got);
    api_destroy(&world);
}

/* ---- eight threads, one matrix ---- */

enum { API_THREADS = 8, API_ROUNDS = 6 };

typedef struct api_thread {
    const api_world *world;
    pthread_barrier_t *start;
    triage_dense c; /* its own */
    float alpha;
    triage_status status;
    char message[160];
} api_thread;

static inline void *api_thread_main(void *user) {
    api_thread *self = user;
    pthread_barrier_wait(self->start);
    for (int i = 0; i < API_ROUNDS && self->status == TRIAGE_OK; i++)
        self->status = triage_bsr_gemm(self->world->context, self->alpha, self->world->a, &self->world->b, 0,
                                       &self->c, &self->world->epilogue, NULL);
    snprintf(self->message, sizeof self->message, "%s", triage_last_error());
    return NULL;
}

/* All meet at the first call, and then disturb each other's cached arguments with other pointers and alphas. */
static inline void api_run_threads(triage_context *context, const api_case *test) {
    api_world world;
    pthread_t threads[API_THREADS];
    api_thread states[API_THREADS];
    pthread_barrier_t start;
    api_build(&world, context, test);
    pthread_barrier_init(&start, NULL, API_THREADS);
    for (int i = 0; i < API_THREADS; i++) {
        states[i] = (api_thread){.world = &world, .start = &start, .c = world.c, .alpha = (float)(1 + i)};
        states[i].c.data = api_upload(context, world.c_host, world.c_bytes);
        assert_int_equal(pthread_create(&threads[i], NULL, api_thread_main, &states[i]), 0);
    }
    for (int i = 0; i < API_THREADS; i++)
        pthread_join(threads[i], NULL);
    int plans = 0;
    for (size_t i = 0; i < TRI_PLAN_BUCKETS; i++)
        for (const tri_plan *plan = atomic_load(&world.a->caller.plans[i]); plan; plan = plan->next)
            plans++;
    assert_int_equal(plans, 1); /* made once */
    for (int i = 0; i < API_THREADS; i++) {
        if (states[i].status != TRIAGE_OK)
            fail_msg("thread %d: %s", i, states[i].message);
        void *got = api_result(&world, states[i].c.data);
        assert_int_equal(api_wrong(&world, got, states[i].alpha, 0), 0);
        free(got);
        triage_device_release(context, states[i].c.data);
    }
    pthread_barrier_destroy(&start);
    api_destroy(&world);
}

#endif
