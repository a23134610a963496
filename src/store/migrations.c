/* The SQL files that make a schema, a step each: DIR/0001_*.sql, DIR/0002_*.sql, ... */
#include "store/backend.h"

#include <string.h>

/* Resources are in order of name. */
const char *tri_migration_name(const char *folder, int64_t version) {
    const char *name;
    for (size_t i = 0; (name = tri_resource_name(i)); i++)
        if (strncmp(name, folder, strlen(folder)) == 0 && --version == 0)
            return name;
    return NULL;
}

int64_t tri_migration_newest(const char *folder) {
    int64_t version = 0;
    while (tri_migration_name(folder, version + 1))
        version++;
    return version;
}
