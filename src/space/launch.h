/* What a launch may be: the fields of the table that a space returns, with their ranges. Those of an operation's own
 * are in its table (op/op.h). */
#ifndef TRIAGE_SPACE_LAUNCH_H
#define TRIAGE_SPACE_LAUNCH_H

#include "op/op.h"

/* One number of 32 bits in a tri_launch or a tri_tensor_box: 0 (absent) or low .. high. */
typedef struct tri_launch_number {
    const char *name; /* NULL ends a list */
    size_t offset;
    int64_t low, high;
} tri_launch_number;

/* An extent: {x, y, z}, each 1 .. high. */
typedef struct tri_launch_part {
    const char *name; /* NULL ends a list */
    size_t offset;
    int64_t high[3];
} tri_launch_part;

#define TRI_BOX_ELEMENTS_MAX 256 /* of a box, in each dimension: CUDA's limit */

extern const tri_launch_number tri_launch_numbers[], tri_box_numbers[];
extern const tri_launch_part tri_launch_extents[];

/* Is name one of them, or of the operation's own? */
bool tri_is_launch_field(const char *name, const tri_operation *op);
bool tri_is_box_field(const char *name, const tri_operation *op); /* which has none of its own */

/* Every number within its range? TRIAGE_E_DATA. */
triage_status tri_launch_check(const tri_launch *launch, const tri_operation *op);

#endif
