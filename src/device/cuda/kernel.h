/* A loaded kernel, as launching and timing see it. */
#ifndef TRIAGE_DEVICE_CUDA_KERNEL_H
#define TRIAGE_DEVICE_CUDA_KERNEL_H

#include "device/cuda/driver.h"

typedef struct tri_cuda_kernel {
    tri_kernel base;
    tri_cuda_device *device;
    CUmodule module;
    CUfunction function;   /* NULL: dense or call */
    CUlaunchConfig config; /* complete but for the stream; a launch copies it */
    CUlaunchAttribute cluster;
    struct tri_cublas_product *dense; /* NULL: no dense product */
    tri_call_fn call;                 /* NULL: no call of somebody else's */
    void *state;                      /* of the call */
} tri_cuda_kernel;

/* Enqueues the dense product. The device's context is current, as it is for the free. */
triage_status tri_cublas_enqueue(tri_cuda_kernel *kernel, const void *args, CUstream stream);
void tri_cublas_free(struct tri_cublas_product *dense);

/* Enqueues the workspace's zeroing and the kernel. The device's context is current. */
triage_status tri_cuda_enqueue(tri_cuda_kernel *kernel, const void *args, CUstream stream);

#endif
