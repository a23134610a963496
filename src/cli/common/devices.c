#include "cli/common/devices.h"

#include <stdlib.h>
#include <string.h>

triage_status tri_cli_devices_add(tri_cli_devices *devices, const char *key, const char *name) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < devices->count; i++)
        if (strcmp(devices->keys[i], key) == 0)
            return TRIAGE_OK;
    char **keys = reallocarray(devices->keys, devices->count + 1, sizeof *keys);
    devices->keys = keys ? keys : devices->keys;
    char **names = reallocarray(devices->names, devices->count + 1, sizeof *names);
    devices->names = names ? names : devices->names;
    if (!keys || !names)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for %zu devices", devices->count + 1);
    keys[devices->count] = names[devices->count] = NULL;
    devices->count++;
    TRI_TRY(tri_strdup(&keys[devices->count - 1], key));
    TRI_TRY(tri_strdup(&names[devices->count - 1], name));
done:
    return status;
}

void tri_cli_devices_free(tri_cli_devices *devices) {
    for (size_t i = 0; i < devices->count; i++) {
        free(devices->keys[i]);
        free(devices->names[i]);
    }
    free(devices->keys);
    free(devices->names);
}
