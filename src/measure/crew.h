/* A program several times side by side, e.g. one for each GPU: started, told to stop, waited for. */
#ifndef TRIAGE_MEASURE_CREW_H
#define TRIAGE_MEASURE_CREW_H

#include "base/base.h"

typedef struct tri_crew_member {
    char *const *argv; /* argv[0] and on, NULL at the end; borrowed until the start is over */
    int code;          /* exit code; 128 + signal when it was killed */
    char *output;      /* what it wrote to stdout; stderr is ours */
} tri_crew_member;

/* Starts all, waits for the end of all. *interrupted is passed on as SIGTERM, once; if we are killed they get one, too.
 * A member that fails does not stop the others. Free with tri_crew_clear, whatever the status. */
triage_status tri_crew_run(tri_crew_member *members, size_t count, const char *program,
                           volatile const int *interrupted);
void tri_crew_clear(tri_crew_member *members, size_t count);

#endif
