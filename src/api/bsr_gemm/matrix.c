/* Block-sparse matrices: the pattern is checked on the host and kept there, and copied to the device; and their transposes. */
#include <stdlib.h>

#include "api/bsr_gemm/bsr_gemm.h"

static triage_status check_desc(const triage_bsr_desc *desc) {
    if (desc->version != TRIAGE_BSR_DESC_VERSION)
        return tri_fail(TRIAGE_E_INVALID, "desc.version is %u; must be %u (TRIAGE_BSR_DESC_INIT)",
                        desc->version, TRIAGE_BSR_DESC_VERSION);
    if ((unsigned)desc->dtype > TRIAGE_E4M3)
        return tri_fail(TRIAGE_E_INVALID, "desc.dtype is %d; must be a triage_dtype", (int)desc->dtype);
    if (desc->memory != TRIAGE_MEMORY_HOST && desc->memory != TRIAGE_MEMORY_DEVICE)
        return tri_fail(TRIAGE_E_INVALID, "desc.memory is %d; must be a triage_memory", (int)desc->memory);
    if (desc->rows < 1 || desc->rows > INT32_MAX || desc->cols < 1 || desc->cols > INT32_MAX)
        return tri_fail(TRIAGE_E_INVALID, "desc is %lld x %lld; both must be 1 .. 2147483647",
                        (long long)desc->rows, (long long)desc->cols);
    if (desc->block_rows < 1 || desc->block_rows > 1024 || desc->block_cols < 1 || desc->block_cols > 1024)
        return tri_fail(TRIAGE_E_INVALID, "desc has blocks of %d x %d; both must be 1 .. 1024",
                        desc->block_rows, desc->block_cols);
    if (desc->rows % desc->block_rows != 0 || desc->cols % desc->block_cols != 0)
        return tri_fail(TRIAGE_E_INVALID, "desc is %lld x %lld; must be a multiple of its blocks of %d x %d",
                        (long long)desc->rows, (long long)desc->cols, desc->block_rows, desc->block_cols);
    return TRIAGE_OK;
}

static triage_status check_arrays(const triage_bsr_desc *desc) {
    int64_t blocks = (desc->rows / desc->block_rows) * (desc->cols / desc->block_cols);
    int64_t most = blocks < INT32_MAX ? blocks : INT32_MAX;
    if (desc->nnzb < 0 || desc->nnzb > most)
        return tri_fail(TRIAGE_E_INVALID, "desc.nnzb is %lld; must be 0 .. %lld", (long long)desc->nnzb,
                        (long long)most);
    if (!desc->row_ptr)
        return tri_fail(TRIAGE_E_INVALID, "desc.row_ptr is NULL");
    if (desc->nnzb > 0 && (!desc->col_idx || !desc->values))
        return tri_fail(TRIAGE_E_INVALID, "desc.%s is NULL with nnzb %lld",
                        desc->col_idx ? "values" : "col_idx", (long long)desc->nnzb);
    if (desc->memory == TRIAGE_MEMORY_DEVICE && (uintptr_t)desc->values % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "desc.values is %p; must be 16-byte aligned", desc->values);
    return TRIAGE_OK;
}

/* count values of an index array, brought to the host if they are not there. */
static triage_status fetch_indices(int32_t **out, triage_context *context, const int32_t *from,
                                   int64_t count) {
    triage_status status = tri_calloc(out, count > 0 ? (size_t)count : 1, sizeof **out);
    if (status != TRIAGE_OK || count == 0)
        return status;
    return tri_device_download(context->device, *out, (tri_address)(uintptr_t)from,
                               (size_t)count * sizeof **out);
}

static triage_status copy_pattern(triage_bsr_matrix *matrix, const triage_bsr_desc *desc) {
    triage_status status = TRIAGE_OK;
    int32_t *row_ptr = NULL, *col_idx = NULL;
    int64_t block_rows = desc->rows / desc->block_rows, block_cols = desc->cols / desc->block_cols;
    if (desc->memory == TRIAGE_MEMORY_DEVICE) {
        /* whatever stream writes the arrays: a copy by itself does not wait for a non-blocking one */
        TRI_TRY(tri_device_synchronize(matrix->context->device));
        TRI_TRY(fetch_indices(&row_ptr, matrix->context, desc->row_ptr, block_rows + 1));
        TRI_TRY(fetch_indices(&col_idx, matrix->context, desc->col_idx, desc->nnzb));
    }
    TRI_TRY(tri_pattern_copy(&matrix->pattern, block_rows, block_cols, desc->nnzb,
                             row_ptr ? row_ptr : desc->row_ptr, col_idx ? col_idx : desc->col_idx));
    tri_fingerprint_of(&matrix->fingerprint, &matrix->pattern);
done:
    free(row_ptr);
    free(col_idx);
    return status;
}

