#include "space/model.h"

#include "space/words.h"

#include <stdlib.h>
#include <string.h>

#define SPILL_MAX 65536

/* ---- points ---- */

size_t tri_kernel_points(const tri_space_kernel *kernel) {
    size_t points = 1;
    for (size_t i = 0; i < kernel->axis_count; i++)
        points *= kernel->axes[i].count;
    return points;
}

void tri_point_of(int32_t *point, const tri_space_kernel *kernel, int32_t number) {
    for (size_t i = kernel->axis_count; i-- > 0;) {
        const int32_t count = (int32_t)kernel->axes[i].count;
        point[i] = number % count;
        number /= count;
    }
}

/* ---- checks ---- */

static triage_status fail_word(const tri_space *space, const char *what, const char *word) {
    return tri_fail(TRIAGE_E_DATA, "%s: '%.60s' is not a %s", space->file, word, what);
}

static triage_status check_name(const tri_space *space, const char *what, const char *name) {
    return tri_is_name(name, strlen(name)) ? TRIAGE_OK : fail_word(space, what, name);
}

static triage_status check_axis(const tri_space *space, const tri_axis *axis) {
    triage_status status = check_name(space, "name of an axis", axis->name);
    if (status == TRIAGE_OK && axis->count == 0)
        status = tri_fail(TRIAGE_E_DATA, "%s: axis %s has no values", space->file, axis->name);
    for (size_t i = 0; i < axis->count && status == TRIAGE_OK; i++)
        if (!axis->values[i].is_integer && !tri_is_word(axis->values[i].text, strlen(axis->values[i].text)))
            status = fail_word(space, "value of an axis", axis->values[i].text);
    return status;
}

static triage_status check_points(const tri_space *space, const tri_space_kernel *kernel) {
    size_t points = 1;
    for (size_t i = 0; i < kernel->axis_count; i++) {
        points *= kernel->axes[i].count;
        if (points > TRI_POINTS_MAX)
            return tri_fail(TRIAGE_E_DATA, "%s: the axes of kernel %s span more than %d points", space->file,
                            kernel->name, TRI_POINTS_MAX);
    }
    return TRIAGE_OK;
}

static triage_status check_defaults(const tri_space *space, const tri_space_kernel *kernel) {
    for (size_t i = 0; i < kernel->default_count * kernel->axis_count; i++) {
        const tri_axis *axis = &kernel->axes[i % kernel->axis_count];
        if (kernel->defaults[i] < 0 || (size_t)kernel->defaults[i] >= axis->count)
            return tri_fail(TRIAGE_E_DATA, "%s: a default of kernel %s is not on axis %s", space->file,
                            kernel->name, axis->name);
    }
    return TRIAGE_OK;
}

static triage_status check_template(const tri_space *space, const tri_maker *maker) {
    return tri_is_template(maker->template_name) ? TRIAGE_OK
                                                 : fail_word(space, "template", maker->template_name);
}

triage_status tri_model_check_kernel(const tri_space *space, const tri_space_kernel *kernel) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(check_name(space, "name of a kernel", kernel->name));
    if (kernel->later)
        return TRIAGE_OK;
    TRI_TRY(check_template(space, &kernel->maker));
    for (size_t i = 0; i < kernel->target_count; i++)
        if (!tri_is_target(kernel->targets[i]))
            return fail_word(space, "target", kernel->targets[i]);
    for (size_t i = 0; i < kernel->axis_count; i++)
        TRI_TRY(check_axis(space, &kernel->axes[i]));
    TRI_TRY(check_points(space, kernel));
    TRI_TRY(check_defaults(space, kernel));
    if (kernel->spill_limit < 0 || kernel->spill_limit > SPILL_MAX)
        status = tri_fail(TRIAGE_E_DATA, "%s: spill_limit must be 0 .. %d bytes, not %d", space->file,
                          SPILL_MAX, kernel->spill_limit);
done:
    return status;
}

triage_status tri_model_check(const tri_space *space) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(check_name(space, "name of a space", space->name));
    TRI_TRY(check_name(space, "name of an operation", space->op));
    for (size_t i = 0; i < TRI_REFERENCES; i++)
        if (space->references[i].template_name)
            TRI_TRY(check_template(space, &space->references[i]));
    for (size_t i = 0; i < space->kernel_count; i++)
        TRI_TRY(tri_model_check_kernel(space, &space->kernels[i]));
done:
    return status;
}

/* ---- targets ---- */

bool tri_target_matches(const char *wanted, const tri_device_info *info) {
    if (!strcmp(info->backend, "host") || !strcmp(wanted, "host"))
        return !strcmp(info->backend, "host") && !strcmp(wanted, "host");
    const char *wanted_suffix = "", *suffix = "";
    int least = tri_sm_of(wanted, &wanted_suffix), has = tri_sm_of(info->target, &suffix);
    if (!strcmp(wanted_suffix, "+"))
        return has >= least;
    return !strcmp(wanted, info->target);
}

/* ---- freeing ---- */

static void free_axis(tri_axis *axis) {
    for (size_t i = 0; axis->values && i < axis->count; i++)
        free(axis->values[i].text);
    free(axis->values);
    free(axis->name);
}

void tri_space_kernel_clear(tri_space_kernel *kernel) {
    for (size_t i = 0; kernel->axes && i < kernel->axis_count; i++)
        free_axis(&kernel->axes[i]);
    for (size_t i = 0; kernel->targets && i < kernel->target_count; i++)
        free(kernel->targets[i]);
    for (size_t i = 0; kernel->constraints && i < kernel->constraint_count; i++)
        free(kernel->constraints[i].reason);
    free(kernel->axes);
    free(kernel->targets);
    free(kernel->constraints);
    free(kernel->defaults);
    free(kernel->maker.template_name);
    free(kernel->name);
    *kernel = (tri_space_kernel){0};
}

void tri_model_free(tri_space *space) {
    for (size_t i = 0; space->kernels && i < space->kernel_count; i++)
        tri_space_kernel_clear(&space->kernels[i]);
    for (size_t i = 0; i < TRI_REFERENCES; i++)
        free(space->references[i].template_name);
    free(space->kernels);
    free(space->name);
    free(space->op);
}
