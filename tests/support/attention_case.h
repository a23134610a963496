/* An attention problem with inputs, a kernel of the host device and its results against float64, for tests that run a
 * kernel by hand. A problem is given by its key. */
#ifndef TRIAGE_TESTS_ATTENTION_CASE_H
#define TRIAGE_TESTS_ATTENTION_CASE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "op/attention/attention.h"
#include "device/device.h"
#include "render/render.h"
#include "support/scratch.h"

typedef struct attention_case {
    tri_attention_problem problem;
    tri_attention_inputs inputs;
    tri_pattern mask;
    void *o;
    float *lse;
    size_t o_count, lse_count;
} attention_case;

/* The mask, if there is one: half of the blocks, and no block for the second row of blocks. */
static inline void attention_mask(attention_case *c) {
    assert_int_equal(tri_attention_mask_random(&c->mask, &c->problem, 0.5, 3), TRIAGE_OK);
    if (c->mask.block_rows < 2)
        return;
    int32_t *ptr = c->mask.row_ptr, gone = ptr[2] - ptr[1];
    memmove(c->mask.col_idx + ptr[1], c->mask.col_idx + ptr[2],
            (size_t)(c->mask.nnzb - ptr[2]) * sizeof(int32_t));
    for (int64_t row = 2; row <= c->mask.block_rows; row++)
        ptr[row] -= gone;
    c->mask.nnzb -= gone;
}

static inline void attention_make_of(attention_case *c, const tri_attention_problem *problem) {
    *c = (attention_case){.problem = *problem};
    if (c->problem.mask.rows)
        attention_mask(c);
    if (tri_attention_inputs_draw(&c->inputs, &c->problem, &c->mask, 11) != TRIAGE_OK)
        fail_msg("inputs: %s", triage_last_error());
    c->lse_count = (size_t)(c->problem.queries * c->problem.heads_q);
    c->o_count = c->lse_count * (size_t)c->problem.dv;
    c->o = malloc(c->o_count * tri_dtype_size(c->problem.out_type) + 1);
    c->lse = malloc(c->lse_count * sizeof(float) + 1);
    assert_true(c->o && c->lse);
}

static inline void attention_make(attention_case *c, const char *key) {
    tri_attention_problem problem;
    if (tri_attention_parse(&problem, key) != TRIAGE_OK)
        fail_msg("%s: %s", key, triage_last_error());
    attention_make_of(c, &problem);
}

static inline void attention_free(attention_case *c) {
    tri_attention_inputs_free(&c->inputs);
    tri_pattern_free(&c->mask);
    free(c->o);
    free(c->lse);
}

/* ---- a kernel ---- */

typedef struct attention_tile {
    int m, n, rows, width;
} attention_tile;

static inline void attention_param(tri_candidate *candidate, const char *name, const char *value) {
    candidate->params[candidate->param_count++] = (tri_param){(char *)name, strdup(value)};
}

static inline void attention_number(tri_candidate *candidate, const char *name, int value) {
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    attention_param(candidate, name, text);
}

/* tile NULL: the plain kernel. */
static inline void attention_render(tri_source *out, const tri_attention_problem *p,
                                    const attention_tile *tile) {
    static const char *const types[] = {"float", "f16_t", "bf16_t", "e4m3_t"};
    tri_param params[20];
    tri_candidate candidate = {.kernel = "test", .config = "test", .params = params};
    int64_t left, right;
    tri_attention_band_of(&left, &right, p);
    candidate.template_name = tile ? "templates/attention/host.c" : "templates/attention/reference.c";
    attention_param(&candidate, "in_type", types[p->in_type]);
    attention_param(&candidate, "out_type", types[p->out_type]);
    attention_number(&candidate, "d", p->d);
    attention_number(&candidate, "dv", p->dv);
    attention_number(&candidate, "left", left >= 0);
    attention_number(&candidate, "right", right >= 0);
    attention_number(&candidate, "top_left", p->band == TRI_BAND_CAUSAL_TOP_LEFT);
    attention_number(&candidate, "softcap", p->softcap);
    attention_number(&candidate, "mask_m", p->mask.rows);
    attention_number(&candidate, "mask_n", p->mask.cols);
    if (tile) {
        attention_number(&candidate, "tile_m", tile->m);
        attention_number(&candidate, "tile_n", tile->n);
        attention_number(&candidate, "rows", tile->rows);
        attention_number(&candidate, "width", tile->width);
        attention_param(&candidate, "schedule", "dynamic");
    }
    if (tri_render(out, &candidate, TRI_SOURCE_DIR) != TRIAGE_OK)
        fail_msg("render: %s", triage_last_error());
    for (size_t i = 0; i < candidate.param_count; i++)
        free(params[i].value);
}

