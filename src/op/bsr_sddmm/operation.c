/* The table, and what spaces see of a problem. */
#include "op/bsr_sddmm/bsr_sddmm.h"

#include <stddef.h>

static void sizes(int64_t out[3], const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    out[0] = p->m;
    out[1] = p->n;
    out[2] = p->k;
}

static void outline(char *out, size_t size, const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    snprintf(out, size, "%lldx%lldx%lld at density %.4g", (long long)p->m, (long long)p->n, (long long)p->k,
             p->fingerprint.density_e4 / 1e4);
}

static void fields(const tri_problem *of, tri_property_fn fn, void *user) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    const int64_t block_rows = p->m / p->block_m, block_cols = p->k / p->block_k;
    tri_property_integer(fn, user, "m", p->m);
    tri_property_integer(fn, user, "n", p->n);
    tri_property_integer(fn, user, "k", p->k);
    tri_property_integer(fn, user, "ldy", p->ldy);
    tri_property_integer(fn, user, "ldx", p->ldx);
    tri_property_integer(fn, user, "block_m", p->block_m);
    tri_property_integer(fn, user, "block_k", p->block_k);
    tri_property_integer(fn, user, "nnzb", p->nnzb);
    tri_property_integer(fn, user, "block_rows", block_rows);
    tri_property_integer(fn, user, "block_cols", block_cols);
    tri_property_number(fn, user, "density", (double)p->nnzb / ((double)block_rows * (double)block_cols));
    tri_property_text(fn, user, "in_type", tri_dtype_name(p->in_type));
    tri_property_text(fn, user, "out_type", tri_dtype_name(p->out_type));
    tri_property_integer(fn, user, "in_size", (int64_t)tri_dtype_size(p->in_type));
    tri_property_text(fn, user, "y_layout", tri_layout_name(p->y_layout));
    tri_property_text(fn, user, "x_layout", tri_layout_name(p->x_layout));
}

/* The key has the density to two digits: the fewest and the most blocks that it may stand for. */
static size_t variants(tri_problem out[TRI_VARIANTS], const tri_problem *of) {
    int64_t counts[TRI_VARIANTS];
    tri_fingerprint_blocks(&counts[0], &counts[1], &tri_sddmm(of)->fingerprint,
                           tri_sddmm_blocks(tri_sddmm(of)));
    for (size_t i = 0; i < TRI_VARIANTS; i++) {
        out[i] = *of;
        tri_sddmm_edit(&out[i])->nnzb = counts[i] >= INT32_MAX ? INT32_MAX : counts[i] < 1 ? 1 : counts[i];
    }
    return TRI_VARIANTS;
}

static bool has_pattern(const tri_problem *problem) {
    (void)problem;
    return true;
}

static const tri_number numbers[] = {{"ldy", offsetof(tri_sddmm_problem, ldy)},
                                     {"ldx", offsetof(tri_sddmm_problem, ldx)},
                                     {"nnzb", offsetof(tri_sddmm_problem, nnzb)},
                                     {0}};

static const tri_launch_field launch_fields[] = {
    {"tile_rows", offsetof(tri_sddmm_launch, tile_rows), 4096},
    {"tile_cols", offsetof(tri_sddmm_launch, tile_cols), 4096},
    {"tile_blocks", offsetof(tri_sddmm_launch, tile_blocks), 4096},
    {"tile_solid", offsetof(tri_sddmm_launch, tile_solid), 16},
    {0}};

const tri_operation tri_op_bsr_sddmm = {
    .name = "bsr_sddmm",
    .summary = "D = Y (M x N) * X^T (N x K) on the stored blocks of an M x K block-sparse matrix",
    .check = tri_sddmm_check,
    .key = tri_sddmm_key,
    .parse = tri_sddmm_parse,
    .variants = variants,
    .sizes = sizes,
    .numbers = numbers,
    .outline = outline,
    .distance_parts = {"shape", "sparsity", "pattern"},
    .distance_squares = tri_sddmm_distance_squares,
    .flops = tri_sddmm_flops,
    .dense_flops = tri_sddmm_dense_flops,
    .bytes = tri_sddmm_bytes,
    .least_work = tri_sddmm_least_work,
    .host_bytes = tri_sddmm_host_bytes,
    .fields = fields,
    .launch_fields = launch_fields,
    .maps = {{"map_y", 2, 2}, {"map_x", 2, 2}},
    .keeps_workspace = true,
    .has_pattern = has_pattern,
    .args_bytes = sizeof(tri_bsr_sddmm_args),
    .case_count = tri_sddmm_case_count,
    .case_text = tri_sddmm_case_text,
    .draw = tri_sddmm_draw,
    .views = tri_sddmm_views,
    .before = tri_sddmm_before,
    .telling_rows = tri_sddmm_telling_rows,
    .reference_row = tri_sddmm_reference_row,
    .prepare = tri_sddmm_prepare,
    .release = tri_sddmm_release,
    .arguments = tri_sddmm_arguments,
};
