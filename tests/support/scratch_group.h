/* A temporary folder for all tests of a program: a group's setup and teardown. */
#ifndef TRIAGE_TESTS_SUPPORT_SCRATCH_GROUP_H
#define TRIAGE_TESTS_SUPPORT_SCRATCH_GROUP_H

#include "support/scratch.h"

static char folder[64];

static inline int make_scratch(void **state) {
    (void)state;
    scratch_make(folder);
    return 0;
}

static inline int remove_scratch(void **state) {
    (void)state;
    scratch_remove(folder);
    return 0;
}

#endif
