/* A CUDA driver without a GPU: libcuda.so.1 (and libnvidia-ml.so.1) with host memory behind device pointers, so that the
 * host side of the cuda backend runs on any machine. Nothing of it is a measurement.
 *
 * What it keeps of the real one, because the library depends on it:
 * - handles are checked: a stranger, a double free or a call without a current context is a `mistake`;
 * - while a stream is captured, launches and fills go into its graph, and whatever would wait, allocate or load fails
 *   and invalidates the capture (what "global" mode does);
 * - a launch may fail later: `fails_later` is the answer of the next call that waits, and of all calls from then on.
 *
 * A program gets it by LD_LIBRARY_PATH or by fake_cuda_load(). For whole programs, the environment:
 *   FAKE_CUDA_DEVICES    how many (default 1)      FAKE_CUDA_FIRST  the first, as CUDA_VISIBLE_DEVICES would have it
 *   FAKE_CUDA_CC         compute capability (90)   FAKE_CUDA_LAUNCH_MS  how long a launch takes (0)
 *   FAKE_CUDA_HOLD       a file: a launch goes on while it exists
 *   FAKE_CUDA_LOG        a file; each launch adds a line "CARD PID START_NS END_NS"
 *   FAKE_NVML_PROCESSES  how many programs compute on the device (default 1: this one) */
#ifndef TRIAGE_TESTS_FAKE_CUDA_H
#define TRIAGE_TESTS_FAKE_CUDA_H

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/cuda/abi.h"

/* FAKE_launch, FAKE_memory_alloc, ...: one for each function of driver.def. */
enum {
#define TRI_SYMBOL(field, prototype, symbol) FAKE_##field,
#include "device/cuda/driver.def"
#undef TRI_SYMBOL
    FAKE_CALLS
};

#define FAKE_ARGS 1024 /* bytes kept of an argument block */

typedef struct fake_launch {
    char kernel
        [128]; /* what NVRTC's stand-in compiled, e.g. "templates/bsr_gemm/wgmma.cu"; "" of any other image */
    unsigned grid[3], block[3], smem_bytes, cluster[3];
    CUstream stream;
    unsigned char args[FAKE_ARGS];
} fake_launch;

typedef struct fake_cuda {
    /* ---- read by a test ---- */
    atomic_long calls[FAKE_CALLS];
    atomic_long mistakes;
    atomic_long memories, modules, streams, events, graphs, contexts; /* how many there are */
    atomic_long primary[8]; /* how often each device's context is retained */
    atomic_long launches;   /* that ran: not those that were only captured */
    fake_launch last;       /* the last of them */
    /* ---- set by a test ---- */
    size_t
        args_bytes; /* how much of an argument block is there to be kept; 0: none is looked at, nor of kernels without a name */
    /* A launch runs: what the kernel would compute may be written by this. Never under a lock. */
    void (*on_launch)(void *user, const fake_launch *launch);
    /* Something waits for the device: what other streams had still to do may be done by this. */
    void (*on_wait)(void *user);
    void *user;
    int fail_call; /* FAKE_...: its fail_at-th call from now (1: the next) answers fail_with */
    int fail_at;   /* 0: none */
    CUresult fail_with;
    CUresult fails_later; /* CUDA_SUCCESS: nothing; else from the next wait on */
    int devices, first_device, cc;
} fake_cuda;

/* The state of the libcuda.so.1 at this path; loaded if it is not yet, so that the library's own dlopen finds it. NULL: it
 * is not there. */
static inline fake_cuda *fake_cuda_load(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    return library ? dlsym(library, "fake_cuda_state") : NULL;
}

#endif
