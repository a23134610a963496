#include "measure/device_lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define NAMES 16        /* that one user may have to try */
#define FILES_MOST 4096 /* of others that are looked at */

/* Who has a lock; pid 0: nobody. */
typedef struct holder {
    pid_t pid;
    uid_t uid;
} holder;

/* ---- one's own file ---- */

/* A regular file of ours with this name, made if there is none; -1: something else is there. */
static int open_own(const char *path) {
    struct stat info;
    /* Without O_CREAT first: Linux may refuse it for another's file in /tmp (fs.protected_regular). */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0 && errno == EEXIST) /* made by another process of ours in between */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -1;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
        ((info.st_mode & 0777) == 0600 || fchmod(fd, 0600) == 0))
        return fd;
    close(fd);
    return -1;
}

static triage_status open_first(tri_device_lock *lock) {
    for (int i = 0; i < NAMES && lock->fd < 0; i++) {
        char *path = NULL;
        triage_status status =
            tri_format(&path, "%s/%s%lu.%d.lock", lock->folder, lock->stem, (unsigned long)geteuid(), i);
        if (status != TRIAGE_OK)
            return status;
        lock->fd = open_own(path);
        free(path);
    }
    if (lock->fd >= 0)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_IO, "no lock file can be made: %s/%s%lu.0.lock and the next %d names: %s",
                    lock->folder, lock->stem, (unsigned long)geteuid(), NAMES - 1, strerror(errno));
}

triage_status tri_device_lock_open(tri_device_lock *out, const char *folder, const tri_device_info *info,
                                   tri_device_lock_kind kind) {
    triage_status status = TRIAGE_OK;
    char hash[TRI_HASH_SIZE];
    const char *device =
        info->uuid[0] ? info->uuid : info->backend; /* the CPUs of a machine are one device */
    *out = (tri_device_lock)TRI_DEVICE_LOCK_INIT;
    tri_hash(hash, device, strlen(device));
    snprintf(out->device, sizeof out->device, "%s%s%s", info->name, info->uuid[0] ? " " : "", info->uuid);
    TRI_TRY(tri_strdup(&out->folder, folder));
    TRI_TRY(tri_format(&out->stem, "triage-%s-%.16s-%s-", info->backend, hash,
                       kind == TRI_DEVICE_LOCK_RUN ? "run" : "process"));
    TRI_TRY(open_first(out));
done:
    if (status != TRIAGE_OK)
        tri_device_lock_close(out);
    return status;
}

void tri_device_lock_close(tri_device_lock *lock) {
    if (lock->fd >= 0)
        close(lock->fd);
    free(lock->folder);
    free(lock->stem);
    *lock = (tri_device_lock)TRI_DEVICE_LOCK_INIT;
}

/* ---- who holds what ---- */

