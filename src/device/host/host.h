/* Inside the host device: the CPU's description, its compiler, its kernels. */
#ifndef TRIAGE_DEVICE_HOST_HOST_H
#define TRIAGE_DEVICE_HOST_HOST_H

#include "device/backend.h"

typedef struct tri_host_device {
    tri_device base;
    unsigned char *flush; /* what is overwritten to empty the caches; kept, since its page faults cost more */
    int64_t flush_bytes;
    unsigned char flush_word; /* another one each time */
    double cpu_quota; /* cores' worth of time that control groups allow, as it was at opening; 0: all */
} tri_host_device;

triage_status tri_host_describe(tri_device_info *out);
/* See openmp.c. */
void tri_host_settle(tri_device *device);
/* By /proc/self/cgroup and what is below /sys/fs/cgroup, of either version; 0: no limit, or none that can be read. */
double tri_host_cpu_quota(const char *groups, const char *root);

triage_status tri_host_set_tools(const char *path);
triage_status tri_host_compiler_version(char *out, size_t size);
void tri_host_compiler_file(char *out, size_t size, bool *is_chosen);
triage_status tri_host_compile(tri_image *out, const char *target, const tri_source *source);

typedef struct tri_host_kernel {
    tri_kernel base;
    void (*entry)(const void *args);
    void *object;
    int fd; /* open as long as the object: the loader tells objects apart by /proc/self/fd/<fd> */
    struct tri_openblas_product *dense; /* NULL: no dense product */
    tri_call_fn call;                   /* NULL: no call of somebody else's */
    void *state;                        /* of the call */
} tri_host_kernel;

triage_status tri_openblas_library(char *out, size_t size);
triage_status tri_openblas_load(tri_kernel **out, tri_device *device, const tri_gemm *gemm);
void tri_openblas_run(const tri_host_kernel *kernel, const void *args);
void tri_openblas_free(struct tri_openblas_product *dense);

triage_status tri_host_load(tri_kernel **out, tri_device *device, const tri_image *image,
                            const tri_launch *launch);
triage_status tri_host_call_load(tri_kernel **out, tri_device *device, tri_call_fn call, void *state);
void tri_host_unload(tri_kernel *kernel);
triage_status tri_host_launch(tri_kernel *kernel, const void *args, void *stream);
triage_status tri_host_flush(tri_device *device, size_t bytes, void *stream);
void tri_host_flush_end(tri_device *device);
triage_status tri_host_time(tri_kernel *kernel, const void *args, int64_t flush_bytes, int batch, double *ns,
                            int count);

#endif
