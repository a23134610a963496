/* A schedule's arrays on the device. */
#include "device/device.h"
#include "bsr_gemm/args.h"

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
