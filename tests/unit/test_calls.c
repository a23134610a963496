/* The calls that a matrix keeps: what is taken is whole, and of the call asked for in every part. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/bsr_gemm/bsr_gemm.h"

enum { THREADS = 6, ROUNDS = 100000 };

static tri_caller caller;
static tri_plan plan; /* only compared, and asked which stream it serves */

static int make(void **state) {
    (void)state;
    return tri_caller_open(&caller, &tri_bsr_gemm_calls, NULL, NULL) == TRIAGE_OK ? 0 : -1;
}

static int unmake(void **state) {
    (void)state;
    tri_caller_close(&caller);
    return 0;
}

/* ---- a call and an argument block, each of a number ---- */

typedef struct example {
    triage_dense b, c;
    triage_epilogue epilogue;
    tri_bsr_call call;
} example;

static void describe(example *out, uint64_t number) {
    *out = (example){.b = {(void *)(uintptr_t)(number * 4096), 64, 8, 8, TRIAGE_F16, TRIAGE_ROW_MAJOR},
                     .c = {(void *)(uintptr_t)(number * 8192), 32, 8, 8, TRIAGE_F16, TRIAGE_ROW_MAJOR},
                     .epilogue = TRIAGE_EPILOGUE_INIT};
    out->call = (tri_bsr_call){.b = &out->b, .c = &out->c, .alpha = 1};
}

static void fill(tri_bsr_gemm_args *out, uint64_t number) {
    uint64_t words[sizeof *out / sizeof(uint64_t)];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        words[i] = number * 1000 + i;
    memcpy(out, words, sizeof words);
}

static bool is_block_of(const tri_bsr_gemm_args *args, uint64_t number) {
    tri_bsr_gemm_args want;
    fill(&want, number);
    return memcmp(args, &want, sizeof want) == 0;
}

static void put_for(tri_plan *by, const tri_bsr_call *call, uint64_t number) {
    tri_bsr_served_call made = {.served.plan = by, .alpha = call->alpha, .beta = call->beta};
    made.b = *call->b;
    made.c = *call->c;
    made.has_epilogue = call->epilogue != NULL;
    if (call->epilogue)
        made.epilogue = *call->epilogue;
    fill(&made.args, number);
    tri_calls_put(&caller, &made.served, call);
}

static void put(const tri_bsr_call *call, uint64_t number) {
    put_for(&plan, call, number);
}

static tri_bsr_served_call *take(const tri_bsr_call *call, const void *stream) {
    return (tri_bsr_served_call *)tri_calls_take(&caller, &tri_bsr_gemm_calls, call, stream);
}

/* Taken, looked at, given back. */
static bool has(const tri_bsr_call *call, uint64_t number) {
    tri_bsr_served_call *known = take(call, NULL);
    if (!known)
        return false;
    assert_ptr_equal(known->served.plan, &plan);
    assert_true(is_block_of(&known->args, number));
    tri_calls_give_back(&known->served);
    return true;
}

/* ---- one call ---- */

static void empty_at_first(void **state) {
    (void)state;
    example zero = {0};
    zero.call = (tri_bsr_call){.b = &zero.b, .c = &zero.c};
    assert_false(has(&zero.call, 0));
}

static tri_bsr_served_call *place_of(const tri_bsr_call *call) {
    tri_bsr_served_call *known = take(call, NULL);
    assert_non_null(known);
    tri_calls_give_back(&known->served);
    return known;
}

/* Everything that is passed tells calls apart, whatever they hash to: a call that is not the known one is checked
 * anew, and may be refused. (The first call is put where the other one was: as if they had one hash.) */
