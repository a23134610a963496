#include "support/scratch.h"

#include <dirent.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void scratch_make(char path[64]) {
    strcpy(path, "/tmp/triage-test-XXXXXX");
    if (!mkdtemp(path))
        abort();
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *place) {
    (void)about;
    (void)type;
    (void)place;
    return remove(path);
}

void scratch_remove(const char *path) {
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_path(const char *path, const char *name) {
    static char buffers[8][PATH_MAX];
    static unsigned turn;
    char *out = buffers[turn++ % 8];
    snprintf(out, PATH_MAX, "%s/%s", path, name);
    return out;
}

void scratch_write(const char *path, const char *name, const char *text, unsigned mode) {
    const char *file = scratch_path(path, name);
    FILE *stream = fopen(file, "w");
    if (!stream || fputs(text, stream) < 0 || fclose(stream) != 0 || chmod(file, mode) != 0)
        abort();
}

void scratch_copy_data(const char *path, const char *source_dir) {
    char command[3 * PATH_MAX];
    snprintf(command, sizeof command, "mkdir '%s' && cp -r '%s/templates' '%s/tuner' '%s'", path, source_dir,
             source_dir, path);
    if (system(command) != 0)
        abort();
}

void scratch_fault_tree(const char *path, const char *source_dir) {
    char command[3 * PATH_MAX];
    scratch_copy_data(scratch_path(path, "data"), source_dir);
    snprintf(command, sizeof command, "cp '%s/tests/data/faults/faulty.c' '%s/data/templates/bsr_gemm/'",
             source_dir, path);
    if (system(command) != 0)
        abort();
}

int scratch_count(const char *path) {
    DIR *folder = opendir(path);
    int count = folder ? 0 : -1;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (folder)
        closedir(folder);
    return count;
}
