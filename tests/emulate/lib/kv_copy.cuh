// Stands for templates/lib/kv_copy.cuh: copies that land at once.
#ifndef TRIAGE_EMULATE_KV_COPY
#define TRIAGE_EMULATE_KV_COPY

#include "lib/mma.cuh"

template <int bytes> static void cp_async_stream(unsigned smem, const void *gmem, bool there = true)
{
    if (smem % bytes != 0 || (size_t)gmem % bytes != 0)
        abort();
    char *to = (char *)room + smem;
    there ? memcpy(to, gmem, bytes) : memset(to, 0, bytes);
}

#endif
