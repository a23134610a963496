/* A product and an attention on the fake driver, to be called in the same ways; and what a call does, counted.
 *
 * What is counted beside the driver's calls needs `links: ... counted` in the test's first lines (tests/CMakeLists.txt): the
 * linker then leads the library's calls of malloc, pthread_mutex_lock, sqlite3_step here. */
#ifndef TRIAGE_TESTS_FAKE_CUDA_SUBJECT_H
#define TRIAGE_TESTS_FAKE_CUDA_SUBJECT_H

#include "support/check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "support/fake_cuda/fake_cuda.h"
#include "support/fake_cuda/fake_nvrtc.h"

#define FAKE_CUDA TRI_BINARY_DIR "/fake_cuda"

static fake_cuda *cuda;
static fake_nvrtc *nvrtc;

/* A cmocka group's setup. */
static int take_the_fakes(void **state) {
    (void)state;
    cuda = fake_cuda_load(FAKE_CUDA "/libcuda.so.1");
    nvrtc = fake_nvrtc_load(FAKE_CUDA "/toolkit/lib64/libnvrtc.so.13");
    return cuda && nvrtc && tri_device_set_tools("cuda", FAKE_CUDA "/toolkit") == TRIAGE_OK ? 0 : -1;
}

/* ---- one that is called ---- */

typedef enum kind_of_subject { PRODUCT, ATTENTION, SUBJECTS } kind_of_subject;
static const char *const prepare_of[SUBJECTS] = {"triage_bsr_gemm_prepare", "triage_attention_prepare"};

typedef struct subject {
    kind_of_subject which;
    triage_context *context;
    triage_bsr_matrix *a;
    triage_dense b, c;
    triage_attention *attention;
    triage_attention_call call;
    void *memory;
} subject;

static inline triage_context *open_fake(const char *db_path, triage_log_fn log, void *log_user) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_context *context = NULL;
    options.device = "cuda:0";
    options.db_path = db_path;
    options.log = log;
    options.log_user = log_user;
    must(triage_context_open(&context, &options));
    return context;
}

/* 256 x n x 256 in f16, two blocks of 32 in each block row, n columns. */
static inline void make_product(subject *s, int64_t n) {
    enum { kSize = 256, kBlock = 32, kRows = kSize / kBlock };
    static uint16_t values[2 * kRows * kBlock * kBlock];
    int32_t row_ptr[kRows + 1], col_idx[2 * kRows];
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    for (int i = 0; i <= kRows; i++)
        row_ptr[i] = 2 * i;
    for (int i = 0; i < 2 * kRows; i++)
        col_idx[i] = i % 2 ? kRows - 1 : (i / 2) % (kRows - 1);
    desc.rows = desc.cols = kSize;
    desc.block_rows = desc.block_cols = kBlock;
    desc.nnzb = 2 * kRows;
    desc.row_ptr = row_ptr, desc.col_idx = col_idx, desc.values = values;
    must(triage_bsr_matrix_create(&s->a, s->context, &desc));
    must(triage_device_alloc(&s->memory, s->context, (size_t)(2 * 2 * kSize * n)));
    s->b = (triage_dense){s->memory, kSize, n, n, TRIAGE_F16, TRIAGE_ROW_MAJOR};
    s->c = (triage_dense){(char *)s->memory + 2 * kSize * n, kSize, n, n, TRIAGE_F16, TRIAGE_ROW_MAJOR};
}

/* 2 sequences, 4 heads of n queries and keys, 64 elements. */
static inline void make_attention(subject *s, int64_t n) {
    triage_attention_desc desc = TRIAGE_ATTENTION_DESC_INIT;
    const int64_t head = 64 * n, batch = 4 * head;
    triage_tensor *const tensors[] = {&s->call.q, &s->call.k, &s->call.v, &s->call.o};
    desc.batch = 2, desc.heads_q = desc.heads_kv = 4, desc.max_q = desc.max_k = n;
    desc.head_dim = desc.head_dim_v = 64;
    must(triage_attention_create(&s->attention, s->context, &desc));
    must(triage_device_alloc(&s->memory, s->context, (size_t)(4 * 2 * 2 * batch)));
    s->call = (triage_attention_call)TRIAGE_ATTENTION_CALL_INIT;
    for (int i = 0; i < 4; i++)
        *tensors[i] = (triage_tensor){(char *)s->memory + i * 2 * 2 * batch, batch, head, 64};
}

