#include "cli/db/pipes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/scratch.h"
#include "cli/common/output.h"

static triage_status copy(FILE *to, FILE *from, const char *name) {
    char part[65536];
    size_t size;
    while ((size = fread(part, 1, sizeof part, from)) > 0)
        if (fwrite(part, 1, size, to) != size)
            return tri_fail(TRIAGE_E_IO, "%s: %s", name, strerror(errno));
    return ferror(from) || fflush(to) != 0 ? tri_fail(TRIAGE_E_IO, "%s: %s", name, strerror(errno))
                                           : TRIAGE_OK;
}

triage_status tri_cli_write_by(const char *path, tri_write_fn write, void *user) {
    triage_status status = TRIAGE_OK;
    tri_scratch scratch = {.fd = -1};
    char *file = NULL;
    FILE *written = NULL;
    if (!tri_cli_is_stdout(path))
        return write(user, path);
    TRI_TRY(tri_scratch_open(&scratch));
    TRI_TRY(tri_path_join(&file, scratch.path, "output"));
    TRI_TRY(write(user, file));
    written = fopen(file, "r");
    if (!written)
        TRI_TRY(tri_fail(TRIAGE_E_IO, "%s: %s", file, strerror(errno)));
    TRI_TRY(copy(stdout, written, "the standard output"));
done:
    if (written)
        fclose(written);
    tri_scratch_close(&scratch);
    free(file);
    return status;
}

triage_status tri_cli_keep_stdin(char **path, int *fd) {
    triage_status status = TRIAGE_OK;
    FILE *kept = NULL;
    *fd = memfd_create("the standard input", MFD_CLOEXEC);
    const int writer = *fd < 0 ? -1 : dup(*fd);
    kept = writer < 0 ? NULL : fdopen(writer, "w");
    if (!kept)
        TRI_TRY(tri_fail(TRIAGE_E_IO, "the standard input cannot be kept: %s", strerror(errno)));
    TRI_TRY(copy(kept, stdin, "the standard input"));
    TRI_TRY(tri_format(path, "/proc/self/fd/%d", *fd));
done:
    if (kept)
        fclose(kept);
    return status;
}
