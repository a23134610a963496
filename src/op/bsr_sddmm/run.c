/* Tiles on the device, and the argument block of a launch. */
#include "op/bsr_sddmm/bsr_sddmm.h"

#include <stdlib.h>
#include <string.h>

/* ---- tiles ---- */

/* A CTA takes one tile, or one part of n of it: the space says how many there may be. */
static triage_status check_grid(const tri_launch *launch, int64_t count) {
    return count <= launch->grid[0]
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_UNSUPPORTED, "%lld tiles for %u CTAs: the space counts too few",
                          (long long)count, launch->grid[0]);
}

triage_status tri_sddmm_place(tri_sddmm_placed *out, tri_device *device, const tri_launch *launch,
                              const tri_pattern *pattern) {
    const tri_sddmm_launch *own = tri_sddmm_launch_of(launch);
    tri_sddmm_tiles tiles = {0};
    triage_status status = TRIAGE_OK;
    *out = (tri_sddmm_placed){0};
    if (own->tile_rows == 0)
        return TRIAGE_OK;
    TRI_TRY(tri_sddmm_tiles_make(&tiles, pattern, own));
    TRI_TRY(check_grid(launch, tiles.count));
    const size_t bytes =
        (size_t)tiles.count * sizeof *tiles.ints *
        TRI_TILE_INTS((size_t)own->tile_rows, (size_t)own->tile_cols, (size_t)own->tile_blocks);
    TRI_TRY(tri_device_alloc(device, &out->ints, bytes > 0 ? bytes : sizeof *tiles.ints));
    if (bytes > 0)
        TRI_TRY(tri_device_upload(device, out->ints, tiles.ints, bytes));
    out->count = tiles.count;
done:
    if (status != TRIAGE_OK) {
        tri_device_release(device, out->ints);
        *out = (tri_sddmm_placed){0};
    }
    tri_sddmm_tiles_free(&tiles);
    return status;
}

triage_status tri_sddmm_prepare(void **out, tri_device *device, const tri_launch *launch,
                                const tri_problem *problem, const tri_pattern *pattern) {
    tri_sddmm_placed *placed = NULL;
    triage_status status = TRIAGE_OK;
    (void)problem;
    TRI_TRY(tri_calloc(&placed, 1, sizeof *placed));
    TRI_TRY(tri_sddmm_place(placed, device, launch, pattern));
    *out = placed;
    placed = NULL;
done:
    free(placed);
    return status;
}

void tri_sddmm_release(tri_device *device, void *prepared) {
    if (prepared)
        tri_device_release(device, ((tri_sddmm_placed *)prepared)->ints);
    free(prepared);
}

/* ---- arguments ---- */

static const void *pointer(tri_address address) {
    return (const void *)(uintptr_t)address;
}

static triage_status make_map(tri_tensor_map *out, tri_device *device, const tri_tensor_box *box,
                              const tri_sddmm_problem *p, tri_address base, triage_layout layout,
                              int64_t lines, int64_t ld) {
    const bool row = layout == TRIAGE_ROW_MAJOR;
    return tri_tensor_map_make(out, device, box, p->in_type, base, row ? p->n : lines, row ? lines : p->n,
                               ld);
}

triage_status tri_sddmm_args_make(tri_bsr_sddmm_args *out, tri_device *device, const tri_launch *launch,
                                  const tri_problem *of, const tri_sddmm_buffers *buffers, float alpha,
                                  float beta) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    triage_status status = TRIAGE_OK;
    memset(out, 0, sizeof *out);
    out->y = pointer(buffers->y);
    out->x = pointer(buffers->x);
    out->d = (void *)(uintptr_t)buffers->d;
    out->row_ptr = pointer(buffers->row_ptr);
    out->col_idx = pointer(buffers->col_idx);
    out->tiles = pointer(buffers->tiles.ints);
    out->workspace = (void *)(uintptr_t)buffers->workspace;
    out->ldy = p->ldy;
    out->ldx = p->ldx;
    out->n = (int)p->n;
    out->block_rows = (int)(p->m / p->block_m);
    out->nnzb = (int)p->nnzb;
    out->tile_count = (int)buffers->tiles.count;
    out->alpha = alpha;
    out->beta = beta;
    TRI_TRY(make_map(&out->map_y, device, &launch->maps[TRI_SDDMM_MAP_Y], p, buffers->y, p->y_layout, p->m,
                     p->ldy));
    TRI_TRY(make_map(&out->map_x, device, &launch->maps[TRI_SDDMM_MAP_X], p, buffers->x, p->x_layout, p->k,
                     p->ldx));
done:
    return status;
}

triage_status tri_sddmm_arguments(void *out, const tri_binding *binding) {
    const tri_input *inputs = binding->inputs->at;
    tri_sddmm_buffers buffers = {.y = inputs[TRI_SDDMM_Y].address,
                                 .x = inputs[TRI_SDDMM_X].address,
                                 .d = binding->results[0],
                                 .row_ptr = inputs[TRI_SDDMM_ROW_PTR].address,
                                 .col_idx = inputs[TRI_SDDMM_COL_IDX].address,
                                 .workspace = binding->workspace};
    float alpha, beta;
    if (binding->prepared)
        buffers.tiles = *(const tri_sddmm_placed *)binding->prepared;
    tri_sddmm_case_factors(&alpha, &beta, binding->case_index);
    return tri_sddmm_args_make(out, binding->device, binding->launch, binding->problem, &buffers, alpha,
                               beta);
}
