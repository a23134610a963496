/* The default spaces of all operations that evidence is shipped for. */
#ifndef TRIAGE_TESTS_SUPPORT_SHIPPED_SPACES_H
#define TRIAGE_TESTS_SUPPORT_SHIPPED_SPACES_H

#include "space/space.h"
#include "support/check.h"

#define SHIPPED_SPACES 3

static tri_space *shipped_spaces[SHIPPED_SPACES];
static const tri_operation *shipped_operations[SHIPPED_SPACES];

static inline void shipped_spaces_open(void) {
    static const char *const names[SHIPPED_SPACES] = {"bsr_gemm", "bsr_sddmm", "attention"};
    for (int i = 0; i < SHIPPED_SPACES; i++) {
        shipped_operations[i] = tri_operation_find(names[i]);
        must(tri_space_open(&shipped_spaces[i], shipped_operations[i], &(tri_space_options){0}));
    }
}

static inline void shipped_spaces_close(void) {
    for (int i = 0; i < SHIPPED_SPACES; i++)
        tri_space_free(shipped_spaces[i]);
}

static inline tri_space *shipped_space_of(const tri_problem *problem) {
    for (int i = 0; i < SHIPPED_SPACES; i++)
        if (problem->op == shipped_operations[i])
            return shipped_spaces[i];
    fail_msg("no space for %s", problem->op->name);
    return NULL;
}

#endif
