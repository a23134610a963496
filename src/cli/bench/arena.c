/* The arena: inputs, the plain kernel's result, and the gate. */
#include <stdlib.h>
#include <string.h>

#include "bsr_gemm/args.h"
#include "cli/bench/bench.h"

bool tri_arena_is_host(const tri_arena *arena) {
    return triage_context_is_host(arena->context) != 0;
}

triage_status tri_arena_place(void **out, const tri_arena *arena, const void *data, size_t bytes) {
    triage_status status = triage_device_alloc(out, arena->context, bytes ? bytes : 1);
    return status == TRIAGE_OK ? triage_device_upload(arena->context, *out, data, bytes) : status;
}

/* ---- inputs ---- */

static size_t value_count(const tri_arena *arena) {
    const tri_bsr_problem *p = tri_bsr(&arena->problem);
    return (size_t)p->nnzb * (size_t)p->block_m * (size_t)p->block_k;
}

static triage_status draw(void **out, triage_dtype dtype, size_t count, uint64_t seed) {
    triage_status status = tri_calloc(out, count ? count : 1, tri_dtype_size(dtype));
    return status == TRIAGE_OK ? tri_fill_normal(*out, dtype, count, seed) : status;
}

static triage_status make_matrix(tri_arena *arena) {
    const tri_bsr_problem *p = tri_bsr(&arena->problem);
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    desc.dtype = p->in_type;
    desc.rows = p->m;
    desc.cols = p->k;
    desc.block_rows = p->block_m;
    desc.block_cols = p->block_k;
    desc.nnzb = p->nnzb;
    desc.row_ptr = arena->pattern.row_ptr;
    desc.col_idx = arena->pattern.col_idx;
    desc.values = arena->values;
    return triage_bsr_matrix_create(&arena->a, arena->context, &desc);
}

static triage_status make_scales(tri_arena *arena, tri_random *random) {
    triage_status status = TRIAGE_OK;
    size_t count = tri_bsr_scales(&arena->problem);
    void *scale_a = NULL, *scale_b = NULL;
    TRI_TRY(tri_calloc(&arena->scale_a, count, sizeof *arena->scale_a));
    tri_fill_scales(arena->scale_a, count, tri_random_next(random));
    tri_fill_scales(&arena->scale_b, 1, tri_random_next(random));
    status = tri_arena_place(&scale_a, arena, arena->scale_a, count * sizeof *arena->scale_a);
    arena->epilogue.scale_a = scale_a;
    TRI_TRY(status);
    status = tri_arena_place(&scale_b, arena, &arena->scale_b, sizeof arena->scale_b);
    arena->epilogue.scale_b = scale_b;
    arena->epilogue.scale_a_per_block = tri_bsr(&arena->problem)->scale_per_block;
done:
    return status;
}

static triage_status make_inputs(tri_arena *arena, uint64_t seed) {
    triage_status status = TRIAGE_OK;
    const tri_bsr_problem *p = tri_bsr(&arena->problem);
    size_t b_count = (size_t)p->k * (size_t)p->n, c_count = (size_t)p->m * (size_t)p->n;
    tri_random random;
    tri_random_seed(&random, seed);
    arena->b_dense = (triage_dense){NULL, p->k, p->n, p->ldb, p->in_type, p->b_layout};
    arena->c_dense = (triage_dense){NULL, p->m, p->n, p->ldc, p->out_type, p->c_layout};
    arena->c_bytes = c_count * tri_dtype_size(p->out_type);
    TRI_TRY(draw(&arena->values, p->in_type, value_count(arena), tri_random_next(&random)));
    TRI_TRY(draw(&arena->b, p->in_type, b_count, tri_random_next(&random)));
    if (p->in_type == TRIAGE_E4M3)
        TRI_TRY(make_scales(arena, &random));
    TRI_TRY(make_matrix(arena));
    TRI_TRY(tri_arena_place(&arena->b_dense.data, arena, arena->b, b_count * tri_dtype_size(p->in_type)));
    TRI_TRY(triage_device_alloc(&arena->c_dense.data, arena->context, arena->c_bytes + 4)); /* whole words */
    TRI_TRY(tri_calloc(&arena->plain, arena->c_bytes, 1));
    TRI_TRY(tri_calloc(&arena->got, arena->c_bytes, 1));
done:
    return status;
}

triage_status tri_arena_densify(void **out, const tri_arena *arena) {
    triage_status status = TRIAGE_OK;
    const tri_bsr_problem *p = tri_bsr(&arena->problem);
    size_t size = tri_dtype_size(p->in_type), row_bytes = (size_t)p->block_k * size;
    char *dense = NULL;
    TRI_TRY(tri_calloc(&dense, (size_t)p->m * (size_t)p->k, size));
    for (int64_t row = 0; row < p->m; row++) {
        int64_t block_row = row / p->block_m, inner = row % p->block_m;
        for (int32_t i = arena->pattern.row_ptr[block_row]; i < arena->pattern.row_ptr[block_row + 1]; i++)
            memcpy(dense +
                       ((size_t)row * (size_t)p->k + (size_t)arena->pattern.col_idx[i] * (size_t)p->block_k) *
                           size,
                   (const char *)arena->values + ((size_t)i * (size_t)p->block_m + (size_t)inner) * row_bytes,
                   row_bytes);
    }
    TRI_TRY(tri_arena_place(out, arena, dense, (size_t)p->m * (size_t)p->k * size));
done:
    free(dense);
    return status;
}

/* ---- the gate ---- */

