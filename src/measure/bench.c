#include "measure/bench_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- the inputs ----------------------------------------------------------------------------------- */

/* What a later case does not have of its own is case 0's. */
static void share_inputs(tri_inputs *later, const tri_inputs *first) {
    for (size_t i = 0; i < TRI_INPUTS_MAX; i++)
        if (!later->at[i].data && first->at[i].data) {
            later->at[i] = first->at[i];
            later->at[i].borrowed = true;
        }
}

static triage_status place_inputs(tri_bench *bench, tri_inputs *inputs) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < TRI_INPUTS_MAX; i++) {
        tri_input *input = &inputs->at[i];
        if (!input->data || input->address)
            continue;
        TRI_TRY(tri_device_alloc(bench->device, &input->address, input->bytes));
        TRI_TRY(tri_device_upload(bench->device, input->address, input->data, input->bytes));
    }
done:
    return status;
}

static triage_status make_inputs(tri_bench *bench, const tri_inputs *given) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < bench->case_count; i++) {
        tri_inputs *inputs = &bench->inputs[i];
        if (!given)
            TRI_TRY(bench->op->draw(inputs, &bench->problem, bench->pattern, bench->seed, i));
        else if (i == 0)
            TRI_TRY(tri_bench_take_given(bench, given));
        if (i > 0)
            share_inputs(inputs, &bench->inputs[0]);
        if (!given)
            TRI_TRY(place_inputs(bench, inputs));
    }
done:
    return status;
}

static triage_status make_results(tri_bench *bench) {
    tri_view views[TRI_VIEWS_MAX];
    triage_status status = TRIAGE_OK;
    bench->result_count = bench->op->views(views, &bench->problem);
    TRI_TRY(tri_calloc(&bench->guard, TRI_GUARD_BYTES, 1));
    for (size_t i = 0; i < bench->result_count; i++) {
        tri_result *result = &bench->results[i];
        result->view = views[i];
        result->bytes = tri_view_bytes(&views[i], tri_dtype_size(views[i].dtype));
        TRI_TRY(tri_calloc(&result->got, result->bytes, 1));
        TRI_TRY(tri_calloc(&result->first, result->bytes, 1));
        TRI_TRY(tri_device_alloc(bench->device, &result->zone, result->bytes + 2 * (size_t)TRI_GUARD_BYTES));
        result->address = result->zone + TRI_GUARD_BYTES;
    }
done:
    return status;
}

/* ---- mounting a candidate --------------------------------------------------------------------------- */

void tri_report_fail(tri_report *report, tri_outcome outcome, triage_status status) {
    report->outcome = outcome;
    report->lost = report->lost || status == TRIAGE_E_DEVICE;
    report->troubled = report->troubled || status == TRIAGE_E_MEMORY || status == TRIAGE_E_IO;
    snprintf(report->reason, sizeof report->reason, "%s", triage_last_error());
}

tri_binding tri_bench_binding(const tri_bench *bench, size_t case_index) {
    tri_binding binding = {.device = bench->device,
                           .problem = &bench->problem,
                           .inputs = &bench->inputs[case_index],
                           .case_index = case_index};
    for (size_t i = 0; i < bench->result_count; i++)
        binding.results[i] = bench->results[i].address;
    return binding;
}

/* Blocks are aligned for tensor maps. */
triage_status tri_bench_args_alloc(tri_mounted *out, const tri_bench *bench, size_t bytes) {
    enum { kAlign = 64 };
    const size_t each = (bytes + kAlign - 1) / kAlign * kAlign;
    triage_status status = tri_calloc(&out->args_memory, bench->case_count * each + kAlign, 1);
    if (status != TRIAGE_OK)
        return status;
    unsigned char *at = out->args_memory;
    at += -(uintptr_t)at & (kAlign - 1);
    for (size_t i = 0; i < bench->case_count; i++)
        out->args[i] = at + i * each;
    return TRIAGE_OK;
}

triage_status tri_bench_aim(tri_mounted *out, const tri_bench *bench, const tri_launch *launch) {
    free(out->args_memory);
    triage_status status = tri_bench_args_alloc(out, bench, bench->op->args_bytes);
    for (size_t i = 0; i < bench->case_count && status == TRIAGE_OK; i++) {
        tri_binding binding = tri_bench_binding(bench, i);
        binding.launch = launch;
        binding.prepared = out->prepared;
        binding.workspace = tri_kernel_workspace(out->kernel);
        status = bench->op->arguments(out->args[i], &binding);
    }
    return status;
}

