#include "device/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <string.h>

static const char *below; /* "prefix:prefix"; NULL: none */

void tri_library_set_prefixes(const char *prefixes) {
    below = prefixes;
}

/* folder "": the loader's search. */
static void *open_in(const char *folder, const char *const *names) {
    char path[PATH_MAX];
    void *found = NULL;
    for (; *names && !found; names++) {
        const int size = snprintf(path, sizeof path, "%s%s%s", folder, *folder ? "/" : "", *names);
        if (size < (int)sizeof path)
            found = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return found;
}

/* pip's wheels have a folder each (nvidia/cublas/lib) or one for all of a release (nvidia/cu13/lib). */
static void *open_below(const char *prefix, size_t size, const char *const *names) {
    char pattern[PATH_MAX];
    glob_t folders = {0};
    void *found = NULL;
    const int length =
        snprintf(pattern, sizeof pattern, "%.*s/lib*/python3*/*-packages/nvidia/*/lib", (int)size, prefix);
    if (length < (int)sizeof pattern && glob(pattern, 0, NULL, &folders) == 0)
        for (size_t i = 0; i < folders.gl_pathc && !found; i++)
            found = open_in(folders.gl_pathv[i], names);
    globfree(&folders);
    return found;
}

static void *search(const char *const *names) {
    void *found = open_in("", names);
    if (!found)
        found = open_in("/usr/local/cuda/lib64", names);
    for (const char *at = below; at && *at && !found;) {
        const size_t size = strcspn(at, ":");
        if (size)
            found = open_below(at, size, names);
        at += size + (at[size] == ':');
    }
    return found;
}

triage_status tri_library_open(void **out, const char *const *names, const char *hint) {
    *out = search(names);
    if (*out)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_NOT_FOUND,
                    "%s is neither in the loader's path nor in /usr/local/cuda/lib64 nor in pip's nvidia "
                    "folders%s%s%s",
                    names[0], hint ? " (" : "", hint ? hint : "", hint ? ")" : "");
}
