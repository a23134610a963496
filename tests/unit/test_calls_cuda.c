// links: triage counted
/* What calls on the cuda device do, counted on a driver and a compiler that are not there (support/fake_cuda): first
 * calls, later ones, captured ones, failing ones; of products and of attention. */
#include "support/fake_cuda/subject.h"

#include <semaphore.h>
#include <unistd.h>

#include "api/context.h"
#include "device/cuda/driver.h"
#include "pattern/pattern.h"

/* The driver, as an application has it. */
static const tri_cuda_driver *driver;

static int take_the_fakes_and_a_context(void **state) {
    CUcontext context = NULL;
    if (take_the_fakes(state) != 0)
        return -1;
    must(tri_cuda_driver_get(&driver));
    driver->primary_retain(&context, 0);
    return driver->context_push(context) == CUDA_SUCCESS ? 0 : -1;
}

static CUstream new_stream(void) {
    CUstream stream = NULL;
    assert_int_equal(driver->stream_create(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
    return stream;
}

/* What may happen while a stream is captured, and nothing else. */
static void expect_quiet(const tally *t) {
    static const int loud[] = {FAKE_memory_alloc, FAKE_memory_free,         FAKE_upload,
                               FAKE_download,     FAKE_module_load,         FAKE_module_unload,
                               FAKE_function_set, FAKE_context_synchronize, FAKE_stream_synchronize};
    for (size_t i = 0; i < sizeof loud / sizeof *loud; i++)
        assert_int_equal(t->driver[loud[i]], 0);
    assert_int_equal(t->compiles + t->database_steps + t->mistakes, 0);
}

/* ---- later calls ---- */

static void a_later_call_is_one_launch(void **state) {
    (void)state;
    triage_context *context = open_fake(NULL, NULL, NULL);
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        subject s = make_subject(context, w, 128);
        tally before = now();
        must(run(&s, NULL));
        tally first = since(&before);
        assert_int_equal(first.launches, 1);
        assert_int_equal(first.compiles, 1);
        assert_true(first.mutexes > 0 && first.allocations > 0); /* the counts can fail */
        if (w == PRODUCT)
            assert_true(first.database_steps > 0);
        before = now();
        must(run(&s, NULL));
        tally later = since(&before);
        expect_quiet(&later);
        assert_int_equal(later.launches, 1);
        assert_int_equal(all_driver_calls(&later), 2); /* which context is current, and the launch */
        assert_int_equal(later.mutexes + later.allocations, 0);
        free_subject(&s);
    }
    triage_context_free(context);
}

/* 4096 x 11008, blocks of 128 at sparsity 0.9, 16 columns: as it was drawn for the shipped evidence. */
static void make_shipped(subject *s) {
    tri_pattern pattern;
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    must(tri_pattern_random(&pattern, 32, 86, 0.9, 1));
    desc.rows = 4096, desc.cols = 11008;
    desc.block_rows = desc.block_cols = 128;
    desc.nnzb = pattern.nnzb;
    desc.row_ptr = pattern.row_ptr, desc.col_idx = pattern.col_idx;
    desc.values = calloc((size_t)pattern.nnzb, 2 * 128 * 128);
    must(triage_bsr_matrix_create(&s->a, s->context, &desc));
    must(triage_device_alloc(&s->memory, s->context, 2 * 16 * (4096 + 11008)));
    s->b = (triage_dense){s->memory, 11008, 16, 16, TRIAGE_F16, TRIAGE_ROW_MAJOR};
    s->c = (triage_dense){(char *)s->memory + 2 * 16 * 11008, 4096, 16, 16, TRIAGE_F16, TRIAGE_ROW_MAJOR};
    free((void *)(uintptr_t)desc.values);
    tri_pattern_free(&pattern);
}

/* What is answered exactly by what is shipped is not also predicted: learning would take longer than all the rest. */
static void an_exact_answer_learns_nothing(void **state) {
    (void)state;
    triage_context *context = open_fake(NULL, NULL, NULL);
    subject s = {.which = PRODUCT, .context = context}, other = make_subject(context, PRODUCT, 128);
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    make_shipped(&s);
    must(choose(&choice, &s));
    assert_int_equal(choice.source, TRIAGE_SOURCE_EXACT);
    assert_false(context->asked_predictor[0]);
    must(choose(&choice, &other));
    assert_int_not_equal(choice.source, TRIAGE_SOURCE_EXACT);
    assert_true(context->asked_predictor[0]);
    free_subject(&s);
    free_subject(&other);
    triage_context_free(context);
}

/* Other buffers on the same plan: new arguments, and no more. */
static void other_buffers_compile_nothing(void **state) {
    (void)state;
    triage_context *context = open_fake(NULL, NULL, NULL);
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        subject s = make_subject(context, w, 128), other = make_subject(context, w, 128);
        must(run(&s, NULL));
        tally before = now();
        s.b.data = other.b.data, s.call.q = other.call.q;
        must(run(&s, NULL));
        tally later = since(&before);
        expect_quiet(&later);
        assert_int_equal(later.launches, 1);
        assert_int_equal(later.mutexes, 0);
        free_subject(&other);
        free_subject(&s);
    }
    triage_context_free(context);
}

