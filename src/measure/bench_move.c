/* The operands of a bench, put elsewhere in the device's memory: where they lie decides which slices of a cache and which
 * channels of the memory they share, and a kernel's time is lucky or unlucky by up to a percent. Who times in several places
 * evens that out (race_protocol.h). */
#include "measure/bench_private.h"

#define SPACER_STEP ((size_t)2 << 20) /* a large page of a GPU */
#define SPACER_SIZES 7

/* *address: a place of so many bytes, in which nothing is yet. Without room for two at once it stays where it is. */
static bool take_place(tri_address *address, tri_device *device, size_t bytes) {
    tri_address place = 0;
    if (tri_device_alloc(device, &place, bytes) != TRIAGE_OK)
        return false;
    tri_device_release(device, *address);
    *address = place;
    return true;
}

static triage_status move_inputs(tri_bench *bench, size_t case_index) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < TRI_INPUTS_MAX; i++) {
        tri_input *input = &bench->inputs[case_index].at[i];
        if (input->address && take_place(&input->address, bench->device, input->bytes))
            TRI_TRY(tri_device_upload(bench->device, input->address, input->data, input->bytes));
    }
done:
    return status;
}

/* What a later case shares with the first has no place of its own. shared: where it has none, while the first one moves. */
static void unshare(bool shared[TRI_CASES_MAX][TRI_INPUTS_MAX], tri_bench *bench) {
    for (size_t c = 1; c < bench->case_count; c++)
        for (size_t i = 0; i < TRI_INPUTS_MAX; i++) {
            tri_address *address = &bench->inputs[c].at[i].address;
            shared[c][i] = *address && *address == bench->inputs[0].at[i].address;
            if (shared[c][i])
                *address = 0;
        }
}

static void share_again(bool shared[TRI_CASES_MAX][TRI_INPUTS_MAX], tri_bench *bench) {
    for (size_t c = 1; c < bench->case_count; c++)
        for (size_t i = 0; i < TRI_INPUTS_MAX; i++)
            if (shared[c][i])
                bench->inputs[c].at[i].address = bench->inputs[0].at[i].address;
}

static triage_status move_results(tri_bench *bench) {
    for (size_t i = 0; i < bench->result_count; i++) {
        tri_result *result = &bench->results[i];
        (void)take_place(&result->zone, bench->device, result->bytes + 2 * (size_t)TRI_GUARD_BYTES);
        result->address = result->zone + TRI_GUARD_BYTES;
    }
    return tri_bench_make_ready(bench, 0);
}

/* What was let go of last is what an allocator gives first: a spacer of another size each time shifts the rest. */
static void move_spacer(tri_bench *bench) {
    (void)take_place(&bench->spacer, bench->device, (1 + bench->moves++ % SPACER_SIZES) * SPACER_STEP);
}

triage_status tri_bench_move(tri_bench *bench) {
    bool shared[TRI_CASES_MAX][TRI_INPUTS_MAX] = {{false}};
    triage_status status = TRIAGE_OK;
    move_spacer(bench);
    unshare(shared, bench);
    for (size_t i = 0; i < bench->case_count && status == TRIAGE_OK; i++)
        status = move_inputs(bench, i);
    share_again(shared, bench);
    return status == TRIAGE_OK ? move_results(bench) : status;
}
