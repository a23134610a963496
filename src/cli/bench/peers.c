/* Peers of any operation with a dense twin: the dense product of the device's library, cuBLAS or OpenBLAS, as the tuner
 * times it too (op/op.h: dense_twin, densify). And what peers share. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"

typedef struct dense_state {
    tri_device *device;
    tri_kernel *kernel;
    tri_address a;
    tri_gemm_args args;
} dense_state;

static void dense_close(void *opaque) {
    dense_state *state = opaque;
    if (!state)
        return;
    tri_kernel_unload(state->kernel);
    tri_device_release(state->device, state->a);
    free(state);
}

static triage_status dense_open(void **out, char detail[256], const tri_arena *arena) {
    dense_state *state = NULL;
    tri_gemm gemm;
    char library[64];
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&state, 1, sizeof *state));
    state->device = arena->at.device;
    TRI_TRY(arena->problem.op->dense_twin(&gemm, &arena->problem));
    TRI_TRY(tri_dense_load(&state->kernel, state->device, &gemm));
    TRI_TRY(tri_dense_library(library, sizeof library, state->device));
    TRI_TRY(tri_arena_densify(&state->a, arena));
    arena->problem.op->dense_arguments(&state->args, &arena->at, state->a);
    snprintf(detail, 256, "%s, dense A", library);
    *out = state;
    state = NULL;
done:
    dense_close(state);
    return status;
}

static triage_status dense_run(void *opaque, void *stream) {
    const dense_state *state = opaque;
    return tri_kernel_launch(state->kernel, &state->args, stream);
}

const tri_contestant_type tri_contestant_cublas = {.name = "cublas",
                                                   .family = "cublas",
                                                   .on_cuda = true,
                                                   .dense = true,
                                                   .open = dense_open,
                                                   .run = dense_run,
                                                   .close = dense_close};
const tri_contestant_type tri_contestant_openblas = {.name = "openblas",
                                                     .family = "openblas",
                                                     .on_host = true,
                                                     .dense = true,
                                                     .open = dense_open,
                                                     .run = dense_run,
                                                     .close = dense_close};

/* ---- libraries ---- */

triage_status tri_peer_symbols(void *table, void *library, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        void *symbol = dlsym(library, names[i]);
        if (!symbol)
            return tri_fail(TRIAGE_E_NOT_FOUND, "%s is not in the library", names[i]);
        memcpy((char *)table + i * sizeof symbol, &symbol,
               sizeof symbol); /* function pointers are not void * */
    }
    return TRIAGE_OK;
}

triage_status tri_peer_cuda_type(int *out, triage_dtype dtype) {
    if (dtype == TRIAGE_E4M3)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "has no product of e4m3 matrices");
    *out = dtype == TRIAGE_F32 ? 0 : dtype == TRIAGE_F16 ? 2 : 14; /* CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF */
    return TRIAGE_OK;
}
