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
