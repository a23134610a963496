/* From a report to a row of evidence. */
#include "measure/bench.h"

static triage_status fill_texts(tri_measurement *out, const tri_row_subject *subject, const char *reason,
                                const char *circumstances) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_strdup(&out->problem, subject->problem));
    TRI_TRY(tri_strdup(&out->device, subject->device));
    TRI_TRY(tri_strdup(&out->device_name, subject->device_name));
    TRI_TRY(tri_strdup(&out->kernel, subject->kernel));
    TRI_TRY(tri_strdup(&out->config, subject->config));
    TRI_TRY(tri_strdup(&out->source_hash, subject->source_hash));
    TRI_TRY(tri_strdup(&out->compiler, subject->compiler));
    TRI_TRY(tri_strdup(&out->stage, subject->stage));
    TRI_TRY(tri_strdup(&out->reason, reason));
    TRI_TRY(tri_strdup(&out->host, subject->host));
    TRI_TRY(tri_strdup(&out->version, TRIAGE_VERSION));
    TRI_TRY(tri_strdup(&out->circumstances, circumstances ? circumstances : "{}"));
done:
    return status;
}

triage_status tri_report_row(tri_measurement *out, const tri_row_subject *subject, const tri_report *report,
                             const char *circumstances) {
    const tri_timing *t = &report->timing;
    *out = (tri_measurement){.outcome = report->outcome,
                             .median_ns = t->median_ns,
                             .low_ns = t->low_ns,
                             .high_ns = t->high_ns,
                             .min_ns = t->min_ns,
                             .samples = t->samples,
                             .cold_l2 = t->cold_l2,
                             .row_error = report->row_error,
                             .row_error_limit = report->row_error_limit,
                             .registers = -1,
                             .spill_bytes = -1,
                             .smem_bytes = -1,
                             .seed = subject->seed,
                             .measured_at_ms = tri_wall_time_ms()};
    return fill_texts(out, subject, report->reason, circumstances);
}
