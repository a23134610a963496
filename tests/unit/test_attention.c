/* attention as a problem: its key, its ranges, what a query sees (counted by hand), its inputs and its reference. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "op/attention/attention.h"

static tri_attention_problem plain(int64_t sq, int64_t sk) {
    tri_attention_problem p = {.in_type = TRIAGE_F32,
                               .out_type = TRIAGE_F32,
                               .batch = 1,
                               .heads_q = 1,
                               .heads_kv = 1,
                               .sq = sq,
                               .sk = sk,
                               .d = 16,
                               .dv = 16};
    tri_attention_complete(&p);
    return p;
}

/* ---- key ---- */

static const char *const keys[] = {
    "attention bf16 bf16 causal m=8192 n=8192 k=128 v=128 heads=32/8 batch=2",
    "attention f32 f32 full m=0 n=0 k=1 v=256 heads=1/1 batch=1",
    "attention f16 bf16 causal-top-left softcap m=1 n=7 k=64 v=64 heads=6/3 batch=1 lse",
    "attention e4m3 bf16 window m=5 n=7 k=64 v=64 heads=6/3 batch=1 window=3,0",
    "attention bf16 bf16 window m=5 n=7 k=64 v=64 heads=6/3 batch=1 window=open,3 lse",
    "attention bf16 bf16 window m=5 n=7 k=64 v=64 heads=6/3 batch=1 window=3,open",
    "attention bf16 bf16 causal varlen m=300 n=300 k=64 v=64 heads=6/3 batch=16",
    "attention bf16 f16 full cache m=1 n=4096 k=128 v=128 heads=32/8 batch=64",
    "attention bf16 bf16 full blocks=128x16 m=1024 n=1024 k=128 v=128 heads=8/8 batch=1 lists=all "
    "density=1000 "
    "imbalance=10 overlap=1",
    "attention e4m3 bf16 window softcap blocks=128x64 paged m=1 n=4096 k=192 v=128 heads=8/8 batch=1 "
    "window=1024,0 "
    "page=16 lists=batch-q density=1000 imbalance=10 overlap=1 bits splits=8 lse",
};

static void keys_are_read_and_written_alike(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        tri_attention_problem problem;
        char *again;
        assert_int_equal(tri_attention_parse(&problem, keys[i]), TRIAGE_OK);
        assert_int_equal(tri_attention_key(&again, &problem), TRIAGE_OK);
        assert_string_equal(again, keys[i]);
        free(again);
    }
}

/* No prefix of a key is one, and none with a tail or another spelling. */
static void other_texts_are_refused(void **state) {
    (void)state;
    tri_attention_problem problem;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char text[300];
        size_t size = strlen(keys[i]);
        for (size_t cut = 0; cut < size; cut++) {
            snprintf(text, sizeof text, "%.*s", (int)cut, keys[i]);
            triage_status status = tri_attention_parse(&problem, text);
            bool whole = status == TRIAGE_OK; /* "batch=16" cut is "batch=1", "... lse" without lse */
            if (whole) {
                char *again;
                assert_int_equal(tri_attention_key(&again, &problem), TRIAGE_OK);
                assert_string_equal(again, text);
                free(again);
            } else {
                assert_int_equal(status, TRIAGE_E_DATA);
            }
        }
        snprintf(text, sizeof text, "%s ", keys[i]);
        assert_int_equal(tri_attention_parse(&problem, text), TRIAGE_E_DATA);
        snprintf(text, sizeof text, "%s x=1", keys[i]);
        assert_int_equal(tri_attention_parse(&problem, text), TRIAGE_E_DATA);
    }
    static const char *const wrong[] = {
        "attention bf16 bf16 causal m=08 n=8 k=8 v=8 heads=1/1 batch=1",
        "attention bf16 bf16 diagonal m=8 n=8 k=8 v=8 heads=1/1 batch=1",
        "attention bf16 f32 causal m=8 n=8 k=8 v=8 heads=1/1 batch=1",
        "attention bf16 bf16 causal m=8 n=8 k=8 v=8 heads=5/2 batch=1",
        "attention bf16 bf16 causal m=8 n=8 k=257 v=8 heads=1/1 batch=1",
        "attention bf16 bf16 window m=8 n=8 k=8 v=8 heads=1/1 batch=1 window=open,0",
        "attention bf16 bf16 window m=8 n=8 k=8 v=8 heads=1/1 batch=1 window=open,open",
        "attention bf16 bf16 full paged m=8 n=8 k=8 v=8 heads=1/1 batch=1 page=0",
        "attention bf16 bf16 full blocks=24x16 m=8 n=8 k=8 v=8 heads=1/1 batch=1 lists=all density=1000 "
        "imbalance=10 "
        "overlap=1",
        "attention bf16 bf16 full blocks=16x16 m=8 n=8 k=8 v=8 heads=1/1 batch=1 lists=some density=1000 "
        "imbalance=10 overlap=1",
        "attention bf16 bf16 full blocks=16x16 m=8 n=8 k=8 v=8 heads=1/1 batch=1 lists=all density=1001 "
        "imbalance=10 "
        "overlap=1",
        "bsr_gemm bf16 bf16 causal m=8 n=8 k=8 v=8 heads=1/1 batch=1",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(tri_attention_parse(&problem, wrong[i]), TRIAGE_E_DATA);
}

