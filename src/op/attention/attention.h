/* Attention, forward: O = softmax(scale Q K^T + mask) V, and the log-sum-exp of each row on request. What is computed,
 * word for word, and what a query sees: templates/attention/args.h. Only this folder and the operation's own rooms
 * include it (src/api/attention, its options in src/cli): all others work with op/op.h. */
#ifndef TRIAGE_OP_ATTENTION_ATTENTION_H
#define TRIAGE_OP_ATTENTION_ATTENTION_H

#include "attention/args.h"
#include "base/dtype.h"
#include "check/fill.h"
#include "op/op.h"

extern const tri_operation tri_op_attention;

/* ---- problem -------------------------------------------------------------------------------------- */

typedef enum tri_attention_band {
    TRI_BAND_FULL = 0,
    TRI_BAND_CAUSAL = 1,          /* the last query sees the last key */
    TRI_BAND_CAUSAL_TOP_LEFT = 2, /* the first query sees the first key, and that alone */
    TRI_BAND_WINDOW = 3           /* aligned as TRI_BAND_CAUSAL */
} tri_attention_band;

#define TRI_VARLEN_BATCH_MAX (1 << 20)

typedef enum tri_attention_lengths {
    TRI_LENGTHS_DENSE = 0, /* all of sq, sk */
    TRI_LENGTHS_OFFSETS =
        1,                /* sequences one after another, found by cumulative offsets; the longest: sq, sk */
    TRI_LENGTHS_CACHE = 2 /* sk is the room of a KV cache, how much is in use stands on the device */
} tri_attention_lengths;

/* Which q heads share the lists of a block mask. */
typedef enum tri_mask_heads {
    TRI_MASK_ALL_HEADS = 0,
    TRI_MASK_KV_HEADS = 1,
    TRI_MASK_Q_HEADS = 2
} tri_mask_heads;

typedef struct tri_block_mask_kind {
    int32_t rows, cols;   /* of a block: 16, 32, 64 or 128 queries and keys; 0: no block mask */
    bool per_batch;       /* else all sequences share the lists */
    tri_mask_heads heads; /* one set of lists for all, for each KV head, for each q head */
    bool bits;            /* some blocks are partial, with a bit for each query and key */
    tri_fingerprint fingerprint;
} tri_block_mask_kind;

#define TRI_ATTENTION_D_MAX 256

typedef struct TRI_IN_PLACE tri_attention_problem {
    triage_dtype in_type;  /* of Q, K, V; e4m3 has a scale for each sequence and KV head */
    triage_dtype out_type; /* of O: that of Q for f32; f16 or bf16 */
    int64_t batch, heads_q, heads_kv;
    int64_t sq, sk; /* queries and keys of the longest sequence; 0 is legal */
    int32_t d, dv;  /* of a head: of Q and K, of V and O */
    tri_attention_band band;
    int32_t left, right; /* TRI_BAND_WINDOW: keys before and behind a query's own place; -1: open. Else 0 */
    bool softcap, lse;
    tri_attention_lengths lengths;
    int32_t page_size; /* TRI_LENGTHS_CACHE: keys of a page; 0: the cache is contiguous */
    int32_t
        splits; /* pieces that the keys of a row are cut in, so that its bits do not depend on other rows; 0: any */
    tri_block_mask_kind mask;
    /* no part of the identity */
    int32_t alignment; /* bytes, at most 16, that bases and strides of all of Q, K, V, O are multiples of */
    bool expanded;     /* some stride of a size above 1 is 0 */
    int64_t queries, keys; /* rows of Q and of K of all sequences, of one head */
    int64_t pairs;         /* of a query and a key that it sees, over all sequences and q heads */
} tri_attention_problem;
_Static_assert(sizeof(tri_attention_problem) <= TRI_PROBLEM_BYTES, "a problem's bytes are too few");

static inline const tri_attention_problem *tri_attention(const tri_problem *problem) {
    return (const tri_attention_problem *)problem->data;
}
/* The same as a problem of any operation. */
static inline tri_problem tri_attention_problem_of(const tri_attention_problem *own) {
    tri_problem problem = {.op = &tri_op_attention};
    *(tri_attention_problem *)problem.data = *own;
    return problem;
}

/* Its part of a launch. */
typedef struct TRI_IN_PLACE tri_attention_launch {
    int32_t splits; /* args.splits, where the problem does not ask for some */
} tri_attention_launch;
_Static_assert(sizeof(tri_attention_launch) <= TRI_LAUNCH_BYTES, "a launch's bytes are too few");
static inline const tri_attention_launch *tri_attention_launch_of(const tri_launch *launch) {
    return (const tri_attention_launch *)launch->own;
}

/* Ranges: batch, heads 1 .., heads_q a multiple of heads_kv and batch * heads_q at most 2^31-1; sq, sk 0 .. 2^31-1;
 * d, dv 1 .. 256. One line names the value and the allowed range. TRIAGE_E_INVALID. */
