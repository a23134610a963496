/* The sequence lock around a plan's arguments: what comes out is whole, and of the operands asked for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "run/plan.h"

enum { THREADS = 6, ROUNDS = 200000 };

static tri_args_cache cache;

static tri_operands operands_of(uint64_t number) {
    return (tri_operands){.b = number, .c = number * 3, .ldb = (int64_t)number, .alpha = (float)number};
}

static void fill(tri_args_block *out, uint64_t number) {
    for (size_t i = 0; i < TRI_ARGS_WORDS; i++)
        out->words[i] = number * 1000 + i;
}

static bool is_block_of(const tri_args_block *block, uint64_t number) {
    tri_args_block want;
    fill(&want, number);
    return memcmp(block, &want, sizeof want) == 0;
}

static void empty_at_first(void **state) {
    (void)state;
    tri_args_block block;
    tri_operands zero = {0};
    cache = (tri_args_cache){0};
    assert_false(tri_args_cache_get(&block, &cache, &zero)); /* an untouched cache equals no operands */
}

static void answers_its_operands_only(void **state) {
    (void)state;
    tri_args_block block, got;
    tri_operands one = operands_of(1), two = operands_of(2), beta = one;
    cache = (tri_args_cache){0};
    fill(&block, 1);
    tri_args_cache_put(&cache, &one, &block);
    assert_true(tri_args_cache_get(&got, &cache, &one));
    assert_true(is_block_of(&got, 1));
    assert_false(tri_args_cache_get(&got, &cache, &two));
    beta.beta = 0.5f;
    assert_false(tri_args_cache_get(&got, &cache, &beta));
}

/* While somebody writes, others neither read nor write, and do not wait. */
static void a_write_under_way_is_left_alone(void **state) {
    (void)state;
    tri_args_block block, got;
    tri_operands one = operands_of(1), two = operands_of(2);
    cache = (tri_args_cache){0};
    fill(&block, 1);
    tri_args_cache_put(&cache, &one, &block);
    uint64_t sequence = atomic_fetch_add(&cache.sequence, 1);
    assert_false(tri_args_cache_get(&got, &cache, &one));
    fill(&block, 2);
    tri_args_cache_put(&cache, &two, &block);
    assert_int_equal(atomic_load(&cache.sequence), sequence + 1);
    atomic_store(&cache.sequence, sequence + 2);
    assert_true(tri_args_cache_get(&got, &cache, &one));
    assert_true(is_block_of(&got, 1));
}

typedef struct worker {
    uint64_t number;
    int64_t torn, hits;
} worker;

static void *work(void *user) {
    worker *self = user;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t number = 1 + (self->number + (uint64_t)(i / 16)) % 3;
        tri_operands operands = operands_of(number);
        tri_args_block block;
        if (tri_args_cache_get(&block, &cache, &operands)) {
            self->hits++;
            self->torn += !is_block_of(&block, number);
        } else {
            fill(&block, number);
            tri_args_cache_put(&cache, &operands, &block);
        }
    }
    return NULL;
}

static void nothing_is_torn(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    worker workers[THREADS];
    int64_t hits = 0;
    cache = (tri_args_cache){0};
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
}

/* Sixteen threads on one plan, each with its own buffers, in the ways that allocators place them: all are kept. */
static void sixteen_operands_are_kept(void **state) {
    (void)state;
    static const uint64_t strides[] = {512, 1 << 21, 3 << 20, 0x1230000};
    static tri_args_table table;
    for (size_t s = 0; s < sizeof strides / sizeof strides[0]; s++) {
        int kept = 0;
        memset(&table, 0, sizeof table);
        for (int turn = 0; turn < 2; turn++)
            for (uint64_t i = 0; i < 16; i++) {
                const tri_operands operands = {
                    .b = 0x7f0000000000, .c = 0x7f1000000000 + i * strides[s], .alpha = 1};
                tri_args_block block;
                if (tri_args_table_get(&block, &table, &operands)) {
                    assert_true(is_block_of(&block, i));
                    kept += turn;
                    continue;
                }
                fill(&block, i);
                tri_args_table_put(&table, &operands, &block);
            }
        assert_int_equal(kept, 16);
    }
}

/* More than there is room for: the newest is there, and nothing is another's. */
static void many_operands_are_never_mixed_up(void **state) {
    (void)state;
    static tri_args_table table;
    for (uint64_t i = 1; i < 1000; i++) {
        const tri_operands operands = operands_of(i), old = operands_of(1 + i / 2);
        tri_args_block block;
        fill(&block, i);
        tri_args_table_put(&table, &operands, &block);
        assert_true(tri_args_table_get(&block, &table, &operands));
        assert_true(is_block_of(&block, i));
        if (tri_args_table_get(&block, &table, &old))
            assert_true(is_block_of(&block, 1 + i / 2));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_at_first),
        cmocka_unit_test(answers_its_operands_only),
        cmocka_unit_test(a_write_under_way_is_left_alone),
        cmocka_unit_test(nothing_is_torn),
        cmocka_unit_test(sixteen_operands_are_kept),
        cmocka_unit_test(many_operands_are_never_mixed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
