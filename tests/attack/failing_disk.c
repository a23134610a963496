/* For LD_PRELOAD: a disk that fails (tests/attack/test_trouble.py). Of what a process does with regular files,
 *   FAIL_AFTER_BYTES=N  every write beyond the first N bytes fails with ENOSPC;
 *   FAIL_OPERATION=N    the N-th operation that changes a file fails with EIO. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

static atomic_llong bytes_written, operations;

static long long limit_of(const char *name) {
    const char *text = getenv(name);
    return text ? atoll(text) : -1;
}

static bool is_file(int fd) {
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

/* Is this the operation that fails? */
static bool fails(void) {
    const long long which = limit_of("FAIL_OPERATION");
    if (which < 0 || atomic_fetch_add(&operations, 1) + 1 != which)
        return false;
    errno = EIO;
    return true;
}

static bool is_full(size_t size) {
    const long long most = limit_of("FAIL_AFTER_BYTES");
    if (most < 0 || atomic_fetch_add(&bytes_written, (long long)size) + (long long)size <= most)
        return false;
    errno = ENOSPC;
    return true;
}

ssize_t write(int fd, const void *data, size_t size) {
    return is_file(fd) && (is_full(size) || fails()) ? -1 : REAL(write)(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return is_full(size) || fails() ? -1 : REAL(pwrite)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return is_full(size) || fails() ? -1 : REAL(pwrite64)(fd, data, size, at);
}

int fsync(int fd) {
    return fails() ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    return fails() ? -1 : REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t size) {
    return fails() ? -1 : REAL(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return fails() ? -1 : REAL(ftruncate64)(fd, size);
}

int rename(const char *from, const char *to) {
    return fails() ? -1 : REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    return fails() ? -1 : REAL(mkdir)(path, mode);
}
