/* triage: block-sparse kernels that tune themselves to the GPU at hand.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every function returns a triage_status; the text of the last failure in this thread is
 * triage_last_error(). Output parameters come first and belong to the caller; a returned
 * `const T *` is borrowed. Every _free accepts NULL. The library never prints, exits, or reads
 * the environment. Device pointers and streams are `void *`: a CUdeviceptr and a CUstream on the
 * cuda device, plain memory and NULL on the host device.
 */
#ifndef TRIAGE_H
#define TRIAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TRIAGE_VERSION_MAJOR 0
#define TRIAGE_VERSION_MINOR 1
#define TRIAGE_VERSION_PATCH 0
#define TRIAGE_VERSION "0.1.0"

#if defined(_WIN32)
#define TRIAGE_API
#else
#define TRIAGE_API __attribute__((visibility("default")))
#endif

typedef enum triage_status {
    TRIAGE_OK = 0,
    TRIAGE_E_INVALID = 1,      /* an argument is out of its documented range            */
    TRIAGE_E_DATA = 2,         /* input data is malformed (a pattern, a space, a database) */
    TRIAGE_E_NO_DEVICE = 3,    /* no usable device, driver or compiler                   */
    TRIAGE_E_NOT_FOUND = 4,    /* nothing stored under that key                          */
    TRIAGE_E_UNSUPPORTED = 5,  /* no kernel covers the problem on this device            */
    TRIAGE_E_COMPILE = 6,      /* a kernel did not compile                               */
    TRIAGE_E_WRONG = 7,        /* a kernel gave a wrong result                           */
    TRIAGE_E_DEVICE = 8,       /* the device or its driver reported a failure            */
    TRIAGE_E_IO = 9,           /* a file or pipe could not be read or written            */
    TRIAGE_E_DB = 10,          /* the database refused                                   */
    TRIAGE_E_MEMORY = 11,      /* out of host or device memory                           */
    TRIAGE_E_TIMEOUT = 12,     /* a stated time limit passed                             */
    TRIAGE_E_INTERRUPTED = 13, /* stopped by the caller                                 */
    /* Not TRIAGE_E_UNSUPPORTED: the same call works once it was prepared, so a caller can tell what to do by the status. */
    TRIAGE_E_CAPTURE = 14 /* a first call while the stream is captured in a graph: prepare it before */
} triage_status;

/* One line about the last failure in this thread; "" if there was none. Borrowed: valid until the
 * next failing call of this thread. */
TRIAGE_API const char *triage_last_error(void);

/* The name of a status, e.g. "invalid argument". Never NULL. */
TRIAGE_API const char *triage_status_name(triage_status status);

typedef enum triage_dtype { TRIAGE_F32 = 0, TRIAGE_F16 = 1, TRIAGE_BF16 = 2, TRIAGE_E4M3 = 3 } triage_dtype;

typedef enum triage_layout { TRIAGE_ROW_MAJOR = 0, TRIAGE_COL_MAJOR = 1 } triage_layout;

typedef enum triage_activation {
    TRIAGE_ACT_NONE = 0,
    TRIAGE_ACT_RELU = 1,
    TRIAGE_ACT_GELU = 2, /* erf form */
    TRIAGE_ACT_SILU = 3
} triage_activation;

typedef enum triage_log_level { TRIAGE_LOG_INFO = 0, TRIAGE_LOG_WARNING = 1 } triage_log_level;
typedef void (*triage_log_fn)(void *user, triage_log_level level, const char *line);

/* ---- context ---------------------------------------------------------------------------------- */

typedef struct triage_context triage_context;

