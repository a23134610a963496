#include "measure/bench_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- the inputs ----------------------------------------------------------------------------------- */

static triage_status draw(void **out, triage_dtype dtype, size_t count, uint64_t seed) {
    triage_status status = tri_calloc(out, count ? count : 1, tri_dtype_size(dtype));
    return status == TRIAGE_OK ? tri_fill_normal(*out, dtype, count, seed) : status;
}

/* Elements of B and C as stored, the gaps of a leading dimension included. */
static size_t stored_b(const tri_problem *problem) {
    return (size_t)(problem->b_layout == TRIAGE_ROW_MAJOR ? problem->k : problem->n) * (size_t)problem->ldb;
}

static size_t stored_c(const tri_problem *problem) {
    return (size_t)(problem->c_layout == TRIAGE_ROW_MAJOR ? problem->m : problem->n) * (size_t)problem->ldc;
}

static size_t stored_a(const tri_problem *problem) {
    return (size_t)problem->nnzb * (size_t)problem->block_m * (size_t)problem->block_k;
}

/* Drawn last, so that the other inputs of a seed are the same with and without. */
static triage_status draw_scales(tri_bench *bench, tri_random *random) {
    size_t count = tri_problem_scales(&bench->problem);
    triage_status status = tri_calloc(&bench->scale_a, count, sizeof *bench->scale_a);
    if (status != TRIAGE_OK)
        return status;
    tri_fill_scales(bench->scale_a, count, tri_random_next(random));
    tri_fill_scales(&bench->scale_b, 1, tri_random_next(random));
    return TRIAGE_OK;
}

static triage_status draw_inputs(tri_bench *bench) {
    const tri_problem *problem = &bench->problem;
    tri_random random;
    tri_random_seed(&random, bench->seed);
    triage_status status = TRIAGE_OK;
    TRI_TRY(draw(&bench->values, problem->in_type, stored_a(problem), tri_random_next(&random)));
    TRI_TRY(draw(&bench->b, problem->in_type, stored_b(problem), tri_random_next(&random)));
    TRI_TRY(draw(&bench->c_in, problem->out_type, stored_c(problem), tri_random_next(&random)));
    if (problem->bias)
        TRI_TRY(draw(&bench->bias, problem->out_type, (size_t)problem->m, tri_random_next(&random)));
    if (problem->in_type == TRIAGE_E4M3)
        TRI_TRY(draw_scales(bench, &random));
    bench->c_bytes = stored_c(problem) * tri_dtype_size(problem->out_type);
    TRI_TRY(tri_calloc(&bench->got, bench->c_bytes, 1));
    TRI_TRY(tri_calloc(&bench->first, bench->c_bytes, 1));
    TRI_TRY(tri_calloc(&bench->guard, TRI_GUARD_BYTES, 1));
done:
    return status;
}

static triage_status place(tri_address *out, tri_bench *bench, const void *data, size_t bytes) {
    triage_status status = tri_device_alloc(bench->device, out, bytes ? bytes : 1);
    return status == TRIAGE_OK && bytes ? tri_device_upload(bench->device, *out, data, bytes) : status;
}

static triage_status place_inputs(tri_bench *bench) {
    const tri_problem *problem = &bench->problem;
    const tri_pattern *pattern = bench->pattern;
    tri_bsr_buffers *buffers = &bench->buffers;
    size_t in = tri_dtype_size(problem->in_type), out = tri_dtype_size(problem->out_type);
    triage_status status = TRIAGE_OK;
    TRI_TRY(place(&buffers->values, bench, bench->values, stored_a(problem) * in));
    TRI_TRY(place(&buffers->row_ptr, bench, pattern->row_ptr,
                  ((size_t)pattern->block_rows + 1) * sizeof *pattern->row_ptr));
    TRI_TRY(
        place(&buffers->col_idx, bench, pattern->col_idx, (size_t)pattern->nnzb * sizeof *pattern->col_idx));
    TRI_TRY(place(&buffers->b, bench, bench->b, stored_b(problem) * in));
    if (problem->bias)
        TRI_TRY(place(&buffers->bias, bench, bench->bias, (size_t)problem->m * out));
    if (bench->scale_a) {
        size_t scales = tri_problem_scales(problem);
        TRI_TRY(place(&buffers->scale_a, bench, bench->scale_a, scales * sizeof *bench->scale_a));
        TRI_TRY(place(&buffers->scale_b, bench, &bench->scale_b, sizeof bench->scale_b));
    }
    TRI_TRY(tri_device_alloc(bench->device, &bench->zone, bench->c_bytes + 2 * (size_t)TRI_GUARD_BYTES));
    buffers->c = bench->zone + TRI_GUARD_BYTES;
done:
    return status;
}

/* ---- mounting a candidate --------------------------------------------------------------------------- */

