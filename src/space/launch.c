#include "space/launch.h"

#include <string.h>

#define NUMBER(field, least, most)                                                                           \
    { #field, offsetof(tri_launch, field), least, most }
#define OF_BOX(field, least, most)                                                                           \
    { #field, offsetof(tri_tensor_box, field), least, most }
#define EXTENT(field, x, y, z)                                                                               \
    {                                                                                                        \
#field, offsetof(tri_launch, field), {                                                               \
            x, y, z                                                                                          \
        }                                                                                                    \
    }

const tri_launch_number tri_launch_numbers[] = {NUMBER(smem_bytes, 0, 1 << 20),
                                                NUMBER(workspace_bytes, 0, UINT32_MAX),
                                                NUMBER(workspace_zero_bytes, 0, UINT32_MAX),
                                                {0}};
/* The rank's range is the operation's (tri_map_field). */
const tri_launch_number tri_box_numbers[] = {
    OF_BOX(inner_split, 0, INT32_MAX), OF_BOX(swizzle, 0, 128), OF_BOX(l2_promotion, 0, 256), {0}};
/* The ranges are CUDA's. */
const tri_launch_part tri_launch_extents[] = {
    EXTENT(grid, INT32_MAX, 65535, 65535), EXTENT(block, 1024, 1024, 64), EXTENT(cluster, 16, 16, 16), {0}};

static bool is_number(const tri_launch_number *list, const char *name) {
    for (; list->name; list++)
        if (!strcmp(list->name, name))
            return true;
    return false;
}

static bool is_part(const tri_launch_part *list, const char *name) {
    for (; list->name; list++)
        if (!strcmp(list->name, name))
            return true;
    return false;
}

static bool is_own(const tri_operation *op, const char *name) {
    for (int i = 0; i < TRI_MAPS_MAX && op->maps[i].name; i++)
        if (!strcmp(op->maps[i].name, name))
            return true;
    for (const tri_launch_field *field = op->launch_fields; field && field->name; field++)
        if (!strcmp(field->name, name))
            return true;
    return false;
}

bool tri_is_launch_field(const char *name, const tri_operation *op) {
    return is_number(tri_launch_numbers, name) || is_part(tri_launch_extents, name) || is_own(op, name);
}

bool tri_is_box_field(const char *name, const tri_operation *op) {
    (void)op;
    return !strcmp(name, "box") || !strcmp(name, "rank") || is_number(tri_box_numbers, name);
}

/* ---- checks ---- */

static triage_status fail_range(const char *name, int64_t value) {
    return tri_fail(TRIAGE_E_DATA, "launch: %s is %lld, out of its range", name, (long long)value);
}

static triage_status check_numbers(const tri_launch_number *list, const void *of) {
    for (; list->name; list++) {
        uint32_t bits;
        memcpy(&bits, (const char *)of + list->offset, sizeof bits);
        const int64_t value = list->high > INT32_MAX ? (int64_t)bits : (int64_t)(int32_t)bits;
        if (value != 0 && (value < list->low || value > list->high))
            return fail_range(list->name, value);
    }
    return TRIAGE_OK;
}

static triage_status check_extent(const tri_launch_part *part, const tri_launch *launch) {
    uint32_t extent[3];
    memcpy(extent, (const char *)launch + part->offset, sizeof extent);
    for (int i = 0; i < 3; i++)
        if (extent[i] < 1 || extent[i] > part->high[i])
            return fail_range(part->name, extent[i]);
    return TRIAGE_OK;
}

static triage_status check_box(const tri_tensor_box *box, const tri_map_field *map) {
    if (box->rank != 0 && (box->rank < map->least_rank || box->rank > map->most_rank))
        return fail_range("rank", box->rank);
    for (int i = 0; i < TRI_MAP_RANK; i++)
        if (box->box[i] < (i < box->rank ? 1 : 0) || box->box[i] > TRI_BOX_ELEMENTS_MAX)
            return fail_range("a tensor box", box->box[i]);
    return check_numbers(tri_box_numbers, box);
}

static triage_status check_own(const tri_launch *launch, const tri_operation *op) {
    for (const tri_launch_field *field = op->launch_fields; field && field->name; field++) {
        int32_t value;
        memcpy(&value, launch->own + field->offset, sizeof value);
        if (value < 0 || value > (field->high > 0 ? field->high : 1))
            return fail_range(field->name, value);
    }
    return TRIAGE_OK;
}

triage_status tri_launch_check(const tri_launch *launch, const tri_operation *op) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(check_numbers(tri_launch_numbers, launch));
    if (launch->workspace_zero_bytes > launch->workspace_bytes)
        TRI_TRY(fail_range("workspace_zero_bytes", launch->workspace_zero_bytes));
    for (const tri_launch_part *part = tri_launch_extents; part->name; part++)
        TRI_TRY(check_extent(part, launch));
    for (int i = 0; i < TRI_MAPS_MAX && op->maps[i].name; i++)
        TRI_TRY(check_box(&launch->maps[i], &op->maps[i]));
    TRI_TRY(check_own(launch, op));
done:
    return status;
}
