#include "base/program.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of the object that holds this code. dladdr names a program as it was called, which may be no path. */
static bool own_folder(char out[PATH_MAX]) {
    Dl_info info;
    const bool told =
        dladdr((void *)(uintptr_t)tri_program_find, &info) && info.dli_fname && info.dli_fname[0] == '/';
    if (!realpath(told ? info.dli_fname : "/proc/self/exe", out))
        return false;
    char *slash = strrchr(out, '/');
    *(slash == out ? slash + 1 : slash) = '\0';
    return true;
}

/* Is it there? Else the place is added to looked. */
static triage_status look(char **out, tri_text *looked, const char *folder, const char *below,
                          const char *name) {
    char *path = NULL;
    triage_status status = tri_format(&path, "%s%s/%s", folder, below, name);
    if (status == TRIAGE_OK && access(path, X_OK) == 0) {
        *out = path;
        return TRIAGE_OK;
    }
    free(path);
    return status == TRIAGE_OK ? tri_text_format(looked, "%s%s%s", looked->size ? ", " : "", folder, below)
                               : status;
}

triage_status tri_program_find(char **out, char **looked, const char *name) {
    static const char *const below[] = {"", "/../bin", "/../../bin"}; /* lib, lib/x86_64-linux-gnu */
    triage_status status = TRIAGE_OK;
    tri_text places = TRI_TEXT_INIT;
    char folder[PATH_MAX];
    *out = *looked = NULL;
    if (own_folder(folder))
        for (size_t i = 0; i < sizeof below / sizeof *below && !*out; i++)
            TRI_TRY(look(out, &places, folder, below[i], name));
    if (!*out)
        TRI_TRY(look(out, &places, TRI_INSTALLED_BIN, "", name));
    if (!*out) {
        status = tri_fail(TRIAGE_E_NOT_FOUND, "the program %s is not in %s", name, places.data);
        *looked = places.data;
        places = (tri_text)TRI_TEXT_INIT;
    }
done:
    tri_text_free(&places);
    return status;
}
