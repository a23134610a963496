/* The small ragged problems that every candidate runs on under compute-sanitizer (tests/gpu/sanitize.sh).
 *
 * Together they make every configuration legal that is legal on any problem of their blocks (run_candidates
 * --coverage holds the list to that), and each source meets more than one shape: last panels, tiles and clusters
 * that are not full, columns past the end, rows without blocks, gaps between rows. */
#ifndef TRIAGE_TESTS_GPU_RUN_CANDIDATES_H
#define TRIAGE_TESTS_GPU_RUN_CANDIDATES_H

#include "op/bsr_gemm/bsr_gemm.h"

typedef enum probe_pattern {
    SPREAD, /* about half of the blocks, as many in each row */
    UNEVEN, /* by turns a full row, an empty one, a single block, about a third */
    FULL,
    BARE /* no block at all */
} probe_pattern;

typedef struct probe {
    int32_t block_m, block_k;
    int32_t rows, cols; /* of blocks */
    int64_t n;
    triage_dtype in, out;
    triage_layout b_layout, c_layout;
    triage_activation act;
    bool bias;
    int32_t pad_b, pad_c; /* elements between the end of a row (column) of B, C and the next */
    probe_pattern pattern;
    bool scale_per_block; /* e4m3 */
} probe;

#define F16 TRIAGE_F16
#define BF16 TRIAGE_BF16
#define F32 TRIAGE_F32
#define E4M3 TRIAGE_E4M3
#define ROW TRIAGE_ROW_MAJOR
#define COL TRIAGE_COL_MAJOR
#define NONE TRIAGE_ACT_NONE
#define RELU TRIAGE_ACT_RELU
#define GELU TRIAGE_ACT_GELU
#define SILU TRIAGE_ACT_SILU