/* Every pointer may be NULL for its default; strings are copied. */
typedef struct triage_context_options {
    uint32_t version;    /* TRIAGE_CONTEXT_OPTIONS_VERSION; 1 to 4 are taken, too: without what came later */
    const char *device;  /* "auto" (default), "cuda", "cuda:N" or "host"; "auto" and "cuda" take the CUDA
                               * context current in the calling thread, else the primary one of device 0;
                               * "cuda:N" takes the primary one of device N */
    const char *db_path; /* the tuning database, a file or postgresql://... (then the file local_db_path is
                               * what answers); NULL: none, defaults only */
    const char *cache_dir;  /* compiled kernels, created 0700; NULL: none is kept on disk */
    const char *data_dir;   /* templates/ and tuner/ read from here; NULL: those built in */
    const char *space_path; /* a space file of your own; NULL: the operation's built-in one */
    triage_log_fn log;      /* NULL: silent */
    void *log_user;         /* given to log */
    const char
        *local_db_path; /* version 2. With a postgresql:// db_path: the file that is kept in step with that
                                * server; NULL: .local/share/triage/triage.db in the user's home folder, which
                                * is that of the programs unless XDG_DATA_HOME says otherwise */
    const char *
        pack_path; /* version 3. Compiled kernels of known problems, as `triage_db pack` wrote them; NULL: none. What
                             * it answers, for this very device, comes before db_path, and needs no compiler. A pack that
                             * is missing, damaged, or of another architecture, CUDA or version of the kernels is done
                             * without: the log says why in one line */
    const char *
        pack_trust; /* version 3. The public key that must have signed the pack, 64 hex digits as `triage_db key`
                             * prints them; NULL: it need not be signed */
    int32_t
        default_places; /* version 3. Not 0: where db_path is NULL, .local/share/triage/triage.db in the user's home
                             * folder, and where cache_dir is NULL, .cache/triage there: those of the programs, unless
                             * HOME, XDG_DATA_HOME or XDG_CACHE_HOME tells them otherwise. 0: a NULL is none */
    int32_t reserved; /* 0 */
    double
        first_call_ms; /* version 4. What a first call of a product that nobody tuned may spend, beside compiling, to race
                             * the three likeliest kernels on its own operands; 0 (default): nothing. See triage_bsr_gemm */
    const char *
        record_path; /* version 5. A file for what calls ask for and nobody tuned: the first call of such a problem adds
                             * a line to it, and a file beside it for a matrix's pattern, for `triage_tune --from FILE`; what
                             * is there is not added again. NULL: none. That it cannot be written is said in the log */
} triage_context_options;