/* ---- ranges ---- */

static void refused(tri_attention_problem p, const char *line) {
    assert_int_equal(tri_attention_check(&p), TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), line);
}

static void a_refusal_names_value_and_range(void **state) {
    (void)state;
    tri_attention_problem good = plain(64, 64), p = good;
    assert_int_equal(tri_attention_check(&good), TRIAGE_OK);
    p.heads_q = 5, p.heads_kv = 2;
    refused(p, "5 heads of Q; allowed multiples of those of K and V, 2");
    p = good, p.d = 257;
    refused(p, "head dimension of Q and K is 257; allowed 1 .. 256");
    p = good, p.dv = 0;
    refused(p, "head dimension of V is 0; allowed 1 .. 256");
    p = good, p.sq = -1;
    refused(p, "queries is -1; allowed 0 .. 2147483647");
    p = good, p.batch = 0;
    refused(p, "batch is 0; allowed 1 .. 2147483647");
    p = good, p.mask.rows = 48, p.mask.cols = 64;
    refused(p, "mask blocks of 48 x 64; allowed 16, 32, 64 and 128 each");
    p = good, p.page_size = 16;
    refused(p, "page size is 16; allowed 0 .. 0");
    p = good, p.band = TRI_BAND_WINDOW, p.left = -1, p.right = 0;
    refused(p, "a window open to the left that ends with the query itself; that is the mask causal");
    p = good, p.out_type = TRIAGE_F16;
    refused(p, "types f32 in, f16 out; allowed f32 with f32, f16, bf16 or e4m3 with f16 or bf16");
}

/* ---- what a query sees ---- */

static int64_t seen(tri_attention_problem p, int64_t i) {
    tri_attention_args args = {.batch = 1, .heads_q = 1, .heads_kv = 1, .sq = (int)p.sq, .sk = (int)p.sk};
    return tri_attention_keys(NULL, &p, &args, 0, 0, i);
}

static int32_t first_seen(tri_attention_problem p, int64_t i) {
    tri_attention_args args = {.batch = 1, .heads_q = 1, .heads_kv = 1, .sq = (int)p.sq, .sk = (int)p.sk};
    int32_t *room = calloc((size_t)p.sk + 1, sizeof *room);
    int64_t count = tri_attention_keys(room, &p, &args, 0, 0, i);
    int32_t first = count ? room[0] : -1;
    free(room);
    return first;
}

