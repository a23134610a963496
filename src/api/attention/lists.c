/* The lists of a block mask in the host's memory: what they hold is checked here, and they go to the device. Lists that are
 * on the device nobody here can read: only their addresses are checked (check.c). */
#include "api/attention/attention.h"

#include <stdlib.h>
#include <string.h>

static triage_status check_list(const triage_block_lists *lists, const char *name, int64_t rows,
                                int64_t cols) {
    tri_pattern copy = {0};
    if (!lists->ptr || rows == 0 || cols == 0)
        return TRIAGE_OK;
    triage_status status = tri_pattern_copy(&copy, rows, cols, lists->ptr[rows], lists->ptr, lists->cols);
    if (status != TRIAGE_OK) {
        char line[256];
        snprintf(line, sizeof line, "%s", triage_last_error());
        status = tri_fail(status, "desc.%s: %s", name, line);
    }
    tri_pattern_free(&copy);
    return status;
}

/* All blocks of both kinds, for the fingerprint. */
static triage_status merge_lists(tri_pattern *out, const triage_attention_desc *desc, int64_t rows,
                                 int64_t cols) {
    const triage_block_lists *lists[] = {&desc->full, &desc->partial};
    triage_status status;
    int32_t made = 0, at[2], end[2];
    int64_t most = 0;
    *out = (tri_pattern){.block_rows = rows, .block_cols = cols};
    for (int i = 0; i < 2; i++)
        most += lists[i]->ptr ? lists[i]->ptr[rows] : 0;
    TRI_TRY(tri_calloc(&out->row_ptr, (size_t)rows + 1, sizeof *out->row_ptr));
    TRI_TRY(tri_calloc(&out->col_idx, (size_t)most + 1, sizeof *out->col_idx));
    for (int64_t row = 0; row < rows; row++) {
        for (int i = 0; i < 2; i++) {
            at[i] = lists[i]->ptr ? lists[i]->ptr[row] : 0;
            end[i] = lists[i]->ptr ? lists[i]->ptr[row + 1] : 0;
        }
        while (at[0] < end[0] || at[1] < end[1]) {
            int from = at[0] == end[0] || (at[1] < end[1] && lists[1]->cols[at[1]] < lists[0]->cols[at[0]]);
            int32_t col = lists[from]->cols[at[from]++];
            if (made > out->row_ptr[row] && out->col_idx[made - 1] == col)
                TRI_TRY(tri_fail(TRIAGE_E_DATA, "row %lld lists block %d as full and as partial",
                                 (long long)row, col));
            out->col_idx[made++] = col;
        }
        out->row_ptr[row + 1] = made;
    }
    out->nnzb = made;
done:
    return status;
}

static triage_status upload(const void **out, triage_attention *attention, const void *from, size_t bytes) {
    tri_device *device = attention->context->device;
    tri_address address = 0;
    triage_status status = tri_device_alloc(device, &address, bytes ? bytes : 4);
    if (status != TRIAGE_OK)
        return status;
    attention->owned[attention->owned_count++] = address;
    *out = (const void *)(uintptr_t)address;
    return bytes ? tri_device_upload(device, address, from, bytes) : TRIAGE_OK;
}

/* Pairs are counted where the host can read the lists. */
triage_status tri_attention_take_lists(triage_attention *attention, const triage_attention_desc *desc) {
    tri_attention_problem *p = &attention->problem;
    tri_attention_args *args = &attention->fixed;
    int64_t rows = tri_attention_mask_rows(p), cols = tri_attention_mask_cols(p);
    size_t words = (size_t)p->mask.rows * (size_t)((p->mask.cols + 31) / 32),
           ptr_bytes = ((size_t)rows + 1) * sizeof(int32_t);
    const triage_block_lists *lists[] = {&desc->full, &desc->partial};
    tri_attention_blocks *blocks[] = {&args->full, &args->partial};
    tri_pattern all = {0};
    triage_status status;
    TRI_TRY(check_list(&desc->full, "full", rows, cols));
    TRI_TRY(check_list(&desc->partial, "partial", rows, cols));
    TRI_TRY(merge_lists(&all, desc, rows, cols));
    if (rows > 0 && cols > 0)
        tri_fingerprint_of(&p->mask.fingerprint, &all);
    tri_attention_complete(p);
    for (int i = 0; i < 2; i++)
        if (lists[i]->ptr)
            *blocks[i] = (tri_attention_blocks){lists[i]->ptr, NULL, lists[i]->cols, 0};
    args->partial_bits = desc->partial.ptr ? desc->partial_bits : NULL;
    if (p->lengths == TRI_LENGTHS_DENSE)
        p->pairs = tri_attention_count_pairs(p, args);
    for (int i = 0; i < 2; i++)
        if (lists[i]->ptr) {
            size_t entries = (size_t)lists[i]->ptr[rows];
            TRI_TRY(upload((const void **)&blocks[i]->ptr, attention, lists[i]->ptr, ptr_bytes));
            TRI_TRY(upload((const void **)&blocks[i]->cols, attention, lists[i]->cols,
                           entries * sizeof(int32_t)));
        }
    if (args->partial_bits)
        TRI_TRY(upload((const void **)&args->partial_bits, attention, desc->partial_bits,
                       (size_t)desc->partial.ptr[rows] * words * sizeof(uint32_t)));
    TRI_TRY(tri_device_synchronize(attention->context->device));
done:
    tri_pattern_free(&all);
    return status;
}
