/* Files that belong to the program: built in, or in the data folder. */
#include "base/base.h"
#include "base/resource_table.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Names come from space files too: none may lead out of the data folder. */
static bool is_inside(const char *name) {
    if (!*name || *name == '/')
        return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t size = strcspn(part, "/");
        if (size == 0 || (size == 1 && part[0] == '.') || (size == 2 && part[0] == '.' && part[1] == '.'))
            return false;
    }
    return true;
}

static int compare_name(const void *name, const void *resource) {
    return strcmp(name, ((const tri_resource *)resource)->name);
}

static triage_status read_built_in(char **out, size_t *size, const char *name) {
    const tri_resource *found =
        bsearch(name, tri_resources, tri_resource_count, sizeof tri_resources[0], compare_name);
    if (!found)
        return tri_fail(TRIAGE_E_NOT_FOUND, "%s: no such file is built in", name);
    tri_text text = TRI_TEXT_INIT;
    triage_status status = tri_text_append(&text, found->data, (size_t)(found->end - found->data));
    if (status != TRIAGE_OK)
        return status;
    *out = text.data;
    if (size)
        *size = text.size;
    return TRIAGE_OK;
}

static triage_status read_from_folder(char **out, size_t *size, const char *data_dir, const char *name) {
    char *path;
    triage_status status = tri_path_join(&path, data_dir, name);
    if (status != TRIAGE_OK)
        return status;
    if (access(path, F_OK) != 0)
        status = tri_fail(TRIAGE_E_NOT_FOUND, "%s: no such file in %s", name, data_dir);
    else
        status = tri_file_read(out, size, path, 0);
    free(path);
    return status;
}

triage_status tri_resource_read(char **out, size_t *size, const char *data_dir, const char *name) {
    *out = NULL;
    if (size)
        *size = 0;
    if (!is_inside(name))
        return tri_fail(TRIAGE_E_INVALID, "'%s' is not a name inside the data folder", name);
    return data_dir ? read_from_folder(out, size, data_dir, name) : read_built_in(out, size, name);
}

const char *tri_resource_name(size_t i) {
    return i < tri_resource_count ? tri_resources[i].name : NULL;
}