static void causal_keys_are_counted(void **state) {
    (void)state;
    struct {
        int64_t sq, sk, query, bottom_right, top_left;
    } const of[] = {{1, 64, 0, 64, 1},    {64, 1, 0, 0, 1},       {64, 1, 62, 0, 1},  {64, 1, 63, 1, 1},
                    {63, 129, 0, 67, 1},  {63, 129, 62, 129, 63}, {130, 64, 0, 0, 1}, {130, 64, 65, 0, 64},
                    {130, 64, 66, 1, 64}, {130, 64, 129, 64, 64}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        tri_attention_problem p = plain(of[i].sq, of[i].sk);
        p.band = TRI_BAND_CAUSAL;
        assert_int_equal(seen(p, of[i].query), of[i].bottom_right);
        p.band = TRI_BAND_CAUSAL_TOP_LEFT;
        assert_int_equal(seen(p, of[i].query), of[i].top_left);
    }
}

static void window_keys_are_counted(void **state) {
    (void)state;
    struct {
        int32_t left, right;
        int64_t query, keys, first;
    } const of[] = {{3, 0, 0, 1, 0},   {3, 0, 2, 3, 0},   {3, 0, 3, 4, 0},   {3, 0, 15, 4, 12},
                    {0, 3, 0, 4, 0},   {0, 3, 12, 4, 12}, {0, 3, 13, 3, 13}, {0, 3, 15, 1, 15},
                    {3, 3, 0, 4, 0},   {3, 3, 8, 7, 5},   {3, 3, 15, 4, 12}, {-1, 3, 8, 12, 0},
                    {3, -1, 8, 11, 5}, {3, 99, 8, 11, 5}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        tri_attention_problem p = plain(16, 16);
        p.band = TRI_BAND_WINDOW, p.left = of[i].left, p.right = of[i].right;
        assert_int_equal(seen(p, of[i].query), of[i].keys);
        assert_int_equal(first_seen(p, of[i].query), of[i].first);
    }
}

/* Pairs by the formula are those counted one by one, for every band and any lengths. */
static void pairs_are_those_counted(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 7, 16, 33};
    for (int band = TRI_BAND_FULL; band <= TRI_BAND_WINDOW; band++)
        for (size_t i = 0; i < 36 * 9; i++) {
            tri_attention_problem p = plain(sizes[i % 6], sizes[i / 6 % 6]);
            p.band = (tri_attention_band)band;
            if (band == TRI_BAND_WINDOW)
                p.left = (int32_t)(i / 36 % 3) * 4 - 1, p.right = (int32_t)(i / 108) * 5 - 1;
            int64_t counted = 0;
            for (int64_t row = 0; row < p.sq; row++)
                counted += seen(p, row);
            tri_attention_complete(&p);
            assert_true(p.pairs == counted);
        }
}

static void flops_and_bytes_are_those_of_the_pairs(void **state) {
    (void)state;
    tri_attention_problem p = {.in_type = TRIAGE_BF16,
                               .out_type = TRIAGE_BF16,
                               .batch = 2,
                               .heads_q = 4,
                               .heads_kv = 2,
                               .sq = 8,
                               .sk = 8,
                               .d = 64,
                               .dv = 32,
                               .band = TRI_BAND_CAUSAL};
    tri_attention_complete(&p);
    assert_true(p.pairs == 2 * 4 * 36);
    assert_true(tri_attention_flops(&p) == 2.0 * 288 * 96);
    assert_true(tri_attention_dense_flops(&p) == 2.0 * 512 * 96);
    assert_true(tri_attention_bytes(&p) == 2 * (2 * 4 * 8 * 96 + 2 * 2 * 8 * 96));
    p.lse = true;
    assert_true(tri_attention_bytes(&p) == 2 * (2 * 4 * 8 * 96 + 2 * 2 * 8 * 96) + 4 * 2 * 4 * 8);
}

/* ---- block masks ---- */

static tri_attention_problem masked(int64_t sq, int64_t sk, int rows, int cols) {
    tri_attention_problem p = plain(sq, sk);
    p.mask.rows = rows, p.mask.cols = cols;
    return p;
}

static bool lists(const tri_pattern *mask, int64_t row, int32_t block) {
    for (int32_t at = mask->row_ptr[row]; at < mask->row_ptr[row + 1]; at++)
        if (mask->col_idx[at] == block)
            return true;
    return false;
}

