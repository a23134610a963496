#include "cli/common/libraries.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "device/library.h"

/* Relative folders change their meaning with every cd, and a prefix is part of a pattern of glob(3). */
static bool is_usable(const char *prefix, size_t size) {
    return size > 0 && prefix[0] == '/' && strcspn(prefix, "*?[\\") >= size;
}

static triage_status add(tri_text *prefixes, const char *prefix, size_t size) {
    if (!is_usable(prefix, size))
        return TRIAGE_OK;
    return tri_text_format(prefixes, "%.*s:", (int)size, prefix);
}

/* The prefixes of the folders .../bin in it. */
static triage_status add_path(tri_text *prefixes, const char *path) {
    static const char bin[] = "/bin";
    triage_status status = TRIAGE_OK;
    while (path && *path) {
        const size_t size = strcspn(path, ":"), tail = sizeof bin - 1;
        if (size > tail && strncmp(path + size - tail, bin, tail) == 0)
            TRI_TRY(add(prefixes, path, size - tail));
        path += size + (path[size] == ':');
    }
done:
    return status;
}

void tri_cli_look_below_pythons(void) {
    static tri_text prefixes; /* the library borrows it */
    const char *venv = getenv("VIRTUAL_ENV"), *path = getenv("PATH");
    tri_library_set_prefixes(NULL);
    tri_text_free(&prefixes);
    if (venv && add(&prefixes, venv, strcspn(venv, ":")) != TRIAGE_OK)
        return; /* no memory: whoever needs it next says so */
    if (add_path(&prefixes, path) == TRIAGE_OK)
        tri_library_set_prefixes(prefixes.data);
}
