// Stands for templates/lib/meet.cuh.
#ifndef TRIAGE_EMULATE_MEET
#define TRIAGE_EMULATE_MEET

static int count_one(int *counter) { return atomicAdd(counter, 1); }

#endif