/* ---- graphs ---- */

static void begin_capture(CUstream stream) {
    assert_int_equal(driver->capture_begin(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), CUDA_SUCCESS);
}

static CUgraph end_capture(CUstream stream) {
    CUgraph graph = NULL;
    CUstreamCaptureStatus active = CU_STREAM_CAPTURE_STATUS_NONE;
    assert_int_equal(driver->capture_status(stream, &active), CUDA_SUCCESS);
    assert_int_equal(active, 1); /* active, not invalidated */
    assert_int_equal(driver->capture_end(stream, &graph), CUDA_SUCCESS);
    return graph;
}

static void expect_refused(const subject *s, void *stream) {
    assert_int_equal(run(s, stream), TRIAGE_E_CAPTURE);
    assert_non_null(strstr(triage_last_error(), prepare_of[s->which]));
}

static void a_first_call_leaves_a_capture_whole(void **state) {
    (void)state;
    triage_context *context = open_fake(NULL, NULL, NULL);
    CUstream stream = new_stream();
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        subject s = make_subject(context, w, 128);
        begin_capture(stream);
        tally before = now();
        expect_refused(&s, stream);
        assert_int_equal(prepare(&s, stream), TRIAGE_E_CAPTURE);
        tally meanwhile = since(&before);
        expect_quiet(&meanwhile);
        driver->graph_destroy(end_capture(stream));
        must(run(&s, stream)); /* and nothing stays of it */
        free_subject(&s);
    }
    driver->stream_destroy(stream);
    triage_context_free(context);
}

/* A call on the null stream would break what another stream captures. */
static void the_null_stream_is_asked_too(void **state) {
    (void)state;
    triage_context *context = open_fake(NULL, NULL, NULL);
    CUstream stream = new_stream();
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        subject s = make_subject(context, w, 128);
        begin_capture(stream);
        expect_refused(&s, NULL);
        driver->graph_destroy(end_capture(stream));
        free_subject(&s);
    }
    driver->stream_destroy(stream);
    triage_context_free(context);
}

