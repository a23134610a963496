/* Element types and layouts: names, sizes, single values. */
#ifndef TRIAGE_BASE_DTYPE_H
#define TRIAGE_BASE_DTYPE_H

#include "base/base.h"

const char *tri_dtype_name(triage_dtype dtype); /* "f32" "f16" "bf16" "e4m3" */
triage_status tri_dtype_parse(triage_dtype *out, const char *name);
size_t tri_dtype_size(triage_dtype dtype);
const char *tri_layout_name(triage_layout layout); /* "row" "col" */

float tri_to_float(const void *data, triage_dtype dtype, size_t index);
void tri_from_float(void *data, triage_dtype dtype, size_t index, float value);

#endif
