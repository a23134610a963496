// Stands for templates/lib/meet.cuh. Clusters are not emulated.
#ifndef TRIAGE_EMULATE_MEET
#define TRIAGE_EMULATE_MEET

static int count_one(int *counter) { return atomicAdd(counter, 1); }
static float4 load_cluster_16(const float *, unsigned) { abort(); }
static float2 load_cluster_8(const float *, unsigned) { abort(); }

#endif