bool tri_bench_mount(tri_mounted *out, tri_bench *bench, const tri_trial *trial, tri_report *report) {
    tri_image image = {0};
    tri_outcome outcome = TRI_NOT_COMPILED;
    triage_status status = TRIAGE_OK;
    *out = (tri_mounted){0};
    if (!trial->image)
        TRI_TRY(
            tri_compile(&image, tri_device_describe(bench->device)->target, trial->source, bench->cache_dir));
    outcome = TRI_LAUNCH_FAILED;
    TRI_TRY(
        tri_kernel_load(&out->kernel, bench->device, trial->image ? trial->image : &image, trial->launch));
    if (bench->op->prepare)
        TRI_TRY(bench->op->prepare(&out->prepared, bench->device, trial->launch, &bench->problem,
                                   bench->pattern));
    TRI_TRY(tri_bench_aim(out, bench, trial->launch));
done:
    if (status != TRIAGE_OK) {
        report->troubled = outcome == TRI_NOT_COMPILED && status != TRIAGE_E_COMPILE;
        tri_report_fail(report, outcome, status);
        tri_bench_unmount(bench, out);
    }
    tri_image_free(&image);
    return status == TRIAGE_OK;
}

void tri_bench_unmount(tri_bench *bench, tri_mounted *mounted) {
    tri_kernel_unload(mounted->kernel);
    if (bench->op->release)
        bench->op->release(bench->device, mounted->prepared);
    free(mounted->args_memory);
    *mounted = (tri_mounted){0};
}

/* ---- the reference ------------------------------------------------------------------------------------ */

/* Runs the plain kernel for one case, and fetches the results. */
static triage_status run_plain(tri_bench *bench, tri_mounted *plain, size_t index) {
    int64_t start = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_bench_lay_out(bench, index));
    TRI_TRY(tri_device_synchronize(bench->device));
    start = tri_now_ns();
    TRI_TRY(tri_kernel_launch(plain->kernel, plain->args[index], NULL));
    TRI_TRY(tri_device_synchronize(bench->device));
    bench->plain_ms = (double)(tri_now_ns() - start) / 1e6;
    for (size_t i = 0; i < bench->result_count; i++) {
        tri_result *result = &bench->results[i];
        TRI_TRY(tri_device_download(bench->device, result->got, result->address, result->bytes));
    }
done:
    return status;
}

static triage_status mount_plain(tri_mounted *out, tri_bench *bench) {
    tri_trial trial = {&bench->reference, &bench->reference_launch, bench->reference_image};
    tri_report report = {0};
    if (tri_bench_mount(out, bench, &trial, &report))
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DEVICE, "the plain kernel of verification cannot run: %s", report.reason);
}

static triage_status make_references(tri_bench *bench, size_t index) {
    const tri_operands operands = {.problem = &bench->problem,
                                   .pattern = bench->pattern,
                                   .inputs = &bench->inputs[index],
                                   .case_index = index};
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < bench->result_count; i++) {
        tri_expected *e = &bench->results[i].expected[index];
        TRI_TRY(tri_calloc(&e->references, bench->row_count * (size_t)bench->results[i].view.cols,
                           sizeof *e->references));
    }
    for (size_t row = 0; row < bench->row_count; row++) {
        double *out[TRI_VIEWS_MAX] = {0};
        for (size_t i = 0; i < bench->result_count; i++)
            out[i] = bench->results[i].expected[index].references + row * (size_t)bench->results[i].view.cols;
        bench->op->reference_row(out, &operands, bench->rows[row]);
    }
done:
    return status;
}

static triage_status make_case(tri_bench *bench, tri_mounted *plain, size_t index) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(run_plain(bench, plain, index));
    TRI_TRY(make_references(bench, index));
    for (size_t i = 0; i < bench->result_count; i++) {
        tri_result *result = &bench->results[i];
        tri_expected *e = &result->expected[index];
        TRI_TRY(tri_calloc(&e->plain, result->bytes, 1));
        memcpy(e->plain, result->got, result->bytes);
        TRI_TRY(tri_yardstick_make(&e->yardstick, &result->view, e->plain, e->references, bench->rows,
                                   bench->row_count));
    }