static void random_lists_have_the_diagonal_and_what_was_asked_for(void **state) {
    (void)state;
    tri_attention_problem p = masked(1000, 1000, 64, 32);
    tri_pattern mask;
    p.heads_q = p.heads_kv = 2, p.mask.heads = TRI_MASK_KV_HEADS;
    p.band = TRI_BAND_CAUSAL;
    assert_int_equal(tri_attention_mask_rows(&p), 32);
    assert_int_equal(tri_attention_mask_cols(&p), 32);
    assert_int_equal(tri_attention_mask_random(&mask, &p, 0.75, 1), TRIAGE_OK);
    for (int64_t row = 0; row < 32; row++) {
        int64_t in_head = row % 16, last = in_head == 15 ? 999 : in_head * 64 + 63, visible = last / 32 + 1;
        int32_t *at = mask.row_ptr + row;
        int64_t wanted = (int64_t)round(0.25 * (double)visible);
        assert_int_equal(at[1] - at[0], wanted ? wanted : 1);
        assert_true(lists(&mask, row, (int32_t)(last / 32)));
        for (int32_t i = at[0]; i < at[1]; i++) {
            assert_true(mask.col_idx[i] <= last / 32);
            assert_true(i == at[0] || mask.col_idx[i] > mask.col_idx[i - 1]);
        }
    }
    tri_pattern_free(&mask);
    assert_int_equal(tri_attention_mask_random(&mask, &p, 1.5, 1), TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), "sparsity is 1.5; allowed 0 .. 1");
}

/* What a key alone lets count is near what lists have: a density is that of all blocks, so that a causal mask, which lists
 * keep within, halves nothing again. */
static void a_key_tells_about_how_many_pairs_lists_see(void **state) {
    (void)state;
    for (int band = TRI_BAND_FULL; band <= TRI_BAND_CAUSAL; band++)
        for (int i = 0; i < 3; i++) {
            tri_attention_problem p = masked(2048, 2048, 32, 32);
            tri_attention_inputs inputs;
            tri_pattern mask;
            p.band = (tri_attention_band)band;
            assert_int_equal(tri_attention_mask_random(&mask, &p, (double[]){0.9, 0.5, 0}[i], 1), TRIAGE_OK);
            tri_fingerprint_of(&p.mask.fingerprint, &mask);
            tri_attention_complete(&p);
            assert_int_equal(tri_attention_inputs_draw(&inputs, &p, &mask, 1), TRIAGE_OK);
            const double seen = (double)tri_attention_count_pairs(&p, &inputs.args);
            assert_true((double)p.pairs > 0.85 * seen && (double)p.pairs < 1.2 * seen);
            tri_attention_inputs_free(&inputs);
            tri_pattern_free(&mask);
        }
}

