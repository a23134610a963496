// Stands for templates/lib/cluster.cuh.
#ifndef TRIAGE_EMULATE_CLUSTER
#define TRIAGE_EMULATE_CLUSTER

template <class T> static T load_cluster(const void *p, unsigned rank)
{
    T value;
    cta::read_remote(&value, p, sizeof value, rank);
    return value;
}
static float4 load_cluster_16(const float *p, unsigned rank) { return load_cluster<float4>(p, rank); }
static float2 load_cluster_8(const float *p, unsigned rank) { return load_cluster<float2>(p, rank); }

#endif
