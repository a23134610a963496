/* A program several times side by side, e.g. one for each GPU: started, told to stop, waited for. */
#ifndef TRIAGE_MEASURE_PROCESS_GROUP_H
#define TRIAGE_MEASURE_PROCESS_GROUP_H

#include "base/base.h"

typedef struct tri_group_member {
    char *const *argv; /* argv[0] and on, NULL at the end; borrowed until the start is over */
    int code;          /* exit code; 128 + signal when it was killed */
    char *output;      /* what it wrote to stdout; stderr is ours */
} tri_group_member;

/* Starts all, waits for the end of all. *interrupted is passed on as SIGTERM, once; if we are killed they get one, too.
 * A member that fails does not stop the others. Free with tri_process_group_clear, whatever the status. */
triage_status tri_process_group_run(tri_group_member *members, size_t count, const char *program,
                                    volatile const int *interrupted);
void tri_process_group_clear(tri_group_member *members, size_t count);

#endif
