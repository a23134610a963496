/* The table that cmake/resources.cmake writes: files built into the library, sorted by name. */
#ifndef TRIAGE_BASE_RESOURCE_TABLE_H
#define TRIAGE_BASE_RESOURCE_TABLE_H

#include <stddef.h>

typedef struct tri_resource {
    const char *name; /* path below the project's root */
    const char *data; /* NUL-terminated */
    const char *end;  /* the NUL */
} tri_resource;

extern const tri_resource tri_resources[];
extern const size_t tri_resource_count;

#endif
