/* The kernels of bsr_sddmm where there is no GPU: mma, patch and the plain one as C++, thread by thread (tests/emulate), on small ragged
 * problems; every element against float64. */
#include "support/sddmm_case.h"

#include "emulate/map.h"
#include "space/space.h"
#include "support/emulated.h"

static char folder[64];
static tri_space *space;
static tri_device_info info;

static int open_all(void **state) {
    (void)state;
    scratch_make(folder);
    return tri_device_info_of_target(&info, "sm_90a") == TRIAGE_OK &&
                   tri_space_open(&space, &tri_op_bsr_sddmm, &(tri_space_options){0}) == TRIAGE_OK
               ? 0
               : -1;
}

static int close_all(void **state) {
    (void)state;
    tri_space_free(space);
    scratch_remove(folder);
    return 0;
}

/* A map as the stand-in for the copy engine reads it. */
static void make_map(tri_tensor_map *out, const tri_tensor_box *box, const void *base, triage_layout layout,
                     int64_t lines, int64_t n, int64_t ld) {
    const bool row = layout == TRIAGE_ROW_MAJOR;
    const emulated_map map = {.base = base,
                              .strides = {2, ld * 2},
                              .rank = 2,
                              .dims = {(unsigned)(row ? n : lines), (unsigned)(row ? lines : n)},
                              .box = {(unsigned short)box->box[0], (unsigned short)box->box[1]},
                              .element = 2,
                              .swizzle = (unsigned char)box->swizzle};
    memcpy(out, &map, sizeof map);
}

static void make_maps(tri_bsr_sddmm_args *args, const tri_sddmm_problem *p, const tri_launch *launch) {
    make_map(&args->map_y, &launch->maps[TRI_SDDMM_MAP_Y], args->y, p->y_layout, p->m, p->n, p->ldy);
    make_map(&args->map_x, &launch->maps[TRI_SDDMM_MAP_X], args->x, p->x_layout, p->k, p->n, p->ldx);
}

static tri_bsr_sddmm_args args_of(const sddmm_case *c, const tri_candidate *candidate,
                                  const tri_sddmm_tiles *tiles, void *workspace, size_t which) {
    const tri_input *inputs = c->inputs.at;
    tri_bsr_sddmm_args args;
    float alpha, beta;
    tri_sddmm_case_factors(&alpha, &beta, which);
    const tri_sddmm_buffers buffers = {.y = (tri_address)(uintptr_t)inputs[TRI_SDDMM_Y].data,
                                       .x = (tri_address)(uintptr_t)inputs[TRI_SDDMM_X].data,
                                       .d = (tri_address)(uintptr_t)c->d,
                                       .row_ptr = (tri_address)(uintptr_t)c->pattern.row_ptr,
                                       .col_idx = (tri_address)(uintptr_t)c->pattern.col_idx,
                                       .workspace = (tri_address)(uintptr_t)workspace,
                                       .tiles = {(tri_address)(uintptr_t)tiles->ints, tiles->count}};
    tri_launch launch = candidate->launch;
    memset(launch.maps, 0, sizeof launch.maps); /* there is no device to make them */
    assert_int_equal(tri_sddmm_args_make(&args, NULL, &launch, &c->problem, &buffers, alpha, beta),
                     TRIAGE_OK);
    if (candidate->launch.maps[TRI_SDDMM_MAP_Y].rank > 0)
        make_maps(&args, tri_sddmm(&c->problem), &candidate->launch);
    return args;
}