/* With every block listed a query sees what it sees without a mask; with none, nothing. */
static void lists_and_bands_cut_one_another(void **state) {
    (void)state;
    tri_attention_problem p = masked(100, 90, 32, 16);
    tri_attention_inputs inputs;
    tri_pattern mask;
    p.band = TRI_BAND_CAUSAL;
    assert_int_equal(tri_attention_mask_random(&mask, &p, 0, 1), TRIAGE_OK);
    assert_int_equal(tri_attention_inputs_draw(&inputs, &p, &mask, 1), TRIAGE_OK);
    tri_attention_problem without = plain(100, 90);
    without.band = TRI_BAND_CAUSAL;
    tri_attention_complete(&without);
    for (int64_t i = 0; i < 100; i++)
        assert_int_equal(tri_attention_keys(NULL, &p, &inputs.args, 0, 0, i), seen(without, i));
    assert_true(tri_attention_count_pairs(&p, &inputs.args) == without.pairs);
    /* the second row of blocks is empty, the third has a bit of block 1 and all of block 3, which ends at the 64th key */
    static const int32_t full_ptr[] = {0, 1, 1, 2, 2}, full_cols[] = {0, 3};
    static const int32_t count[] = {0, 0, 1, 0}, partial_cols[] = {-7, -7, -7, -7, 1, -7, -7, -7};
    uint32_t *bits = calloc(8 * 32, sizeof *bits);
    bits[4 * 32 + 6] = 1u << 15; /* query 70, key 31 */
    inputs.args.full = (tri_attention_blocks){full_ptr, NULL, full_cols, 0};
    inputs.args.partial = (tri_attention_blocks){NULL, count, partial_cols, 2};
    inputs.args.partial_bits = bits;
    int32_t found[90];
    assert_int_equal(tri_attention_keys(NULL, &p, &inputs.args, 0, 0, 15),
                     6); /* block 0, of which it sees 0 .. 5 */
    assert_int_equal(tri_attention_keys(NULL, &p, &inputs.args, 0, 0, 40), 0);
    assert_int_equal(tri_attention_keys(found, &p, &inputs.args, 0, 0, 70), 14); /* 48 .. 60, and 31 */
    assert_int_equal(found[0], 48);
    assert_int_equal(found[12], 60);
    assert_int_equal(found[13], 31);
    assert_int_equal(tri_attention_keys(NULL, &p, &inputs.args, 0, 0, 71), 14); /* 48 .. 61 */
    free(bits);
    tri_attention_inputs_free(&inputs);
    tri_pattern_free(&mask);
}

static void lists_of_heads_and_sequences_are_their_own(void **state) {
    (void)state;
    tri_attention_problem p = masked(64, 64, 32, 32);
    tri_attention_args args = {0};
    p.batch = 3, p.heads_q = 4, p.heads_kv = 2, p.mask.per_batch = true;
    p.mask.heads = TRI_MASK_KV_HEADS;
    tri_attention_mask_strides(&args, &p);
    assert_int_equal(args.mask_batch, 4);
    assert_int_equal(args.mask_head, 2);
    assert_int_equal(args.mask_head_div, 2);
    p.mask.heads = TRI_MASK_Q_HEADS;
    tri_attention_mask_strides(&args, &p);
    assert_int_equal(args.mask_batch, 8);
    assert_int_equal(args.mask_head, 2);
    assert_int_equal(args.mask_head_div, 1);
    p.mask.heads = TRI_MASK_ALL_HEADS, p.mask.per_batch = false;
    tri_attention_mask_strides(&args, &p);
    assert_int_equal(args.mask_batch, 0);
    assert_int_equal(args.mask_head, 0);
}

/* ---- reference ---- */

/* Two keys of equal score, V 1 and 3: 2, and log 2 more than the score. Scores of +-1e5 change nothing. */
static void a_row_is_what_it_is_by_hand(void **state) {
    (void)state;
    tri_attention_problem p = plain(1, 3);
    float q[16] = {1}, k[48] = {0}, v[48] = {0};
    double o[16], lse;
    tri_attention_args args = {.q = q,
                               .k = k,
                               .v = v,
                               .batch = 1,
                               .heads_q = 1,
                               .heads_kv = 1,
                               .sq = 1,
                               .sk = 3,
                               .scale_log2 = 1.44269504f,
                               .mask_head_div = 1};
    args.k_stride.row = args.v_stride.row = 16;
    for (int sign = -1; sign <= 1; sign++) {
        k[0] = k[16] = (float)sign * 1e5f, k[32] = k[0] - 200;
        v[0] = 1, v[16] = 3, v[32] = 1000;
        assert_int_equal(tri_attention_reference_row(o, &lse, &p, &args, 0, 0, 0), TRIAGE_OK);
        assert_true(fabs(o[0] - 2) < 1e-12);
        assert_true(fabs(lse - (sign * 1e5 + log(2))) < 1e-2); /* scale_log2 is a float */
    }
    p.sk = args.sk = 0;
    assert_int_equal(tri_attention_reference_row(o, &lse, &p, &args, 0, 0, 0), TRIAGE_OK);
    assert_true(o[0] == 0 && isinf(lse) && lse < 0);
}

