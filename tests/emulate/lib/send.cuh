// Stands for templates/lib/send.cuh.
#ifndef TRIAGE_EMULATE_SEND
#define TRIAGE_EMULATE_SEND

static void cluster_arrive() { cta::cluster_arrive(); }
static void cluster_wait() { cta::cluster_wait(); }
static void send_cluster_16(float4 *to, const float4 &v, unsigned long long *bar, unsigned rank)
{
    cta::send(to, &v, 16, bar, rank);
}
static void send_cluster_8(float2 *to, const float2 &v, unsigned long long *bar, unsigned rank)
{
    cta::send(to, &v, 8, bar, rank);
}

#endif
