/* One interface to whatever runs kernels: the cuda device (src/device/cuda) and the host CPU
 * (src/device/host). Compiling needs no device; everything else does. */
#ifndef TRIAGE_DEVICE_DEVICE_H
#define TRIAGE_DEVICE_DEVICE_H

#include "base/dtype.h"

/* ---- description ---------------------------------------------------------------------------------- */

typedef struct tri_device_info {
    char backend[8]; /* "cuda" or "host" */
    char name[96];   /* for people only */
    char target[24]; /* what to compile for: "sm_90a"; host: "x86_64-avx2", "x86_64-avx512", "aarch64" */
    int cc;          /* 90 for 9.0; 0 on the host */
    int sm_count;    /* host: cores this process may use */
    int clock_khz;   /* maximum, not current; host: 0 if unknown */
    int memory_clock_khz, memory_bus_bits;
    int64_t l2_bytes;       /* host: last-level cache */
    int64_t smem_bytes_max; /* per block, opt-in; host: 0 */
    int64_t memory_bytes;
    int driver_version; /* 13000 style; circumstances, not identity */
    char uuid
        [40]; /* of this one card (or MIG slice), "GPU-..."; host: "". Not identity: who times on it now */
} tri_device_info;

/* Canonical identity (never the name, the driver, the memory in use), e.g.
 * "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448". */
triage_status tri_device_key(char **out, const tri_device_info *info);
/* The inverse, for evidence from elsewhere and for kernels of a device elsewhere; refuses anything that tri_device_key would not write for a device
 * that can be (TRIAGE_E_DATA names the field and its range). What the key does not hold: the name is empty, the
 * memory the largest that an allocation could ask for. */
triage_status tri_device_parse(tri_device_info *out, const char *key);

/* The description of a target without its machine ("sm_90a" or "host"): typical limits of that architecture,
 * for --target ... --compile-only. TRIAGE_E_INVALID lists the known targets. */
triage_status tri_device_info_of_target(tri_device_info *out, const char *target);

/* ---- launch --------------------------------------------------------------------------------------- */

typedef uint64_t tri_address; /* device memory; on the host device a pointer's value */

/* How a kernel wants an operand in a tensor map: its box, from the space. The dims are the operation's, in its argument
 * code. rank must be that of the view. */
#define TRI_MAP_RANK 5
#define TRI_MAPS_MAX 4
typedef struct tri_tensor_box {
    int32_t rank;              /* 0: no map; 1 .. 5 */
    int32_t box[TRI_MAP_RANK]; /* elements */
    int32_t inner_split;       /* of a matrix with rank 3: see tri_tensor_map_make */
    int32_t swizzle;           /* bytes: 0, 32, 64, 128 */
    int32_t l2_promotion;      /* bytes: 0, 64, 128, 256 */
} tri_tensor_box;

/* The operand: dims[0] elements lie next to one another, dims[i] of them strides[i] bytes apart. */
typedef struct tri_tensor_view {
    triage_dtype dtype;
    int32_t rank;
    tri_address base;              /* 16-byte aligned */
    int64_t dims[TRI_MAP_RANK];    /* 1 .. 2^32 - 1 */
    int64_t strides[TRI_MAP_RANK]; /* bytes, a multiple of 16, below 2^40; [0] is not used */
} tri_tensor_view;

/* Launch geometry of one candidate for one problem on one device, from the space. */
#define TRI_LAUNCH_BYTES 64
typedef struct tri_launch {
    uint32_t grid[3], block[3], cluster[3]; /* cluster 1,1,1: none */
    uint32_t smem_bytes;                    /* dynamic */
    uint32_t workspace_bytes;               /* device memory of the kernel's own */
    /* Of these so many at the beginning are zeros when the kernel is loaded, and every launch leaves them so. */
    uint32_t workspace_zero_bytes;
    bool keeps_workspace; /* tri_operation.keeps_workspace; false: all of it is cleared before each launch */
    tri_tensor_box maps[TRI_MAPS_MAX];               /* in the order of tri_operation.maps */
    _Alignas(8) unsigned char own[TRI_LAUNCH_BYTES]; /* the operation's struct, in place (op/op.h) */
} tri_launch;

/* ---- compile (no device needed) -------------------------------------------------------------------- */

typedef struct tri_include {
    const char *name; /* as written in #include "..." */
    const char *text;
} tri_include;