/* Every kind of input, every row: references are finite, so nothing behind an end is looked at. */
static void no_row_sees_what_stands_behind_an_end(void **state) {
    (void)state;
    static const char *const of[] = {
        "attention f16 f16 causal m=37 n=53 k=16 v=24 heads=4/4 batch=2",
        "attention f16 f16 causal varlen m=37 n=37 k=16 v=24 heads=2/1 batch=9",
        "attention f16 f16 full varlen m=37 n=19 k=16 v=24 heads=2/1 batch=9",
        "attention bf16 bf16 full cache m=2 n=33 k=16 v=24 heads=2/1 batch=5",
        "attention e4m3 bf16 causal softcap paged m=3 n=33 k=16 v=24 heads=2/1 batch=5 page=8",
    };
    for (size_t which = 0; which < sizeof of / sizeof of[0]; which++) {
        tri_attention_problem p;
        tri_attention_inputs inputs;
        double o[24], lse;
        assert_int_equal(tri_attention_parse(&p, of[which]), TRIAGE_OK);
        assert_int_equal(tri_attention_inputs_draw(&inputs, &p, NULL, 7), TRIAGE_OK);
        assert_true(tri_attention_count_pairs(&p, &inputs.args) == p.pairs);
        for (int at = 0; at < tri_attention_cases(&p); at++) {
            tri_attention_args args = tri_attention_case_args(&inputs, at);
            for (int b = 0; b < p.batch; b++)
                for (int64_t i = 0; i < (args.cu_q ? args.cu_q[b + 1] - args.cu_q[b] : p.sq); i++) {
                    int head = (int)(i % p.heads_q);
                    assert_int_equal(tri_attention_reference_row(o, &lse, &p, &args, b, head, i), TRIAGE_OK);
                    for (int x = 0; x < p.dv; x++)
                        assert_true(isfinite(o[x]));
                    assert_true(tri_attention_keys(NULL, &p, &args, b, head, i) ? isfinite(lse) : isinf(lse));
                }
        }
        tri_attention_inputs_free(&inputs);
    }
}

/* ---- distance ---- */

static void near_problems_are_near(void **state) {
    (void)state;
    tri_attention_problem a = plain(4096, 4096), b = a;
    double d[TRI_DISTANCE_PARTS];
    assert_true(tri_attention_distance_squares(d, &a, &b));
    assert_true(d[0] == 0 && d[1] == 0 && d[2] == 0 && d[3] == 0);
    b.sq = 8192;
    assert_true(tri_attention_distance_squares(d, &a, &b));
    assert_true(fabs(sqrt(d[0]) - 0.25) < 1e-12);
    b = a, b.lse = true;
    assert_true(tri_attention_distance_squares(d, &a, &b) && d[3] > 0 && d[0] == 0);
    b = a, b.d = 32;
    assert_false(tri_attention_distance_squares(d, &a, &b));
    b = a, b.in_type = b.out_type = a.in_type == TRIAGE_F32 ? TRIAGE_F16 : TRIAGE_F32;
    assert_false(tri_attention_distance_squares(d, &a, &b));
    b = a, b.band = TRI_BAND_CAUSAL;
    assert_true(tri_attention_distance_squares(d, &a, &b) && d[3] == 1);
    a.in_type = a.out_type = TRIAGE_F16;
    b = a, b.in_type = b.out_type = TRIAGE_BF16;
    assert_true(tri_attention_distance_squares(d, &a, &b) && d[3] < 0.03);
    b = a, b.sk = 0;
    assert_true(tri_attention_distance_squares(d, &a, &b) && isfinite(d[0]));
}

/* A step of decoding and a prompt lend each other nothing; caches, pages and dense keys do, and for a prompt sequences by
 * offsets, too, which kernels of a step do not read. */