/* At least least_bytes are allocated, so that an empty array has an address that kernels may be given. */
static triage_status upload_new(tri_address *out, tri_device *device, const void *from, size_t bytes,
                                size_t least_bytes) {
    triage_status status = tri_device_alloc(device, out, bytes > least_bytes ? bytes : least_bytes);
    if (status != TRIAGE_OK || bytes == 0)
        return status;
    return tri_device_upload(device, *out, from, bytes);
}

static triage_status upload_matrix(triage_bsr_matrix *matrix, const triage_bsr_desc *desc) {
    triage_status status = TRIAGE_OK;
    tri_device *device = matrix->context->device;
    const tri_pattern *pattern = &matrix->pattern;
    size_t block_bytes = (size_t)desc->block_rows * (size_t)desc->block_cols * tri_dtype_size(desc->dtype);
    TRI_TRY(upload_new(&matrix->row_ptr, device, pattern->row_ptr,
                       (size_t)(pattern->block_rows + 1) * sizeof(int32_t), sizeof(int32_t)));
    TRI_TRY(upload_new(&matrix->col_idx, device, pattern->col_idx, (size_t)pattern->nnzb * sizeof(int32_t),
                       sizeof(int32_t)));
    matrix->owns_values = desc->memory == TRIAGE_MEMORY_HOST || desc->nnzb == 0;
    if (matrix->owns_values)
        TRI_TRY(
            upload_new(&matrix->values, device, desc->values, (size_t)desc->nnzb * block_bytes, block_bytes));
    else
        matrix->values = (tri_address)(uintptr_t)desc->values;
    TRI_TRY(tri_device_synchronize(device));
done:
    return status;
}

static void free_schedules(triage_bsr_matrix *matrix) {
    tri_device *device = matrix->context->device;
    while (matrix->schedules) {
        tri_matrix_schedule *schedule = matrix->schedules;
        matrix->schedules = schedule->next;
        tri_device_schedule_release(device, &schedule->device);
        free(schedule);
    }
}

static void release(triage_bsr_matrix *matrix) {
    if (!matrix)
        return;
    release(atomic_load_explicit(&matrix->transposed, memory_order_relaxed));
    tri_caller_close(&matrix->caller);
    tri_caller_close(&matrix->sampled);
    free_schedules(matrix);
    tri_sddmm_tiles_release(matrix);
    tri_device_release(matrix->context->device, matrix->row_ptr);
    tri_device_release(matrix->context->device, matrix->col_idx);
    tri_device_release(matrix->context->device, matrix->blocks);
    if (matrix->owns_values)
        tri_device_release(matrix->context->device, matrix->values);
    tri_pattern_free(&matrix->pattern);
    pthread_mutex_destroy(&matrix->transposing);
    free(matrix);
}

void triage_bsr_matrix_free(triage_bsr_matrix *matrix) {
    if (matrix && !matrix->stored) /* a transpose is freed with the one that it was made of */
        release(matrix);
}

static triage_status allocate(triage_bsr_matrix **out) {
    triage_status status = tri_calloc(out, 1, sizeof **out);
    if (status == TRIAGE_OK)
        pthread_mutex_init(&(*out)->transposing, NULL);
    return status;
}

triage_status triage_bsr_matrix_create(triage_bsr_matrix **out, triage_context *context,
                                       const triage_bsr_desc *desc) {
    triage_status status = TRIAGE_OK;
    triage_bsr_matrix *matrix = NULL;
    if (!out)
        return tri_fail(TRIAGE_E_INVALID, "out is NULL");
    *out = NULL;
    if (!context || !desc)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", context ? "desc" : "context");
    TRI_TRY(check_desc(desc));
    TRI_TRY(check_arrays(desc));
    TRI_TRY(allocate(&matrix));
    matrix->context = context;
    matrix->dtype = desc->dtype;
    matrix->rows = desc->rows;
    matrix->cols = desc->cols;
    matrix->block_rows = desc->block_rows;
    matrix->block_cols = desc->block_cols;
    TRI_TRY(tri_caller_open(&matrix->caller, &tri_bsr_gemm_calls, context, matrix));
    TRI_TRY(tri_caller_open(&matrix->sampled, &tri_sddmm_calls, context, matrix));
    TRI_TRY(copy_pattern(matrix, desc));
    TRI_TRY(upload_matrix(matrix, desc));
    *out = matrix;
    matrix = NULL;
done:
    release(matrix);
    return status;
}

/* ---- transposes ---- */

static triage_status upload_transpose(triage_bsr_matrix *matrix) {
    const tri_pattern *pattern = &matrix->pattern;
    tri_transposed_block *blocks = NULL;
    triage_status status = TRIAGE_OK;
    tri_device *device = matrix->context->device;
    TRI_TRY(tri_bsr_transposed_blocks(&blocks, pattern));
    TRI_TRY(upload_new(&matrix->row_ptr, device, pattern->row_ptr,
                       (size_t)(pattern->block_rows + 1) * sizeof(int32_t), sizeof(int32_t)));
    TRI_TRY(
        upload_new(&matrix->blocks, device, blocks, (size_t)pattern->nnzb * sizeof *blocks, sizeof *blocks));
    TRI_TRY(tri_device_synchronize(device));
done:
    free(blocks);
    return status;
}