static void a_prepared_call_is_captured_and_replayed(void **state) {
    (void)state;
    triage_context *context = open_fake(NULL, NULL, NULL);
    CUstream stream = new_stream();
    cuda->args_bytes = 256;
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        subject s = make_subject(context, w, 128);
        CUgraphExec exec = NULL;
        tally before = now();
        must(prepare(&s, stream));
        assert_int_equal(since(&before).launches, 0);
        begin_capture(stream);
        before = now();
        must(run(&s, stream));
        tally captured = since(&before);
        expect_quiet(&captured);
        assert_int_equal(captured.driver[FAKE_launch], 1);
        assert_int_equal(captured.launches + captured.mutexes + captured.allocations, 0);
        CUgraph graph = end_capture(stream);
        assert_int_equal(driver->graph_instantiate(&exec, graph, 0), CUDA_SUCCESS);
        memset(&cuda->last, 0, sizeof cuda->last);
        before = now();
        for (int i = 0; i < 3; i++)
            assert_int_equal(driver->graph_launch(exec, stream), CUDA_SUCCESS);
        assert_int_equal(since(&before).launches, 3);
        fake_launch replayed = cuda->last;
        must(run(&s, stream));
        assert_memory_equal(&cuda->last, &replayed, sizeof replayed); /* as a call does it */
        driver->graph_exec_destroy(exec);
        driver->graph_destroy(graph);
        free_subject(&s);
    }
    cuda->args_bytes = 0;
    driver->stream_destroy(stream);
    triage_context_free(context);
}

/* ---- the log ---- */

typedef struct listener {
    const subject *same, *other;
    int lines, calls;
    char text[200];
} listener;

/* As an application may: it calls what has just logged, and something new. */
static void call_back(void *user, triage_log_level level, const char *line) {
    listener *l = user;
    (void)level;
    snprintf(l->text, sizeof l->text, "%s", line);
    if (l->lines++ > 0 || !l->same)
        return;
    must(run(l->same, NULL));
    must(run(l->other, NULL));
    l->calls += 2;
    assert_int_equal(triage_bsr_gemm(NULL, 1, NULL, NULL, 0, NULL, NULL, NULL), TRIAGE_E_INVALID);
}

static int fail_once(void *user, const char *name, const char *text) {
    int *left = user;
    (void)name, (void)text;
    return (*left)-- > 0 ? 6 : 0;
}

static void a_callback_may_call(void **state) {
    (void)state;
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        listener l = {0};
        int failures = 1;
        triage_context *context = open_fake("/nowhere/triage.db", call_back, &l);
        assert_non_null(strstr(l.text, "no database"));
        subject s = make_subject(context, w, 128), other = make_subject(context, SUBJECTS - 1 - w, 128);
        l = (listener){.same = &s, .other = &other};
        setenv("FAKE_NVRTC_LOG", "k.cu(1): error: no such thing",
               1); /* the text's fault, not the machine's */
        nvrtc->on_compile = fail_once, nvrtc->user = &failures;
        alarm(60); /* a lock that is held hangs */
        triage_status status = run(&s, NULL);
        alarm(0);
        nvrtc->on_compile = NULL;
        unsetenv("FAKE_NVRTC_LOG");
        must(status); /* the shipped kernel does not compile, the default does: a line in between */
        assert_int_equal(l.calls, 2);
        assert_non_null(strstr(l.text, "using the default"));
        free_subject(&other);
        free_subject(&s);
        triage_context_free(context);
    }
}

/* ---- first calls at once ---- */

typedef struct gate {
    sem_t reached, open;
    atomic_int closed;
} gate;

/* Holds the compile that comes first. */
static int wait_at_gate(void *user, const char *name, const char *text) {
    gate *g = user;
    (void)name, (void)text;
    if (atomic_fetch_sub(&g->closed, 1) == 1) {
        sem_post(&g->reached);
        sem_wait(&g->open);
    }
    return 0;
}

static void *run_in_thread(void *user) {
    return (void *)(intptr_t)run(user, NULL);
}

