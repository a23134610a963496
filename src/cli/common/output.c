#include "cli/common/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/common/common.h"

bool tri_cli_is_stdout(const char *path) {
    return strcmp(path, "-") == 0;
}

static bool is_same_file(const struct stat *file, const char *path) {
    struct stat other;
    return stat(path, &other) == 0 && other.st_dev == file->st_dev && other.st_ino == file->st_ino;
}

/* A new one is made in its folder, an old one is replaced there. */
static triage_status check_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_format(&folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : "."));
    if (access(folder, W_OK | X_OK) != 0)
        status = tri_fail(TRIAGE_E_IO, "%s cannot be written: %s", path, strerror(errno));
done:
    free(folder);
    return status;
}

triage_status tri_cli_check_output(const char *path, const char *const *inputs, size_t count) {
    struct stat file;
    if (tri_cli_is_stdout(path))
        return TRIAGE_OK;
    if (stat(path, &file) != 0)
        return check_folder(path);
    if (S_ISDIR(file.st_mode))
        return tri_fail(TRIAGE_E_IO, "%s cannot be written: it is a folder", path);
    for (size_t i = 0; i < count; i++)
        if (inputs[i] && is_same_file(&file, inputs[i]))
            return tri_cli_usage("%s is read here: it cannot be written, too", path);
    return S_ISREG(file.st_mode) ? check_folder(path) : TRIAGE_OK;
}