/* n tells problems apart: a multiple of 64. */
static inline subject make_subject(triage_context *context, kind_of_subject which, int64_t n) {
    subject s = {.which = which, .context = context};
    if (which == PRODUCT)
        make_product(&s, n);
    else
        make_attention(&s, n);
    return s;
}

static inline void free_subject(subject *s) {
    triage_device_release(s->context, s->memory);
    triage_bsr_matrix_free(s->a);
    triage_attention_free(s->attention);
}

static inline triage_status run(const subject *s, void *stream) {
    return s->which == PRODUCT ? triage_bsr_gemm(s->context, 1, s->a, &s->b, 0, &s->c, NULL, stream)
                               : triage_attention_run(s->attention, &s->call, stream);
}

static inline triage_status prepare(const subject *s, void *stream) {
    return s->which == PRODUCT ? triage_bsr_gemm_prepare(s->context, 1, s->a, &s->b, 0, &s->c, NULL, stream)
                               : triage_attention_prepare(s->attention, &s->call, stream);
}

static inline triage_status choose(triage_choice *out, const subject *s) {
    return s->which == PRODUCT ? triage_bsr_gemm_choice(out, s->context, s->a, &s->b, &s->c, NULL)
                               : triage_attention_choice(out, s->attention, &s->call);
}

/* ---- what happened meanwhile ---- */

typedef struct tally {
    long driver[FAKE_CALLS], compiles, mistakes, launches;
    long mutexes, allocations, database_steps; /* of this thread */
} tally;

#ifdef TRIAGE_COUNTED
static _Thread_local long mutexes, allocations, database_steps;

#define WRAP(counter, result, name, parameters, arguments)                                                   \
    result __real_##name parameters;                                                                         \
    result __wrap_##name parameters;                                                                         \
    result __wrap_##name parameters {                                                                        \
        counter++;                                                                                           \
        return __real_##name arguments;                                                                      \
    }
struct sqlite3_stmt;
WRAP(mutexes, int, pthread_mutex_lock, (pthread_mutex_t * mutex), (mutex))
WRAP(allocations, void *, malloc, (size_t size), (size))
WRAP(allocations, void *, calloc, (size_t count, size_t size), (count, size))
WRAP(allocations, void *, realloc, (void *memory, size_t size), (memory, size))
WRAP(allocations, void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size))
WRAP(database_steps, int, sqlite3_step, (struct sqlite3_stmt * statement), (statement))
#undef WRAP
#endif

static inline tally now(void) {
    tally t = {.compiles = nvrtc->compiles, .mistakes = cuda->mistakes, .launches = cuda->launches};
    for (int i = 0; i < FAKE_CALLS; i++)
        t.driver[i] = cuda->calls[i];
#ifdef TRIAGE_COUNTED
    t.mutexes = mutexes, t.allocations = allocations, t.database_steps = database_steps;
#endif
    return t;
}

static inline tally since(const tally *before) {
    tally t = now();
    for (int i = 0; i < FAKE_CALLS; i++)
        t.driver[i] -= before->driver[i];
    t.compiles -= before->compiles;
    t.mistakes -= before->mistakes;
    t.launches -= before->launches;
    t.mutexes -= before->mutexes;
    t.allocations -= before->allocations;
    t.database_steps -= before->database_steps;
    return t;
}

static inline long all_driver_calls(const tally *t) {
    long sum = 0;
    for (int i = 0; i < FAKE_CALLS; i++)
        sum += t->driver[i];
    return sum;
}

#endif
