/* Whole files, folders and paths. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_LIMIT ((size_t)256 << 20)

static triage_status fail_errno(const char *path, const char *doing) {
    return tri_fail(TRIAGE_E_IO, "%s: cannot %s: %s", path, doing, strerror(errno));
}

static triage_status open_regular(int *out, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a fifo must not block us */
    if (fd < 0)
        return fail_errno(path, "read");
    struct stat info;
    triage_status status = TRIAGE_OK;
    if (fstat(fd, &info) != 0)
        status = fail_errno(path, "read");
    else if (!S_ISREG(info.st_mode))
        status = tri_fail(TRIAGE_E_IO, "%s: cannot read: not a regular file", path);
    if (status != TRIAGE_OK) {
        close(fd);
        return status;
    }
    *out = fd;
    return TRIAGE_OK;
}

/* Reads to the end; the size that fstat tells may change, and is 0 under /proc. */
static triage_status read_all(tri_text *text, int fd, const char *path, size_t limit) {
    char chunk[1 << 16];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(path, "read");
        if ((size_t)got > limit - text->size)
            return tri_fail(TRIAGE_E_DATA, "%s: larger than the %zu bytes allowed", path, limit);
        triage_status status = tri_text_append(text, chunk, (size_t)got);
        if (status != TRIAGE_OK || got == 0)
            return status;
    }
}

triage_status tri_file_read(char **out, size_t *size, const char *path, size_t limit) {
    *out = NULL;
    if (size)
        *size = 0;
    int fd = -1;
    triage_status status = open_regular(&fd, path);
    if (status != TRIAGE_OK)
        return status;
    tri_text text = TRI_TEXT_INIT;
    status = read_all(&text, fd, path, limit ? limit : DEFAULT_LIMIT);
    close(fd);
    if (status != TRIAGE_OK) {
        tri_text_free(&text);
        return status;
    }
    *out = text.data;
    if (size)
        *size = text.size;
    return TRIAGE_OK;
}

static triage_status write_all(int fd, const char *path, const char *data, size_t size) {
    while (size > 0) {
        ssize_t put = write(fd, data, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail_errno(path, "write");
        data += put;
        size -= (size_t)put;
    }
    return TRIAGE_OK;
}

/* A rename is only safe from a power cut once its folder is on disk too. */
static triage_status sync_folder_of(const char *path) {
    char *folder;
    triage_status status = tri_strdup(&folder, path);
    if (status != TRIAGE_OK)
        return status;
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0)
        return fail_errno(path, "open the folder of");
    /* EINVAL: a file system that has nothing to sync for a folder */
    if (fsync(fd) != 0 && errno != EINVAL)
        status = fail_errno(path, "sync the folder of");
    close(fd);
    return status;
}

static triage_status fill_temporary(int fd, const char *path, const void *data, size_t size, unsigned mode) {
    triage_status status = write_all(fd, path, data, size);
    if (status == TRIAGE_OK && fchmod(fd, (mode_t)mode) != 0)
        status = fail_errno(path, "set the mode of");
    if (status == TRIAGE_OK && fsync(fd) != 0)
        status = fail_errno(path, "sync");
    if (close(fd) != 0 && status == TRIAGE_OK)
        status = fail_errno(path, "write");
    return status;
}

/* A device or a pipe (/dev/null, /dev/stdout) is written to: a rename would put a file in its place. A pipe that nobody reads is
 * no reason to wait. */
static triage_status write_through(const char *path, const void *data, size_t size) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fcntl(fd, F_SETFL, 0) != 0) {
        const triage_status failed = fail_errno(path, "write");
        if (fd >= 0)
            close(fd);
        return failed;
    }
    triage_status status = write_all(fd, path, data, size);
    if (close(fd) != 0 && status == TRIAGE_OK)
        status = fail_errno(path, "write");
    return status;
}

triage_status tri_file_write_atomic(const char *path, const void *data, size_t size, unsigned mode) {
    triage_status status;
    char *temporary = NULL;
    bool made = false;
    struct stat old;
    if (stat(path, &old) == 0 && !S_ISREG(old.st_mode) && !S_ISDIR(old.st_mode))
        return write_through(path, data, size);
    TRI_TRY(tri_format(&temporary, "%s.XXXXXX", path));
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        status = fail_errno(path, "write");
        goto done;
    }
    made = true;
    TRI_TRY(fill_temporary(fd, path, data, size, mode));
    if (rename(temporary, path) != 0) {
        status = fail_errno(path, "write");
        goto done;
    }
    made = false;
    TRI_TRY(sync_folder_of(path));
done:
    if (made)
        unlink(temporary);
    free(temporary);
    return status;
}

static triage_status make_dir(const char *path) {
    if (mkdir(path, 0700) == 0)
        return TRIAGE_OK;
    int reason = errno;
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return TRIAGE_OK;
    errno = reason == EEXIST ? ENOTDIR : reason;
    return fail_errno(path, "make the folder");
}

triage_status tri_make_dirs(const char *path) {
    char *copy;
    triage_status status = tri_strdup(&copy, path);
    if (status != TRIAGE_OK)
        return status;
    for (char *slash = copy; status == TRIAGE_OK && (slash = strchr(slash + 1, '/')) != NULL;) {
        *slash = '\0';
        status = make_dir(copy);
        *slash = '/';
    }
    if (status == TRIAGE_OK)
        status = make_dir(copy);
    free(copy);
    return status;
}

triage_status tri_make_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = NULL;
    if (!slash || slash == path)
        return TRIAGE_OK;
    triage_status status = tri_format(&folder, "%.*s", (int)(slash - path), path);
    if (status == TRIAGE_OK)
        status = tri_make_dirs(folder);
    free(folder);
    return status;
}

triage_status tri_path_join(char **out, const char *a, const char *b) {
    size_t size = strlen(a);
    bool bare = size == 0 || a[size - 1] == '/';
    return tri_format(out, "%s%s%s", a, bare ? "" : "/", b);
}

/* ---- what is thrown away again ---- */

static char temporary[4096] = "/tmp";

void tri_set_temporary_folder(const char *path) {
    struct stat info;
    if (path && path[0] == '/' && strlen(path) < sizeof temporary && stat(path, &info) == 0 &&
        S_ISDIR(info.st_mode) && access(path, W_OK | X_OK) == 0)
        memcpy(temporary, path, strlen(path) + 1);
}

const char *tri_temporary_folder(void) {
    return temporary;
}