static triage_status place_schedule(tri_mounted *out, tri_bench *bench, const tri_launch *launch) {
    tri_schedule schedule = {0};
    triage_status status = TRIAGE_OK;
    tri_panel_shape shape = tri_launch_panels(launch);
    TRI_TRY(tri_schedule_build(&schedule, bench->pattern, &shape));
    TRI_TRY(tri_device_schedule_place(&out->buffers.schedule, bench->device, &schedule));
done:
    tri_schedule_free(&schedule);
    return status;
}

void tri_report_fail(tri_report *report, tri_outcome outcome, triage_status status) {
    report->outcome = outcome;
    report->lost = report->lost || status == TRIAGE_E_DEVICE;
    snprintf(report->reason, sizeof report->reason, "%s", triage_last_error());
}

static triage_status make_args(tri_mounted *out, tri_bench *bench, const tri_launch *launch) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < TRI_CASES && status == TRIAGE_OK; i++)
        status = tri_bsr_args_make(&out->args[i], bench->device, launch, &bench->problem, &out->buffers,
                                   bench->cases[i].alpha, bench->cases[i].beta);
    return status;
}

bool tri_bench_mount(tri_mounted *out, tri_bench *bench, const tri_trial *trial, tri_report *report) {
    tri_image image = {0};
    tri_outcome outcome = TRI_NOT_COMPILED;
    triage_status status = TRIAGE_OK;
    *out = (tri_mounted){.buffers = bench->buffers};
    TRI_TRY(tri_compile(&image, tri_device_describe(bench->device)->target, trial->source, bench->cache_dir));
    outcome = TRI_LAUNCH_FAILED;
    TRI_TRY(tri_kernel_load(&out->kernel, bench->device, &image, trial->launch));
    TRI_TRY(place_schedule(out, bench, trial->launch));
    TRI_TRY(make_args(out, bench, trial->launch));
done:
    if (status != TRIAGE_OK) {
        tri_report_fail(report, status == TRIAGE_E_MEMORY ? TRI_TOO_LARGE : outcome, status);
        tri_bench_unmount(bench, out);
    }
    tri_image_free(&image);
    return status == TRIAGE_OK;
}

void tri_bench_unmount(tri_bench *bench, tri_mounted *mounted) {
    tri_kernel_unload(mounted->kernel);
    tri_device_schedule_release(bench->device, &mounted->buffers.schedule);
    *mounted = (tri_mounted){0};
}

/* ---- the reference ------------------------------------------------------------------------------------ */

/* Runs the plain kernel for one case into bench->got. */
static triage_status run_plain(tri_bench *bench, tri_mounted *plain, size_t index) {
    int64_t start = 0;
    triage_status status = TRIAGE_OK;
    if (index == 0)
        TRI_TRY(tri_bench_poison(bench));
    else
        TRI_TRY(tri_device_upload(bench->device, bench->buffers.c, bench->c_in, bench->c_bytes));
    TRI_TRY(tri_device_synchronize(bench->device));
    start = tri_now_ns();
    TRI_TRY(tri_kernel_launch(plain->kernel, &plain->args[index], sizeof plain->args[index], NULL));
    TRI_TRY(tri_device_synchronize(bench->device));
    bench->plain_ms = (double)(tri_now_ns() - start) / 1e6;
    TRI_TRY(tri_device_download(bench->device, bench->got, bench->buffers.c, bench->c_bytes));
done:
    return status;
}

static triage_status mount_plain(tri_mounted *out, tri_bench *bench) {
    tri_trial trial = {&bench->reference, &bench->reference_launch};
    tri_report report = {0};
    if (tri_bench_mount(out, bench, &trial, &report))
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DEVICE, "the plain kernel of verification cannot run: %s", report.reason);
}

static triage_status make_case(tri_bench *bench, tri_mounted *plain, size_t index) {
    tri_bench_case *c = &bench->cases[index];
    const tri_problem *problem = &bench->problem;
    tri_bsr_operands operands = {.problem = problem,
                                 .pattern = bench->pattern,
                                 .values = bench->values,
                                 .b = bench->b,
                                 .c_in = c->beta == 0 ? NULL : bench->c_in,
                                 .bias = bench->bias,
                                 .scale_a = bench->scale_a,
                                 .scale_b = bench->scale_a ? &bench->scale_b : NULL,
                                 .alpha = c->alpha,
                                 .beta = c->beta};
    triage_status status = TRIAGE_OK;
    TRI_TRY(run_plain(bench, plain, index));
    TRI_TRY(tri_calloc(&c->plain, bench->c_bytes, 1));
    memcpy(c->plain, bench->got, bench->c_bytes);
    TRI_TRY(tri_calloc(&c->references, bench->row_count * (size_t)problem->n, sizeof *c->references));
    for (size_t i = 0; i < bench->row_count; i++)
        tri_reference_row(c->references + i * (size_t)problem->n, &operands, bench->rows[i]);
    TRI_TRY(
        tri_yardstick_make(&c->yardstick, problem, c->plain, c->references, bench->rows, bench->row_count));
done:
    return status;
}