/* The process that has a lock on the file, by the system's list ("1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE ..."); 0. */
static pid_t find_holder(const char *locks, const struct stat *file) {
    char place[64];
    snprintf(place, sizeof place, " %02x:%02x:%llu ", major(file->st_dev), minor(file->st_dev),
             (unsigned long long)file->st_ino);
    for (const char *at = locks; (at = strstr(at, place)) != NULL; at++) {
        const char *digit = at;
        while (digit > locks && digit[-1] >= '0' && digit[-1] <= '9')
            digit--;
        const long pid = strtol(digit, NULL, 10);
        if (pid > 0)
            return (pid_t)pid;
    }
    return 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Somebody who holds a file of this device that is not ours: one's own other names, and other users'. */
static holder find_other(const tri_device_lock *lock, const char *locks) {
    struct stat own, info;
    holder found = {0};
    DIR *folder = opendir(lock->folder);
    int looked = 0;
    if (!folder || fstat(lock->fd, &own) != 0)
        goto done;
    for (struct dirent *item; !found.pid && looked < FILES_MOST && (item = readdir(folder));) {
        if (strncmp(item->d_name, lock->stem, strlen(lock->stem)) != 0)
            continue;
        looked++;
        if (fstatat(dirfd(folder), item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode) ||
            is_same_file(&info, &own))
            continue;
        found = (holder){find_holder(locks, &info), info.st_uid};
    }
done:
    if (folder)
        closedir(folder);
    return found;
}

static const char *locks_of_system(char **text) {
    return tri_file_read(text, NULL, "/proc/locks", 0) == TRIAGE_OK ? *text : "";
}

/* Takes one's own file, unless another's is held. *who: by whom; pid 0 where it could not be told. */
static triage_status try_to_take(bool *ours, holder *who, const tri_device_lock *lock) {
    struct stat own;
    char *text = NULL;
    int result;
    *who = (holder){0};
    do
        result = flock(lock->fd, LOCK_EX | LOCK_NB);
    while (result != 0 && errno == EINTR);
    *ours = result == 0;
    if (result != 0 && errno != EWOULDBLOCK)
        return tri_fail(TRIAGE_E_IO, "the lock of the device: %s", strerror(errno));
    const char *locks = locks_of_system(&text);
    if (!*ours && fstat(lock->fd, &own) == 0)
        *who = (holder){find_holder(locks, &own), geteuid()};
    if (*ours) {
        *who = find_other(lock, locks);
        *ours = who->pid == 0;
    }
    free(text);
    return TRIAGE_OK;
}

/* ---- waiting ---- */

static void describe(char *out, size_t size, const holder *who) {
    struct passwd entry, *known = NULL;
    char buffer[4096];
    if (getpwuid_r(who->uid, &entry, buffer, sizeof buffer, &known) == 0 && known)
        snprintf(out, size, "process %ld of user %.32s", (long)who->pid, known->pw_name);
    else
        snprintf(out, size, "process %ld of user %lu", (long)who->pid, (unsigned long)who->uid);
}

static void step_back(const tri_device_lock *lock) {
    flock(lock->fd, LOCK_UN); /* two who look at the same time would wait for each other */
    usleep((useconds_t)(1000 + getpid() % 97 * 100));
}

triage_status tri_device_lock_take(bool *ours, tri_device_lock *lock, const tri_device_patience *patience,
                                   const tri_log *log) {
    char name[96];
    holder who;
    *ours = lock->taken;
    if (*ours)
        return TRIAGE_OK;
    const triage_status status = try_to_take(ours, &who, lock);
    if (status != TRIAGE_OK || *ours) {
        lock->taken = *ours;
        return status;
    }
    const bool is_own = who.uid == geteuid();
    const double others_s = patience->others_s > 0 ? patience->others_s : TRI_DEVICE_OTHERS_S;
    const double limit = is_own ? patience->own_s : others_s;
    const int64_t now = tri_now_ns();
    describe(name, sizeof name, &who);
    if (!lock->waits_since_ns) {
        lock->waits_since_ns = now;
        tri_log_line(log, TRIAGE_LOG_INFO, "another run times on %s: waiting for its end (%s)", lock->device,
                     name);
    }
    if (limit <= 0 || (double)(now - lock->waits_since_ns) < 1e9 * limit) {
        step_back(lock);
        return TRIAGE_OK;
    }
    if (is_own)
        return tri_fail(TRIAGE_E_NO_DEVICE, "%s is in use by %s: waited %.3g s for its end", lock->device,
                        name, limit);
    tri_log_line(log, TRIAGE_LOG_WARNING, "%s has held %s for more than %.3g s: timing beside it", name,
                 lock->device, limit);
    lock->taken = lock->beside_others = *ours = true;
    return TRIAGE_OK;
}

triage_status tri_device_lock_wait(tri_device_lock *lock, const tri_device_patience *patience,
                                   volatile const int *interrupted, const tri_log *log) {
    bool ours = false;
    triage_status status = tri_device_lock_take(&ours, lock, patience, log);
    while (status == TRIAGE_OK && !ours) {
        if (interrupted && *interrupted)
            return tri_fail(TRIAGE_E_INTERRUPTED, "interrupted while another run times on the device");
        usleep(20000);
        status = tri_device_lock_take(&ours, lock, patience, log);
    }
    return status;
}
