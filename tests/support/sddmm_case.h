/* A problem of bsr_sddmm with its inputs and room for a result, which is compared with float64. */
#ifndef TRIAGE_TESTS_SUPPORT_SDDMM_CASE_H
#define TRIAGE_TESTS_SUPPORT_SDDMM_CASE_H

#include "support/check.h"

#include <math.h>
#include <stdlib.h>

#include "base/convert.h"
#include "op/bsr_sddmm/bsr_sddmm.h"

#define ROW TRIAGE_ROW_MAJOR
#define COL TRIAGE_COL_MAJOR

typedef struct sddmm_case {
    tri_problem problem;
    tri_pattern pattern;
    tri_inputs inputs;
    size_t count; /* elements of D */
    void *d;
} sddmm_case;

static inline void sddmm_make(sddmm_case *c, tri_sddmm_problem p, double sparsity) {
    *c = (sddmm_case){0};
    assert_int_equal(tri_pattern_random(&c->pattern, p.m / p.block_m, p.k / p.block_k, sparsity, 7),
                     TRIAGE_OK);
    p.nnzb = c->pattern.nnzb;
    tri_fingerprint_of(&p.fingerprint, &c->pattern);
    p.ldy = p.ldy ? p.ldy : tri_sddmm_packed_ldy(&p);
    p.ldx = p.ldx ? p.ldx : tri_sddmm_packed_ldx(&p);
    c->problem = tri_sddmm_problem_of(p);
    assert_int_equal(tri_problem_check(&c->problem), TRIAGE_OK);
    assert_int_equal(tri_sddmm_draw(&c->inputs, &c->problem, &c->pattern, 3, 0), TRIAGE_OK);
    c->count = (size_t)p.nnzb * (size_t)p.block_m * (size_t)p.block_k;
    c->d = malloc(c->count * tri_dtype_size(p.out_type));
}

static inline void sddmm_free(sddmm_case *c) {
    tri_inputs_free(&c->inputs);
    tri_pattern_free(&c->pattern);
    free(c->d);
}

/* Sums in float32 in any order, then rounded once: far from what an index that is one off gives. */
static inline void sddmm_verify(const sddmm_case *c, size_t which, const char *what) {
    const tri_sddmm_problem *p = tri_sddmm(&c->problem);
    const tri_operands operands = {&c->problem, &c->pattern, &c->inputs, which};
    const double unit = p->out_type == TRIAGE_F32 ? 0x1p-20 : 0x1p-8;
    double *row = malloc((size_t)p->block_k * sizeof *row);
    double *const rows[TRI_VIEWS_MAX] = {row};
    for (int64_t i = 0; i < p->nnzb * p->block_m; i++) {
        tri_sddmm_reference_row(rows, &operands, i);
        for (int64_t j = 0; j < p->block_k; j++) {
            const double is = (double)tri_to_float(c->d, p->out_type, (size_t)(i * p->block_k + j));
            if (!(fabs(is - row[j]) <= unit * (fabs(row[j]) + sqrt((double)p->n))))
                fail_msg("%s: case %zu, block %lld, row %lld, column %lld is %g; must be %g", what, which,
                         (long long)(i / p->block_m), (long long)(i % p->block_m), (long long)j, is, row[j]);
        }
    }
    free(row);
}

#endif
