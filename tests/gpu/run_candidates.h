/* The small ragged problems that every candidate runs on under compute-sanitizer (tests/gpu/sanitize.sh).
 *
 * Together they make every configuration legal that is legal on any problem of their blocks (run_candidates
 * --coverage holds the list to that), and each source meets more than one shape: last panels, tiles and clusters
 * that are not full, columns past the end, rows without blocks, gaps between rows. */
#ifndef TRIAGE_TESTS_GPU_RUN_CANDIDATES_H
#define TRIAGE_TESTS_GPU_RUN_CANDIDATES_H

#include "problem/problem.h"

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
} probe;

#define F16 TRIAGE_F16
#define BF16 TRIAGE_BF16
#define F32 TRIAGE_F32
#define ROW TRIAGE_ROW_MAJOR
#define COL TRIAGE_COL_MAJOR
#define NONE TRIAGE_ACT_NONE
#define RELU TRIAGE_ACT_RELU
#define GELU TRIAGE_ACT_GELU
#define SILU TRIAGE_ACT_SILU

static const probe probes[] = {
    /* ---- panel, and wmma beside it: more block rows than a panel or a pair of them has ---- */
    {16, 16, 37, 21, 136, F16, F16, ROW, ROW, NONE, false, 0, 0, UNEVEN},
    {16, 16, 70, 9, 72, F16, F16, ROW, ROW, NONE, true, 8, 3, SPREAD},
    {16, 16, 37, 21, 136, BF16, BF16, COL, COL, RELU, true, 0, 0, SPREAD},
    {16, 16, 3, 33, 7, BF16, BF16, COL, COL, RELU, false, 8, 5, UNEVEN},
    {32, 32, 19, 11, 136, F16, F16, ROW, ROW, NONE, false, 0, 0, UNEVEN},
    {32, 32, 35, 5, 72, F16, F16, ROW, ROW, NONE, true, 8, 3, SPREAD},
    {32, 32, 19, 11, 136, BF16, F32, COL, ROW, SILU, true, 0, 0, SPREAD},
    {32, 32, 2, 17, 1, BF16, F32, COL, ROW, SILU, false, 0, 2, UNEVEN},
    {32, 32, 5, 4, 8, F16, F16, ROW, ROW, NONE, false, 0, 0, BARE},

    /* ---- wgmma: n of the widest cluster of tiles; B's map of rank 2 and, with whole slabs, 3 ---- */
    {64, 64, 5, 7, 520, F16, F16, ROW, ROW, NONE, false, 0, 0, UNEVEN},
    {64, 64, 3, 9, 576, F16, F16, ROW, ROW, NONE, true, 0, 8, SPREAD},
    {64, 64, 5, 7, 520, BF16, BF16, COL, COL, GELU, true, 0, 0, SPREAD},
    {64, 64, 3, 8, 40, BF16, BF16, COL, COL, GELU, false, 8, 8, UNEVEN},
    {64, 64, 4, 3, 264, F16, F16, ROW, ROW, NONE, false, 0, 0, BARE},
    {128, 128, 3, 5, 520, F16, F16, ROW, ROW, NONE, false, 0, 0, UNEVEN},
    {128, 128, 2, 4, 72, F16, F16, ROW, ROW, NONE, true, 8, 8, SPREAD},
    {128, 128, 3, 5, 520, BF16, BF16, COL, COL, RELU, true, 0, 0, SPREAD},
    {128, 64, 3, 5, 520, BF16, BF16, ROW, ROW, SILU, true, 8, 0, UNEVEN},
    {128, 64, 2, 6, 520, F16, F16, COL, COL, NONE, false, 0, 0, SPREAD},
    {64, 32, 5, 9, 520, BF16, F16, ROW, ROW, RELU, false, 0, 8, UNEVEN},
    {64, 32, 3, 12, 520, F16, F16, COL, COL, NONE, true, 0, 0, SPREAD},

    /* ---- wmma where TMA cannot read B or store C: rows of odd length, odd types and blocks ---- */
    {16, 16, 5, 9, 265, F16, F16, ROW, ROW, NONE, true, 0, 0, UNEVEN},
    {32, 32, 4, 7, 265, BF16, BF16, ROW, ROW, GELU, false, 0, 1, UNEVEN},
    {64, 64, 3, 5, 265, F16, F16, ROW, ROW, NONE, true, 0, 0, UNEVEN},
    {64, 64, 3, 5, 264, BF16, F32, COL, COL, NONE, true, 3, 1, SPREAD},
    {128, 128, 2, 3, 264, F16, F32, ROW, ROW, SILU, false, 1, 0, UNEVEN},
    {128, 64, 2, 5, 264, F16, F32, ROW, ROW, NONE, false, 0, 0, UNEVEN},
    {64, 32, 3, 7, 264, F16, F32, ROW, ROW, NONE, false, 0, 0, UNEVEN},
    {48, 48, 4, 5, 264, F16, F16, ROW, COL, RELU, true, 0, 0, UNEVEN},
    {96, 48, 3, 5, 264, BF16, BF16, ROW, ROW, NONE, false, 0, 0, UNEVEN},

    /* ---- skinny: each width of tile; few rows with many blocks, so that warps and CTAs share them ---- */
    {16, 16, 3, 130, 16, F16, F16, ROW, ROW, NONE, true, 0, 0, FULL},
    {16, 16, 7, 24, 40, F16, F16, ROW, ROW, NONE, false, 8, 0, UNEVEN},
    {16, 16, 2, 130, 64, BF16, BF16, COL, COL, RELU, false, 0, 0, FULL},
    {32, 32, 3, 65, 40, F16, F16, COL, COL, NONE, true, 0, 0, FULL},
    {32, 32, 3, 65, 7, BF16, BF16, ROW, ROW, RELU, false, 0, 0, FULL},
    {32, 32, 2, 65, 8, F16, F32, ROW, COL, NONE, true, 0, 1, FULL},
    {64, 64, 2, 65, 8, F16, F16, ROW, ROW, NONE, true, 0, 0, FULL},
    {64, 64, 2, 65, 64, BF16, BF16, COL, COL, GELU, false, 0, 0, FULL},
    {64, 64, 3, 65, 1, F16, F32, COL, ROW, NONE, true, 1, 0, FULL},
    {64, 64, 7, 19, 24, F16, F16, ROW, ROW, NONE, false, 8, 8, UNEVEN},
    {128, 128, 1, 65, 8, F16, F16, COL, COL, NONE, false, 0, 0, FULL},
    {128, 128, 2, 65, 40, BF16, BF16, ROW, ROW, NONE, true, 0, 0, FULL},
    {128, 64, 1, 65, 5, F16, F16, ROW, ROW, NONE, true, 3, 0, FULL},
    {128, 64, 1, 65, 40, F16, F16, ROW, ROW, NONE, true, 0, 0, FULL},
    {64, 32, 2, 65, 8, F16, F16, COL, COL, NONE, false, 0, 0, FULL},
    {64, 32, 2, 65, 40, F16, F16, COL, COL, NONE, false, 0, 0, FULL},
};

#undef F16
#undef BF16
#undef F32
#undef ROW
#undef COL
#undef NONE
#undef RELU
#undef GELU
#undef SILU

#endif
