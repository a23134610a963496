/* A position in a ring of slots that one part of a CTA fills and another empties. */
#ifndef TRIAGE_LIB_RING_CUH
#define TRIAGE_LIB_RING_CUH

/* The slot, and the parity of the phase in which it is used. */
template <int slots>
struct ring_t {
    int slot = 0;
    unsigned parity = 0;

    __device__ __forceinline__ void advance()
    {
        if (++slot == slots) {
            slot = 0;
            parity ^= 1;
        }
    }
};

#endif