static void steps_and_prompts_are_no_kin(void **state) {
    (void)state;
    tri_attention_problem step = plain(1, 4096), prompt = plain(4096, 4096), cache = step;
    double d[TRI_DISTANCE_PARTS];
    assert_false(tri_attention_distance_squares(d, &step, &prompt));
    step.sq = 16, prompt.sq = 17;
    assert_false(tri_attention_distance_squares(d, &step, &prompt));
    cache.lengths = TRI_LENGTHS_CACHE;
    assert_true(tri_attention_distance_squares(d, &step, &cache) && d[3] == 0.25);
    cache.page_size = 64;
    assert_true(tri_attention_distance_squares(d, &step, &cache) && d[3] == 0.5);
    cache.sq = prompt.sq;
    assert_true(tri_attention_distance_squares(d, &prompt, &cache) && d[3] == 0.5);
    cache.page_size = 0, cache.lengths = TRI_LENGTHS_OFFSETS;
    assert_true(tri_attention_distance_squares(d, &prompt, &cache) && d[3] == 0.25);
    cache.sq = step.sq;
    assert_false(tri_attention_distance_squares(d, &step, &cache));
}

static bool has_family(const tri_problem *of, const char *wanted) {
    tri_problem kin[TRI_KIN_MAX];
    const size_t count = tri_op_attention.kin(kin, of);
    bool has = false;
    for (size_t i = 0; i < count; i++) {
        char *key = NULL, *family = NULL;
        assert_int_equal(tri_problem_key(&key, &kin[i]), TRIAGE_OK);
        assert_int_equal(tri_problem_family(&family, key), TRIAGE_OK);
        assert_true(isfinite(tri_problem_distance(of, &kin[i])) && tri_problem_distance(of, &kin[i]) > 0);
        has = has || strcmp(family, wanted) == 0;
        free(family);
        free(key);
    }
    return has;
}

static void kin_have_keys(void **state) {
    (void)state;
    tri_problem of;
    const char *const decode =
        "attention bf16 bf16 causal paged m=1 n=4096 k=128 v=128 heads=32/8 batch=64 page=16";
    const char *const window =
        "attention f16 f16 window softcap m=4096 n=4096 k=64 v=64 heads=8/8 batch=1 window=512,0";
    assert_int_equal(tri_problem_parse(&of, decode), TRIAGE_OK);
    assert_true(has_family(&of, "attention f16 f16 causal paged") &&
                has_family(&of, "attention bf16 bf16 causal") &&
                has_family(&of, "attention bf16 bf16 causal cache") &&
                has_family(&of, "attention bf16 bf16 full paged"));
    assert_false(has_family(&of, "attention bf16 bf16 causal paged") ||
                 has_family(&of, "attention bf16 bf16 causal varlen"));
    assert_int_equal(tri_problem_parse(&of, window), TRIAGE_OK);
    assert_true(has_family(&of, "attention f16 f16 causal softcap") &&
                has_family(&of, "attention bf16 bf16 window softcap") &&
                has_family(&of, "attention f16 f16 window"));
    assert_true(has_family(&of, "attention f16 f16 window softcap cache") &&
                has_family(&of, "attention f16 f16 window softcap varlen"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read_and_written_alike),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(a_refusal_names_value_and_range),
        cmocka_unit_test(causal_keys_are_counted),
        cmocka_unit_test(window_keys_are_counted),
        cmocka_unit_test(pairs_are_those_counted),
        cmocka_unit_test(flops_and_bytes_are_those_of_the_pairs),
        cmocka_unit_test(random_lists_have_the_diagonal_and_what_was_asked_for),
        cmocka_unit_test(a_key_tells_about_how_many_pairs_lists_see),
        cmocka_unit_test(lists_and_bands_cut_one_another),
        cmocka_unit_test(lists_of_heads_and_sequences_are_their_own),
        cmocka_unit_test(a_row_is_what_it_is_by_hand),
        cmocka_unit_test(no_row_sees_what_stands_behind_an_end),
        cmocka_unit_test(near_problems_are_near),
        cmocka_unit_test(steps_and_prompts_are_no_kin),
        cmocka_unit_test(kin_have_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
