#include "run/check_evidence.h"

#include <stdlib.h>
#include <string.h>

#include "problem/problem.h"

/* The number behind " name=" in a device's key; 0 if it has none. */
static double number_in_key(const char *key, const char *name) {
    const char *at = strstr(key, name);
    return at ? strtod(at + strlen(name), NULL) : 0;
}

/* More than any GPU does: a Hopper SM does 4096 operations on f16 in a clock, twice as many on e4m3; four times
 * that allows for what comes after it. 0: the key does not say. */
static double most_flops_in_ns(const char *device, triage_dtype type) {
    if (strncmp(device, "cuda ", 5) != 0)
        return 0;
    return number_in_key(device, " sms=") * number_in_key(device, " clock=") * 1e-6 *
           (tri_dtype_size(type) == 1 ? 32768 : 16384);
}

triage_status tri_check_evidence(void *user, const tri_measurement *row) {
    (void)user;
    tri_problem problem;
    triage_status status = tri_problem_parse(&problem, row->problem);
    if (status != TRIAGE_OK || row->median_ns <= 0)
        return status;
    const double most = most_flops_in_ns(row->device, problem.in_type), flops = tri_problem_flops(&problem);
    if (most > 0 && flops > most * row->min_ns)
        status = tri_fail(TRIAGE_E_DATA, "min_ns: %g ns for %g operations, this device cannot be below %g ns",
                          row->min_ns, flops, flops / most);
    return status;
}
