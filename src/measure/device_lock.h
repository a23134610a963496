/* Whose turn it is to time on a device: two processes that time at once measure each other. A lock (flock) on a
 * file for each physical device of this machine, whatever number it has in a process; it goes with its holder,
 * however that ends. The file stays, or two could lock two files of one name. */
#ifndef TRIAGE_MEASURE_DEVICE_LOCK_H
#define TRIAGE_MEASURE_DEVICE_LOCK_H

#include "device/device.h"

/* A run holds the first from before anything is run on the device to its end; its measuring process the second
 * while it lives: a run that is killed gives up the first at once, the second only when nothing of it is left on
 * the device. */
typedef enum tri_device_lock_kind { TRI_DEVICE_LOCK_RUN, TRI_DEVICE_LOCK_PROCESS } tri_device_lock_kind;

/* folder: one that all who share the device see, e.g. "/tmp". *fd: close it to end the turn; not inherited by other
 * programs. */
triage_status tri_device_lock_open(int *fd, const char *folder, const tri_device_info *info,
                                   tri_device_lock_kind of);
/* *ours false: it is another's turn now. */
triage_status tri_device_lock_take(bool *ours, int fd);

#endif