static const probe probes[] = {
    /* ---- panel, and wmma beside it: more block rows than a panel or a pair of them has ---- */
    {16, 16, 37, 31, 136, F16, F16, ROW, ROW, NONE, false, 0, 0, UNEVEN, false},
    {16, 16, 70, 9, 72, F16, F16, ROW, ROW, NONE, true, 8, 3, SPREAD, false},
    {16, 16, 37, 21, 136, BF16, BF16, COL, COL, RELU, true, 0, 0, SPREAD, false},
    {16, 16, 3, 33, 7, BF16, BF16, COL, COL, RELU, false, 8, 5, UNEVEN, false},
    {32, 32, 19, 21, 136, F16, F16, ROW, ROW, NONE, false, 0, 0, UNEVEN, false},
    {32, 32, 35, 5, 72, F16, F16, ROW, ROW, NONE, true, 8, 3, SPREAD, false},
    {32, 32, 19, 11, 136, BF16, F32, COL, ROW, SILU, true, 0, 0, SPREAD, false},
    {32, 32, 2, 17, 1, BF16, F32, COL, ROW, SILU, false, 0, 2, UNEVEN, false},
    {32, 32, 5, 4, 8, F16, F16, ROW, ROW, NONE, false, 0, 0, BARE, false},
    /* dealt panels of uneven height, and rows in pieces, as the uneven ones above; these also for column-major B */
    {32, 32, 37, 21, 136, F16, F16, ROW, ROW, NONE, true, 0, 0, UNEVEN, false},
    {16, 16, 37, 31, 136, BF16, F16, COL, ROW, NONE, true, 0, 0, UNEVEN, false},

    /* ---- row: more blocks in a row than its producer reads at once, and more tiles than SMs ---- */
    {16, 16, 6, 75, 584, F16, F16, ROW, ROW, NONE, true, 0, 0, FULL, false},
    {16, 16, 11, 40, 776, BF16, BF16, COL, COL, RELU, false, 8, 3, UNEVEN, false},
    {32, 32, 5, 70, 576, F16, F16, ROW, ROW, NONE, true, 0, 0, FULL, false},
    {32, 32, 6, 40, 584, BF16, F32, COL, ROW, SILU, false, 0, 1, UNEVEN, false},
    {64, 64, 12, 4, 776, F16, F16, ROW, ROW, GELU, true, 0, 0, UNEVEN, false},
    {64, 64, 5, 35, 200, BF16, BF16, COL, COL, NONE, false, 0, 8, FULL, false},
    {64, 32, 12, 5, 776, F16, F32, ROW, ROW, NONE, false, 8, 0, UNEVEN, false},
    {128, 64, 12, 2, 776, BF16, BF16, ROW, ROW, NONE, true, 0, 0, UNEVEN, false},
    {128, 128, 12, 2, 776, F16, F16, COL, COL, NONE, true, 0, 0, UNEVEN, false},

    /* ---- wgmma: n of the widest cluster of tiles; B's map of rank 2 and, with whole slabs, 3 ---- */
    {64, 64, 5, 7, 520, F16, F16, ROW, ROW, NONE, false, 0, 0, UNEVEN, false},
    {64, 64, 3, 9, 576, F16, F16, ROW, ROW, NONE, true, 0, 8, SPREAD, false},
    {64, 64, 5, 7, 520, BF16, BF16, COL, COL, GELU, true, 0, 0, SPREAD, false},
    {64, 64, 3, 8, 40, BF16, BF16, COL, COL, GELU, false, 8, 8, UNEVEN, false},
    {64, 64, 4, 3, 264, F16, F16, ROW, ROW, NONE, false, 0, 0, BARE, false},
    {128, 128, 3, 5, 520, F16, F16, ROW, ROW, NONE, false, 0, 0, UNEVEN, false},
    {128, 128, 2, 4, 72, F16, F16, ROW, ROW, NONE, true, 8, 8, SPREAD, false},
    {128, 128, 3, 5, 520, BF16, BF16, COL, COL, RELU, true, 0, 0, SPREAD, false},
    {128, 64, 3, 5, 520, BF16, BF16, ROW, ROW, SILU, true, 8, 0, UNEVEN, false},
    {128, 64, 2, 6, 520, F16, F16, COL, COL, NONE, false, 0, 0, SPREAD, false},
    {64, 32, 5, 9, 520, BF16, F16, ROW, ROW, RELU, false, 0, 8, UNEVEN, false},
    {64, 32, 3, 12, 520, F16, F16, COL, COL, NONE, true, 0, 0, SPREAD, false},

    /* ---- wmma where TMA cannot read B or store C: rows of odd length, odd types and blocks ---- */
    {16, 16, 5, 9, 265, F16, F16, ROW, ROW, NONE, true, 0, 0, UNEVEN, false},
    {32, 32, 4, 7, 265, BF16, BF16, ROW, ROW, GELU, false, 0, 1, UNEVEN, false},
    {64, 64, 3, 5, 265, F16, F16, ROW, ROW, NONE, true, 0, 0, UNEVEN, false},
    {64, 64, 3, 5, 264, BF16, F32, COL, COL, NONE, true, 3, 1, SPREAD, false},
    {128, 128, 2, 3, 264, F16, F32, ROW, ROW, SILU, false, 1, 0, UNEVEN, false},
    {128, 64, 2, 5, 264, F16, F32, ROW, ROW, NONE, false, 0, 0, UNEVEN, false},
    {64, 32, 3, 7, 264, F16, F32, ROW, ROW, NONE, false, 0, 0, UNEVEN, false},
    {48, 48, 4, 5, 264, F16, F16, ROW, COL, RELU, true, 0, 0, UNEVEN, false},
    {96, 48, 3, 5, 264, BF16, BF16, ROW, ROW, NONE, false, 0, 0, UNEVEN, false},

    /* ---- e4m3 on wgmma: one scale, and a scale for each block ---- */
    {128, 128, 3, 5, 520, E4M3, BF16, COL, COL, NONE, false, 0, 0, UNEVEN, false},
    {128, 128, 3, 5, 264, E4M3, F16, COL, COL, NONE, false, 0, 0, UNEVEN, false},
    {128, 128, 2, 4, 72, E4M3, BF16, COL, ROW, GELU, true, 16, 8, SPREAD, true},
    {64, 64, 5, 7, 520, E4M3, BF16, COL, COL, NONE, true, 0, 0, UNEVEN, true},
    {64, 64, 3, 8, 40, E4M3, BF16, COL, COL, NONE, false, 0, 0, SPREAD, false},
    {64, 128, 3, 4, 520, E4M3, BF16, COL, COL, NONE, false, 0, 0, UNEVEN, false},
    {64, 128, 3, 4, 40, E4M3, BF16, COL, COL, RELU, false, 0, 0, UNEVEN, false},
    {128, 128, 2, 4, 24, E4M3, BF16, COL, COL, NONE, false, 0, 0, UNEVEN, false},
    {32, 32, 5, 9, 265, E4M3, F16, COL, ROW, NONE, true, 2, 0, UNEVEN, false},
    {32, 32, 4, 7, 40, E4M3, BF16, COL, COL, SILU, false, 0, 1, SPREAD, true},

    /* ---- skinny: each width of tile; few rows with many blocks, so that warps and CTAs share them ---- */
    {16, 16, 3, 130, 16, F16, F16, ROW, ROW, NONE, true, 0, 0, FULL, false},
    {16, 16, 7, 24, 40, F16, F16, ROW, ROW, NONE, false, 8, 0, UNEVEN, false},
    {16, 16, 2, 130, 64, BF16, BF16, COL, COL, RELU, false, 0, 0, FULL, false},
    {32, 32, 3, 65, 40, F16, F16, COL, COL, NONE, true, 0, 0, FULL, false},
    {32, 32, 3, 65, 7, BF16, BF16, ROW, ROW, RELU, false, 0, 0, FULL, false},
    {32, 32, 2, 65, 8, F16, F32, ROW, COL, NONE, true, 0, 1, FULL, false},
    {64, 64, 2, 65, 8, F16, F16, ROW, ROW, NONE, true, 0, 0, FULL, false},
    {64, 64, 2, 65, 64, BF16, BF16, COL, COL, GELU, false, 0, 0, FULL, false},
    {64, 64, 3, 65, 1, F16, F32, COL, ROW, NONE, true, 1, 0, FULL, false},
    {64, 64, 7, 19, 24, F16, F16, ROW, ROW, NONE, false, 8, 8, UNEVEN, false},
    {128, 128, 1, 65, 8, F16, F16, COL, COL, NONE, false, 0, 0, FULL, false},
    {128, 128, 2, 33, 40, BF16, BF16, ROW, ROW, NONE, true, 0, 0, FULL, false},
    {128, 64, 1, 65, 5, F16, F16, ROW, ROW, NONE, true, 3, 0, FULL, false},
    {128, 64, 1, 65, 40, F16, F16, ROW, ROW, NONE, true, 0, 0, FULL, false},
    {64, 32, 2, 65, 8, F16, F16, COL, COL, NONE, false, 0, 0, FULL, false},
    /* ... short rows, whose steps are dealt one by one: 10, 16, 36 of them */
    {64, 64, 3, 5, 16, BF16, BF16, COL, COL, NONE, true, 0, 0, FULL, false},
    {128, 128, 2, 4, 16, F16, F16, ROW, ROW, NONE, false, 0, 3, FULL, false},
    {128, 128, 2, 9, 13, F16, F16, ROW, ROW, NONE, true, 3, 0, FULL, false},
    /* more columns, of rows that several CTAs of an SM share */
    {64, 64, 70, 4, 104, F16, F16, ROW, ROW, NONE, true, 0, 0, UNEVEN, false},
    {128, 64, 36, 3, 200, F16, F16, ROW, ROW, NONE, false, 0, 0, UNEVEN, false},
    {128, 128, 36, 2, 200, BF16, BF16, ROW, ROW, NONE, true, 0, 0, UNEVEN, false},
    {64, 32, 2, 65, 40, F16, F16, COL, COL, NONE, false, 0, 0, FULL, false},
    /* ... which it cuts */
    {64, 64, 37, 9, 200, F16, F16, ROW, ROW, NONE, true, 0, 0, FULL, false},
    {64, 64, 20, 9, 200, BF16, BF16, COL, COL, NONE, true, 0, 0, FULL, false},
    {128, 64, 40, 9, 200, F16, F16, ROW, ROW, NONE, false, 0, 0, UNEVEN, false},
    {128, 64, 19, 9, 200, BF16, BF16, COL, COL, NONE, false, 0, 0, FULL, false},
    {128, 128, 19, 9, 200, F16, F16, ROW, ROW, NONE, true, 0, 0, FULL, false},
};

#undef F16
#undef BF16
#undef F32
#undef E4M3
#undef ROW
#undef COL
#undef NONE
#undef RELU
#undef GELU
#undef SILU

#endif