triage_status tri_attention_check(const tri_attention_problem *problem);

/* Fills in what is no part of the identity: rows and pairs as density and lengths say, alignment as of packed tensors. */
void tri_attention_complete(tri_attention_problem *problem);

/* Of sequence b as it is measured: all as long as they may be; with offsets the first is, one in eight is empty, and the
 * others are of any length, the same for a problem on every machine and of every seed. */
typedef struct tri_attention_length {
    int64_t sq, sk;
} tri_attention_length;
typedef struct tri_attention_lengths_drawn {
    const tri_attention_problem *problem;
    tri_random random;
    int64_t next;
} tri_attention_lengths_drawn;
void tri_attention_lengths_begin(tri_attention_lengths_drawn *out, const tri_attention_problem *problem);
tri_attention_length tri_attention_lengths_next(tri_attention_lengths_drawn *drawn);

/* One line, the same on every machine:
 *
 *   attention bf16 bf16 causal m=8192 n=8192 k=128 v=128 heads=32/8 batch=2
 *   attention e4m3 bf16 window softcap blocks=128x64 paged m=1 n=4096 k=64 v=64 heads=8/8 batch=1
 *       window=1024,0 page=16 lists=batch-kv density=1000 imbalance=10 overlap=1 bits splits=8 lse      (one line)
 *
 * m is sq, n sk, k d, v dv. Words before " m=" say what a kernel for one problem must have to serve another one; the
 * fields behind "batch=" say how much of it. Of both only what is there is written, in this order, so that what
 * comes later makes new keys and leaves the old ones as they are. *out is the caller's. */
triage_status tri_attention_key(char **out, const tri_attention_problem *problem);
/* The inverse; refuses anything that tri_attention_key would not write (TRIAGE_E_DATA). */
triage_status tri_attention_parse(tri_attention_problem *out, const char *key);

/* Useful work: for each pair 2 d for the score and 2 dv for the sum. A causal S x S has S (S + 1) / 2 pairs, so this is
 * 1 + 1/S times the usual half. exp counts nothing. */
double tri_attention_flops(const tri_attention_problem *problem);
double tri_attention_dense_flops(const tri_attention_problem *problem); /* as if every query saw every key */
/* The fewest bytes that must move: Q read and O written once, K and V once for each KV head, and the lists. */
double tri_attention_bytes(const tri_attention_problem *problem);
/* The table's. */
void tri_attention_least_work(tri_least_work *out, const tri_problem *problem);
double tri_attention_host_bytes(const tri_problem *problem);

/* tri_operation.distance_squares: shape is sq, sk, d, heads and batch; sparsity the density of the blocks and the width of
 * the window; pattern that of the lists; the last one lse, splits and the size of pages. */
bool tri_attention_distance_squares(double out[TRI_DISTANCE_PARTS], const tri_attention_problem *a,
                                    const tri_attention_problem *b);
/* tri_operation.kin: f16 and bf16, the bands, a soft cap or none; of few queries also dense, cache and pages. */
size_t tri_attention_kin(tri_problem out[TRI_KIN_MAX], const tri_problem *problem);

const char *tri_attention_band_name(tri_attention_band band); /* "full" "causal" "causal-top-left" "window" */

#define TRI_ATTENTION_SPLITS_MAX 256

/* ---- block masks ------------------------------------------------------------------------------------ */

int64_t tri_attention_mask_rows(
    const tri_attention_problem *problem); /* rows of lists: of all that have their own */
int64_t tri_attention_mask_cols(const tri_attention_problem *problem);

/* mask_batch, mask_head and mask_head_div of the arguments. */
void tri_attention_mask_strides(tri_attention_args *args, const tri_attention_problem *problem);
/* Keys before and behind a query's own place; -1: open. */
void tri_attention_band_of(int64_t *left, int64_t *right, const tri_attention_problem *problem);

/* Seeded lists: of the blocks that the band lets a row of blocks see, (1 - sparsity) of them and always the one on the
 * diagonal (that of the row's last query, the last one seen with causal). The band and the mask's sizes come from the
 * problem, its fingerprint does not. sparsity 0 .. 1. */
triage_status tri_attention_mask_random(tri_pattern *out, const tri_attention_problem *problem,
                                        double sparsity, uint64_t seed);
/* Lists from a file of one for all heads and sequences: .smtx or .mtx with a row for each row of blocks. */
triage_status tri_attention_mask_read(tri_pattern *out, const tri_attention_problem *problem,
                                      const char *path);

/* ---- inputs ------------------------------------------------------------------------------------------ */

/* Everything of one run, on the host. args has host addresses, its workspace and maps are empty. What each row of Q is
 * for: inputs.c. */