/* A rendered kernel: what src/render makes and a compiler takes. */
typedef struct tri_source {
    char *name; /* of the template, for messages */
    char *text;
    tri_include *includes; /* every header the text reaches, in order of name */
    size_t include_count;
    char **options; /* compiler options of the candidate, beside the target's own */
    size_t option_count;
    struct tri_source *known_as; /* the same kernel in the text that older evidence names it by; NULL: none */
} tri_source;

typedef struct tri_image {
    void *data; /* a cubin, or a shared object's bytes */
    size_t size;
    int32_t registers;   /* per thread; -1 unknown */
    int32_t spill_bytes; /* stores + loads per thread; -1 unknown */
    int32_t static_smem_bytes;
    char *log; /* the compiler's, never NULL */
    bool from_cache, from_pack;
} tri_image;

/* Where a backend's compiler is, for callers that know; the library searches standard folders only.
 * "cuda": a toolkit's folder (its include/ and lib64/); "host": the absolute path of a C compiler.
 * NULL: search again. Before the first compile. TRIAGE_E_INVALID if it is not there. */
triage_status tri_device_set_tools(const char *backend, const char *path);

#define TRI_COMPILER_SIZE 128

/* Which compiler, to the byte: its kind and number, the whole of what it says of its version, and a hash of its program or
 * library, "gcc 12.2.0 (gcc (Debian 12.2.0-14) 12.2.0) #0123456789abcdef"; two of one number that differ are two. Evidence of
 * before that has the first two words alone. TRIAGE_E_NO_DEVICE if that compiler is not there. out: TRI_COMPILER_SIZE. */
triage_status tri_compiler_version(char *out, size_t size, const char *target);

/* Compiles for target, through the binary cache when cache_dir is not NULL. The cache key is everything
 * that went in: text, includes, options, target, compiler version. Entries are written atomically, 0600 in
 * a 0700 folder of ours, and carry a hash that is checked on reading; a bad one is remade.
 * TRIAGE_E_COMPILE is the source's fault and carries the line that says so; warnings that mean a serialised or capped
 * kernel (C7504, C7508, C7509, C7510, C7511) are TRIAGE_E_COMPILE too. Any other status is the machine's trouble: a
 * full disk, no memory, a compiler that was killed, none at all. */
triage_status tri_compile(tri_image *out, const char *target, const tri_source *source,
                          const char *cache_dir);
/* Can images be kept in that folder and found again? It is made if it is not there. TRIAGE_E_IO says why not: it is
 * another user's, others may write to it, the disk is full or read-only. tri_compile then compiles without it. */
triage_status tri_cache_check(const char *cache_dir);
/* Is that the message of a TRIAGE_E_COMPILE as it is given today? Older rows of evidence call more than that so. */
bool tri_compile_reason_blames_source(const char *reason);
void tri_image_free(tri_image *image);
void tri_source_free(tri_source *source);

/* ---- a device --------------------------------------------------------------------------------------- */

typedef struct tri_device tri_device;
typedef struct tri_kernel tri_kernel;

/* Which devices there are, without creating a context (the cuda driver is initialised in the calling
 * process: call it from a worker, not from a parent that forks). */
triage_status tri_device_count(int *out, const char *backend);

/* spec: "auto", "cuda", "cuda:N", "host". use_current: take the CUDA context current in this thread if
 * there is one (applications), else retain device N's primary context. */
triage_status tri_device_open(tri_device **out, const char *spec, bool use_current);
void tri_device_close(tri_device *device);
const tri_device_info *tri_device_describe(const tri_device *device);

triage_status tri_device_alloc(tri_device *device, tri_address *out, size_t bytes); /* 256-byte aligned */
void tri_device_release(tri_device *device, tri_address address);
triage_status tri_device_upload(tri_device *device, tri_address to, const void *from, size_t bytes);
triage_status tri_device_download(tri_device *device, void *to, tri_address from, size_t bytes);
triage_status tri_device_fill(tri_device *device, tri_address to, uint32_t word, size_t words, void *stream);
/* Leaves nothing of the caller's in the cache: `bytes` of memory of the device's own go through it, at best twice
 * its size. Cuda: enqueued; they are read, so that the cache is clean and no later kernel writes back what is not
 * its own. Host: done on return; they are written, by every thread of the pool. */
triage_status tri_device_flush(tri_device *device, size_t bytes, void *stream);
/* Gives that memory back; the next flush takes it anew. */
void tri_device_flush_end(tri_device *device);
triage_status tri_device_synchronize(tri_device *device);
/* Is what is enqueued on the stream captured in a graph? Then nothing may be allocated, loaded or waited for. */
bool tri_device_is_capturing(tri_device *device, void *stream);

