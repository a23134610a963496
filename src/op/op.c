/* The list of operations, and what all of them share. */
#include "op/op.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list ---- */

#define TRI_OPERATION(name) extern const tri_operation tri_op_##name;
#include "op/list.def"
#undef TRI_OPERATION

static const tri_operation *const all[] = {
#define TRI_OPERATION(name) &tri_op_##name,
#include "op/list.def"
#undef TRI_OPERATION
    NULL};

const tri_operation *const *tri_operations(void) {
    return all;
}

const tri_operation *tri_operation_find(const char *name_or_key) {
    const size_t size = strcspn(name_or_key, " ");
    for (size_t i = 0; all[i]; i++)
        if (strlen(all[i]->name) == size && strncmp(all[i]->name, name_or_key, size) == 0)
            return all[i];
    return NULL;
}

enum {
    COUNT = 0
#define TRI_OPERATION(name) +1
#include "op/list.def"
#undef TRI_OPERATION
};
_Static_assert(COUNT <= TRI_OPERATIONS_MAX, "more operations than TRI_OPERATIONS_MAX");

size_t tri_operation_index(const tri_operation *op) {
    size_t i = 0;
    while (all[i] && all[i] != op)
        i++;
    return i;
}

const char *tri_operation_names(void) {
    static _Thread_local char names[256];
    size_t at = 0;
    names[0] = '\0';
    for (size_t i = 0; all[i] && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", all[i]->name);
    return names;
}

/* ---- identity ---- */

bool tri_problem_has_pattern(const tri_problem *problem) {
    return problem->op->has_pattern && problem->op->has_pattern(problem);
}

triage_status tri_problem_check(const tri_problem *problem) {
    return problem->op->check(problem);
}

triage_status tri_problem_key(char **out, const tri_problem *problem) {
    *out = NULL;
    return problem->op->key(out, problem);
}

triage_status tri_problem_parse(tri_problem *out, const char *key) {
    const tri_operation *op = tri_operation_find(key);
    if (!op)
        return tri_fail(TRIAGE_E_DATA, "problem key: '%.40s' is not one of the operations %s", key,
                        tri_operation_names());
    triage_status status = op->parse(out, key);
    return status == TRIAGE_E_INVALID ? TRIAGE_E_DATA : status; /* the fault is in what was imported */
}

triage_status tri_problem_family(char **out, const char *key) {
    const char *end = strstr(key, " m=");
    if (!end)
        return tri_fail(TRIAGE_E_DATA, "problem key without \" m=\": %s", key);
    return tri_format(out, "%.*s", (int)(end - key), key);
}

void tri_problem_outline(char *out, size_t size, const tri_problem *problem) {
    int64_t v[3];
    if (problem->op->outline) {
        problem->op->outline(out, size, problem);
        return;
    }
    problem->op->sizes(v, problem);
    snprintf(out, size, "%lldx%lldx%lld", (long long)v[0], (long long)v[1], (long long)v[2]);
}

/* ---- cost ---- */

double tri_problem_flops(const tri_problem *problem) {
    return problem->op->flops(problem);
}

double tri_problem_dense_flops(const tri_problem *problem) {
    return problem->op->dense_flops(problem);
}

double tri_problem_bytes(const tri_problem *problem) {
    return problem->op->bytes(problem);
}

/* ---- distance ---- */

double tri_size_coordinate(double size) {
    const double octaves = log2(size), full = 11;
    return octaves <= full ? octaves : full + (octaves - full) / 4;
}

double tri_problem_distance(const tri_problem *a, const tri_problem *b) {
    double squares[TRI_DISTANCE_PARTS] = {0}, sum = 0;
    if (a->op != b->op || !a->op->distance_squares(squares, a, b))
        return INFINITY;
    for (int i = 0; i < TRI_DISTANCE_PARTS; i++)
        sum += squares[i];
    return sqrt(sum);
}

bool tri_problem_distance_parts(tri_distance *out, const tri_problem *a, const tri_problem *b) {
    double squares[TRI_DISTANCE_PARTS] = {0};
    *out = (tri_distance){0};
    if (a->op != b->op)
        return false;
    const bool serves = a->op->distance_squares(squares, a, b);
    for (int i = 0; i < TRI_DISTANCE_PARTS; i++)
        out->part[i] = sqrt(squares[i]);
    return serves;
}

/* ---- inputs ---- */

triage_status tri_inputs_add(void *data, tri_inputs *inputs, size_t index, size_t count, size_t size) {
    tri_input *input = &inputs->at[index];
    triage_status status = tri_calloc(&input->data, count ? count : 1, size);
    if (status != TRIAGE_OK)
        return status;
    input->bytes = count * size;
    *(void **)data = input->data;
    return TRIAGE_OK;
}

void tri_inputs_free(tri_inputs *inputs) {
    for (size_t i = 0; i < TRI_INPUTS_MAX; i++)
        if (!inputs->at[i].borrowed)
            free(inputs->at[i].data);
    *inputs = (tri_inputs){0};
}

void tri_config_axes_read(tri_config_axes *out, const char *config) {
    out->count = 0;
    for (const char *word = strchr(config, ' '); word && out->count < TRI_CONFIG_AXES_MAX;
         word = strchr(word, ' ')) {
        const size_t size = strcspn(++word, "= ");
        if (word[size] != '=' || !isdigit((unsigned char)word[size + 1]))
            continue;
        out->items[out->count].name = word;
        out->items[out->count].size = size;
        out->items[out->count++].value = strtod(word + size + 1, NULL);
    }
}

double tri_config_axis(const tri_config_axes *axes, const char *name, double absent) {
    const size_t size = strlen(name);
    for (size_t i = 0; i < axes->count; i++)
        if (axes->items[i].size == size && memcmp(axes->items[i].name, name, size) == 0)
            return axes->items[i].value;
    return absent;
}

/* ---- for the operations' own checks ---- */

triage_status tri_check_range(const char *name, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_INVALID, "%s is %" PRId64 "; allowed %" PRId64 " .. %" PRId64, name, value, low,
                    high);
}

triage_status tri_check_divides(const char *name, int64_t size, const char *block_name, int64_t block) {
    if (size % block == 0)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_INVALID, "%s is %" PRId64 "; allowed multiples of %s, %" PRId64, name, size,
                    block_name, block);
}