done:
    return status;
}

static triage_status make_cases(tri_bench *bench) {
    tri_mounted plain = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_checked_rows(&bench->rows, &bench->row_count, &bench->problem, bench->pattern, bench->seed));
    TRI_TRY(mount_plain(&plain, bench));
    for (size_t i = 0; i < bench->case_count; i++) {
        TRI_TRY(make_case(bench, &plain, i));
        if (i == 0 && bench->has_given) {
            TRI_TRY(tri_bench_check_given(bench));
            TRI_TRY(tri_bench_fill_before(bench));
        }
    }
done:
    tri_bench_unmount(bench, &plain);
    return status;
}

triage_status tri_bench_inputs_intact(bool *out, tri_bench *bench) {
    tri_mounted plain = {0};
    triage_status status = TRIAGE_OK;
    *out = true;
    TRI_TRY(mount_plain(&plain, bench));
    TRI_TRY(run_plain(bench, &plain, 0));
    for (size_t i = 0; i < bench->result_count; i++) {
        const tri_result *result = &bench->results[i];
        *out = *out && memcmp(result->got, result->expected[0].plain, result->bytes) == 0;
    }
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
int64_t tri_bench_flush_size(const tri_device_info *info, int64_t asked) {
    const int64_t fewest = (int64_t)32 << 20, least = asked > fewest ? asked : fewest,
                  most = (int64_t)(info->cc ? 256 : 64) << 20;
    int64_t wanted = info->l2_bytes > 0 ? 2 * info->l2_bytes : most;
    wanted = wanted > most ? most : wanted;
    return wanted < least ? least : wanted;
}

triage_status tri_bench_open(tri_bench **out, tri_device *device, const tri_bench_setup *setup) {
    triage_status status = TRIAGE_OK;
    tri_bench *bench = NULL;
    TRI_TRY(tri_calloc(&bench, 1, sizeof *bench));
    bench->device = device;
    bench->problem = *setup->problem;
    bench->op = setup->problem->op;
    bench->case_count = bench->op->case_count(setup->problem);
    bench->pattern = setup->pattern;
    bench->seed = setup->seed;
    bench->warm = setup->warm;
    bench->flush_bytes =
        setup->warm ? 0 : tri_bench_flush_size(tri_device_describe(device), setup->flush_bytes);
    bench->sampling_limit_ns = (int64_t)(1e9 * (setup->sampling_limit_s > 0 ? setup->sampling_limit_s : 1.5));
    bench->reference_launch = *setup->reference.launch;
    bench->reference_image = setup->reference.image;
    if (setup->cache_dir)
        TRI_TRY(tri_strdup(&bench->cache_dir, setup->cache_dir));
    TRI_TRY(copy_source(&bench->reference, setup->reference.source));
    TRI_TRY(make_inputs(bench, setup->given));
    TRI_TRY(make_results(bench));
    TRI_TRY(make_cases(bench));
    *out = bench;
    bench = NULL;
done:
    tri_bench_close(bench);
    return status;
}

static void free_inputs(tri_bench *bench, size_t case_index) {
    tri_inputs *inputs = &bench->inputs[case_index];
    for (size_t i = 0; i < TRI_INPUTS_MAX && !bench->has_given; i++)
        if (case_index == 0 || inputs->at[i].address != bench->inputs[0].at[i].address)
            tri_device_release(bench->device, inputs->at[i].address);
    tri_inputs_free(inputs);
}

static void free_result(tri_bench *bench, tri_result *result) {
    tri_device_release(bench->device, result->zone);
    for (size_t i = 0; i < TRI_CASES_MAX; i++) {
        free(result->expected[i].plain);
        free(result->expected[i].references);
    }
    free(result->got);
    free(result->first);
}

void tri_bench_close(tri_bench *bench) {
    if (!bench)
        return;
    for (size_t i = bench->case_count; i-- > 0;) /* case 0 last: the others share what it has */
        free_inputs(bench, i);
    for (size_t i = 0; i < bench->result_count; i++)
        free_result(bench, &bench->results[i]);
    tri_device_release(bench->device, bench->spacer);
    free(bench->guard);
    free(bench->rows);
    free(bench->cache_dir);
    tri_source_free(&bench->reference);
    free(bench);
}

double tri_bench_plain_ms(const tri_bench *bench) {
    return bench->plain_ms;
}