/* Twice in a row: a launch leaves the workspace as the next one needs it. */
static void run_candidate(sddmm_case *c, tri_candidate *candidate) {
    tri_source source = {0};
    tri_sddmm_tiles tiles = {0};
    const tri_launch *launch = &candidate->launch;
    if (tri_render(&source, candidate, TRI_SOURCE_DIR) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    emulated kernel = emulated_open(folder, &source);
    if (tri_sddmm_launch_of(launch)->tile_rows > 0)
        assert_int_equal(tri_sddmm_tiles_make(&tiles, &c->pattern, tri_sddmm_launch_of(launch)), TRIAGE_OK);
    assert_true(tiles.count <= launch->grid[0]);
    char *workspace = aligned_alloc(256, (launch->workspace_bytes + 511) / 256 * 256);
    memset(workspace, 0xff, launch->workspace_bytes);
    memset(workspace, 0, launch->workspace_zero_bytes);
    for (size_t which = 0; which < tri_sddmm_case_count(&c->problem); which++) {
        const tri_bsr_sddmm_args args = args_of(c, candidate, &tiles, workspace, which);
        if (which == 0)
            memset(c->d, 0xff, c->count * tri_dtype_size(tri_sddmm(&c->problem)->out_type));
        else
            memcpy(c->d, c->inputs.at[TRI_SDDMM_D_IN].data, c->inputs.at[TRI_SDDMM_D_IN].bytes);
        emulated_launch(&kernel, &args, launch->grid[0], launch->grid[1], launch->block[0],
                        launch->smem_bytes);
        sddmm_verify(c, which, candidate->config);
    }
    free(workspace);
    tri_sddmm_tiles_free(&tiles);
    emulated_close(&kernel);
    tri_source_free(&source);
}

/* config NULL: the plain kernel. */
static void run(tri_sddmm_problem p, double sparsity, const char *config) {
    sddmm_case c;
    tri_candidate candidate = {0};
    sddmm_make(&c, p, sparsity);
    const triage_status status = config ? tri_space_candidate(&candidate, space, &c.problem, &info, config)
                                        : tri_space_reference(&candidate, space, &c.problem, &info);
    if (status != TRIAGE_OK)
        fail_msg("%s: %s", config ? config : "plain", triage_last_error());
    run_candidate(&c, &candidate);
    tri_candidate_free(&candidate);
    sddmm_free(&c);
}

static void plain(void **state) {
    (void)state;
    run((tri_sddmm_problem){.in_type = TRIAGE_F32,
                            .out_type = TRIAGE_BF16,
                            .y_layout = ROW,
                            .x_layout = COL,
                            .m = 15,
                            .n = 7,
                            .k = 14,
                            .block_m = 3,
                            .block_k = 7,
                            .ldy = 9,
                            .ldx = 20},
        0.5, NULL);
}

/* Tiles of several rows, not all of them full, and a step that is cut at n. */
static void blocks_of_16_in_rectangles(void **state) {
    (void)state;
    run((tri_sddmm_problem){.in_type = TRIAGE_BF16,
                            .out_type = TRIAGE_F32,
                            .y_layout = ROW,
                            .x_layout = ROW,
                            .m = 160,
                            .n = 49,
                            .k = 256,
                            .block_m = 16,
                            .block_k = 16,
                            .ldy = 56,
                            .ldx = 72},
        0.5, "mma tile_rows=4 tile_cols=12 warps=8 slots=4 width=64 step=32 stages=4 splits=1");
}

/* Both transposed, as of a linear layer; two CTAs share a tile. */
static void blocks_of_32_column_major_in_two_parts(void **state) {
    (void)state;
    run((tri_sddmm_problem){.in_type = TRIAGE_BF16,
                            .out_type = TRIAGE_BF16,
                            .y_layout = COL,
                            .x_layout = COL,
                            .m = 96,
                            .n = 161,
                            .k = 128,
                            .block_m = 32,
                            .block_k = 32},
        0.4, "mma tile_rows=1 tile_cols=0 warps=4 slots=1 width=64 step=32 stages=4 splits=2");
}

/* Blocks of several pieces, one layout of each, rows that no wide copy reads. */
static void wide_blocks_of_odd_rows(void **state) {
    (void)state;
    run((tri_sddmm_problem){.in_type = TRIAGE_BF16,
                            .out_type = TRIAGE_F32,
                            .y_layout = COL,
                            .x_layout = ROW,
                            .m = 128,
                            .n = 35,
                            .k = 128,
                            .block_m = 64,
                            .block_k = 128,
                            .ldy = 129,
                            .ldx = 37},
        0.0, "mma tile_rows=1 tile_cols=0 warps=4 slots=1 width=32 step=64 stages=4 splits=1");
}

/* Patches that n, m and k end in; two of them, cut at their columns. */
static void patches_of_16_row_major(void **state) {
    (void)state;
    run((tri_sddmm_problem){.in_type = TRIAGE_BF16,
                            .out_type = TRIAGE_F32,
                            .y_layout = ROW,
                            .x_layout = ROW,
                            .m = 160,
                            .n = 75,
                            .k = 272,
                            .block_m = 16,
                            .block_k = 16,
                            .ldy = 80,
                            .ldx = 96},
        0.7, "patch tile_m=256 tile_k=256 margin=0 warps=8 width=16 step=32 stages=6 cluster=1");
}

/* As of a linear layer; cut at their blocks, so that the second begins anywhere, and pieces of half a block. */
static void patches_of_32_column_major(void **state) {
    (void)state;
    run((tri_sddmm_problem){.in_type = TRIAGE_BF16,
                            .out_type = TRIAGE_BF16,
                            .y_layout = COL,
                            .x_layout = COL,
                            .m = 288,
                            .n = 97,
                            .k = 512,
                            .block_m = 32,
                            .block_k = 32},
        0.8, "patch tile_m=256 tile_k=256 margin=128 warps=8 width=16 step=16 stages=8 cluster=1");
}

/* One layout of each, 64 of n in two halves, blocks that are not square. */
static void patches_of_both_layouts(void **state) {
    (void)state;
    run((tri_sddmm_problem){.in_type = TRIAGE_BF16,
                            .out_type = TRIAGE_F32,
                            .y_layout = COL,
                            .x_layout = ROW,
                            .m = 256,
                            .n = 70,
                            .k = 192,
                            .block_m = 16,
                            .block_k = 32,
                            .ldx = 72},
        0.7, "patch tile_m=256 tile_k=256 margin=0 warps=8 width=32 step=64 stages=3 cluster=1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),
        cmocka_unit_test(blocks_of_16_in_rectangles),
        cmocka_unit_test(blocks_of_32_column_major_in_two_parts),
        cmocka_unit_test(wide_blocks_of_odd_rows),
        cmocka_unit_test(patches_of_16_row_major),
        cmocka_unit_test(patches_of_32_column_major),
        cmocka_unit_test(patches_of_both_layouts),
    };
    if (!emulated_runs_here())
        return 77;
    return cmocka_run_group_tests(tests, open_all, close_all);
}
