/* What a kind of device implements. device.c checks arguments and dispatches through this table. */
#ifndef TRIAGE_DEVICE_BACKEND_H
#define TRIAGE_DEVICE_BACKEND_H

#include "device/device.h"

typedef struct tri_device_backend {
    const char *name;
    /* the compiler: no device needed */
    triage_status (*set_tools)(const char *path);
    triage_status (*compiler_version)(char *out, size_t size);
    /* The compiler's file, once it was found; "" before. *chosen: set_tools named one. */
    void (*compiler_file)(char *out, size_t size, bool *chosen);
    triage_status (*compile)(tri_image *out, const char *target, const tri_source *source);
    /* devices */
    triage_status (*count)(int *out);
    triage_status (*open)(tri_device **out, int ordinal, bool use_current);
    void (*close)(tri_device *device);
    triage_status (*alloc)(tri_device *device, tri_address *out, size_t bytes);
    void (*release)(tri_device *device, tri_address address);
    triage_status (*upload)(tri_device *device, tri_address to, const void *from, size_t bytes);
    triage_status (*download)(tri_device *device, void *to, tri_address from, size_t bytes);
    triage_status (*fill)(tri_device *device, tri_address to, uint32_t word, size_t words, void *stream);
    triage_status (*flush)(tri_device *device, size_t bytes, void *stream);
    void (*flush_end)(tri_device *device);
    triage_status (*synchronize)(tri_device *device);
    bool (*capturing)(tri_device *device, void *stream); /* NULL: it has no graphs */
    triage_status (*circumstances)(char **out, tri_device *device);
    void (*settle)(tri_device *device); /* NULL: nothing to do */
    /* kernels */
    triage_status (*load)(tri_kernel **out, tri_device *device, const tri_image *image,
                          const tri_launch *launch);
    void (*unload)(tri_kernel *kernel);
    /* NULL: its kernels use no tensor maps */
    triage_status (*map_make)(void *out_128_bytes, tri_device *device, const tri_tensor_box *box,
                              const tri_tensor_view *view);
    triage_status (*launch)(tri_kernel *kernel, const void *args, void *stream);
    triage_status (*time)(tri_kernel *kernel, const void *args, int64_t flush_bytes, int batch, double *ns,
                          int count);
    /* the dense product */
    triage_status (*dense_library)(char *out, size_t size);
    triage_status (*dense_load)(tri_kernel **out, tri_device *device, const tri_gemm *gemm);
    /* a call of somebody else's */
    triage_status (*call_load)(tri_kernel **out, tri_device *device, tri_call_fn call, void *state);
    triage_status (*bind)(tri_device *device); /* NULL, both: nothing to do */
    void (*unbind)(tri_device *device);
    triage_status (*show)(tri_device *device, bool on); /* NULL: nobody looks at it */
} tri_device_backend;

extern const tri_device_backend tri_host_backend;
extern const tri_device_backend tri_cuda_backend;

/* The first member of each backend's own struct. */
struct tri_device {
    const tri_device_backend *backend;
    tri_device_info info;
};
struct tri_kernel {
    tri_device *device;
    tri_address workspace; /* 0: none */
    size_t clear_bytes;    /* of the workspace, before each launch */
};

/* Of the compiler's log: a copy of the first line that holds needle, "" if there is none. */
void tri_log_first_line(char *out, size_t size, const char *log, const char *needle);
/* Does a failed compiler's log blame the source (blame.c)? line: where; "" if not. */
bool tri_log_blames_source(char *line, size_t size, const char *log);

/* ---- the cache of compiled images ---- */

/* Finds key in the cache. TRIAGE_E_NOT_FOUND: not there, or damaged. TRIAGE_E_IO: the folder is not safe. */
triage_status tri_cache_read(tri_image *out, const char *cache_dir, const char *key);
triage_status tri_cache_write(const tri_image *image, const char *cache_dir, const char *key);

/* ---- which compiler there is, remembered beside it (compiler_version.c) ---- */

/* Adds to "kind number" what else is known of a compiler: what it says of itself ("": nothing) and its file's hash. */
void tri_compiler_identify(char *version, size_t size, const char *says, const char *file);
/* False: not known, or it is another file by now. */
bool tri_compiler_version_read(char *version, size_t size, const char *cache_dir, const char *backend);
/* A failure costs time, no more. */
void tri_compiler_version_write(const char *cache_dir, const char *backend, const char *file,
                                const char *version);

#endif