#define TRIAGE_CONTEXT_OPTIONS_VERSION 5u
#define TRIAGE_CONTEXT_OPTIONS_INIT                                                                          \
    { TRIAGE_CONTEXT_OPTIONS_VERSION, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Opens a context: finds the device, opens the database read-only if it exists. options may be NULL.
 * A context may be used from any number of threads. The log callback may call anything but triage_context_free; it is called
 * when no lock is held, at the end of the call whose line it is. First calls of different problems do not wait for one
 * another. A CUDA context that is current is borrowed; if it is the device's primary one it is retained until the context is
 * freed. After a fork a child may go on with the calls of a host context that were made before, on one thread; on cuda, for new problems and
 * with a server it opens a context of its own, and it does not free its parent's.
 * No call waits for a server: a thread of the library's own
 * moves evidence between it and the local file, both ways, at the start and every five minutes; what has arrived
 * counts for problems that are new from then on, and the log callback is called in that thread, too (it must not
 * free the context). TRIAGE_E_INVALID if the URL is not one, TRIAGE_E_UNSUPPORTED without libpq;
 * TRIAGE_E_NO_DEVICE, _DB, _DATA. */
TRIAGE_API triage_status triage_context_open(triage_context **out, const triage_context_options *options);

/* Closes a context. Matrices made with it must be freed before; no call may be under way. A server that is silent
 * is not waited for. */
TRIAGE_API void triage_context_free(triage_context *context);

/* The device's name, e.g. "NVIDIA H200" or "host: 16 x ...". Borrowed from the context. */
TRIAGE_API const char *triage_context_device_name(const triage_context *context);

/* 1 for the host device, 0 for cuda. */
TRIAGE_API int triage_context_is_host(const triage_context *context);

/* ---- device memory -----------------------------------------------------------------------------
 * For programs that need no more of the device's own API than this; memory that you allocated through
 * CUDA serves as well. Thread-safe. */

/* bytes 1 or more, uninitialised, 256-byte aligned. Freed with triage_device_release before the context is.
 * TRIAGE_E_INVALID, _MEMORY. */
TRIAGE_API triage_status triage_device_alloc(void **out, triage_context *context, size_t bytes);
TRIAGE_API void triage_device_release(triage_context *context, void *memory);

/* Copies between host memory and device memory; done on return. TRIAGE_E_INVALID, _DEVICE. */
TRIAGE_API triage_status triage_device_upload(triage_context *context, void *to_device, const void *from_host,
                                              size_t bytes);
TRIAGE_API triage_status triage_device_download(triage_context *context, void *to_host,
                                                const void *from_device, size_t bytes);

/* 1 while what is enqueued on the stream is captured in a CUDA graph, else 0: first calls are refused then (TRIAGE_E_CAPTURE), and
 * what waits or allocates, a matrix that is made, would break the capture. */
TRIAGE_API int triage_stream_is_capturing(const triage_context *context, void *stream);

/* Waits until everything enqueued is done; TRIAGE_E_DEVICE if something of it failed. */
TRIAGE_API triage_status triage_device_synchronize(triage_context *context);

/* ---- block-sparse matrices -------------------------------------------------------------------- */

typedef struct triage_bsr_matrix triage_bsr_matrix;

typedef enum triage_memory { TRIAGE_MEMORY_HOST = 0, TRIAGE_MEMORY_DEVICE = 1 } triage_memory;

/* A BSR matrix: rows x cols elements in blocks of block_rows x block_cols, each block row-major.
 * row_ptr [rows/block_rows + 1], col_idx [nnzb] ascending and unique within a block row,
 * values [nnzb][block_rows][block_cols] of dtype. */
typedef struct triage_bsr_desc {
    uint32_t version;               /* TRIAGE_BSR_DESC_VERSION */
    triage_dtype dtype;             /* of the values */
    int64_t rows, cols;             /* elements; multiples of the block; 1 .. 2^31-1 */
    int32_t block_rows, block_cols; /* elements; 1 .. 1024 */
    int64_t nnzb;                   /* stored blocks; 0 .. 2^31-1 */
    triage_memory memory;           /* where the three arrays are */
    const int32_t *row_ptr;         /* [rows/block_rows + 1] */
    const int32_t *col_idx;         /* [nnzb] */
    const void *values;             /* device: 16-byte aligned */
} triage_bsr_desc;

#define TRIAGE_BSR_DESC_VERSION 1u
#define TRIAGE_BSR_DESC_INIT                                                                                 \
    { TRIAGE_BSR_DESC_VERSION, TRIAGE_F16, 0, 0, 0, 0, 0, TRIAGE_MEMORY_HOST, 0, 0, 0 }

/* Makes a matrix. The pattern is copied and checked (sorted, unique, in range, sizes divide): a
 * violation is TRIAGE_E_DATA with the index in the message. Values in host memory are copied to the
 * device; values in device memory are borrowed and must outlive the matrix. Waits for all that is enqueued in the
 * device's context, on whatever stream, before it reads arrays in device memory: they may still be being written. (Values
 * that are borrowed are read by calls only, in the order of their stream.) */
TRIAGE_API triage_status triage_bsr_matrix_create(triage_bsr_matrix **out, triage_context *context,
                                                  const triage_bsr_desc *desc);
TRIAGE_API void triage_bsr_matrix_free(triage_bsr_matrix *matrix);

/* Other values for the same pattern: [nnzb][block_rows][block_cols] of the matrix's type, in the memory that it was made
 * with. HOST: copied, done on return; calls that are enqueued must have ended. DEVICE: borrowed from here on, 16-byte
 * aligned; what is enqueued reads the old ones, as does a CUDA graph. What is written into borrowed values counts for the
 * calls after it and needs no call of this. No call with the matrix may be under way in another thread.
 * TRIAGE_E_INVALID, _DEVICE. */
TRIAGE_API triage_status triage_bsr_matrix_set_values(triage_bsr_matrix *matrix, const void *values);

/* The transpose of a matrix, cols x rows, of the same stored blocks: no second copy of the values, and what is written into
 * them, or set, counts for both. For products only: triage_bsr_gemm with it is C = act(alpha A^T B + beta C + bias), and
 * triage_bsr_linear with that of W is dX = dY W, the gradient of a layer's input; other kernels than those of A, tuned for
 * themselves. It is a's own: made on the first request, which transposes the pattern on the host and copies that to the device
 * (not while a stream is captured), the same one on every later one, and freed with a, by nobody else. f32, f16, bf16.
 * Thread-safe. TRIAGE_E_INVALID, _UNSUPPORTED, _DEVICE, _MEMORY. */
TRIAGE_API triage_status triage_bsr_matrix_transposed(const triage_bsr_matrix **out,
                                                      const triage_bsr_matrix *a);

/* ---- products --------------------------------------------------------------------------------- */

/* A dense matrix in device memory. ld: elements from one row (row-major) or column to the next. */
typedef struct triage_dense {
    void *data; /* 16-byte aligned */
    int64_t rows, cols,
        ld; /* cols may be 0, then data may be NULL. ld: at least the length of a row (column), at most 2^31-1 */
    triage_dtype dtype;   /* of the elements */
    triage_layout layout; /* which of rows and columns lie next to one another */
} triage_dense;

/* Optional parts of a product; pass NULL for none. */
typedef struct triage_epilogue {
    uint32_t version;             /* TRIAGE_EPILOGUE_VERSION */
    const void *bias;             /* [rows of C] in C's type, device memory, or NULL */
    triage_activation activation; /* after the bias */
    /* e4m3 only, device memory, 4-byte aligned; what A and B are multiplied with. NULL: 1. The numbers are read
     * when the kernel runs, so they may be computed on the stream before it. */
    const float *scale_a;  /* [1], or [nnzb] in the order of the blocks if scale_a_per_block */
    const float *scale_b;  /* [1] */
    int scale_a_per_block; /* not 0: a scale for each block; other kernels, tuned for themselves */
} triage_epilogue;

#define TRIAGE_EPILOGUE_VERSION 1u
#define TRIAGE_EPILOGUE_INIT                                                                                 \
    { TRIAGE_EPILOGUE_VERSION, 0, TRIAGE_ACT_NONE, 0, 0, 0 }

/* C = act(alpha A B + beta C + bias), enqueued on the caller's stream (host device: done on return).
 *
 * A is m x k block-sparse, B k x n, C m x n; B and C must not overlap. If beta is 0, C is not read. With 0 columns it is a product of nothing: TRIAGE_OK. A and B have
 * one type, C that or another of f32, f16, bf16. For e4m3 A and B, C is f16, bf16 or f32, A B is
 * (scale_a A) (scale_b B), and the tensor-core kernels want a column-major B, as in triage_bsr_linear.
 * The kernel is the one tuned for this GPU and problem, else the nearest tuned one, else the space's
 * default: triage_bsr_gemm_choice() tells which. The first call for a problem may compile (seconds);
 * later ones do no compile, no allocation, no database access and take no lock.
 *
 * With options.first_call_ms a first call (or _prepare, or _choice, whichever comes first) of a problem that nobody tuned waits for
 * the device, and races the three likeliest kernels on these operands: into memory of its own, C is not read and not written.
 * Each result is held against a plain kernel and float64, before and after it is timed, with and without beta. The fastest runs
 * from then on and is EXACT; the times go into the database of db_path, which is made if need be. It compiles up to three
 * kernels more. Where the time would not suffice (large results), operands tell nothing (all zeros, not finite), memory is
 * short or nothing else is known, what was found stands, and the log says so.
 * Thread-safe. TRIAGE_E_INVALID, _UNSUPPORTED, _COMPILE, _DEVICE, _MEMORY. */
TRIAGE_API triage_status triage_bsr_gemm(triage_context *context, float alpha, const triage_bsr_matrix *a,
                                         const triage_dense *b, float beta, const triage_dense *c,
                                         const triage_epilogue *epilogue, void *stream);

/* Makes all ready for such a call on this stream, and launches nothing. A first call while the stream is captured in a
 * CUDA graph is TRIAGE_E_CAPTURE and leaves the capture as it was: prepare it before. A call that was prepared, or made
 * once, can be captured. */
TRIAGE_API triage_status triage_bsr_gemm_prepare(triage_context *context, float alpha,
                                                 const triage_bsr_matrix *a, const triage_dense *b,
                                                 float beta, const triage_dense *c,
                                                 const triage_epilogue *epilogue, void *stream);

/* Y = act(X W^T + bias) with W (out x in) block-sparse: X is tokens x in and Y tokens x out, both
 * row-major. The same kernels as triage_bsr_gemm with column-major B and C. */
TRIAGE_API triage_status triage_bsr_linear(triage_context *context, const triage_bsr_matrix *w,
                                           const triage_dense *x, const triage_dense *y,
                                           const triage_epilogue *epilogue, void *stream);

typedef enum triage_source {
    TRIAGE_SOURCE_EXACT = 0,   /* tuned for this problem on this GPU: your database, else what is shipped */
    TRIAGE_SOURCE_NEAREST = 1, /* tuned for a near problem on this GPU */
    TRIAGE_SOURCE_DEFAULT = 2, /* nothing near is stored */
    TRIAGE_SOURCE_PREDICTED =
        3 /* the likely best by what was measured of other problems; before NEAREST unless that is
                                   very near */
} triage_source;

/* What a call with the same arguments runs. Callers with version 1 get the fields up to expected_loss, as
 * before; the rest came with version 2. */
typedef struct triage_choice {
    uint32_t version;     /* TRIAGE_CHOICE_VERSION, or 1 */
    triage_source source; /* where the kernel is known from */
    char kernel[64];      /* e.g. "wgmma" */
    char config[512];     /* e.g. "wgmma tile_n=256 stages=4" */
    /* nearest: the problem that it was tuned for, then " on " and the device's key if it was another device of this
     * architecture; else "". A key that does not fit ends in "..." before the device */
    char donor[256];
    double distance;      /* nearest: 0 near .. large far; else 0 */
    double median_ns;     /* the stored time for the donor or the exact problem; 0: none */
    double expected_loss; /* nearest: expected fraction of time lost against tuning; negative: unknown, also
                           * where most problems of its kind never tried such a kernel */
    /* version 2: the dense product of the same m, n, k, types and layouts by the GPU vendor's library, without
     * epilogue, as triage_tune measured it on this device */
    double dense_median_ns;  /* its stored time; 0: never measured */
    int32_t dense_is_faster; /* 1: less than median_ns, and that is of this very problem (exact) */
    int32_t reserved;        /* 0 */
} triage_choice;

#define TRIAGE_CHOICE_VERSION 2u

/* Plans the call (as triage_bsr_gemm would on its first call) and describes it; launches nothing.
 * out->version must be set. */
TRIAGE_API triage_status triage_bsr_gemm_choice(triage_choice *out, triage_context *context,
                                                const triage_bsr_matrix *a, const triage_dense *b,
                                                const triage_dense *c, const triage_epilogue *epilogue);

/* ---- the sampled product ------------------------------------------------------------------------
 *
 * D = alpha Y X^T + beta D on the stored blocks of A's pattern, and nothing beside: the gradient of A's values in
 * C = A B, with Y the gradient of C and X = B. Y is m x n and X k x n for A of m x k; D is [nnzb][block_rows][block_cols] of
 * d_type, f32, f16 or bf16, in the order of A's blocks, device memory, 16-byte aligned. A's own values are not read and not
 * written; D may be their memory. Y and X have A's type, f32, f16 or bf16, each a layout of its own, at least 1 column, and do not
 * overlap D. For the linear layer Y = X W^T both are the transposed views: of the gradient, tokens x out and row-major,
 * {data, out, tokens, ld, type, TRIAGE_COL_MAJOR}, and of x likewise.
 *
 * Enqueued on the caller's stream (host device: done on return). If beta is 0, D is not read. A pattern without blocks is a product
 * of nothing: TRIAGE_OK. The kernel is chosen as that of triage_bsr_gemm. The first call of a kind (n, layouts, types, alignments)
 * may compile and synchronises; later ones compile nothing, allocate nothing, read no database and take no lock, and can be
 * captured in a CUDA graph; a first one inside a capture is TRIAGE_E_CAPTURE. A kernel with a workspace serves one stream: the first
 * call on another one is a first call again. The same call gives the same bits. Thread-safe.
 * TRIAGE_E_INVALID, _UNSUPPORTED, _COMPILE, _DEVICE, _MEMORY, _CAPTURE. */
TRIAGE_API triage_status triage_bsr_sddmm(triage_context *context, float alpha, const triage_dense *y,
                                          const triage_dense *x, float beta, const triage_bsr_matrix *a,
                                          void *d, triage_dtype d_type, void *stream);

/* Makes all ready for such a call on this stream, and launches nothing. */
TRIAGE_API triage_status triage_bsr_sddmm_prepare(triage_context *context, float alpha, const triage_dense *y,
                                                  const triage_dense *x, float beta,
                                                  const triage_bsr_matrix *a, void *d, triage_dtype d_type,
                                                  void *stream);

/* As triage_bsr_gemm_choice; no dense product is compared. */
TRIAGE_API triage_status triage_bsr_sddmm_choice(triage_choice *out, triage_context *context,
                                                 const triage_dense *y, const triage_dense *x,
                                                 const triage_bsr_matrix *a, void *d, triage_dtype d_type);

/* ---- attention --------------------------------------------------------------------------------
 *
 * O = softmax(scale Q K^T + mask) V, for each sequence and q head; KV head g serves the q heads g * n .. g * n + n - 1,
 * n = heads_q / heads_kv. A query that sees no key has O = 0 and LSE = -inf. What is behind the end of a sequence is
 * never looked at: it may hold NaN; rows of O and LSE there are not written.
 *
 * A triage_attention is made once for what stays: types, heads, sizes, the kind of mask. A call has pointers and
 * strides. Everything that a call points to is device memory and is read when the kernel runs, on the caller's stream:
 * lengths, pages and device lists may be computed there before it, and a CUDA graph replayed with others. */

typedef struct triage_attention triage_attention;

typedef enum triage_mask {
    TRIAGE_MASK_FULL = 0,
    TRIAGE_MASK_CAUSAL = 1,          /* query i sees keys 0 .. i + (keys - queries): the last sees the last */
    TRIAGE_MASK_CAUSAL_TOP_LEFT = 2, /* query i sees keys 0 .. i */
    TRIAGE_MASK_WINDOW = 3           /* keys at - left .. at + right, at = i + (keys - queries) */
} triage_mask;

typedef enum triage_lengths {
    TRIAGE_LENGTHS_DENSE = 0, /* every sequence has max_q queries and max_k keys */
    TRIAGE_LENGTHS_OFFSETS =
        1,                   /* sequences of any length, empty ones too, lie one after another: cu_q, cu_k */
    TRIAGE_LENGTHS_CACHE = 2 /* max_q queries each; of the room for max_k keys the first len_k are in use */
} triage_lengths;

/* Which q heads share the lists of a block mask. */
typedef enum triage_lists {
    TRIAGE_LISTS_ALL = 0,      /* one set for all heads */
    TRIAGE_LISTS_KV_HEADS = 1, /* one for each KV head */
    TRIAGE_LISTS_Q_HEADS = 2   /* one for each q head */
} triage_lists;

/* Lists of KV blocks, one for each row of blocks: row r is cols[ptr[r]] .. cols[ptr[r + 1] - 1], ascending and unique.
 * Rows go [sequence, if per sequence][head, if per head][block of queries]. Both NULL: no blocks of this kind. */
typedef struct triage_block_lists {
    const int32_t *ptr;  /* [rows + 1] */
    const int32_t *cols; /* [ptr[rows]] */
} triage_block_lists;

#define TRIAGE_OPEN (-1) /* a side of a window */

/* What stays from call to call: types, sizes, the kind of mask. */
typedef struct triage_attention_desc {
    uint32_t version; /* TRIAGE_ATTENTION_DESC_VERSION */
    triage_dtype
        in_type; /* of Q, K, V: f16, bf16, e4m3; f32 on the host device and on the plain CUDA kernel */
    triage_dtype out_type;        /* of O: f16 or bf16; f32 for f32 */
    int64_t batch;                /* sequences, 0 .. 2^31-1; 0: calls are TRIAGE_OK and do nothing */
    int64_t heads_q, heads_kv;    /* heads_q a multiple of heads_kv */
    int64_t max_q, max_k;         /* rows of the longest sequence, 0 .. 2^31-1 */
    int32_t head_dim, head_dim_v; /* of Q and K; of V and O; 1 .. 256 */
    triage_mask mask;             /* by the places of query and key */
    int32_t left, right;          /* TRIAGE_MASK_WINDOW: keys beside a query's own place, or TRIAGE_OPEN */
    float scale;                  /* above 0; 0: 1 / sqrt(head_dim) */
    float softcap;                /* above 0: score = softcap * tanh(score / softcap); 0: none */
    int32_t lse;                  /* not 0: calls want the log-sum-exp */
    triage_lengths lengths;       /* how long sequences are */
    int32_t page_size; /* TRIAGE_LENGTHS_CACHE: keys of a page, 1 or more; 0: the cache is contiguous */
    int32_t
        splits; /* 1 .. 256: a row's keys are cut in so many pieces by its own length alone, and its kernel is
                             * chosen as for one sequence, so that its bits do not depend on its batch; 0: as is fastest */
    /* a block mask, beside the mask above: a key is seen where both allow it */
    int32_t mask_rows, mask_cols; /* queries and keys of a block: 16, 32, 64 or 128 each; 0: no block mask */
    int32_t lists_per_sequence;   /* not 0: each sequence has lists of its own */
    triage_lists lists;
    triage_memory lists_memory; /* HOST: the three below, copied. DEVICE: a call has the lists */
    triage_block_lists full;    /* blocks that are seen whole */
    triage_block_lists partial; /* and those with bits */
    const uint32_t
        *partial_bits; /* [entry of partial.cols][mask_rows][words], words = (mask_cols + 31) / 32: bit j of
                                   * word w is key 32 w + j of the block */
    double
        density; /* DEVICE: share of the blocks that the lists are expected to name, 0 .. 1: what a kernel is chosen by */
} triage_attention_desc;

#define TRIAGE_ATTENTION_DESC_VERSION 1u
#define TRIAGE_ATTENTION_DESC_INIT                                                                           \
    {                                                                                                        \
        TRIAGE_ATTENTION_DESC_VERSION, TRIAGE_BF16, TRIAGE_BF16, 1, 1, 1, 0, 0, 0, 0, TRIAGE_MASK_FULL, 0,   \
            0, 0, 0, 0, TRIAGE_LENGTHS_DENSE, 0, 0, 0, 0, 0, TRIAGE_LISTS_ALL, TRIAGE_MEMORY_HOST, {0, 0},   \
            {0, 0}, 0, 0.1                                                                                   \
    }

/* Makes one. Host lists are checked and copied to the device: TRIAGE_E_DATA names row and index. TRIAGE_E_INVALID names
 * the field, its value and what is allowed. Freed before its context. */
TRIAGE_API triage_status triage_attention_create(triage_attention **out, triage_context *context,
                                                 const triage_attention_desc *desc);
TRIAGE_API void triage_attention_free(triage_attention *attention);

/* A tensor of rows of head_dim elements that lie next to one another; the strides in elements are free, 0 too (not of O
 * and LSE). [batch][row][head][d] has {row * rows, d, heads * d} with row = heads * d; so packed QKV, [batch][head][row][d]
 * and expanded heads need no copy. 16-byte aligned data and strides let the fastest kernels run. */
typedef struct triage_tensor {
    void *data; /* aligned to its type */
    int64_t batch, head,
        row; /* TRIAGE_LENGTHS_OFFSETS: batch is not used; pages: of K and V from page to page */
} triage_tensor;

/* Lists on the device, as PyTorch's BlockMask has them: of row r the first count[r] of cols[r * capacity] ... */
typedef struct triage_device_lists {
    const int32_t *count; /* [rows] */
    const int32_t *cols;  /* [rows][capacity] */
    int64_t capacity;     /* entries of a row */
} triage_device_lists;

/* The tensors of one call, with lengths, pages and device lists where the attention has them. */
typedef struct triage_attention_call {
    uint32_t version;                         /* TRIAGE_ATTENTION_CALL_VERSION */
    uint32_t reserved;                        /* 0 */
    triage_tensor q, k, v, o;                 /* Q, K, V of in_type, O of out_type */
    triage_tensor lse;                        /* float; with desc.lse */
    const float *scale_q, *scale_k, *scale_v; /* e4m3: [batch][heads_kv], not negative, or NULL: 1 */
    const int32_t *cu_q, *cu_k; /* TRIAGE_LENGTHS_OFFSETS: [batch + 1], from 0 up to rows_q, rows_k */
    int64_t rows_q, rows_k;     /* TRIAGE_LENGTHS_OFFSETS: rows of all sequences together */
    const int32_t *len_k;       /* TRIAGE_LENGTHS_CACHE: [batch], keys in use, 0 .. max_k */
    const int32_t
        *page_table; /* with page_size: [batch][page_stride]; entries behind the last page are not read */
    int64_t page_stride, pages;        /* pages: how many there are */
    triage_device_lists full, partial; /* DEVICE lists; cols NULL: none of this kind */
    const uint32_t
        *partial_bits; /* [rows][capacity][mask_rows][words], NULL: all of a partial block is seen */
} triage_attention_call;

#define TRIAGE_ATTENTION_CALL_VERSION 1u
#define TRIAGE_ATTENTION_CALL_INIT                                                                           \
    { .version = TRIAGE_ATTENTION_CALL_VERSION }

/* Enqueues one forward pass (host device: done on return). O and LSE must not overlap what is read.
 *
 * The kernel is the one tuned for this GPU and problem, else the nearest tuned one, else the space's default. The first
 * call with such strides may compile (seconds) and synchronises; later ones compile nothing, allocate nothing, read no
 * database, take no lock, and can be captured in a CUDA graph. A first call inside a capture is TRIAGE_E_CAPTURE and leaves the
 * capture as it was: prepare it before. A kernel with a workspace serves one stream: the first call on another one is a first
 * call again. Thread-safe. TRIAGE_E_INVALID, _UNSUPPORTED, _COMPILE, _DEVICE, _MEMORY, _CAPTURE. */
TRIAGE_API triage_status triage_attention_run(const triage_attention *attention,
                                              const triage_attention_call *call, void *stream);

/* Makes all ready for calls with such strides, alignments and this stream, and launches nothing. */
TRIAGE_API triage_status triage_attention_prepare(const triage_attention *attention,
                                                  const triage_attention_call *call, void *stream);

/* As triage_bsr_gemm_choice. */
TRIAGE_API triage_status triage_attention_choice(triage_choice *out, const triage_attention *attention,
                                                 const triage_attention_call *call);

/* ---- the best blocks: sparse top-k ----
 *
 * Lists made on the device: for each row of them the `top` KV blocks with the largest pooled score, which is the mean of
 * the row's queries times the mean of the block's keys, with sums in float32. A row is a block of mask_rows queries, of one
 * q head (TRIAGE_LISTS_Q_HEADS) or of all q heads of a KV head together (TRIAGE_LISTS_KV_HEADS). Only blocks that the mask
 * beside the lists lets some query of the row see are candidates; where there are fewer than `top`, all are taken. With
 * any mask but full the blocks that hold the keys at the row's own places, the diagonal, are always among the `top`. Of
 * equal scores the lower block is taken; one that is not a number is the lowest. Lists are ascending.
 *
 * The attention has mask_rows, mask_cols, lists_memory DEVICE, lists for each sequence, of q or KV heads, and dense
 * lengths; its density is best set to about top / KV blocks. */
/* Where the lists of triage_attention_select go. */
typedef struct triage_selection {
    uint32_t version; /* TRIAGE_SELECTION_VERSION */
    int32_t
        top; /* 1 .. capacity, and at least the blocks of a row's diagonal: 1 where mask_rows is mask_cols and
                       * max_k - max_q a multiple of it, else up to mask_rows / mask_cols + 1 */
    int32_t *count;   /* [rows], written. Device memory, as are all pointers */
    int32_t *cols;    /* [rows][capacity], written: the first count[row] of each row */
    int64_t capacity; /* entries of a row */
    void *
        workspace; /* triage_attention_select_bytes() of them, 4-byte aligned; one launch at a time uses it */
} triage_selection;

#define TRIAGE_SELECTION_VERSION 1u
#define TRIAGE_SELECTION_INIT                                                                                \
    { TRIAGE_SELECTION_VERSION, 0, 0, 0, 0, 0 }

/* Bytes of workspace. TRIAGE_E_INVALID: such an attention selects nothing; the line says why. */
TRIAGE_API triage_status triage_attention_select_bytes(size_t *out, const triage_attention *attention);

/* Enqueues the selection (host device: done on return). Of the call q and k are looked at. The first time for an attention
 * compiles (a second); later calls compile nothing, allocate nothing, take no lock, do not synchronise, and can be captured
 * in a CUDA graph, the first one not: TRIAGE_E_CAPTURE. Thread-safe. TRIAGE_E_INVALID, _UNSUPPORTED (more KV blocks than the
 * device's shared memory has floats), _COMPILE, _DEVICE, _MEMORY. */
TRIAGE_API triage_status triage_attention_select(const triage_attention *attention,
                                                 const triage_attention_call *call,
                                                 const triage_selection *selection, void *stream);

/* triage_attention_select, then triage_attention_run with these lists as call.full and no partial blocks, whatever
 * call.full and call.partial say. */
TRIAGE_API triage_status triage_attention_select_run(const triage_attention *attention,
                                                     const triage_attention_call *call,
                                                     const triage_selection *selection, void *stream);

/* Makes all ready for both, with such strides, alignments and this stream, and launches nothing. */
TRIAGE_API triage_status triage_attention_select_prepare(const triage_attention *attention,
                                                         const triage_attention_call *call,
                                                         const triage_selection *selection, void *stream);

#ifdef __cplusplus
}
#endif
#endif
