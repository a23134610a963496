/* Element types: names, sizes, single values; and the names of layouts. */
#include "base/dtype.h"
#include "base/convert.h"

#include <string.h>

static const char *const dtype_names[] = {"f32", "f16", "bf16", "e4m3"};
static const char *const layout_names[] = {"row", "col"};

#define NAME_OF(names, value)                                                                                \
    ((unsigned)(value) < sizeof(names) / sizeof(names)[0] ? (names)[(unsigned)(value)] : "?")

const char *tri_dtype_name(triage_dtype dtype) {
    return NAME_OF(dtype_names, dtype);
}

const char *tri_layout_name(triage_layout layout) {
    return NAME_OF(layout_names, layout);
}

triage_status tri_dtype_parse(triage_dtype *out, const char *name) {
    for (int i = 0; i < (int)(sizeof dtype_names / sizeof dtype_names[0]); i++)
        if (strcmp(name, dtype_names[i]) == 0) {
            *out = (triage_dtype)i;
            return TRIAGE_OK;
        }
    return tri_fail(TRIAGE_E_INVALID, "'%s' is not a type; allowed f32, f16, bf16, e4m3", name);
}

size_t tri_dtype_size(triage_dtype dtype) {
    switch (dtype) {
    case TRIAGE_F32:
        return 4;
    case TRIAGE_F16:
    case TRIAGE_BF16:
        return 2;
    case TRIAGE_E4M3:
        return 1;
    }
    return 0;
}

float tri_to_float(const void *data, triage_dtype dtype, size_t index) {
    switch (dtype) {
    case TRIAGE_F32:
        return ((const float *)data)[index];
    case TRIAGE_F16:
        return tri_float_of_f16(((const uint16_t *)data)[index]);
    case TRIAGE_BF16:
        return tri_float_of_bf16(((const uint16_t *)data)[index]);
    case TRIAGE_E4M3:
        return tri_float_of_e4m3(((const uint8_t *)data)[index]);
    }
    return 0;
}

void tri_from_float(void *data, triage_dtype dtype, size_t index, float value) {
    switch (dtype) {
    case TRIAGE_F32:
        ((float *)data)[index] = value;
        break;
    case TRIAGE_F16:
        ((uint16_t *)data)[index] = tri_f16_of_float(value);
        break;
    case TRIAGE_BF16:
        ((uint16_t *)data)[index] = tri_bf16_of_float(value);
        break;
    case TRIAGE_E4M3:
        ((uint8_t *)data)[index] = tri_e4m3_of_float(value);
        break;
    }
}
