/* The selections that every device must make. */
#ifndef TRIAGE_TESTS_SELECT_CASES_H
#define TRIAGE_TESTS_SELECT_CASES_H

#include "support/select_api.h"

#define SELECT_Q " lists=batch-q density=1000 imbalance=10 overlap=1"
#define SELECT_KV " lists=batch-kv density=1000 imbalance=10 overlap=1"

/* type: of what every CUDA kernel may read; whole numbers are exact in all. */
static inline void select_all_cases(triage_context *context) {
    /* whole numbers: sums are exact and many scores equal */
    select_check(context,
                 "attention f32 f32 full blocks=16x16 m=256 n=256 k=4 v=4 heads=2/2 batch=2" SELECT_Q, 3,
                 true);
    select_check(context,
                 "attention f32 f32 causal blocks=16x16 m=256 n=256 k=4 v=4 heads=2/1 batch=2" SELECT_Q, 3,
                 true);
    select_check(context,
                 "attention f16 f16 causal blocks=32x32 m=256 n=256 k=8 v=8 heads=4/2 batch=1" SELECT_KV, 4,
                 true);
    select_check(
        context,
        "attention bf16 bf16 window blocks=16x16 m=256 n=256 k=4 v=4 heads=1/1 batch=1 window=60,20" SELECT_Q,
        2, true);
    select_check(
        context,
        "attention f16 f16 causal-top-left blocks=16x16 m=256 n=128 k=4 v=4 heads=1/1 batch=1" SELECT_Q, 2,
        true);
    /* any numbers: types, heads, sizes that fill no block */
    select_check(context,
                 "attention f16 f16 full blocks=64x64 m=200 n=333 k=64 v=64 heads=4/2 batch=2" SELECT_Q, 3,
                 false);
    select_check(context,
                 "attention bf16 bf16 causal blocks=64x64 m=200 n=333 k=100 v=64 heads=6/3 batch=2" SELECT_KV,
                 3, false);
    select_check(context,
                 "attention e4m3 bf16 causal blocks=32x32 m=130 n=130 k=128 v=128 heads=4/1 batch=1" SELECT_Q,
                 2, false);
    select_check(context,
                 "attention f32 f32 causal blocks=16x16 m=65 n=65 k=256 v=256 heads=1/1 batch=1" SELECT_Q, 2,
                 false);
    select_check(context,
                 "attention f16 f16 causal blocks=16x16 m=900 n=900 k=33 v=33 heads=2/2 batch=1" SELECT_Q, 16,
                 false);
    /* rows without a key; more wanted than there are; all of one */
    select_check(context,
                 "attention f16 f16 causal blocks=32x32 m=130 n=64 k=64 v=64 heads=2/1 batch=1" SELECT_Q, 2,
                 false);
    select_check(context,
                 "attention f16 f16 causal blocks=32x32 m=64 n=130 k=64 v=64 heads=2/1 batch=1" SELECT_Q, 70,
                 false);
    select_check(context,
                 "attention f16 f16 full blocks=128x128 m=1 n=1 k=64 v=64 heads=2/1 batch=1" SELECT_Q, 1,
                 false);
    select_check(context,
                 "attention f16 f16 causal blocks=16x16 m=7 n=500 k=64 v=64 heads=2/1 batch=3" SELECT_Q, 5,
                 false);
    select_check(context, "attention f16 f16 full blocks=16x16 m=40 n=0 k=64 v=64 heads=2/1 batch=1" SELECT_Q,
                 1, false);
    select_check(context, "attention f16 f16 full blocks=16x16 m=0 n=40 k=64 v=64 heads=2/1 batch=1" SELECT_Q,
                 1, false);
}

/* Blocks of 16 to 128 rows and columns, all of them. */
static inline void select_all_blocks(triage_context *context) {
    for (int rows = 16; rows <= 128; rows *= 2)
        for (int cols = 16; cols <= 128; cols *= 2) {
            char key[200];
            snprintf(key, sizeof key,
                     "attention f16 f16 causal blocks=%dx%d m=300 n=333 k=64 v=64 heads=2/1 batch=1" SELECT_Q,
                     rows, cols);
            select_check(context, key, 128 / cols + 4 + rows / cols, false);
        }
}

#endif