/* While one compiles, another problem is called from nothing to the end, and who wants the first waits for it. */
static void a_first_call_stalls_no_other(void **state) {
    (void)state;
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        triage_context *context = open_fake(NULL, NULL, NULL);
        subject slow = make_subject(context, w, 128), quick = make_subject(context, SUBJECTS - 1 - w, 128);
        gate g = {.closed = 1};
        pthread_t first, second;
        void *status;
        sem_init(&g.reached, 0, 0);
        sem_init(&g.open, 0, 0);
        nvrtc->on_compile = wait_at_gate, nvrtc->user = &g;
        tally before = now();
        pthread_create(&first, NULL, run_in_thread, &slow);
        sem_wait(&g.reached);
        pthread_create(&second, NULL, run_in_thread, &slow);
        alarm(60);
        must(run(&quick, NULL));
        alarm(0);
        assert_int_equal(since(&before).compiles, 2);
        assert_int_equal(since(&before).launches,
                         1); /* of the quick one: neither of the others has got through */
        sem_post(&g.open);
        pthread_join(first, &status);
        assert_ptr_equal(status, NULL);
        pthread_join(second, &status);
        assert_ptr_equal(status, NULL);
        assert_int_equal(since(&before).compiles, 2);
        assert_int_equal(since(&before).launches, 3);
        nvrtc->on_compile = NULL;
        free_subject(&quick);
        free_subject(&slow);
        triage_context_free(context);
    }
}

/* ---- failures ---- */

/* Each call of a kind fails once: a status and its line, nothing left, and the next call works. n: make_subject's. */
static void expect_each_to_fail(kind_of_subject w, int64_t n, int call, CUresult result, triage_status want,
                                const char *line) {
    for (int at = 1;; at++) {
        triage_context *context = open_fake(NULL, NULL, NULL);
        subject s = make_subject(context, w, n);
        cuda->fail_call = call, cuda->fail_with = result, cuda->fail_at = at;
        triage_status status = run(&s, NULL);
        const bool failed = cuda->fail_at == 0;
        cuda->fail_at = 0;
        assert_int_equal(status, failed ? want : TRIAGE_OK);
        if (failed && !strstr(triage_last_error(), line))
            fail_msg("%s is not in: %s", line, triage_last_error());
        must(run(&s, NULL));
        free_subject(&s);
        triage_context_free(context);
        if (!failed) {
            assert_true(at > 1); /* there was such a call */
            return;
        }
    }
}

static void trouble_of_the_device_is_told(void **state) {
    (void)state;
    expect_each_to_fail(PRODUCT, 128, FAKE_memory_alloc, CUDA_ERROR_OUT_OF_MEMORY, TRIAGE_E_MEMORY,
                        "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY");
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        expect_each_to_fail(w, 128, FAKE_launch, CUDA_ERROR_DEVICE_UNAVAILABLE, TRIAGE_E_NO_DEVICE,
                            "cuLaunchKernelEx: CUDA_ERROR_DEVICE_UNAVAILABLE");
        expect_each_to_fail(w, 2048 /* few columns go to a kernel of plain pointers */, FAKE_tensor_map,
                            CUDA_ERROR_INVALID_VALUE, TRIAGE_E_DEVICE, "cuTensorMapEncodeTiled");
    }
}

/* A kernel went wrong: the launch could not know, who waits hears of it, and so does every call from then on. */
static void what_fails_later_is_told_later(void **state) {
    (void)state;
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        triage_context *context = open_fake(NULL, NULL, NULL);
        subject s = make_subject(context, w, 128);
        must(run(&s, NULL));
        cuda->fails_later = CUDA_ERROR_ILLEGAL_ADDRESS;
        must(run(&s, NULL));
        assert_int_equal(triage_device_synchronize(context), TRIAGE_E_DEVICE);
        assert_non_null(strstr(triage_last_error(), "CUDA_ERROR_ILLEGAL_ADDRESS"));
        assert_int_equal(run(&s, NULL), TRIAGE_E_DEVICE);
        assert_non_null(strstr(triage_last_error(), "CUDA_ERROR_ILLEGAL_ADDRESS"));
        free_subject(&s);
        triage_context_free(context);
        cuda->fails_later = CUDA_SUCCESS;
    }
}

/* ---- whose context, whose arrays ---- */

