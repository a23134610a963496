/* For LD_PRELOAD: a disk that fails (tests/attack/test_trouble.py). Of what the programs do with files,
 *   FAIL_AFTER_BYTES=N  every write of a process beyond its first N bytes fails with ENOSPC;
 *   FAIL_OPERATION=N    the N-th operation of all processes together fails with EIO, 0: none;
 *   FAIL_COUNTER=FILE   where they count: 64 bytes, which tell afterwards how many there were, and which one failed. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

typedef struct counter {
    atomic_llong count;
    char failed[56]; /* "program: operation" */
} counter;

static counter own, *all = &own;
static atomic_llong bytes_written;
static long long most_bytes = -1, which = -1;

static long long limit_of(const char *name) {
    const char *text = getenv(name);
    return text ? atoll(text) : -1;
}

/* Before anything is confined, and before the environment is forgotten. */
__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAIL_COUNTER");
    const int fd = path ? REAL(open)(path, O_RDWR | O_CLOEXEC) : -1;
    void *shared = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED)
        all = shared;
    if (fd >= 0)
        REAL(close)(fd);
    most_bytes = limit_of("FAIL_AFTER_BYTES");
    which = limit_of("FAIL_OPERATION");
}

/* Is this the operation that fails? */
static bool fails(const char *what) {
    if (which < 0 || atomic_fetch_add(&all->count, 1) + 1 != which)
        return false;
    snprintf(all->failed, sizeof all->failed, "%.20s: %s", program_invocation_short_name, what);
    errno = EIO;
    return true;
}

static bool is_full(size_t size) {
    if (most_bytes < 0 || atomic_fetch_add(&bytes_written, (long long)size) + (long long)size <= most_bytes)
        return false;
    errno = ENOSPC;
    return true;
}

static bool is_file(int fd) {
    struct stat info;
    const int error = errno;
    const bool is = fd >= 0 && REAL(fstat)(fd, &info) == 0 && S_ISREG(info.st_mode);
    errno = error;
    return is;
}

static bool fails_on(int fd, const char *what) {
    return is_file(fd) && fails(what);
}

/* ---- opening ---- */

/* The mode, which is there with O_CREAT alone. */
#define MODE(mode, flags)                                                                                    \
    mode_t mode = 0;                                                                                         \
    if ((flags)&O_CREAT) {                                                                                   \
        va_list rest;                                                                                        \
        va_start(rest, flags);                                                                               \
        mode = va_arg(rest, mode_t);                                                                         \
        va_end(rest);                                                                                        \
    }

int open(const char *path, int flags, ...) {
    MODE(mode, flags)
    return fails(__func__) ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(mode, flags)
    return fails(__func__) ? -1 : REAL(open64)(path, flags, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE(mode, flags)
    return fails(__func__) ? -1 : REAL(openat)(at, path, flags, mode);
}

FILE *fopen(const char *path, const char *mode) {
    return fails(__func__) ? NULL : REAL(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
    return fails(__func__) ? NULL : REAL(fopen64)(path, mode);
}

DIR *opendir(const char *path) {
    return fails(__func__) ? NULL : REAL(opendir)(path);
}

int mkostemp(char *path, int flags) {
    return fails(__func__) ? -1 : REAL(mkostemp)(path, flags);
}

int mkostemp64(char *path, int flags) {
    return fails(__func__) ? -1 : REAL(mkostemp64)(path, flags);
}

char *mkdtemp(char *path) {
    return fails(__func__) ? NULL : REAL(mkdtemp)(path);
}

int memfd_create(const char *name, unsigned flags) {
    return fails(__func__) ? -1 : REAL(memfd_create)(name, flags);
}

/* Closed all the same, as by Linux. */
int close(int fd) {
    const bool is_failing = fails_on(fd, __func__);
    const int result = REAL(close)(fd);
    errno = is_failing ? EIO : errno;
    return is_failing ? -1 : result;
}

int fclose(FILE *file) {
    const bool is_failing = fails_on(fileno(file), __func__);
    const int result = REAL(fclose)(file);
    errno = is_failing ? EIO : errno;
    return is_failing ? EOF : result;
}

/* ---- reading ---- */

ssize_t read(int fd, void *data, size_t size) {
    return fails_on(fd, __func__) ? -1 : REAL(read)(fd, data, size);
}

ssize_t pread(int fd, void *data, size_t size, off_t at) {
    return fails_on(fd, __func__) ? -1 : REAL(pread)(fd, data, size, at);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    return fails_on(fd, __func__) ? -1 : REAL(pread64)(fd, data, size, at);
}

int stat(const char *path, struct stat *out) {
    return fails(__func__) ? -1 : REAL(stat)(path, out);
}

int stat64(const char *path, struct stat64 *out) {
    return fails(__func__) ? -1 : REAL(stat64)(path, out);
}

int fstat(int fd, struct stat *out) {
    return fails_on(fd, __func__) ? -1 : REAL(fstat)(fd, out);
}

int fstat64(int fd, struct stat64 *out) {
    return fails_on(fd, __func__) ? -1 : REAL(fstat64)(fd, out);
}

int flock(int fd, int how) {
    return fails_on(fd, __func__) ? -1 : REAL(flock)(fd, how);
}

/* ---- changing ---- */

ssize_t write(int fd, const void *data, size_t size) {
    return is_file(fd) && (is_full(size) || fails(__func__)) ? -1 : REAL(write)(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return is_full(size) || fails(__func__) ? -1 : REAL(pwrite)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return is_full(size) || fails(__func__) ? -1 : REAL(pwrite64)(fd, data, size, at);
}

int fsync(int fd) {
    return fails(__func__) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    return fails(__func__) ? -1 : REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t size) {
    return fails(__func__) ? -1 : REAL(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return fails(__func__) ? -1 : REAL(ftruncate64)(fd, size);
}

int fchmod(int fd, mode_t mode) {
    return fails(__func__) ? -1 : REAL(fchmod)(fd, mode);
}

int rename(const char *from, const char *to) {
    return fails(__func__) ? -1 : REAL(rename)(from, to);
}

int link(const char *from, const char *to) {
    return fails(__func__) ? -1 : REAL(link)(from, to);
}

int unlink(const char *path) {
    return fails(__func__) ? -1 : REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    return fails(__func__) ? -1 : REAL(mkdir)(path, mode);
}
