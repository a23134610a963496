#include "space/files.h"

#include "space/model.h"
#include "space/words.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUILT_IN "tuner/spaces/"

triage_status tri_lua_file_read(char **text, size_t *size, const char *data_dir, const char *resource,
                                const char *path) {
    return path ? tri_file_read(text, size, path, TRI_LUA_FILE_MAX)
                : tri_resource_read(text, size, data_dir, resource);
}

/* Beside the space file, else among those built in. */
static triage_status read_part(void *user, char **text, size_t *size, char **name, const char *part) {
    const tri_space *space = user;
    const char *slash = strrchr(space->file, '/');
    triage_status status = TRIAGE_OK;
    char *path = NULL;
    TRI_TRY(tri_format(&path, "%.*s%s", slash ? (int)(slash + 1 - space->file) : 0, space->file, part));
    const bool is_own = space->is_path && access(path, F_OK) == 0;
    if (!is_own) {
        free(path);
        path = NULL;
        TRI_TRY(tri_format(&path, BUILT_IN "%s", part));
    }
    TRI_TRY(tri_lua_file_read(text, size, space->data_dir, path, is_own ? path : NULL));
    *name = path;
    path = NULL;
done:
    free(path);
    return status;
}

static triage_status has_template(void *user, bool *out, const char *name) {
    const tri_space *space = user;
    char *text = NULL;
    size_t size = 0;
    triage_status status =
        tri_is_template(name) ? tri_resource_read(&text, &size, space->data_dir, name) : TRIAGE_E_NOT_FOUND;
    free(text);
    *out = status == TRIAGE_OK;
    return status == TRIAGE_E_MEMORY ? status : TRIAGE_OK;
}

tri_files tri_files_of(tri_space *space) {
    return (tri_files){read_part, has_template, space, space->is_path};
}