/* In a sanitized test the kernels are sanitized too. */
static inline tri_kernel *attention_kernel(tri_device *device, const tri_source *source) {
    tri_image image;
    tri_kernel *kernel = NULL;
    tri_launch launch = {0};
    tri_source checked = *source;
#ifdef __SANITIZE_ADDRESS__
    char *options[] = {"-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"};
    checked.options = options;
    checked.option_count = 2;
#endif
    if (tri_compile(&image, tri_device_describe(device)->target, &checked, TEST_KERNELS) != TRIAGE_OK ||
        tri_kernel_load(&kernel, device, &image, &launch) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    tri_image_free(&image);
    return kernel;
}

/* Results are NaN before. */
static inline void attention_launch(tri_kernel *kernel, attention_case *c, int which) {
    tri_attention_args args = tri_attention_case_args(&c->inputs, which);
    memset(c->o, 0xff, c->o_count * tri_dtype_size(c->problem.out_type));
    memset(c->lse, 0xff, c->lse_count * sizeof(float));
    args.o = c->o;
    args.lse = c->problem.lse ? c->lse : NULL;
    if (tri_kernel_launch(kernel, &args, NULL) != TRIAGE_OK)
        fail_msg("launch: %s", triage_last_error());
}

/* ---- against float64 ---- */

/* What a right row may be off by, at most. f16, bf16, e4m3: two roundings (of weights, of the result) of a mean size of
 * u / sqrt(3), and some. f32: a score of 12 (inputs.c, late rows) by the error of a sum of d terms, sqrt(d), and of four
 * roundings more; a weight is off by as much of itself. */
static inline double attention_unit(triage_dtype type, int32_t d) {
    static const double narrow[] = {0, 0x1p-10, 0x1p-7, 0x1p-3};
    return type == TRIAGE_F32 ? 12 * 0x1p-24 * (4 + sqrt(d)) : narrow[type];
}

static inline bool attention_row_is_right(const attention_case *c, const tri_attention_args *args, int b,
                                          int head, int64_t i, size_t at) {
    const tri_attention_problem *p = &c->problem;
    double want[TRI_ATTENTION_D_MAX], lse, gap = 0, all = 0;
    double unit = fmax(attention_unit(p->in_type, p->d), attention_unit(p->out_type, p->d));
    assert_int_equal(tri_attention_reference_row(want, &lse, p, args, b, head, i), TRIAGE_OK);
    for (int x = 0; x < p->dv; x++) {
        double got = (double)tri_to_float(c->o, p->out_type, at * (size_t)p->dv + (size_t)x);
        gap += (got - want[x]) * (got - want[x]);
        all += want[x] * want[x];
    }
    if (p->lse && isinf(lse) && !(isinf(c->lse[at]) && c->lse[at] < 0))
        return false;
    if (p->lse && !isinf(lse) && !(fabs((double)c->lse[at] - lse) <= 0x1p-17 * (1 + fabs(lse))))
        return false;
    return isinf(lse) ? gap == 0 : sqrt(gap) <= unit * sqrt(all);
}

/* The first wrong row is named; rows behind the end of a sequence must not have been written. */
static inline void attention_verify(const attention_case *c, int which, const char *what) {
    const tri_attention_problem *p = &c->problem;
    tri_attention_args args = tri_attention_case_args(&c->inputs, which);
    for (int b = 0; b < p->batch; b++) {
        int64_t first = args.cu_q ? args.cu_q[b] : b * p->sq,
                sq = args.cu_q ? args.cu_q[b + 1] - first : p->sq;
        for (int64_t row = 0; row < sq * p->heads_q; row++)
            if (!attention_row_is_right(c, &args, b, (int)(row % p->heads_q), row / p->heads_q,
                                        (size_t)(first * p->heads_q + row)))
                fail_msg("%s, case %d: sequence %d, head %d, query %d is wrong", what, which, b,
                         (int)(row % p->heads_q), (int)(row / p->heads_q));
    }
}

#endif
