/* A store in memory for each test of a paper world. */
#ifndef TRIAGE_TESTS_SUPPORT_PAPER_STORE_H
#define TRIAGE_TESTS_SUPPORT_PAPER_STORE_H

#include "support/paper_world.h"

static tri_store *store;

static inline int open_store(void **state) {
    (void)state;
    must(tri_store_open_memory(&store));
    return 0;
}

static inline int close_store(void **state) {
    (void)state;
    tri_store_close(store);
    store = NULL;
    return 0;
}

#define IN_A_STORE(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)

#endif
