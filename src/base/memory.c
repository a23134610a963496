/* Allocation with an overflow check and a status. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

triage_status tri_calloc(void *out_pointer, size_t count, size_t size) {
    void *memory = NULL;
    if (size == 0 || count <= PTRDIFF_MAX / size)
        memory = calloc(count && size ? count : 1, size ? size : 1);
    memcpy(out_pointer, &memory, sizeof memory); /* the caller's pointer may be of any type */
    if (!memory)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory: %zu x %zu bytes", count, size);
    return TRIAGE_OK;
}

triage_status tri_grow(void *items_pointer, size_t *capacity, size_t count, size_t size, const char *what) {
    const size_t larger = *capacity ? 2 * *capacity : 16;
    void *items = NULL;
    if (count < *capacity)
        return TRIAGE_OK;
    memcpy(&items, items_pointer, sizeof items); /* the caller's pointer may be of any type */
    items = larger > *capacity && larger <= PTRDIFF_MAX / size ? realloc(items, larger * size) : NULL;
    if (!items)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for %zu %s", larger, what);
    memcpy(items_pointer, &items, sizeof items);
    *capacity = larger;
    return TRIAGE_OK;
}