static triage_status make_transpose(triage_bsr_matrix **out, const triage_bsr_matrix *a) {
    triage_bsr_matrix *matrix = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(allocate(&matrix));
    matrix->context = a->context;
    matrix->stored = a;
    matrix->dtype = a->dtype;
    matrix->rows = a->cols, matrix->cols = a->rows;
    matrix->block_rows = a->block_cols, matrix->block_cols = a->block_rows;
    matrix->values = a->values;
    TRI_TRY(tri_caller_open(&matrix->caller, &tri_bsr_gemm_calls, a->context, matrix));
    TRI_TRY(tri_caller_open(&matrix->sampled, &tri_sddmm_calls, a->context, matrix)); /* which refuses */
    TRI_TRY(tri_pattern_transpose(&matrix->pattern, &a->pattern));
    tri_fingerprint_of(&matrix->fingerprint, &matrix->pattern);
    TRI_TRY(upload_transpose(matrix));
    *out = matrix;
    matrix = NULL;
done:
    release(matrix);
    return status;
}

triage_status triage_bsr_matrix_transposed(const triage_bsr_matrix **out, const triage_bsr_matrix *a) {
    triage_bsr_matrix *own = (triage_bsr_matrix *)a, *made = NULL; /* const for the caller: it is a cache */
    triage_status status = TRIAGE_OK;
    if (!out || !a)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", out ? "a" : "out");
    *out = a->stored ? a->stored : atomic_load_explicit(&own->transposed, memory_order_acquire);
    if (*out)
        return TRIAGE_OK;
    if (a->dtype == TRIAGE_E4M3)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "a is e4m3; a transpose is of f32, f16 or bf16");
    pthread_mutex_lock(&own->transposing);
    made = atomic_load_explicit(&own->transposed, memory_order_relaxed);
    if (!made)
        status = make_transpose(&made, a);
    if (status == TRIAGE_OK)
        atomic_store_explicit(&own->transposed, made, memory_order_release);
    pthread_mutex_unlock(&own->transposing);
    *out = made;
    return status;
}

/* ---- values ---- */

triage_status triage_bsr_matrix_set_values(triage_bsr_matrix *matrix, const void *values) {
    if (!matrix || (!values && matrix->pattern.nnzb > 0))
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", matrix ? "values" : "matrix");
    if (matrix->stored)
        return tri_fail(TRIAGE_E_INVALID,
                        "matrix is a transpose; values are set of the one that it was made of");
    if (matrix->pattern.nnzb == 0)
        return TRIAGE_OK;
    if (matrix->owns_values) {
        size_t bytes = (size_t)matrix->pattern.nnzb * (size_t)matrix->block_rows *
                       (size_t)matrix->block_cols * tri_dtype_size(matrix->dtype);
        return tri_device_upload(matrix->context->device, matrix->values, values, bytes);
    }
    if ((uintptr_t)values % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "values is %p; must be 16-byte aligned", values);
    matrix->values = (tri_address)(uintptr_t)values;
    tri_calls_forget(&matrix->caller); /* their argument blocks have the old address */
    triage_bsr_matrix *transposed = atomic_load_explicit(&matrix->transposed, memory_order_acquire);
    if (transposed) {
        transposed->values = matrix->values;
        tri_calls_forget(&transposed->caller);
    }
    return TRIAGE_OK;
}

static bool same_shape(const tri_panel_shape *a, const tri_panel_shape *b) {
    _Static_assert(sizeof *a == 9 * sizeof(int32_t), "tri_panel_shape has changed: compare all of it");
    return a->rows == b->rows && a->group == b->group && a->cluster == b->cluster && a->gather == b->gather &&
           a->reorder == b->reorder && a->by_turns == b->by_turns && a->by_column == b->by_column &&
           a->columns == b->columns && a->workers == b->workers && a->warps == b->warps &&
           a->busy_warps == b->busy_warps && a->least_blocks == b->least_blocks;
}

triage_status tri_bsr_matrix_schedule(const tri_device_schedule **out, triage_bsr_matrix *matrix,
                                      const tri_launch *launch) {
    triage_status status = TRIAGE_OK;
    tri_schedule built = {0};
    tri_panel_shape shape = tri_launch_panels(launch, matrix->stored != NULL);
    tri_matrix_schedule *entry = matrix->schedules, *made = NULL;
    while (entry && !same_shape(&entry->shape, &shape))
        entry = entry->next;
    if (!entry) {
        TRI_TRY(tri_schedule_build(&built, &matrix->pattern, &shape));
        TRI_TRY(tri_calloc(&made, 1, sizeof *made));
        TRI_TRY(tri_device_schedule_place(&made->device, matrix->context->device, &built));
        made->shape = shape;
        made->next = matrix->schedules;
        matrix->schedules = entry = made;
        made = NULL;
    }
    *out = &entry->device;
done:
    free(made);
    tri_schedule_free(&built);
    return status;
}