triage_status tri_arena_poison(tri_arena *arena) {
    triage_status status = TRIAGE_OK;
    tri_device *device = arena->context->device;
    TRI_TRY(tri_device_fill(device, (tri_address)(uintptr_t)arena->c_dense.data, 0xffffffff,
                            (arena->c_bytes + 3) / 4, NULL)); /* NaN in f32, f16 and bf16 */
    TRI_TRY(tri_device_synchronize(device));
done:
    return status;
}

triage_status tri_arena_judge(tri_verdict *out, tri_arena *arena) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(triage_device_synchronize(arena->context));
    TRI_TRY(triage_device_download(arena->context, arena->got, arena->c_dense.data, arena->c_bytes));
    tri_verdict_make(out, &arena->yardstick, arena->view, arena->got, arena->plain, arena->references,
                     arena->rows, arena->row_count);
done:
    return status;
}

static triage_status launch_plain(tri_arena *arena, tri_kernel *kernel, const tri_launch *launch) {
    triage_status status = TRIAGE_OK;
    tri_bsr_gemm_args args;
    tri_bsr_buffers buffers = {.values = arena->a->values,
                               .row_ptr = arena->a->row_ptr,
                               .col_idx = arena->a->col_idx,
                               .b = (tri_address)(uintptr_t)arena->b_dense.data,
                               .c = (tri_address)(uintptr_t)arena->c_dense.data,
                               .scale_a = (tri_address)(uintptr_t)arena->epilogue.scale_a,
                               .scale_b = (tri_address)(uintptr_t)arena->epilogue.scale_b};
    TRI_TRY(tri_matrix_schedule_for(&buffers.schedule, arena->a, launch));
    TRI_TRY(tri_bsr_args_make(&args, arena->context->device, launch, &arena->problem, &buffers, 1, 0));
    TRI_TRY(tri_arena_poison(arena));
    TRI_TRY(tri_kernel_launch(kernel, &args, NULL));
    TRI_TRY(triage_device_synchronize(arena->context));
    TRI_TRY(triage_device_download(arena->context, arena->plain, arena->c_dense.data, arena->c_bytes));
done:
    return status;
}

static triage_status run_plain(tri_arena *arena) {
    triage_status status = TRIAGE_OK;
    triage_context *context = arena->context;
    const tri_device_info *info = tri_device_describe(context->device);
    tri_space *space = NULL;
    tri_candidate candidate = {0};
    tri_source source = {0};
    tri_image image = {0};
    tri_kernel *kernel = NULL;
    TRI_TRY(tri_context_space(&space, context, arena->problem.op));
    TRI_TRY(tri_space_reference(&candidate, space, &arena->problem, info));
    TRI_TRY(tri_render(&source, &candidate, context->data_dir));
    TRI_TRY(tri_compile(&image, info->target, &source, context->cache_dir));
    TRI_TRY(tri_kernel_load(&kernel, context->device, &image, &candidate.launch));
    TRI_TRY(launch_plain(arena, kernel, &candidate.launch));
done:
    tri_kernel_unload(kernel);
    tri_image_free(&image);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    return status;
}

static triage_status make_references(tri_arena *arena, uint64_t seed) {
    triage_status status = TRIAGE_OK;
    const tri_bsr_problem *p = tri_bsr(&arena->problem);
    tri_bsr_operands operands = {.problem = &arena->problem,
                                 .pattern = &arena->pattern,
                                 .values = arena->values,
                                 .b = arena->b,
                                 .scale_a = arena->scale_a,
                                 .scale_b = arena->scale_a ? &arena->scale_b : NULL,
                                 .alpha = 1};
    TRI_TRY(tri_checked_rows(&arena->rows, &arena->row_count, &arena->problem, &arena->pattern, seed));
    TRI_TRY(tri_calloc(&arena->references, arena->row_count * (size_t)p->n, sizeof *arena->references));
    for (size_t i = 0; i < arena->row_count; i++)
        tri_reference_row(arena->references + i * (size_t)p->n, &operands, arena->rows[i]);
    TRI_TRY(tri_yardstick_make(&arena->yardstick, arena->view, arena->plain, arena->references, arena->rows,
                               arena->row_count));
done:
    return status;
}

triage_status tri_arena_open(tri_arena *out, triage_context *context, const tri_problem *problem,
                             tri_pattern *pattern, uint64_t seed) {
    triage_status status = TRIAGE_OK;
    *out = (tri_arena){
        .context = context, .problem = *problem, .pattern = *pattern, .epilogue = TRIAGE_EPILOGUE_INIT};
    *pattern = (tri_pattern){0};
    tri_bsr_views(out->view, problem);
    TRI_TRY(make_inputs(out, seed));
    TRI_TRY(run_plain(out));
    TRI_TRY(make_references(out, seed));
done:
    if (status != TRIAGE_OK)
        tri_arena_close(out);
    return status;
}

void tri_arena_close(tri_arena *arena) {
    triage_bsr_matrix_free(arena->a);
    triage_device_release(arena->context, arena->b_dense.data);
    triage_device_release(arena->context, arena->c_dense.data);
    triage_device_release(arena->context, (void *)(uintptr_t)arena->epilogue.scale_a);
    triage_device_release(arena->context, (void *)(uintptr_t)arena->epilogue.scale_b);
    tri_pattern_free(&arena->pattern);
    free(arena->values);
    free(arena->b);
    free(arena->scale_a);
    free(arena->plain);
    free(arena->got);
    free(arena->references);
    free(arena->rows);
    *arena = (tri_arena){0};
}
