#include "space/likeness.h"

#include <math.h>
#include <stdlib.h>

/* Weights of the parts of a distance (docs/notebook.md: a factor of two in any of them changes little). */
#define OF_STEPS 0.4
#define OF_BEING_DIFFERENT 0.1
#define OF_NAMES 0.3
#define OF_TWOS 0.4
#define OF_POWERS 0.2

/* ---- what there is to compare of an axis ---- */

static int twos_in(int64_t number) {
    int twos = 0;
    for (; number != 0 && number % 2 == 0; number /= 2)
        twos++;
    return twos;
}

static bool is_power(int64_t number) {
    return number > 0 && (number & (number - 1)) == 0;
}

/* Tiles divide a problem evenly, and rows of a tile a cache line, by their factors of two: 96 is beside 112, and yet
 * 64 and 128 have more in common. Where every number is a power of two the index says it already, and of two values
 * there is nothing more to say. */
static bool has_factors(const int64_t *numbers, size_t count) {
    bool all_powers = true;
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] < 0)
            return false;
        all_powers = all_powers && is_power(numbers[i]);
    }
    return count > 2 && !all_powers;
}

static void compare_factors(tri_likeness_axis *axis, const int64_t *numbers) {
    int least = 64, most = 0;
    for (size_t i = 0; i < axis->count; i++) {
        const int twos = twos_in(numbers[i]);
        least = twos < least ? twos : least;
        most = twos > most ? twos : most;
    }
    for (size_t i = 0; i < axis->count; i++) {
        axis->is_power[i] = is_power(numbers[i]);
        if (most > least)
            axis->twos[i] = (float)(twos_in(numbers[i]) - least) / (float)(most - least);
    }
}

static triage_status fill_axis(tri_likeness_axis *axis, const tri_scale *scale) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&axis->place, axis->count, sizeof *axis->place));
    TRI_TRY(tri_calloc(&axis->twos, axis->count, sizeof *axis->twos));
    TRI_TRY(tri_calloc(&axis->is_power, axis->count, sizeof *axis->is_power));
    for (size_t i = 1; i < axis->count; i++)
        axis->place[i] = (float)i / (float)(axis->count - 1);
    axis->is_named = scale && !scale->numbers;
    if (scale && scale->numbers && has_factors(scale->numbers, axis->count))
        compare_factors(axis, scale->numbers);
done:
    return status;
}

/* ---- the whole ---- */

tri_likeness_axis *tri_likeness_axis_of(const tri_likeness *likeness, int32_t kernel, size_t axis) {
    return &likeness->axis[(size_t)kernel * likeness->axes + axis];
}

/* Of an axis as many values as the configurations show, if its scale does not say. */
static void count_values(tri_likeness *likeness, const tri_configs *configs) {
    for (size_t i = 0; i < configs->count; i++) {
        const int32_t *row = configs->coordinates + i * configs->axes;
        for (size_t j = 0; j < likeness->axes && row[j + 1] >= 0; j++) {
            tri_likeness_axis *axis = tri_likeness_axis_of(likeness, row[0], j);
            axis->count = (size_t)row[j + 1] + 1 > axis->count ? (size_t)row[j + 1] + 1 : axis->count;
        }
    }
}

static size_t count_kernels(const tri_configs *configs) {
    int32_t last = 0;
    for (size_t i = 0; i < configs->count; i++)
        last =
            configs->coordinates[i * configs->axes] > last ? configs->coordinates[i * configs->axes] : last;
    return (size_t)last + 1;
}

triage_status tri_likeness_open(tri_likeness *out, const tri_configs *configs) {
    triage_status status = TRIAGE_OK;
    tri_likeness made = {.kernels = count_kernels(configs), .axes = configs->axes - 1};
    const size_t count = made.kernels * made.axes;
    TRI_TRY(tri_calloc(&made.axis, count + 1, sizeof *made.axis));
    count_values(&made, configs);
    for (size_t i = 0; i < count; i++) {
        const tri_scale *scale = configs->scales ? &configs->scales[i] : NULL;
        made.axis[i].weight = 1;
        made.axis[i].count = scale && scale->count > made.axis[i].count ? scale->count : made.axis[i].count;
        if (made.axis[i].count > 0)
            TRI_TRY(fill_axis(&made.axis[i], scale));
    }
    *out = made;
    made = (tri_likeness){0};
done:
    tri_likeness_free(&made);
    return status;
}

void tri_likeness_free(tri_likeness *likeness) {
    for (size_t i = 0; likeness->axis && i < likeness->kernels * likeness->axes; i++) {
        free(likeness->axis[i].place);
        free(likeness->axis[i].twos);
        free(likeness->axis[i].is_power);
    }
    free(likeness->axis);
    *likeness = (tri_likeness){0};
}

double tri_likeness_apart(const tri_likeness_axis *axis, int32_t a, int32_t b) {
    if (a == b)
        return 0;
    if (axis->is_named)
        return OF_NAMES;
    const double steps = axis->place[a] - axis->place[b], twos = axis->twos[a] - axis->twos[b];
    return OF_BEING_DIFFERENT + OF_STEPS * steps * steps + OF_TWOS * twos * twos +
           OF_POWERS * (axis->is_power[a] != axis->is_power[b]);
}

float tri_likeness_of(const tri_likeness *likeness, const int32_t *a, const int32_t *b) {
    double squared = 0;
    if (a[0] != b[0])
        return 0;
    for (size_t j = 0; j < likeness->axes && a[j + 1] >= 0; j++) {
        const tri_likeness_axis *axis = tri_likeness_axis_of(likeness, a[0], j);
        squared += axis->weight * tri_likeness_apart(axis, a[j + 1], b[j + 1]);
    }
    return tri_likeness_of_distance((float)squared);
}
