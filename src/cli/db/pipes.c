#include "cli/db/pipes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/scratch.h"

static triage_status copy(FILE *to, FILE *from, const char *name) {
    char part[65536];
    size_t size;
    while ((size = fread(part, 1, sizeof part, from)) > 0)
        if (fwrite(part, 1, size, to) != size)
            return tri_fail(TRIAGE_E_IO, "%s: %s", name, strerror(errno));
    return ferror(from) || fflush(to) != 0 ? tri_fail(TRIAGE_E_IO, "%s: %s", name, strerror(errno))
                                           : TRIAGE_OK;
}

triage_status tri_cli_export_to_stdout(int64_t *rows, tri_store *store) {
    triage_status status = TRIAGE_OK;
    tri_scratch scratch = {.fd = -1};
    char *path = NULL;
    FILE *file = NULL;
    TRI_TRY(tri_scratch_open(&scratch));
    TRI_TRY(tri_path_join(&path, scratch.path, "export.jsonl"));
    TRI_TRY(tri_store_export(rows, store, path));
    file = fopen(path, "r");
    if (!file)
        TRI_TRY(tri_fail(TRIAGE_E_IO, "%s: %s", path, strerror(errno)));
    TRI_TRY(copy(stdout, file, "the standard output"));
done:
    if (file)
        fclose(file);
    tri_scratch_close(&scratch);
    free(path);
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
