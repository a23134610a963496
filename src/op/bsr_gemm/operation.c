/* The table, and what spaces see of a problem. */
#include "op/bsr_gemm/bsr_gemm.h"

#include <stddef.h>

static void sizes(int64_t out[3], const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    out[0] = problem->m;
    out[1] = problem->n;
    out[2] = problem->k;
}

static void outline(char *out, size_t size, const tri_problem *of) {
    const tri_bsr_problem *p = tri_bsr(of);
    snprintf(out, size, "%lldx%lldx%lld at density %.4g", (long long)p->m, (long long)p->n, (long long)p->k,
             p->fingerprint.density_e4 / 1e4);
}

static const char *scale_name(const tri_bsr_problem *problem) {
    return problem->in_type != TRIAGE_E4M3 ? "none" : problem->scale_per_block ? "block" : "tensor";
}

static void size_fields(const tri_bsr_problem *problem, tri_property_fn fn, void *user) {
    const int64_t block_rows = problem->m / problem->block_m, block_cols = problem->k / problem->block_k;
    tri_property_integer(fn, user, "m", problem->m);
    tri_property_integer(fn, user, "n", problem->n);
    tri_property_integer(fn, user, "k", problem->k);
    tri_property_integer(fn, user, "ldb", problem->ldb);
    tri_property_integer(fn, user, "ldc", problem->ldc);
    tri_property_integer(fn, user, "block_m", problem->block_m);
    tri_property_integer(fn, user, "block_k", problem->block_k);
    tri_property_integer(fn, user, "nnzb", problem->nnzb);
    tri_property_integer(fn, user, "block_rows", block_rows);
    tri_property_integer(fn, user, "block_cols", block_cols);
    tri_property_number(fn, user, "density",
                        (double)problem->nnzb / ((double)block_rows * (double)block_cols));
    tri_property_number(fn, user, "imbalance", problem->fingerprint.imbalance_e1 / 10.0);
    tri_property_number(fn, user, "overlap", problem->fingerprint.overlap_e1 / 10.0);
}

static void fields(const tri_problem *of, tri_property_fn fn, void *user) {
    const tri_bsr_problem *problem = tri_bsr(of);
    size_fields(problem, fn, user);
    tri_property_text(fn, user, "in_type", tri_dtype_name(problem->in_type));
    tri_property_text(fn, user, "out_type", tri_dtype_name(problem->out_type));
    tri_property_integer(fn, user, "in_size", (int64_t)tri_dtype_size(problem->in_type));
    tri_property_integer(fn, user, "out_size", (int64_t)tri_dtype_size(problem->out_type));
    tri_property_text(fn, user, "scale", scale_name(problem));
    tri_property_text(fn, user, "b_layout", tri_layout_name(problem->b_layout));
    tri_property_text(fn, user, "c_layout", tri_layout_name(problem->c_layout));
    tri_property_text(fn, user, "activation", tri_activation_name(problem->activation));
    tri_property_flag(fn, user, "bias", problem->bias);
    tri_property_flag(fn, user, "transposed", problem->a_transposed);
}

/* The key has the density to two digits, and a constraint may ask for the number of blocks: the fewest and the most that
 * it may stand for. */
static size_t variants(tri_problem out[TRI_VARIANTS], const tri_problem *of) {
    int64_t counts[TRI_VARIANTS];
    tri_fingerprint_blocks(&counts[0], &counts[1], &tri_bsr(of)->fingerprint, tri_bsr_blocks(tri_bsr(of)));
    for (size_t i = 0; i < TRI_VARIANTS; i++) {
        out[i] = *of;
        tri_bsr_edit(&out[i])->nnzb = counts[i] < INT32_MAX ? counts[i] : INT32_MAX;
    }
    return TRI_VARIANTS;
}

static bool has_pattern(const tri_problem *problem) {
    (void)problem;
    return true;
}

static const tri_number numbers[] = {{"ldb", offsetof(tri_bsr_problem, ldb)},
                                     {"ldc", offsetof(tri_bsr_problem, ldc)},
                                     {"nnzb", offsetof(tri_bsr_problem, nnzb)},
                                     {0}};

static const tri_launch_field launch_fields[] = {
    {"panel_rows", offsetof(tri_bsr_launch, panel_rows), TRI_PANEL_ROWS},
    {"panel_group", offsetof(tri_bsr_launch, panel_group), 32},
    {"panel_cluster", offsetof(tri_bsr_launch, panel_cluster), 16},
    {"panel_columns", offsetof(tri_bsr_launch, panel_columns), INT32_MAX},
    {"panel_warps", offsetof(tri_bsr_launch, panel_warps), 32},
    {"panel_busy_warps", offsetof(tri_bsr_launch, panel_busy_warps), 1024},
    {"panel_least_blocks", offsetof(tri_bsr_launch, panel_least_blocks), 1 << 20},
    {"gather", offsetof(tri_bsr_launch, gather), 0},
    {"reorder", offsetof(tri_bsr_launch, reorder), 0},
    {0}};

const tri_operation tri_op_bsr_gemm = {
    .name = "bsr_gemm",
    .summary = "C (M x N) = A (M x K, block-sparse) * B (K x N)",
    .check = tri_bsr_check,
    .key = tri_bsr_key,
    .parse = tri_bsr_parse,
    .variants = variants,
    .sizes = sizes,
    .numbers = numbers,
    .outline = outline,
    .distance_parts = {"shape", "sparsity", "pattern", "layer"},
    .distance_squares = tri_bsr_distance_squares,
    .kin = tri_bsr_kin,
    .flops = tri_bsr_flops,
    .dense_flops = tri_bsr_dense_flops,
    .bytes = tri_bsr_bytes,
    .least_work = tri_bsr_least_work,
    .host_bytes = tri_bsr_host_bytes,
    .features = tri_bsr_features,
    .cost_terms = {"start", "memory", "L2", "products", "steps", "waves"},
    .cost = tri_bsr_cost,
    .fields = fields,
    .launch_fields = launch_fields,
    .maps = {{"map_a", 2, 3}, {"map_b", 2, 3}, {"map_c", 2, 3}},
    .has_pattern = has_pattern,
    .args_bytes = sizeof(tri_bsr_gemm_args),
    .case_count = tri_bsr_case_count,
    .case_text = tri_bsr_case_text,
    .draw = tri_bsr_draw,
    .views = tri_bsr_views,
    .before = tri_bsr_before,
    .telling_rows = tri_bsr_telling_rows,
    .reference_row = tri_bsr_reference_row,
    .prepare = tri_bsr_prepare,
    .release = tri_bsr_release,
    .arguments = tri_bsr_arguments,
    .dense_twin = tri_bsr_dense_twin,
    .densify = tri_bsr_densify,
    .dense_arguments = tri_bsr_dense_arguments,
};
