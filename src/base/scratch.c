#include "base/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "triage-work-"
#define SUFFIX "XXXXXX"

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info, (void)type, (void)where;
    return remove(path);
}

/* Whoever was killed may have had helpers that still write for a moment: then the folder is not empty yet. */
static void remove_tree(const char *path) {
    for (int i = 0; i < 20; i++) {
        nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        if (access(path, F_OK) != 0)
            return;
        usleep(5000);
    }
}

/* The folder locked, if it is there, ours, and nobody else's lock is on it; else -1. */
static int lock_folder(const char *path) {
    struct stat info;
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &info) == 0 && info.st_uid == geteuid() && info.st_nlink > 0 &&
        flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    close(fd);
    return -1;
}

void tri_scratch_sweep(void) {
    const char *where = tri_temporary_folder();
    DIR *folder = opendir(where);
    for (struct dirent *item; folder && (item = readdir(folder));) {
        char *path = NULL;
        if (strncmp(item->d_name, PREFIX, strlen(PREFIX)) != 0 ||
            strlen(item->d_name) != strlen(PREFIX SUFFIX) ||
            tri_path_join(&path, where, item->d_name) != TRIAGE_OK)
            continue;
        const int fd = lock_folder(path);
        if (fd >= 0) {
            remove_tree(path);
            close(fd);
        }
        free(path);
    }
    if (folder)
        closedir(folder);
}

/* A sweep of another process may come between making the folder and locking it: then it is made again. */
static triage_status make(tri_scratch *out) {
    for (int i = 0; i < 10; i++) {
        triage_status status = tri_path_join(&out->path, tri_temporary_folder(), PREFIX SUFFIX);
        if (status != TRIAGE_OK)
            return status;
        const bool made = mkdtemp(out->path) != NULL;
        const int reason = errno;
        if (made && (out->fd = lock_folder(out->path)) >= 0 && access(out->path, W_OK) == 0)
            return TRIAGE_OK;
        if (made)
            (void)rmdir(out->path); /* it is there, where a umask lets nobody in */
        tri_scratch_close(out);
        if (!made)
            return tri_fail(TRIAGE_E_IO, "making a folder in %s: %s", tri_temporary_folder(),
                            strerror(reason));
    }
    return tri_fail(TRIAGE_E_IO, "folders in %s do not stay", tri_temporary_folder());
}

triage_status tri_scratch_open(tri_scratch *out) {
    static atomic_flag swept = ATOMIC_FLAG_INIT;
    *out = (tri_scratch){.fd = -1};
    if (!atomic_flag_test_and_set(&swept))
        tri_scratch_sweep();
    return make(out);
}

void tri_scratch_close(tri_scratch *scratch) {
    if (scratch->path && scratch->fd >= 0) {
        remove_tree(scratch->path);
        close(scratch->fd);
    }
    free(scratch->path);
    *scratch = (tri_scratch){.fd = -1};
}
