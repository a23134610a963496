#include "measure/device_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* The card's own id; the CPUs of a machine are one device. */
static triage_status path_of(char **out, const char *folder, const tri_device_info *info,
                             tri_device_lock_kind of) {
    char hash[TRI_HASH_SIZE];
    const char *device = info->uuid[0] ? info->uuid : info->backend;
    tri_hash(hash, device, strlen(device));
    return tri_format(out, "%s/triage-%s-%.16s%s.lock", folder, info->backend, hash,
                      of == TRI_DEVICE_LOCK_RUN ? "" : "-process");
}

triage_status tri_device_lock_open(int *fd, const char *folder, const tri_device_info *info,
                                   tri_device_lock_kind of) {
    char *path = NULL;
    *fd = -1;
    triage_status status = path_of(&path, folder, info, of);
    if (status != TRIAGE_OK)
        return status;
    /* Without O_CREAT first: Linux may refuse it for another user's file in /tmp (fs.protected_regular). Read-only
     * is enough for a lock, and all that others may. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0 && errno == ENOENT)
        *fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (*fd < 0)
        status = tri_fail(TRIAGE_E_IO, "%s: %s", path, strerror(errno));
    free(path);
    return status;
}

triage_status tri_device_lock_take(bool *ours, int fd) {
    int result;
    do
        result = flock(fd, LOCK_EX | LOCK_NB);
    while (result != 0 && errno == EINTR);
    *ours = result == 0;
    if (result != 0 && errno != EWOULDBLOCK)
        return tri_fail(TRIAGE_E_IO, "the lock of the device: %s", strerror(errno));
    return TRIAGE_OK;
}