/* Loads an image; sets the shared-memory limit. The entry is "triage_kernel". */
triage_status tri_kernel_load(tri_kernel **out, tri_device *device, const tri_image *image,
                              const tri_launch *launch);
void tri_kernel_unload(tri_kernel *kernel);

/* Encodes a tensor map (a no-op for a box of rank 0 and on the host device). TRIAGE_E_INVALID names what the copy
 * engine cannot do, and what it could. */
triage_status tri_tensor_map_encode(void *out_128_bytes, tri_device *device, const tri_tensor_box *box,
                                    const tri_tensor_view *view);
/* The same for a matrix as stored: inner (contiguous) x outer, ld from line to line, all in elements. A box of rank 2
 * sees dims {inner, outer}; of rank 3 {inner_split, outer, inner / inner_split} (inner must divide), so that one copy
 * brings several swizzled slabs. */
triage_status tri_tensor_map_make(void *out_128_bytes, tri_device *device, const tri_tensor_box *box,
                                  triage_dtype dtype, tri_address base, int64_t inner, int64_t outer,
                                  int64_t ld);

/* The kernel's own device memory (launch.workspace_bytes), for the argument block; 0: none. */
tri_address tri_kernel_workspace(const tri_kernel *kernel);
/* Must threads that launch it on one stream hold a lock? Where clearing the workspace and the launch are two things that
 * stay together, or where the launch itself is the run (host). */
bool tri_kernel_needs_lock(const tri_kernel *kernel);

/* Enqueues one launch; args is the kernel's single argument, at least as long as the kernel declares it. A workspace is
 * the kernel's own, so launches of one that has a workspace must be ordered (one stream, or one kernel object for
 * each). Does not wait on cuda; the host device runs it to the end. */
triage_status tri_kernel_launch(tri_kernel *kernel, const void *args, void *stream);

/* Times `count` launches one by one into ns[]; flush_bytes > 0: a tri_device_flush of so many before each one
 * (cold L2). Cuda: events around each launch, or around a replay of a graph of `batch` launches
 * when batch > 1 (ns is then per launch). Host: the monotonic clock. */
triage_status tri_kernel_time(tri_kernel *kernel, const void *args, int64_t flush_bytes, int batch,
                              double *ns, int count);

/* ---- the dense product of the device's library, as a kernel ------------------------------------------- */

/* C = alpha A B + beta C with A m x k, row-major, packed. */
typedef struct tri_gemm {
    triage_dtype in_type, out_type; /* of A and B; of C */
    triage_layout b_layout, c_layout;
    int64_t m, n, k;
} tri_gemm;
/* Its argument block. */
typedef struct tri_gemm_args {
    const void *a, *b;
    void *c;
    int64_t ldb, ldc; /* elements */
    float alpha, beta;
} tri_gemm_args;

/* Which one there is: "cublas 13.1.0", "openblas"; out: 64 bytes. TRIAGE_E_NOT_FOUND says what was looked for. */
triage_status tri_dense_library(char *out, size_t size, tri_device *device);
/* Launched, timed and unloaded like any kernel; its argument is a tri_gemm_args. TRIAGE_E_NOT_FOUND;
 * TRIAGE_E_UNSUPPORTED: the library has not these types. */
triage_status tri_dense_load(tri_kernel **out, tri_device *device, const tri_gemm *gemm);

/* ---- a call of somebody else's, as a kernel -------------------------------------------------------------- */

/* Enqueues its work on the stream; on the host it is done on return. */
typedef triage_status (*tri_call_fn)(void *state, void *stream);
/* Launched, timed and unloaded like any kernel; the argument of a launch is not used. state is borrowed. */
triage_status tri_call_load(tri_kernel **out, tri_device *device, tri_call_fn call, void *state);

/* Makes the device's context the one that the libraries of others find in this thread, until the same thread unbinds
 * it: one after the other, like brackets. Nothing on the host. */
triage_status tri_device_bind(tri_device *device);
void tri_device_unbind(tri_device *device);
/* From on to off a profiler that waits for it looks at what is launched (ncu --profile-from-start off). */
triage_status tri_device_show(tri_device *device, bool on);

/* What cannot be keyed but explains a time: JSON object text, owned by the caller: driver, runtime, clocks
 * seen, throttle reasons, power cap, MIG, MPS, other processes (through NVML when it can be found). */
triage_status tri_device_circumstances(char **out, tri_device *device);
/* Has what kernels will use do what it does only once, before this process is confined. */
void tri_device_settle(tri_device *device);

#endif