typedef struct tri_attention_inputs {
    void *q, *k, *v;
    size_t q_bytes, k_bytes, v_bytes;   /* with what stands behind the ends */
    float *scale_q, *scale_k, *scale_v; /* e4m3; else NULL */
    int32_t *cu_q, *cu_k;               /* TRI_LENGTHS_OFFSETS; else NULL */
    int32_t *len_k;                     /* TRI_LENGTHS_CACHE; else NULL. [TRI_ATTENTION_CASES][batch] */
    int32_t *page_table;                /* with pages; else NULL. [TRI_ATTENTION_CASES][batch][page_stride] */
    uint32_t *bits;                     /* of partial blocks */
    int32_t *full_ptr, *full_cols, *partial_ptr, *partial_cols;
    tri_attention_args args; /* of case 0 */
} tri_attention_inputs;

/* Case 0 is what is timed: a cache is full. Case 1, with a cache: sequences of all lengths from 0 on. */
#define TRI_ATTENTION_CASES 2
int tri_attention_cases(const tri_attention_problem *problem);
tri_attention_args tri_attention_case_args(const tri_attention_inputs *inputs, int which);

/* What a row of Q is for: 0 .. 4 plain, 5 late, 6 and 7 huge. */
int tri_attention_row_kind(int64_t b, int64_t head, int64_t i);

/* The arguments of such a run but its addresses. */
void tri_attention_layout(tri_attention_args *out, const tri_attention_problem *problem);

/* Sequences are as long as the identity of the problem says, whatever the seed. mask: the lists, or NULL without; of a
 * problem with bits every fifth block is partial. */
triage_status tri_attention_inputs_draw(tri_attention_inputs *out, const tri_attention_problem *problem,
                                        const tri_pattern *mask, uint64_t seed);
/* Of these only lengths, offsets and pages. */
triage_status tri_attention_inputs_lengths(tri_attention_inputs *out, const tri_attention_problem *problem,
                                           uint64_t seed);
void tri_attention_inputs_free(tri_attention_inputs *inputs);

/* Of the arguments of a launch: the pairs of a query and a key that it sees, over all sequences and q heads. */
int64_t tri_attention_count_pairs(const tri_attention_problem *problem, const tri_attention_args *args);

/* ---- reference ------------------------------------------------------------------------------------- */

/* The keys that query i of q head h of sequence b sees, in the order of the lists; their number. out: room for sk, or
 * NULL. args: with host addresses. */
int64_t tri_attention_keys(int32_t *out, const tri_attention_problem *problem, const tri_attention_args *args,
                           int b, int head, int64_t i);

/* One row in float64: O (dv values) and its LSE, -INFINITY without keys. */
triage_status tri_attention_reference_row(double *o, double *lse, const tri_attention_problem *problem,
                                          const tri_attention_args *args, int b, int head, int64_t i);

/* ---- a run: entries of the table (op.h) -------------------------------------------------------------- */

/* Of tri_inputs. */
enum {
    TRI_ATTENTION_Q,
    TRI_ATTENTION_K,
    TRI_ATTENTION_V,
    TRI_ATTENTION_SCALE_Q,
    TRI_ATTENTION_SCALE_K,
    TRI_ATTENTION_SCALE_V,
    TRI_ATTENTION_CU_Q,
    TRI_ATTENTION_CU_K,
    TRI_ATTENTION_LEN_K,
    TRI_ATTENTION_PAGES,
    TRI_ATTENTION_FULL_PTR,
    TRI_ATTENTION_FULL_COLS,
    TRI_ATTENTION_PARTIAL_PTR,
    TRI_ATTENTION_PARTIAL_COLS,
    TRI_ATTENTION_BITS,
    TRI_ATTENTION_INPUTS
};

triage_status tri_attention_draw(tri_inputs *out, const tri_problem *problem, const tri_pattern *mask,
                                 uint64_t seed, size_t case_index);
size_t tri_attention_case_count(const tri_problem *problem);
void tri_attention_case_text(char *out, size_t size, const tri_problem *problem, size_t case_index);
size_t tri_attention_views(tri_view out[TRI_VIEWS_MAX], const tri_problem *problem);
int tri_attention_before(const tri_problem *problem, size_t case_index, size_t view);
size_t tri_attention_telling_rows(int64_t out[TRI_TELLING_ROWS], const tri_problem *problem,
                                  const tri_pattern *mask, tri_random *random);
void tri_attention_reference(double *const out[TRI_VIEWS_MAX], const tri_operands *operands, int64_t row);
triage_status tri_attention_arguments(void *out, const tri_binding *binding);

/* What tensor maps need to know that neither the problem nor the arguments say. */
typedef struct tri_attention_extent {
    int64_t rows_q, rows_k; /* with offsets: of all sequences together */
    int64_t pages;          /* with pages: how many there are */
} tri_attention_extent;
/* Encodes the maps that the launch asks for, from the addresses and strides in args. */
triage_status tri_attention_maps(tri_attention_args *args, tri_device *device, const tri_launch *launch,
                                 const tri_attention_problem *problem, tri_attention_extent extent);

#endif
