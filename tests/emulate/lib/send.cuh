// Stands for templates/lib/send.cuh. Clusters are not emulated.
#ifndef TRIAGE_EMULATE_SEND
#define TRIAGE_EMULATE_SEND

static void cluster_arrive() { abort(); }
static void cluster_wait() { abort(); }
static void send_cluster_16(float4 *, const float4 &, unsigned long long *, unsigned) { abort(); }
static void send_cluster_8(float2 *, const float2 &, unsigned long long *, unsigned) { abort(); }

#endif
