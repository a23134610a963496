// Stands for templates/lib/cluster.cuh. Clusters are not emulated.
#ifndef TRIAGE_EMULATE_CLUSTER
#define TRIAGE_EMULATE_CLUSTER

static float4 load_cluster_16(const float *, unsigned) { abort(); }
static float2 load_cluster_8(const float *, unsigned) { abort(); }

#endif