#define EXPECT_OTHER(change)                                                                                 \
    do {                                                                                                     \
        example first, e;                                                                                    \
        describe(&first, 1);                                                                                 \
        describe(&e, 1);                                                                                     \
        first.call.epilogue = &first.epilogue;                                                               \
        e.call.epilogue = &e.epilogue;                                                                       \
        change;                                                                                              \
        put(&first.call, 1);                                                                                 \
        if (has(&e.call, 1))                                                                                 \
            fail_msg("taken for the known call: %s", #change);                                               \
        put(&e.call, 2);                                                                                     \
        *place_of(&e.call) = *place_of(&first.call);                                                         \
        if (has(&e.call, 1))                                                                                 \
            fail_msg("with one hash, taken for the known call: %s", #change);                                \
        unmake(NULL);                                                                                        \
        make(NULL);                                                                                          \
    } while (0)

static void answers_its_call_only(void **state) {
    (void)state;
    EXPECT_OTHER(e.call.alpha = 2);
    EXPECT_OTHER(e.call.beta = 1);
    EXPECT_OTHER(e.call.beta = -0.0f);
    EXPECT_OTHER(e.call.epilogue = NULL);
    EXPECT_OTHER(e.b.data = e.c.data);
    EXPECT_OTHER(e.b.rows++);
    EXPECT_OTHER(e.b.cols++);
    EXPECT_OTHER(e.b.ld++);
    EXPECT_OTHER(e.b.dtype = TRIAGE_BF16);
    EXPECT_OTHER(e.b.layout = TRIAGE_COL_MAJOR);
    EXPECT_OTHER(e.c.data = e.b.data);
    EXPECT_OTHER(e.c.rows++);
    EXPECT_OTHER(e.c.cols++);
    EXPECT_OTHER(e.c.ld++);
    EXPECT_OTHER(e.c.dtype = TRIAGE_BF16);
    EXPECT_OTHER(e.c.layout = TRIAGE_COL_MAJOR);
    EXPECT_OTHER(e.epilogue.version++);
    EXPECT_OTHER(e.epilogue.bias = &e);
    EXPECT_OTHER(e.epilogue.activation = TRIAGE_ACT_SILU);
    EXPECT_OTHER(e.epilogue.scale_a = &e.call.alpha);
    EXPECT_OTHER(e.epilogue.scale_b = &e.call.alpha);
    EXPECT_OTHER(e.epilogue.scale_a_per_block = 1);
}

/* An epilogue of zeros has no version, so it is refused: no epilogue at all is another call. */
static void no_epilogue_is_not_an_empty_one(void **state) {
    (void)state;
    example e;
    describe(&e, 1);
    put(&e.call, 1);
    assert_true(has(&e.call, 1));
    memset(&e.epilogue, 0, sizeof e.epilogue);
    e.call.epilogue = &e.epilogue;
    assert_false(has(&e.call, 1));
}

/* What lies in the holes of the caller's struct does not count, and a NaN is itself. */
static void the_same_call_is_known(void **state) {
    (void)state;
    example e;
    triage_epilogue dirty;
    describe(&e, 1);
    e.call.alpha = __builtin_nanf("");
    e.call.epilogue = &e.epilogue;
    put(&e.call, 1);
    memset(&dirty, 0xff, sizeof dirty);
    dirty.version = TRIAGE_EPILOGUE_VERSION;
    dirty.bias = NULL;
    dirty.activation = TRIAGE_ACT_NONE;
    dirty.scale_a = dirty.scale_b = NULL;
    dirty.scale_a_per_block = 0;
    e.call.epilogue = &dirty;
    assert_true(has(&e.call, 1));
}

static void a_workspace_serves_its_stream_only(void **state) {
    (void)state;
    example e;
    tri_plan own = {.own_kernel = true, .stream = &own};
    describe(&e, 1);
    put_for(&own, &e.call, 1);
    assert_null(take(&e.call, NULL));
    tri_bsr_served_call *known = take(&e.call, &own);
    assert_non_null(known);
    tri_calls_give_back(&known->served);
    assert_int_equal(atomic_load(&known->served.users), 0);
}

/* ---- several ---- */

/* Sixteen threads on one plan, each with its own buffers, in the ways that allocators place them: all are kept. */
static void sixteen_calls_are_kept(void **state) {
    (void)state;
    static const uint64_t strides[] = {512, 1 << 21, 3 << 20, 0x1230000};
    for (size_t s = 0; s < sizeof strides / sizeof strides[0]; s++) {
        int kept = 0;
        for (int turn = 0; turn < 2; turn++)
            for (uint64_t i = 0; i < 16; i++) {
                example e;
                describe(&e, 1);
                e.b.data = (void *)(uintptr_t)0x7f0000000000;
                e.c.data = (void *)(uintptr_t)(0x7f1000000000 + i * strides[s]);
                if (has(&e.call, i))
                    kept += turn;
                else
                    put(&e.call, i);
            }
        assert_int_equal(kept, 16);
        unmake(NULL);
        make(NULL);
    }
}

/* More than there is room for: the newest is there, and nothing is another's. */
static void many_calls_are_never_mixed_up(void **state) {
    (void)state;
    for (uint64_t i = 1; i < 2000; i++) {
        example e, old;
        describe(&e, i);
        describe(&old, 1 + i / 2);
        put(&e.call, i);
        assert_true(has(&e.call, i));
        has(&old.call, 1 + i / 2);
    }
}

/* A call in use stays what it is however many others come; those are not kept in its place, and wait for nothing. */
static void a_call_in_use_is_left_alone(void **state) {
    (void)state;
    example first;
    describe(&first, 1);
    put(&first.call, 1);
    tri_bsr_served_call *known = take(&first.call, NULL);
    assert_non_null(known);
    for (uint64_t i = 2; i < 2000; i++) {
        example e;
        describe(&e, i);
        put(&e.call, i);
        assert_true(is_block_of(&known->args, 1));
    }
    assert_true(has(&first.call, 1)); /* two readers at once */
    tri_calls_give_back(&known->served);
    assert_int_equal(atomic_load(&known->served.users), 0);
    for (uint64_t i = 2; i < 2000; i++) {
        example e;
        describe(&e, i);
        put(&e.call, i);
    }
    assert_false(has(&first.call, 1)); /* and then its place is free */
}

/* While somebody writes, others neither read nor write, and do not wait. */
static void a_write_under_way_is_left_alone(void **state) {
    (void)state;
    example e;
    describe(&e, 1);
    put(&e.call, 1);
    tri_bsr_served_call *known = take(&e.call, NULL);
    assert_non_null(known);
    tri_calls_give_back(&known->served);
    atomic_fetch_add(&known->served.users, UINT32_C(1) << 31);
    assert_false(has(&e.call, 1));
    assert_int_equal(atomic_load(&known->served.users), UINT32_C(1) << 31);
    atomic_fetch_sub(&known->served.users, UINT32_C(1) << 31);
    assert_true(has(&e.call, 1));
}

/* ---- threads ---- */

typedef struct worker {
    uint64_t number;
    int64_t torn, hits;
} worker;

/* Few places for many calls, so that each overwrites the others' all the time. */
static void *work(void *user) {
    worker *self = user;
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t number = 1 + (self->number + (uint64_t)(i / 16)) % 7;
        example e;
        describe(&e, 1);
        e.b.ld += (int64_t)number; /* not hashed: all in one set */
        tri_bsr_served_call *known = take(&e.call, NULL);
        if (known) {
            self->hits++;
            self->torn += !is_block_of(&known->args, number);
            tri_calls_give_back(&known->served);
        } else {
            put(&e.call, number);
        }
    }
    return NULL;
}

static void nothing_is_torn(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    worker workers[THREADS];
    int64_t hits = 0;
    for (uint64_t i = 0; i < THREADS; i++) {
        workers[i] = (worker){.number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].torn, 0);
        hits += workers[i].hits;
    }
    assert_true(hits > 0);
    for (size_t i = 0; i < TRI_CALL_SETS * TRI_CALL_WAYS; i++)
        assert_int_equal(
            atomic_load(
                &tri_calls_at(&caller, &tri_bsr_gemm_calls, i / TRI_CALL_WAYS, i % TRI_CALL_WAYS)->users),
            0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, unmake)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(empty_at_first),
        TEST(answers_its_call_only),
        TEST(no_epilogue_is_not_an_empty_one),
        TEST(the_same_call_is_known),
        TEST(a_workspace_serves_its_stream_only),
        TEST(sixteen_calls_are_kept),
        TEST(many_calls_are_never_mixed_up),
        TEST(a_call_in_use_is_left_alone),
        TEST(a_write_under_way_is_left_alone),
        TEST(nothing_is_torn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
