/* Linked into triage_worker's twin, busy_worker: its device counts as many processes as TEST_PROCESSES says at the start
 * (a confined worker has no environment). Linked with --wrap=tri_device_circumstances. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "device/backend.h"

triage_status __wrap_tri_device_circumstances(char **out, tri_device *device);

static char processes[16];

__attribute__((constructor)) static void read_number(void) {
    const char *text = getenv("TEST_PROCESSES");
    strncpy(processes, text ? text : "1", sizeof processes - 1);
}

triage_status __wrap_tri_device_circumstances(char **out, tri_device *device) {
    char *text = NULL;
    triage_status status = device->backend->circumstances(&text, device);
    if (status == TRIAGE_OK)
        status = tri_format(out, "{\"processes\":%s,%s", processes, text + 1);
    free(text);
    return status;
}
