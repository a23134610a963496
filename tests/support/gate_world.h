/* One problem on one device behind the real gate, for tests that break kernels on purpose. Header only: it needs
 * the whole library, which not every test links. */
#ifndef TRIAGE_TESTS_SUPPORT_GATE_WORLD_H
#define TRIAGE_TESTS_SUPPORT_GATE_WORLD_H

#include <stdlib.h>
#include <string.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "measure/bench.h"
#include "render/render.h"
#include "support/bsr_of.h"
#include "support/check.h"
#include "support/mutate.h"
#include "support/scratch.h"

typedef struct world_shape {
    const char *device; /* "host", "cuda" */
    const char *kernel; /* the first configuration of this kernel; NULL: the space's default */
    triage_dtype dtype;
    triage_layout layout;
    int64_t rows, cols, depth;
    int32_t block;
    triage_dtype out;     /* e4m3: the type of C; other types: that of A and B */
    bool scale_per_block; /* e4m3 */
    const char *with;     /* ... that has these words, e.g. "share=2"; NULL: any */
    bool uneven;          /* full rows and short ones by turns; else a random half of the blocks */
} world_shape;

typedef struct world {
    tri_device *device;
    tri_problem problem;
    tri_pattern pattern;
    tri_space *space;
    tri_candidate reference, candidate;
    tri_source reference_source, source;
    tri_bench *bench;
} world;

static size_t first_of_kernel(const tri_configs *configs, const char *kernel, const char *with) {
    size_t length = kernel ? strlen(kernel) : 0;
    for (size_t i = 0; kernel && i < configs->count; i++)
        if (strncmp(configs->text[i], kernel, length) == 0 && configs->text[i][length] == ' ' &&
            (!with || strstr(configs->text[i], with)))
            return i;
    if (kernel)
        fail_msg("the space has no %s %s for this problem", kernel, with ? with : "");
    return configs->default_index;
}

static inline void make_uneven(tri_pattern *out, int64_t rows, int64_t cols) {
    int32_t *row_ptr = calloc((size_t)rows + 1, sizeof *row_ptr), *col_idx = NULL, nnzb = 0;
    col_idx = calloc((size_t)(rows * cols), sizeof *col_idx);
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t col = row % 4 ? row % cols : 0; col < (row % 4 ? row % cols + 1 : cols); col++)
            col_idx[nnzb++] = (int32_t)col;
        row_ptr[row + 1] = nnzb;
    }
    must(tri_pattern_copy(out, rows, cols, nnzb, row_ptr, col_idx));
    free(row_ptr);
    free(col_idx);
}

/* The problem, and the pattern it describes. */
static inline tri_problem problem_of_shape(tri_pattern *pattern, const world_shape *shape) {
    bool row = shape->layout == TRIAGE_ROW_MAJOR;
    const int64_t rows = shape->rows / shape->block, cols = shape->depth / shape->block;
    tri_problem problem = tri_bsr_problem_of(
        (tri_bsr_problem){.in_type = shape->dtype,
                          .out_type = shape->dtype == TRIAGE_E4M3 ? shape->out : shape->dtype,
                          .scale_per_block = shape->scale_per_block,
                          .b_layout = shape->layout,
                          .c_layout = shape->layout,
                          .m = shape->rows,
                          .n = shape->cols,
                          .k = shape->depth,
                          .ldb = row ? shape->cols : shape->depth,
                          .ldc = row ? shape->cols : shape->rows,
                          .block_m = shape->block,
                          .block_k = shape->block});
    if (shape->uneven)
        make_uneven(pattern, rows, cols);
    else
        must(tri_pattern_random(pattern, rows, cols, 0.5, 3));
    bsr_of(&problem)->nnzb = pattern->nnzb;
    tri_fingerprint_of(&bsr_of(&problem)->fingerprint, pattern);
    return problem;
}

/* The gate for w's problem and pattern. */
static void open_gate(world *w, const char *device, const char *kernel, const char *with) {
    tri_configs configs = {0};
    must(tri_device_open(&w->device, device, false));
    must(tri_space_open(&w->space, w->problem.op, &(tri_space_options){.data_dir = TRI_SOURCE_DIR}));
    const tri_device_info *info = tri_device_describe(w->device);
    must(tri_space_reference(&w->reference, w->space, &w->problem, info));
    must(tri_render(&w->reference_source, &w->reference, TRI_SOURCE_DIR));
    must(tri_space_enumerate(&configs, w->space, &w->problem, info));
    const char *config = configs.text[first_of_kernel(&configs, kernel, with)];
    must(tri_space_candidate(&w->candidate, w->space, &w->problem, info, config));
    must(tri_render(&w->source, &w->candidate, TRI_SOURCE_DIR));
    tri_configs_free(&configs);
    tri_bench_setup setup = {.problem = &w->problem,
                             .pattern = w->pattern.row_ptr ? &w->pattern : NULL,
                             .seed = 11,
                             .warm = true,
                             .cache_dir = TEST_KERNELS,
                             .reference = {&w->reference_source, &w->reference.launch}};
    must(tri_bench_open(&w->bench, w->device, &setup));
}

static inline void open_world(world *w, const world_shape *shape) {
    *w = (world){0};
    w->problem = problem_of_shape(&w->pattern, shape);
    open_gate(w, shape->device, shape->kernel, shape->with);
}

static void close_world(world *w) {
    tri_bench_close(w->bench);
    tri_source_free(&w->source);
    tri_source_free(&w->reference_source);
    tri_candidate_free(&w->candidate);
    tri_candidate_free(&w->reference);
    tri_space_free(w->space);
    tri_pattern_free(&w->pattern);
    tri_device_close(w->device);
}

static tri_outcome measure(tri_report *report, world *w, const tri_source *source, const tri_launch *launch,
                           const mutation *how) {
    tri_source broken = *source;
    broken.text = mutate(source->text, how);
    if (!broken.text)
        fail_msg("%s: the template no longer has: %s", how->name, how->find ? how->find : "");
    must(tri_bench_measure(report, w->bench, &(tri_trial){.source = &broken, .launch = launch}, 0));
    free(broken.text);
    return report->outcome;
}

/* The first mutation of a table is none. */
static inline void check_table(world *w, const tri_source *source, const tri_launch *launch,
                               const mutation *table, size_t count) {
    tri_report report;
    assert_null(table[0].find);
    assert_int_equal(measure(&report, w, source, launch, &table[0]), TRI_RIGHT);
    assert_string_equal(report.reason, "");
    assert_true(report.timing.samples > 0 && report.timing.median_ns > 0);
    assert_true(report.row_error <= report.row_error_limit);
    for (size_t i = 1; i < count; i++) {
        tri_outcome outcome = measure(&report, w, source, launch, &table[i]);
        if (outcome != TRI_WRONG)
            fail_msg("%s: the gate said %s (%s)", table[i].name, tri_outcome_name(outcome), report.reason);
        assert_true(report.reason[0] != '\0');
        assert_true(report.timing.samples == 0 && report.timing.median_ns == 0); /* no number for it */
        assert_false(report.damaged);
    }
}

#endif
