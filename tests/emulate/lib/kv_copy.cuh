// Stands for templates/lib/kv_copy.cuh.
#ifndef TRIAGE_EMULATE_KV_COPY
#define TRIAGE_EMULATE_KV_COPY

#include "lib/mma.cuh"

template <int bytes> static void cp_async_stream(unsigned smem, const void *gmem, bool there = true)
{
    cta::copy_async(smem, gmem, bytes, there ? bytes : 0);
}

#endif