static triage_status make_cases(tri_bench *bench) {
    tri_mounted plain = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_checked_rows(&bench->rows, &bench->row_count, &bench->problem, bench->pattern, bench->seed));
    TRI_TRY(mount_plain(&plain, bench));
    for (size_t i = 0; i < TRI_CASES; i++)
        TRI_TRY(make_case(bench, &plain, i));
done:
    tri_bench_unmount(bench, &plain);
    return status;
}

triage_status tri_bench_inputs_intact(bool *out, tri_bench *bench) {
    tri_mounted plain = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(mount_plain(&plain, bench));
    TRI_TRY(run_plain(bench, &plain, 0));
    *out = memcmp(bench->got, bench->cases[0].plain, bench->c_bytes) == 0;
done:
    tri_bench_unmount(bench, &plain);
    return status;
}

/* ---- opening and closing -------------------------------------------------------------------------------- */

static triage_status copy_source(tri_source *out, const tri_source *from) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_strdup(&out->name, from->name));
    TRI_TRY(tri_strdup(&out->text, from->text));
    TRI_TRY(tri_calloc(&out->includes, from->include_count + 1, sizeof *out->includes));
    TRI_TRY(tri_calloc(&out->options, from->option_count + 1, sizeof *out->options));
    for (; out->include_count < from->include_count; out->include_count++) {
        const tri_include *include = &from->includes[out->include_count];
        char *name = NULL, *text = NULL;
        TRI_TRY(tri_strdup(&name, include->name));
        out->includes[out->include_count].name = name;
        TRI_TRY(tri_strdup(&text, include->text));
        out->includes[out->include_count].text = text;
    }
    for (; out->option_count < from->option_count; out->option_count++)
        TRI_TRY(tri_strdup(&out->options[out->option_count], from->options[out->option_count]));
done:
    return status;
}

/* Twice the cache leaves nothing of it; more only costs time. A CPU's last level may be shared by a rack of
 * neighbours and far larger than any use: there the private caches are what is emptied for certain. */
static int64_t flush_size(const tri_device_info *info) {
    const int64_t least = (int64_t)32 << 20, most = (int64_t)(info->cc ? 256 : 64) << 20;
    int64_t wanted = info->l2_bytes > 0 ? 2 * info->l2_bytes : most;
    return wanted < least ? least : wanted > most ? most : wanted;
}

triage_status tri_bench_open(tri_bench **out, tri_device *device, const tri_bench_setup *setup) {
    triage_status status = TRIAGE_OK;
    tri_bench *bench = NULL;
    TRI_TRY(tri_calloc(&bench, 1, sizeof *bench));
    bench->device = device;
    bench->problem = *setup->problem;
    bench->pattern = setup->pattern;
    bench->seed = setup->seed;
    bench->warm = setup->warm;
    bench->flush_bytes = setup->warm ? 0 : flush_size(tri_device_describe(device));
    bench->sampling_limit_ns = (int64_t)(1e9 * (setup->sampling_limit_s > 0 ? setup->sampling_limit_s : 1.5));
    bench->reference_launch = *setup->reference.launch;
    bench->cases[0] = (tri_bench_case){.alpha = 1.0f, .beta = 0.0f};
    bench->cases[1] = (tri_bench_case){.alpha = 1.25f, .beta = -0.5f};
    if (setup->cache_dir)
        TRI_TRY(tri_strdup(&bench->cache_dir, setup->cache_dir));
    TRI_TRY(copy_source(&bench->reference, setup->reference.source));
    TRI_TRY(draw_inputs(bench));
    TRI_TRY(place_inputs(bench));
    TRI_TRY(make_cases(bench));
    *out = bench;
    bench = NULL;
done:
    tri_bench_close(bench);
    return status;
}

void tri_bench_close(tri_bench *bench) {
    if (!bench)
        return;
    const tri_bsr_buffers *buffers = &bench->buffers;
    tri_device_release(bench->device, buffers->values);
    tri_device_release(bench->device, buffers->row_ptr);
    tri_device_release(bench->device, buffers->col_idx);
    tri_device_release(bench->device, buffers->b);
    tri_device_release(bench->device, buffers->bias);
    tri_device_release(bench->device, buffers->scale_a);
    tri_device_release(bench->device, buffers->scale_b);
    tri_device_release(bench->device, bench->zone);
    for (size_t i = 0; i < TRI_CASES; i++) {
        free(bench->cases[i].plain);
        free(bench->cases[i].references);
    }
    free(bench->values);
    free(bench->b);
    free(bench->c_in);
    free(bench->bias);
    free(bench->scale_a);
    free(bench->got);
    free(bench->first);
    free(bench->guard);
    free(bench->rows);
    free(bench->cache_dir);
    tri_source_free(&bench->reference);
    free(bench);
}

double tri_bench_plain_ms(const tri_bench *bench) {
    return bench->plain_ms;
}