/* The application lets its context go before the library does. */
static void a_borrowed_primary_context_is_retained(void **state) {
    (void)state;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT; /* "auto": what is current */
    triage_context *context = NULL;
    CUcontext primary = NULL;
    must(triage_context_open(&context, &options));
    assert_int_equal(cuda->primary[0], 2);
    driver->primary_release(0);
    subject s = make_subject(context, PRODUCT, 64);
    must(run(&s, NULL));
    free_subject(&s);
    driver->primary_retain(&primary, 0);
    triage_context_free(context);
    assert_int_equal(cuda->primary[0], 1);
}

typedef struct pending {
    int32_t *row_ptr, *col_idx; /* on the device, not written yet */
} pending;

static void finish(void *user) {
    const pending *p = user;
    for (int32_t i = 0; i <= 2; i++)
        p->row_ptr[i] = i;
    p->col_idx[0] = p->col_idx[1] = 0;
}

static void arrays_that_are_still_written_are_waited_for(void **state) {
    (void)state;
    triage_context *context = open_fake(NULL, NULL, NULL);
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    triage_bsr_matrix *a = NULL;
    void *memory = NULL;
    must(triage_device_alloc(&memory, context, 65536));
    pending p = {memory, (int32_t *)memory + 64};
    desc.rows = 64, desc.cols = 32, desc.block_rows = desc.block_cols = 32, desc.nnzb = 2;
    desc.memory = TRIAGE_MEMORY_DEVICE;
    desc.row_ptr = p.row_ptr, desc.col_idx = p.col_idx, desc.values = (char *)memory + 4096;
    cuda->on_wait = finish, cuda->user = &p;
    must(triage_bsr_matrix_create(&a, context, &desc));
    cuda->on_wait = NULL;
    triage_bsr_matrix_free(a);
    triage_device_release(context, memory);
    triage_context_free(context);
}

static void no_columns_are_a_product_of_nothing(void **state) {
    (void)state;
    triage_context *context = open_fake(NULL, NULL, NULL);
    subject s = make_subject(context, PRODUCT, 64);
    tally before = now();
    s.b.cols = s.c.cols = s.b.ld = s.c.ld = 0;
    s.b.data = s.c.data = NULL;
    must(run(&s, NULL));
    must(prepare(&s, NULL));
    triage_dense x = {NULL, 0, 256, 256, TRIAGE_F16, TRIAGE_ROW_MAJOR}, y = x;
    must(triage_bsr_linear(context, s.a, &x, &y, NULL, NULL));
    tally nothing = since(&before);
    assert_int_equal(all_driver_calls(&nothing), 0);
    s.c.cols = 1;
    assert_int_equal(run(&s, NULL), TRIAGE_E_INVALID);
    free_subject(&s);
    triage_context_free(context);
}

/* ---- nothing is left ---- */

static void all_is_given_back(void **state) {
    (void)state;
    assert_int_equal(cuda->memories + cuda->modules + cuda->streams + cuda->events + cuda->graphs, 0);
    assert_int_equal(cuda->primary[0], 1); /* the test's own */
    assert_int_equal(cuda->mistakes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_later_call_is_one_launch),
        cmocka_unit_test(an_exact_answer_learns_nothing),
        cmocka_unit_test(other_buffers_compile_nothing),
        cmocka_unit_test(a_first_call_leaves_a_capture_whole),
        cmocka_unit_test(the_null_stream_is_asked_too),
        cmocka_unit_test(a_prepared_call_is_captured_and_replayed),
        cmocka_unit_test(a_callback_may_call),
        cmocka_unit_test(a_first_call_stalls_no_other),
        cmocka_unit_test(trouble_of_the_device_is_told),
        cmocka_unit_test(what_fails_later_is_told_later),
        cmocka_unit_test(a_borrowed_primary_context_is_retained),
        cmocka_unit_test(arrays_that_are_still_written_are_waited_for),
        cmocka_unit_test(no_columns_are_a_product_of_nothing),
        cmocka_unit_test(all_is_given_back), /* of all of them */
    };
    return cmocka_run_group_tests_name("calls on a fake CUDA", tests, take_the_fakes_and_a_context, NULL);
}
