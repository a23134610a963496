#include "space/codes.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_MAX                                                                                            \
    1024 /* numbers of a group, if it has more than one axis: its table stays in the first cache */

static void count_digits(tri_codes *codes, const tri_likeness *likeness) {
    for (size_t i = 0; i < likeness->kernels * likeness->axes; i++) {
        size_t *digits = &codes->digits[i % likeness->axes];
        *digits = likeness->axis[i].count + 1 > *digits ? likeness->axis[i].count + 1 : *digits;
    }
}

/* Neighbouring axes, as many as fit. -> the size of the largest group */
static size_t form_groups(tri_codes *codes, size_t axes) {
    size_t size = 1, largest = 1;
    for (size_t axis = 0; axis < axes; axis++) {
        if (axis == 0 || size * codes->digits[axis] > TABLE_MAX) {
            codes->begin[codes->groups++] = axis;
            size = 1;
        }
        size *= codes->digits[axis];
        largest = size > largest ? size : largest;
    }
    codes->begin[codes->groups] = axes;
    return largest;
}

triage_status tri_codes_open(tri_codes *out, const tri_likeness *likeness, size_t slots) {
    triage_status status = TRIAGE_OK;
    tri_codes made = {.slots = slots};
    TRI_TRY(tri_calloc(&made.digits, likeness->axes + 1, sizeof *made.digits));
    TRI_TRY(tri_calloc(&made.begin, likeness->axes + 1, sizeof *made.begin));
    count_digits(&made, likeness);
    const size_t largest = form_groups(&made, likeness->axes);
    TRI_TRY(tri_calloc(&made.number, made.groups * slots + 1, sizeof *made.number));
    TRI_TRY(tri_calloc(&made.table, largest, sizeof *made.table));
    *out = made;
    made = (tri_codes){0};
done:
    tri_codes_free(&made);
    return status;
}

void tri_codes_free(tri_codes *codes) {
    free(codes->digits);
    free(codes->begin);
    free(codes->number);
    free(codes->table);
    *codes = (tri_codes){0};
}

void tri_codes_place(tri_codes *codes, size_t slot, const int32_t *row) {
    for (size_t group = 0; group < codes->groups; group++) {
        uint32_t number = 0, unit = 1;
        for (size_t axis = codes->begin[group]; axis < codes->begin[group + 1]; axis++) {
            number += unit * (uint32_t)(row[axis + 1] + 1);
            unit *= (uint32_t)codes->digits[axis];
        }
        codes->number[group * codes->slots + slot] = number;
    }
}

/* table[number]: the distance of the values that this number stands for. */
static void fill_table(tri_codes *codes, const tri_likeness *likeness, const int32_t *row, size_t group) {
    size_t size = 1;
    codes->table[0] = 0;
    for (size_t axis = codes->begin[group]; axis < codes->begin[group + 1]; axis++) {
        const tri_likeness_axis *of = tri_likeness_axis_of(likeness, row[0], axis);
        for (size_t digit = codes->digits[axis]; digit-- > 0;) {
            const bool is_here = row[axis + 1] >= 0 && digit > 0 && digit <= of->count;
            const double apart =
                is_here ? of->weight * tri_likeness_apart(of, row[axis + 1], (int32_t)digit - 1) : 0;
            for (size_t i = 0; i < size; i++)
                codes->table[digit * size + i] = codes->table[i] + (float)apart;
        }
        size *= codes->digits[axis];
    }
}

void tri_codes_distances(float *restrict out, tri_codes *codes, const tri_likeness *likeness,
                         const int32_t *row) {
    memset(out, 0, codes->slots * sizeof *out);
    for (size_t group = 0; group < codes->groups; group++) {
        const uint32_t *number = codes->number + group * codes->slots;
        const float *table = codes->table;
        fill_table(codes, likeness, row, group);
        for (size_t j = 0; j < codes->slots; j++)
            out[j] += table[number[j]];
    }
}
