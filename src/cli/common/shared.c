#include "cli/common/shared.h"

#include <string.h>

#include "cli/common/common.h"

triage_status tri_cli_check_device(const char *device, bool or_all) {
    int64_t number = 0;
    if (!device || strcmp(device, "auto") == 0 || strcmp(device, "cuda") == 0 || strcmp(device, "host") == 0)
        return TRIAGE_OK;
    if (or_all && strcmp(device, "all") == 0)
        return TRIAGE_OK;
    if (strncmp(device, "cuda:", 5) == 0)
        return tri_parse_int64(&number, device + 5, 0, 1023, "--device's number");
    return tri_cli_usage("--device %.32s is not one of auto,%s cuda, cuda:N, host", device,
                         or_all ? " all," : "");
}

triage_status tri_cli_parse_seed(uint64_t *out, const char *text) {
    int64_t seed = 1;
    triage_status status = text ? tri_parse_int64(&seed, text, 0, INT64_MAX, "--seed") : TRIAGE_OK;
    *out = (uint64_t)seed;
    return status;
}

triage_status tri_cli_choose_cache(char **out, const char *text) {
    *out = NULL;
    if (!text)
        return tri_cli_default_cache(out);
    return strcmp(text, "none") == 0 ? TRIAGE_OK : tri_strdup(out, text);
}

triage_status tri_cli_parse_wait(tri_device_patience *out, const char *text) {
    triage_status status = TRIAGE_OK;
    *out = (tri_device_patience){0};
    if (text)
        TRI_TRY(tri_parse_double(&out->own_s, text, 1e-3, 1e9, "--wait"));
    out->others_s = out->own_s;
done:
    return status;
}
