/* A bench on a caller's operands, where they lie: read, never written, never moved. The cases, the plain kernel, float64 and the
 * gate are those of any bench; only that nobody drew the numbers makes a difference, so they are looked at first. */
#include "measure/bench_private.h"

#include <stdlib.h>
#include <string.h>

triage_status tri_bench_take_given(tri_bench *bench, const tri_inputs *given) {
    triage_status status = TRIAGE_OK;
    bench->has_given = true;
    for (size_t i = 0; i < TRI_INPUTS_MAX; i++) {
        const tri_input *from = &given->at[i];
        tri_input *input = &bench->inputs[0].at[i];
        if (from->data) {
            *input = *from;
            input->borrowed = true;
        } else if (from->address) {
            TRI_TRY(tri_calloc(&input->data, from->bytes ? from->bytes : 1, 1));
            input->bytes = from->bytes;
            input->address = from->address;
            if (from->bytes)
                TRI_TRY(tri_device_download(bench->device, input->data, from->address, from->bytes));
        }
    }
done:
    return status;
}

triage_status tri_bench_fill_before(tri_bench *bench) {
    triage_status status = TRIAGE_OK;
    for (size_t c = 1; c < bench->case_count; c++)
        for (size_t i = 0; i < bench->result_count; i++) {
            const int before = bench->op->before(&bench->problem, c, i);
            const tri_result *result = &bench->results[i];
            tri_input *input = before < 0 ? NULL : &bench->inputs[c].at[before];
            if (!input || input->borrowed) /* given, too */
                continue;
            if (!input->data)
                TRI_TRY(tri_calloc(&input->data, result->bytes, 1));
            input->bytes = result->bytes;
            memcpy(input->data, result->expected[0].plain, result->bytes);
        }
done:
    return status;
}

/* Does a row's float64 tell one place from another? */
static bool is_telling(const double *row, int64_t count) {
    for (int64_t i = 1; i < count; i++)
        if (row[i] != row[0])
            return true;
    return count == 1 && row[0] != 0;
}

/* Operands of zeros, or all alike, make many a wrong kernel's result right: half of the checked rows must be neither. */
triage_status tri_bench_check_given(const tri_bench *bench) {
    for (size_t i = 0; i < bench->result_count; i++) {
        const tri_result *result = &bench->results[i];
        size_t telling = 0;
        for (size_t row = 0; row < bench->row_count; row++)
            telling += is_telling(result->expected[0].references + row * (size_t)result->view.cols,
                                  result->view.cols);
        if (2 * telling < bench->row_count)
            return tri_fail(TRIAGE_E_DATA, "%zu of %zu checked rows of %s are of equal numbers",
                            bench->row_count - telling, bench->row_count, result->view.name);
    }
    return TRIAGE_OK;
}

/* A millisecond's worth, roughly and rather too much. */
#define MOVED_BYTES 3e6 /* from the device, and compared */
#define PLAIN_FLOPS_CUDA 2e9
#define PLAIN_FLOPS_HOST 2e7
#define FLUSHED_CUDA 3e9
#define FLUSHED_HOST 1e7
#define ROUNDS 6 /* that are run in any case */

double tri_bench_race_ms(const tri_device_info *info, const tri_problem *problem, const tri_inputs *given,
                         size_t entrants) {
    const double cases = (double)problem->op->case_count(problem), count = (double)entrants;
    const bool is_host = info->cc == 0;
    tri_view views[TRI_VIEWS_MAX];
    double moved = 0, results = 0;
    for (size_t i = 0; i < TRI_INPUTS_MAX; i++)
        moved += given->at[i].data ? 0 : (double)given->at[i].bytes;
    for (size_t i = problem->op->views(views, problem); i-- > 0;)
        results += (double)tri_view_bytes(&views[i], tri_dtype_size(views[i].dtype));
    moved += results * (cases + count * (cases + 1));
    const double plain = cases * tri_problem_flops(problem) / (is_host ? PLAIN_FLOPS_HOST : PLAIN_FLOPS_CUDA);
    const double flushed = ROUNDS * count * (double)tri_bench_flush_size(info, 0);
    return moved / MOVED_BYTES + plain + flushed / (is_host ? FLUSHED_HOST : FLUSHED_CUDA);
}
