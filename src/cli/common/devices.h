/* Devices that evidence speaks of, each once. */
#ifndef TRIAGE_CLI_DEVICES_H
#define TRIAGE_CLI_DEVICES_H

#include "base/base.h"

typedef struct tri_cli_devices {
    char **keys, **names;
    size_t count;
} tri_cli_devices;

/* Copies both texts; a key that is there already changes nothing. */
triage_status tri_cli_devices_add(tri_cli_devices *devices, const char *key, const char *name);
void tri_cli_devices_free(tri_cli_devices *devices);

#endif
