/* Whose turn it is to time on a device: two processes that time at once measure each other. Each user has a lock file of
 * his own (0600) for each physical device of this machine, whatever number the device has in a process; the lock (flock)
 * goes with its holder, however that ends. The file stays, or two could lock two files of one name.
 *
 * A stranger can neither hold another's file, which he cannot open, nor put something in its place: what is not a regular
 * file of one's own is passed over for the next name. That he holds a file of his own is seen in /proc/locks and waited
 * for, but not for ever: after the limit the run goes on beside him, and says so. */
#ifndef TRIAGE_MEASURE_DEVICE_LOCK_H
#define TRIAGE_MEASURE_DEVICE_LOCK_H

#include "device/device.h"

#include <sys/types.h>

/* A run holds the first from before anything is run on the device to its end; its measuring process the second
 * while it lives: a run that is killed gives up the first at once, the second only when nothing of it is left on
 * the device. */
typedef enum tri_device_lock_kind { TRI_DEVICE_LOCK_RUN, TRI_DEVICE_LOCK_PROCESS } tri_device_lock_kind;

typedef struct tri_device_lock {
    int fd;              /* -1: none */
    char *folder, *stem; /* of the names of all users' files for this device */
    char device[160];    /* for people */
    bool taken;
    bool beside_others;     /* taken although another user holds his */
    int64_t waits_since_ns; /* 0: not waiting */
} tri_device_lock;
#define TRI_DEVICE_LOCK_INIT                                                                                 \
    { .fd = -1 }

/* folder: one that all who share the device see, e.g. "/tmp". */
triage_status tri_device_lock_open(tri_device_lock *out, const char *folder, const tri_device_info *info,
                                   tri_device_lock_kind kind);

/* How long to wait, in seconds, for one's own other runs (0: without a limit), and for those of others, who may never
 * end (0: TRI_DEVICE_OTHERS_S). */
#define TRI_DEVICE_OTHERS_S 600.0
typedef struct tri_device_patience {
    double own_s, others_s;
} tri_device_patience;

/* Tries once. *ours false: it is another's turn now: said once, with his process and name; try again later. After
 * patience it is TRIAGE_E_NO_DEVICE for a run of one's own, and ours beside a stranger's. */
triage_status tri_device_lock_take(bool *ours, tri_device_lock *lock, const tri_device_patience *patience,
                                   const tri_log *log);
/* Tries until it is ours. *interrupted, from anywhere, ends that with TRIAGE_E_INTERRUPTED; NULL: nothing does. */
triage_status tri_device_lock_wait(tri_device_lock *lock, const tri_device_patience *patience,
                                   volatile const int *interrupted, const tri_log *log);
/* Ends the turn. */
void tri_device_lock_close(tri_device_lock *lock);

#endif
