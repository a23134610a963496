/* A schedule's arrays on the device. */
#include "op/bsr_gemm/bsr_gemm.h"

#include <stdlib.h>

/* An empty array has an address too, of one record: kernels may be given it. */
static triage_status place(tri_address *out, tri_device *device, const void *records, int64_t count,
                           size_t size) {
    const size_t bytes = (size_t)count * size;
    triage_status status = tri_device_alloc(device, out, bytes ? bytes : size);
    return status == TRIAGE_OK && bytes ? tri_device_upload(device, *out, records, bytes) : status;
}

triage_status tri_device_schedule_place(tri_device_schedule *out, tri_device *device,
                                        const tri_schedule *schedule) {
    triage_status status = TRIAGE_OK;
    *out = (tri_device_schedule){.slots = schedule->slots};
    TRI_TRY(place(&out->rows, device, schedule->rows, schedule->slots, sizeof *schedule->rows));
    if (!schedule->panel_starts)
        return TRIAGE_OK;
    TRI_TRY(place(&out->panels, device, schedule->panel_starts, schedule->panels,
                  sizeof *schedule->panel_starts));
    TRI_TRY(place(&out->steps, device, schedule->steps, schedule->step_count, sizeof *schedule->steps));
    if (schedule->deal)
        TRI_TRY(place(&out->deal, device, schedule->deal, schedule->deal_count, sizeof *schedule->deal));
done:
    if (status != TRIAGE_OK)
        tri_device_schedule_release(device, out);
    return status;
}

void tri_device_schedule_release(tri_device *device, tri_device_schedule *placed) {
    tri_device_release(device, placed->rows);
    tri_device_release(device, placed->panels);
    tri_device_release(device, placed->steps);
    tri_device_release(device, placed->deal);
    *placed = (tri_device_schedule){0};
}

/* The rows of a transposed pattern are uneven. What is ordered or dealt so elsewhere was not measured yet. */
tri_panel_shape tri_launch_panels(const tri_launch *launch, bool transposed) {
    const tri_bsr_launch *own = tri_bsr_launch_of(launch);
    const bool deal = own->panel_columns > 0;
    return (tri_panel_shape){
        .rows = own->panel_rows,
        .group = own->panel_group > 1 ? own->panel_group : 1,
        .cluster = own->panel_cluster > 1 ? own->panel_cluster : 1,
        .gather = own->gather,
        .columns = own->panel_columns,
        .workers = deal ? (int32_t)(launch->grid[0] / (launch->cluster[0] > 1 ? launch->cluster[0] : 1)) : 0,
        .warps = deal ? own->panel_warps : 0,
        .busy_warps = deal ? own->panel_busy_warps : 0,
        .least_blocks = deal ? own->panel_least_blocks : 0,
        .reorder = own->reorder,
        .by_turns = transposed && own->panel_rows > 1,
        .by_column = transposed};
}

triage_status tri_bsr_prepare(void **out, tri_device *device, const tri_launch *launch,
                              const tri_problem *problem, const tri_pattern *pattern) {
    const tri_panel_shape shape = tri_launch_panels(launch, tri_bsr(problem)->a_transposed);
    tri_schedule schedule = {0};
    tri_device_schedule *placed = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&placed, 1, sizeof *placed));
    TRI_TRY(tri_schedule_build(&schedule, pattern, &shape));
    TRI_TRY(tri_device_schedule_place(placed, device, &schedule));
    *out = placed;
    placed = NULL;
done:
    free(placed);
    tri_schedule_free(&schedule);
    return status;
}

void tri_bsr_release(tri_device *device, void *prepared) {
    if (prepared)
        tri_device_schedule_release(device, prepared);
    free(prepared);
}
