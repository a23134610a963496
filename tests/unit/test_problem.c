/* A problem's ranges, identity, costs, distance; element types; inputs; the float64 reference. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/bsr_of.h"
#include "op/bsr_gemm/bsr_gemm.h"

static tri_problem sample(void) {
    return tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                .out_type = TRIAGE_F16,
                                                .m = 8192,
                                                .n = 4096,
                                                .k = 2048,
                                                .ldb = 4096,
                                                .ldc = 4096,
                                                .block_m = 64,
                                                .block_k = 32,
                                                .nnzb = 819,
                                                .fingerprint = {1000, 10, 1}});
}

/* ---- ranges ---- */

static void assert_refused(const tri_problem *problem, const char *message) {
    assert_int_equal(tri_problem_check(problem), TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), message);
}

#define REFUSED(field, value, message)                                                                       \
    do {                                                                                                     \
        tri_problem broken = sample();                                                                       \
        bsr_of(&broken)->field = (value);                                                                    \
        assert_refused(&broken, message);                                                                    \
    } while (0)

static void check_names_value_and_range(void **state) {
    (void)state;
    tri_problem problem = sample();
    assert_int_equal(tri_problem_check(&problem), TRIAGE_OK);
    REFUSED(m, 0, "m is 0; allowed 1 .. 2147483647");
    REFUSED(m, -64, "m is -64; allowed 1 .. 2147483647");
    REFUSED(n, INT64_C(2147483648), "n is 2147483648; allowed 1 .. 2147483647");
    REFUSED(k, INT64_MAX, "k is 9223372036854775807; allowed 1 .. 2147483647");
    REFUSED(m, 8191, "m is 8191; allowed multiples of block_m, 64");
    REFUSED(k, 2047, "k is 2047; allowed multiples of block_k, 32");
    REFUSED(block_m, 0, "block_m is 0; allowed 1 .. 1024");
    REFUSED(block_k, 1025, "block_k is 1025; allowed 1 .. 1024");
    REFUSED(block_m, INT32_MIN, "block_m is -2147483648; allowed 1 .. 1024");
    REFUSED(nnzb, -1, "nnzb is -1; allowed 0 .. 8192");
    REFUSED(nnzb, 8193, "nnzb is 8193; allowed 0 .. 8192");
    REFUSED(ldb, 4095, "ldb is 4095; allowed 4096 .. 2251799813685247");
    REFUSED(ldc, INT64_MAX, "ldc is 9223372036854775807; allowed 4096 .. 562949953421311");
    REFUSED(in_type, (triage_dtype)4, "in_type is 4; allowed 0 .. 3");
    REFUSED(out_type, TRIAGE_E4M3, "out_type is 3; allowed 0 .. 2");
    REFUSED(b_layout, (triage_layout)2, "b_layout is 2; allowed 0 .. 1");
    REFUSED(c_layout, (triage_layout)5, "c_layout is 5; allowed 0 .. 1");
    REFUSED(activation, (triage_activation)9, "activation is 9; allowed 0 .. 3");
    REFUSED(scale_per_block, true, "scale_per_block is 1; allowed 0 .. 0"); /* of f16 */
}

static void check_knows_the_layouts(void **state) {
    (void)state;
    tri_problem problem = sample();
    bsr_of(&problem)->b_layout = bsr_of(&problem)->c_layout = TRIAGE_COL_MAJOR;
    bsr_of(&problem)->ldb = 2048; /* k */
    assert_refused(&problem, "ldc is 4096; allowed 8192 .. 1125899906842623");
    bsr_of(&problem)->ldc = 8192; /* m */
    assert_int_equal(tri_problem_check(&problem), TRIAGE_OK);
    bsr_of(&problem)->ldb--;
    assert_int_equal(tri_problem_check(&problem), TRIAGE_E_INVALID);
}

static void check_takes_the_largest(void **state) {
    (void)state;
    const int64_t most = 2147483647;
    tri_problem problem = sample();
    bsr_of(&problem)->m = bsr_of(&problem)->n = bsr_of(&problem)->k = bsr_of(&problem)->ldb =
        bsr_of(&problem)->ldc = bsr_of(&problem)->nnzb = most;
    bsr_of(&problem)->block_m = bsr_of(&problem)->block_k = 1;
    assert_int_equal(tri_problem_check(&problem), TRIAGE_OK);
    assert_true(tri_problem_dense_flops(&problem) > 1.98e28);
    bsr_of(&problem)->m = bsr_of(&problem)->k = most / 1024 * 1024;
    bsr_of(&problem)->block_m = bsr_of(&problem)->block_k = 1024;
    bsr_of(&problem)->nnzb =
        (bsr_of(&problem)->m / 1024) * (bsr_of(&problem)->k / 1024); /* more than an index counts */
    assert_int_equal(tri_problem_check(&problem), TRIAGE_E_INVALID);
}

/* ---- identity ---- */

static char *key_of(const tri_problem *problem) {
    char *key;
    if (tri_problem_key(&key, problem) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    return key;
}

static void key_is_canonical(void **state) {
    (void)state;
    tri_problem problem = sample();
    char *key = key_of(&problem);
    assert_string_equal(key, "bsr_gemm f16 f16 row row none nobias m=8192 n=4096 k=2048 block=64x32 "
                             "density=1000 imbalance=10 overlap=1");
    free(key);
    bsr_of(&problem)->ldb = 5000; /* no part of the identity */
    bsr_of(&problem)->nnzb = 1;
    bsr_of(&problem)->in_type = TRIAGE_E4M3;
    bsr_of(&problem)->out_type = TRIAGE_BF16;
    bsr_of(&problem)->b_layout = bsr_of(&problem)->c_layout = TRIAGE_COL_MAJOR;
    bsr_of(&problem)->activation = TRIAGE_ACT_GELU;
    bsr_of(&problem)->bias = true;
    key = key_of(&problem);
    assert_string_equal(key, "bsr_gemm e4m3 bf16 col col gelu bias m=8192 n=4096 k=2048 block=64x32 "
                             "density=1000 imbalance=10 overlap=1");
    free(key);
    bsr_of(&problem)->scale_per_block = true;
    key = key_of(&problem);
    assert_string_equal(key, "bsr_gemm e4m3-block bf16 col col gelu bias m=8192 n=4096 k=2048 block=64x32 "
                             "density=1000 imbalance=10 overlap=1");
    free(key);
    bsr_of(&problem)->m = 0;
    assert_int_equal(tri_problem_key(&key, &problem), TRIAGE_E_INVALID);
    assert_null(key);
}

static void parse_is_the_inverse(void **state) {
    (void)state;
    tri_random random;
    tri_random_seed(&random, 1);
    for (int i = 0; i < 2000; i++) {
        tri_problem p = sample(), q;
        bsr_of(&p)->in_type = (triage_dtype)tri_random_below(&random, 4);
        bsr_of(&p)->out_type = (triage_dtype)tri_random_below(&random, 3);
        bsr_of(&p)->scale_per_block = bsr_of(&p)->in_type == TRIAGE_E4M3 && tri_random_below(&random, 2);
        bsr_of(&p)->b_layout = (triage_layout)tri_random_below(&random, 2);
        bsr_of(&p)->c_layout = (triage_layout)tri_random_below(&random, 2);
        bsr_of(&p)->activation = (triage_activation)tri_random_below(&random, 4);
        bsr_of(&p)->bias = tri_random_below(&random, 2);
        bsr_of(&p)->block_m = 1 + (int32_t)tri_random_below(&random, 1024);
        bsr_of(&p)->block_k = 1 + (int32_t)tri_random_below(&random, 1024);
        bsr_of(&p)->m = bsr_of(&p)->block_m * (1 + (int64_t)tri_random_below(&random, 2000000));
        bsr_of(&p)->k = bsr_of(&p)->block_k * (1 + (int64_t)tri_random_below(&random, 2000000));
        bsr_of(&p)->n = 1 + (int64_t)tri_random_below(&random, 2147483647);
        bsr_of(&p)->fingerprint =
            (tri_fingerprint){(int32_t)(1 + tri_random_below(&random, 99)) * 100, 28, 3};
        bsr_of(&p)->ldb = bsr_of(&p)->b_layout == TRIAGE_ROW_MAJOR ? bsr_of(&p)->n : bsr_of(&p)->k;
        bsr_of(&p)->ldc = bsr_of(&p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(&p)->n : bsr_of(&p)->m;
        char *key = key_of(&p);
        if (tri_problem_parse(&q, key) != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        bsr_of(&p)->nnzb = bsr_of(&q)->nnzb; /* what the density stands for */
        char *again = key_of(&q);
        assert_string_equal(key, again);
        assert_true(
            bsr_of(&p)->m == bsr_of(&q)->m && bsr_of(&p)->n == bsr_of(&q)->n &&
            bsr_of(&p)->k == bsr_of(&q)->k && bsr_of(&p)->ldb == bsr_of(&q)->ldb &&
            bsr_of(&p)->ldc == bsr_of(&q)->ldc && bsr_of(&p)->block_m == bsr_of(&q)->block_m &&
            bsr_of(&p)->block_k == bsr_of(&q)->block_k && bsr_of(&p)->in_type == bsr_of(&q)->in_type &&
            bsr_of(&p)->out_type == bsr_of(&q)->out_type && bsr_of(&p)->b_layout == bsr_of(&q)->b_layout &&
            bsr_of(&p)->c_layout == bsr_of(&q)->c_layout &&
            bsr_of(&p)->activation == bsr_of(&q)->activation && bsr_of(&p)->bias == bsr_of(&q)->bias &&
            bsr_of(&p)->scale_per_block == bsr_of(&q)->scale_per_block);
        assert_memory_equal(&bsr_of(&p)->fingerprint, &bsr_of(&q)->fingerprint,
                            sizeof bsr_of(&p)->fingerprint);
        assert_int_equal(tri_problem_check(&q), TRIAGE_OK);
        free(key);
        free(again);
    }
}

static void parse_gives_the_count_of_the_density(void **state) {
    (void)state;
    tri_problem p = sample(), q;
    char *key = key_of(&p);
    assert_int_equal(tri_problem_parse(&q, key), TRIAGE_OK);
    assert_int_equal(bsr_of(&q)->nnzb, 819); /* 128 * 64 / 10 */
    free(key);
}

/* What every fingerprint of a real pattern quantises to must come back. */
static void parse_takes_every_real_fingerprint(void **state) {
    (void)state;
    for (int i = 0; i <= 200; i++) {
        tri_pattern pattern;
        tri_problem p = sample(), q;
        assert_int_equal(tri_pattern_random(&pattern, 37, 41, i / 200.0, 5), TRIAGE_OK);
        pattern.row_ptr[1] = pattern.row_ptr[36]; /* as uneven as it gets; only lengths are looked at here */
        for (int row = 2; row < 37; row++)
            pattern.row_ptr[row] = pattern.row_ptr[36];
        tri_fingerprint_of(&bsr_of(&p)->fingerprint, &pattern);
        char *key = key_of(&p);
        if (tri_problem_parse(&q, key) != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        free(key);
        tri_pattern_free(&pattern);
    }
}

static void parse_refuses(void **state) {
    (void)state;
    const char *good = "bsr_gemm f16 f16 row row none nobias m=64 n=32 k=64 block=32x32 density=1000 "
                       "imbalance=10 overlap=1";
    static const char *const edits[][2] = {
        {"bsr_gemm", "gemm"},
        {"bsr_gemm", "bsr_gemm "},
        {"f16 f16", "f16 f17"},
        {"f16 f16", "f16 e4m3"},
        {"f16 f16", "f16 e4m3-block"},
        {"f16 f16", "e4m3 e4m3"},
        {"f16 f16", "e4m3-block e4m3"},
        {"f16 f16", "e4m3-tensor f16"},
        {"f16 f16", "e4m3-blocks f16"},
        {"f16 f16", "e4m3 block f16"},
        {"f16 f16", "f16-block f16"},
        {"f16 f16", "f16"},
        {"row row", "row diag"},
        {"none", "tanh"},
        {"nobias", "biased"},
        {"nobias", "bias "},
        {"nobias", ""},
        {"m=64", "m=064"},
        {"m=64", "m=+64"},
        {"m=64", "m= 64"},
        {"m=64", "m=-64"},
        {"m=64", "m=0"},
        {"m=64", "m=48"},
        {"m=64", "m=2147483648"},
        {"m=64", "m=99999999999999999999"},
        {"m=64", "M=64"},
        {"m=64", "m=64.0"},
        {"m=64", "m=6\n4"},
        {"m=64 n=32", "n=32 m=64"},
        {"n=32", "n="},
        {"n=32", "n"},
        {"block=32x32", "block=32"},
        {"block=32x32", "block=32x"},
        {"block=32x32", "block=032x32"},
        {"block=32x32", "block=2048x32"},
        {"density=1000", "density=1001"},
        {"density=1000", "density=11000"},
        {"density=1000", "density=-1"},
        {"imbalance=10", "imbalance=9"},
        {"imbalance=10", "imbalance=11"},
        {"overlap=1", "overlap=11"},
        {"overlap=1", "overlap=1 "},
        {"overlap=1", "overlap=1 x=2"},
        {"overlap=1", "overlap"},
        {" overlap=1", ""},
    };
    tri_problem p = tri_bsr_problem_of((tri_bsr_problem){.m = 7});
    assert_int_equal(tri_problem_parse(&p, good), TRIAGE_OK);
    bsr_of(&p)->m = 7;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        char key[256];
        const char *at = strstr(good, edits[i][0]);
        snprintf(key, sizeof key, "%.*s%s%s", (int)(at - good), good, edits[i][1], at + strlen(edits[i][0]));
        if (tri_problem_parse(&p, key) != TRIAGE_E_DATA)
            fail_msg("'%s' was not refused as data", key);
        assert_int_equal(bsr_of(&p)->m, 7); /* untouched */
    }
    assert_int_equal(tri_problem_parse(&p, ""), TRIAGE_E_DATA);
    char *large = calloc(1, 100001);
    memset(large, 'x', 100000);
    assert_int_equal(tri_problem_parse(&p, large), TRIAGE_E_DATA);
    free(large);
}

/* ---- costs, distance ---- */

static void costs(void **state) {
    (void)state;
    tri_problem p = sample();
    assert_true(tri_problem_flops(&p) == 2.0 * 819 * 64 * 32 * 4096);
    assert_true(tri_problem_dense_flops(&p) == 2.0 * 8192 * 4096 * 2048);
    double values = 819.0 * 64 * 32 * 2, indices = 4.0 * (819 + 128 + 1);
    double b = 2048.0 * 4096 * 2, c = 8192.0 * 4096 * 2;
    assert_true(tri_problem_bytes(&p) == values + indices + b + c);
    bsr_of(&p)->bias = true;
    bsr_of(&p)->out_type = TRIAGE_F32;
    assert_true(tri_problem_bytes(&p) == values + indices + b + 2 * c + 8192 * 4);
    bsr_of(&p)->in_type = TRIAGE_E4M3;
    assert_true(tri_problem_bytes(&p) == values / 2 + indices + b / 2 + 2 * c + 8192 * 4);
    assert_int_equal(tri_bsr_scales(&p), 1);
    bsr_of(&p)->scale_per_block = true;
    assert_true(tri_problem_bytes(&p) == values / 2 + 819 * 4 + indices + b / 2 + 2 * c + 8192 * 4);
    assert_int_equal(tri_bsr_scales(&p), 819);
    bsr_of(&p)->nnzb = 0;
    assert_int_equal(tri_bsr_scales(&p), 1);
}

static void distances(void **state) {
    (void)state;
    tri_problem a = sample(), b = sample(), c = sample();
    assert_true(tri_problem_distance(&a, &b) == 0);
    bsr_of(&a)->n = bsr_of(&b)->n = bsr_of(&c)->n = 256;
    bsr_of(&b)->n *= 2;
    assert_true(fabs(tri_problem_distance(&a, &b) - 1) < 1e-12);
    assert_true(tri_problem_distance(&a, &b) == tri_problem_distance(&b, &a));
    bsr_of(&c)->n *= 8;
    assert_true(tri_problem_distance(&a, &c) > tri_problem_distance(&a, &b));
    assert_true(tri_problem_distance(&a, &c) <=
                tri_problem_distance(&a, &b) + tri_problem_distance(&b, &c) + 1e-12);
    c = a;
    bsr_of(&c)->bias = true;
    assert_true(tri_problem_distance(&a, &c) > 0 && tri_problem_distance(&a, &c) < 0.2);
    bsr_of(&c)->fingerprint = (tri_fingerprint){0, 10, 0};
    assert_true(isfinite(tri_problem_distance(&a, &c)));
}

/* Beyond 2048 a size fills the chip already: a doubling there counts a quarter, and the density decides. */
static void large_sizes_count_less(void **state) {
    (void)state;
    tri_problem a = sample(), b = sample();
    bsr_of(&a)->m = 2048, bsr_of(&b)->m = 4096;
    assert_true(fabs(tri_problem_distance(&a, &b) - 0.25) < 1e-12);
    bsr_of(&b)->m = 1024;
    assert_true(fabs(tri_problem_distance(&a, &b) - 1) < 1e-12);
    bsr_of(&a)->m = 8192; /* two octaves above 2048, and one below */
    assert_true(fabs(tri_problem_distance(&a, &b) - 1.5) < 1e-12);
    tri_problem asked = sample(), size = sample(), density = sample();
    bsr_of(&asked)->m = bsr_of(&asked)->n = bsr_of(&asked)->k = 16384;
    bsr_of(&density)->fingerprint.density_e4 = 1000;
    bsr_of(&asked)->fingerprint.density_e4 = bsr_of(&size)->fingerprint.density_e4 = 200;
    bsr_of(&size)->m = bsr_of(&size)->n = bsr_of(&size)->k = 4096;
    bsr_of(&density)->m = bsr_of(&density)->n = bsr_of(&density)->k = 8192;
    assert_true(tri_problem_distance(&asked, &size) < tri_problem_distance(&asked, &density));
}

static void distance_is_infinite_where_no_kernel_serves_both(void **state) {
    (void)state;
    tri_problem a = sample(), block;
    tri_problem others[6];
    for (int i = 0; i < 6; i++)
        others[i] = sample();
    bsr_of(&others[0])->in_type = TRIAGE_BF16;
    bsr_of(&others[1])->out_type = TRIAGE_F32;
    bsr_of(&others[2])->b_layout = TRIAGE_COL_MAJOR;
    bsr_of(&others[3])->c_layout = TRIAGE_COL_MAJOR;
    bsr_of(&others[4])->block_m = 32;
    bsr_of(&others[5])->block_k = 64;
    for (int i = 0; i < 6; i++) /* a layout is a matter of speed */
        assert_true(isinf(tri_problem_distance(&a, &others[i])) == (i != 2 && i != 3));
    bsr_of(&a)->in_type = TRIAGE_E4M3;
    block = a;
    assert_true(tri_problem_distance(&a, &block) == 0);
    bsr_of(&block)->scale_per_block = true;
    assert_true(isinf(tri_problem_distance(&a, &block)));
}

/* ---- element types ---- */

static void dtype_names(void **state) {
    (void)state;
    const char *names[] = {"f32", "f16", "bf16", "e4m3"};
    const size_t sizes[] = {4, 2, 2, 1};
    for (int i = 0; i < 4; i++) {
        triage_dtype dtype;
        assert_string_equal(tri_dtype_name((triage_dtype)i), names[i]);
        assert_int_equal(tri_dtype_parse(&dtype, names[i]), TRIAGE_OK);
        assert_int_equal(dtype, i);
        assert_int_equal(tri_dtype_size(dtype), sizes[i]);
    }
    triage_dtype dtype;
    assert_int_equal(tri_dtype_parse(&dtype, "f64"), TRIAGE_E_INVALID);
    assert_int_equal(tri_dtype_parse(&dtype, ""), TRIAGE_E_INVALID);
    assert_string_equal(tri_dtype_name((triage_dtype)-1), "?");
    assert_int_equal(tri_dtype_size((triage_dtype)99), 0);
}

/* The value of a number with the given split, by the definition. */
static double decode(unsigned bits, int exponent_bits, int mantissa_bits) {
    unsigned mantissa = bits & ((1u << mantissa_bits) - 1);
    unsigned exponent = bits >> mantissa_bits & ((1u << exponent_bits) - 1);
    int bias = (1 << (exponent_bits - 1)) - 1;
    double sign = bits >> (exponent_bits + mantissa_bits) ? -1 : 1;
    double fraction = exponent ? 1 + mantissa * exp2(-mantissa_bits) : mantissa * exp2(-mantissa_bits);
    return sign * fraction * exp2(exponent ? (double)exponent - bias : 1.0 - bias);
}

typedef struct format {
    triage_dtype dtype;
    int exponent_bits, mantissa_bits;
    unsigned largest; /* bits of the largest finite number; above it are infinity and NaN */
} format;

static const format formats[] = {
    {TRIAGE_F16, 5, 10, 0x7bff}, {TRIAGE_BF16, 8, 7, 0x7f7f}, {TRIAGE_E4M3, 4, 3, 0x7e}};

static unsigned get_bits(const void *data, triage_dtype dtype) {
    return dtype == TRIAGE_E4M3 ? *(const uint8_t *)data : *(const uint16_t *)data;
}

static unsigned round_trip(triage_dtype dtype, float value) {
    uint16_t out = 0;
    tri_from_float(&out, dtype, 0, value);
    return get_bits(&out, dtype);
}

static void every_narrow_number_widens_exactly_and_comes_back(void **state) {
    (void)state;
    for (size_t f = 0; f < 3; f++) {
        const format *is = &formats[f];
        unsigned sign_bit = 1u << (is->exponent_bits + is->mantissa_bits);
        for (unsigned bits = 0; bits < 2 * sign_bit; bits++) {
            uint16_t stored = (uint16_t)bits;
            float value = tri_to_float(&stored, is->dtype, 0);
            unsigned magnitude = bits & (sign_bit - 1);
            if (magnitude <= is->largest) {
                assert_true((double)value == decode(bits, is->exponent_bits, is->mantissa_bits));
                assert_true(!signbit(value) == !(bits & sign_bit));
                assert_int_equal(round_trip(is->dtype, value), bits);
            } else if (magnitude == is->largest + 1 && is->dtype != TRIAGE_E4M3) {
                assert_true(isinf(value) && !signbit(value) == !(bits & sign_bit));
                assert_int_equal(round_trip(is->dtype, value), bits);
            } else {
                assert_true(isnan(value));
                assert_true((round_trip(is->dtype, value) & (sign_bit - 1)) > is->largest);
                assert_true(isnan(tri_to_float(&stored, is->dtype, 0)));
            }
        }
    }
}

/* Between all neighbours: just below the middle, the middle (to even), just above. */
static void narrowing_rounds_to_nearest_even(void **state) {
    (void)state;
    for (size_t f = 0; f < 3; f++) {
        const format *is = &formats[f];
        unsigned sign_bit = 1u << (is->exponent_bits + is->mantissa_bits);
        for (unsigned bits = 0; bits < is->largest; bits++) {
            double low = decode(bits, is->exponent_bits, is->mantissa_bits);
            double high = decode(bits + 1, is->exponent_bits, is->mantissa_bits);
            float middle = (float)((low + high) / 2); /* exact: one bit more than the format has */
            assert_true((double)middle == (low + high) / 2);
            unsigned even = bits & 1 ? bits + 1 : bits;
            assert_int_equal(round_trip(is->dtype, middle), even);
            assert_int_equal(round_trip(is->dtype, -middle), even | sign_bit);
            assert_int_equal(round_trip(is->dtype, nextafterf(middle, 0)), bits);
            assert_int_equal(round_trip(is->dtype, nextafterf(middle, INFINITY)), bits + 1);
        }
    }
}

static void narrowing_at_the_ends(void **state) {
    (void)state;
    assert_int_equal(round_trip(TRIAGE_F16, 65519.996f), 0x7bff);
    assert_int_equal(round_trip(TRIAGE_F16, 65520.0f), 0x7c00);
    assert_int_equal(round_trip(TRIAGE_F16, -FLT_MAX), 0xfc00);
    assert_int_equal(round_trip(TRIAGE_F16, 0x1p-25f), 0); /* half of the smallest: to even */
    assert_int_equal(round_trip(TRIAGE_F16, 0x1.000002p-25f), 1);
    assert_int_equal(round_trip(TRIAGE_F16, 0x1p-149f), 0);
    assert_int_equal(round_trip(TRIAGE_F16, -0.0f), 0x8000);
    assert_int_equal(round_trip(TRIAGE_BF16, FLT_MAX), 0x7f80);
    assert_int_equal(round_trip(TRIAGE_BF16, 0x1p-149f), 0);
    assert_int_equal(round_trip(TRIAGE_E4M3, 448), 0x7e);
    assert_int_equal(round_trip(TRIAGE_E4M3, 1e9f), 0x7e);
    assert_int_equal(round_trip(TRIAGE_E4M3, -INFINITY), 0xfe);
    assert_int_equal(round_trip(TRIAGE_E4M3, 0x1p-10f), 0);
    assert_int_equal(round_trip(TRIAGE_E4M3, 0x1.1p-10f), 1);
    float f32[2] = {0, 0};
    tri_from_float(f32, TRIAGE_F32, 1, 0.1f);
    assert_true(tri_to_float(f32, TRIAGE_F32, 1) == 0.1f && f32[0] == 0);
}

/* The compiler's own half type, where there is one, over a sweep of all floats. */
static void narrowing_agrees_with_the_compiler(void **state) {
    (void)state;
#ifdef __FLT16_MAX__
    for (uint64_t i = 0; i < UINT64_C(1) << 32; i += 4099) {
        uint32_t bits = (uint32_t)i;
        float value;
        memcpy(&value, &bits, 4);
        __extension__ _Float16 half = (_Float16)value;
        uint16_t expected;
        memcpy(&expected, &half, 2);
        if (!isnan(value))
            assert_int_equal(round_trip(TRIAGE_F16, value), expected);
    }
#else
    skip();
#endif
}

/* ---- inputs ---- */

static void fill_is_normal(void **state) {
    (void)state;
    const size_t count = 1 << 20;
    float *data = malloc(count * sizeof *data);
    assert_int_equal(tri_fill_normal(data, TRIAGE_F32, count, 42), TRIAGE_OK);
    double mean = 0, square = 0, product = 0, beyond = 0, positive = 0;
    for (size_t i = 0; i < count; i++) {
        mean += (double)data[i];
        square += (double)data[i] * (double)data[i];
        product += i ? (double)data[i] * (double)data[i - 1] : 0;
        beyond += fabsf(data[i]) > 2;
        positive += data[i] > 0;
    }
    double n = (double)count; /* five sigma each */
    assert_true(fabs(mean / n) < 0.005);
    assert_true(fabs(square / n - 1) < 0.007);
    assert_true(fabs(product / n) < 0.005);
    assert_true(fabs(beyond / n - 0.0455) < 0.002);
    assert_true(fabs(positive / n - 0.5) < 0.0025);
    free(data);
}

static void fill_depends_on_seed_and_index_alone(void **state) {
    (void)state;
    enum { LONG = 200000, SHORT = 1000 };
    float *a = malloc(LONG * sizeof *a), *b = malloc(SHORT * sizeof *b);
    assert_int_equal(tri_fill_normal(a, TRIAGE_F32, LONG, 1), TRIAGE_OK); /* in parallel */
    assert_int_equal(tri_fill_normal(b, TRIAGE_F32, SHORT, 1), TRIAGE_OK);
    assert_memory_equal(a, b, SHORT * sizeof *b);
    assert_int_equal(tri_fill_normal(b, TRIAGE_F32, SHORT, 2), TRIAGE_OK);
    int same = 0;
    for (int i = 0; i < SHORT; i++)
        same += a[i] == b[i];
    assert_true(same < 10);
    const float first[] = {0x1.737p-3f,  0x1.0b6cp-2f,  -0x1.d63fp+0f,
                           -0x1.b04p-1f, -0x1.fdc4p-2f, -0x1.a8ap-4f}; /* the same on every machine */
    assert_memory_equal(a, first, sizeof first);
    free(a);
    free(b);
}

static void fill_rounds_to_the_type(void **state) {
    (void)state;
    enum { COUNT = 5000 };
    float exact[COUNT];
    assert_int_equal(tri_fill_normal(exact, TRIAGE_F32, COUNT, 9), TRIAGE_OK);
    for (int t = TRIAGE_F16; t <= TRIAGE_E4M3; t++) {
        uint16_t data[COUNT], one;
        assert_int_equal(tri_fill_normal(data, (triage_dtype)t, COUNT, 9), TRIAGE_OK);
        for (size_t i = 0; i < COUNT; i++) {
            tri_from_float(&one, (triage_dtype)t, 0, exact[i]);
            assert_true(tri_to_float(data, (triage_dtype)t, i) == tri_to_float(&one, (triage_dtype)t, 0));
        }
    }
    assert_int_equal(tri_fill_normal(exact, (triage_dtype)8, 1, 9), TRIAGE_E_INVALID);
}

/* ---- reference ---- */

typedef struct setup {
    tri_problem problem;
    tri_pattern pattern;
    void *values, *b, *c, *bias;
    float *scale_a, scale_b;
} setup;

static void *draw(triage_dtype dtype, size_t count, uint64_t seed) {
    void *data = calloc(count + 1, tri_dtype_size(dtype));
    assert_int_equal(tri_fill_normal(data, dtype, count, seed), TRIAGE_OK);
    return data;
}

/* Never near a power of two, alone or multiplied; the same everywhere for a seed. */
static void scales_are_drawn(void **state) {
    (void)state;
    static float scales[4096], again[4096];
    int exponents[4] = {0};
    tri_fill_scales(scales, 4096, 9);
    tri_fill_scales(again, 4096, 9);
    assert_memory_equal(scales, again, sizeof scales);
    tri_fill_scales(again, 1, 9);
    assert_true(again[0] == scales[0]);
    tri_fill_scales(again, 4096, 10);
    assert_memory_not_equal(scales, again, sizeof scales);
    for (int i = 0; i < 4096; i++) {
        int exponent;
        float mantissa = 2 * frexpf(scales[i], &exponent);
        assert_true(mantissa >= 1.125f && mantissa < 1.375f);
        assert_in_range(exponent - 1 + 2, 0, 3);
        exponents[exponent - 1 + 2]++;
    }
    for (int i = 0; i < 4; i++)
        assert_in_range(exponents[i], 900, 1150);
}

static void setup_make(setup *s, tri_problem problem, double sparsity) {
    s->problem = problem;
    tri_problem *p = &s->problem;
    assert_int_equal(tri_pattern_random(&s->pattern, bsr_of(p)->m / bsr_of(p)->block_m,
                                        bsr_of(p)->k / bsr_of(p)->block_k, sparsity, 3),
                     TRIAGE_OK);
    bsr_of(p)->nnzb = s->pattern.nnzb;
    bsr_of(p)->ldb = (bsr_of(p)->b_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->n : bsr_of(p)->k) + 3;
    bsr_of(p)->ldc = (bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->n : bsr_of(p)->m) + 5;
    s->values =
        draw(bsr_of(p)->in_type, (size_t)(bsr_of(p)->nnzb * bsr_of(p)->block_m * bsr_of(p)->block_k), 1);
    s->b = draw(
        bsr_of(p)->in_type,
        (size_t)(bsr_of(p)->ldb * (bsr_of(p)->b_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->k : bsr_of(p)->n)),
        2);
    s->c = draw(
        bsr_of(p)->out_type,
        (size_t)(bsr_of(p)->ldc * (bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->m : bsr_of(p)->n)),
        3);
    s->bias = draw(bsr_of(p)->out_type, (size_t)bsr_of(p)->m, 4);
    s->scale_a = draw(TRIAGE_F32, (size_t)bsr_of(p)->nnzb + 1, 5);
    s->scale_b = 0.75f;
}

static void setup_free(setup *s) {
    tri_pattern_free(&s->pattern);
    free(s->values);
    free(s->b);
    free(s->c);
    free(s->bias);
    free(s->scale_a);
}

/* From the definition, over all of k, with a dense look-up of the block. */
static double define(const tri_bsr_operands *o, int64_t row, int64_t col) {
    const tri_problem *p = o->problem;
    int64_t block_row = row / bsr_of(p)->block_m;
    double sum = 0;
    for (int64_t k = 0; k < bsr_of(p)->k; k++)
        for (int32_t i = o->pattern->row_ptr[block_row]; i < o->pattern->row_ptr[block_row + 1]; i++)
            if (o->pattern->col_idx[i] == k / bsr_of(p)->block_k) {
                int64_t a = (i * bsr_of(p)->block_m + row % bsr_of(p)->block_m) * bsr_of(p)->block_k +
                            k % bsr_of(p)->block_k;
                int64_t b = bsr_of(p)->b_layout == TRIAGE_ROW_MAJOR ? k * bsr_of(p)->ldb + col
                                                                    : col * bsr_of(p)->ldb + k;
                double scale = o->scale_a ? (double)o->scale_a[bsr_of(p)->scale_per_block ? i : 0] : 1;
                sum += scale * (double)tri_to_float(o->values, bsr_of(p)->in_type, (size_t)a) *
                       (double)tri_to_float(o->b, bsr_of(p)->in_type, (size_t)b);
            }
    int64_t c =
        bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? row * bsr_of(p)->ldc + col : col * bsr_of(p)->ldc + row;
    double v = o->alpha * sum * (o->scale_b ? (double)*o->scale_b : 1);
    v += o->bias ? (double)tri_to_float(o->bias, bsr_of(p)->out_type, (size_t)row) : 0;
    v += o->beta != 0 ? o->beta * (double)tri_to_float(o->c_in, bsr_of(p)->out_type, (size_t)c) : 0;
    switch (bsr_of(p)->activation) {
    case TRIAGE_ACT_NONE:
        break;
    case TRIAGE_ACT_RELU:
        return fmax(v, 0);
    case TRIAGE_ACT_GELU:
        return v * 0.5 * (1 + erf(v / sqrt(2)));
    case TRIAGE_ACT_SILU:
        return v / (1 + exp(-v));
    }
    return v;
}

static void assert_reference(const tri_bsr_operands *o) {
    double *row = malloc((size_t)bsr_of(o->problem)->n * sizeof *row);
    for (int64_t i = 0; i < bsr_of(o->problem)->m; i++) {
        tri_reference_row(row, o, i);
        for (int64_t j = 0; j < bsr_of(o->problem)->n; j++)
            assert_true(fabs(row[j] - define(o, i, j)) < 1e-12 * (1 + fabs(row[j])));
    }
    free(row);
}

static void reference_follows_the_definition(void **state) {
    (void)state;
    for (int variant = 0; variant < 32; variant++) {
        setup s;
        tri_problem problem = tri_bsr_problem_of(
            (tri_bsr_problem){.in_type = (triage_dtype)(variant % 4),
                              .out_type = (triage_dtype)(variant % 3),
                              .b_layout = (triage_layout)(variant / 4 % 2),
                              .c_layout = (triage_layout)(variant / 8 % 2),
                              .activation = (triage_activation)((variant + variant / 16) % 4),
                              .m = 24,
                              .n = 19,
                              .k = 40,
                              .block_m = variant % 2 ? 8 : 6,
                              .block_k = 5});
        setup_make(&s, problem, 0.6);
        tri_bsr_operands o = {
            .problem = &s.problem, .pattern = &s.pattern, .values = s.values, .b = s.b, .alpha = 1};
        assert_reference(&o);
        o.bias = s.bias;
        o.c_in = s.c;
        o.alpha = -0.5;
        o.beta = 2;
        assert_reference(&o);
        o.scale_a = s.scale_a;
        o.scale_b = &s.scale_b;
        assert_reference(&o);
        bsr_of(&s.problem)->scale_per_block = true;
        assert_reference(&o);
        setup_free(&s);
    }
}

/* More columns than one chunk, enough work for threads. */
static void reference_of_wide_rows(void **state) {
    (void)state;
    for (int layout = 0; layout < 2; layout++) {
        setup s;
        tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                                   .out_type = TRIAGE_F16,
                                                                   .b_layout = (triage_layout)layout,
                                                                   .m = 2,
                                                                   .n = 2500,
                                                                   .k = 64,
                                                                   .block_m = 2,
                                                                   .block_k = 16});
        setup_make(&s, problem, 0.25);
        tri_bsr_operands o = {
            .problem = &s.problem, .pattern = &s.pattern, .values = s.values, .b = s.b, .alpha = 1};
        assert_reference(&o);
        setup_free(&s);
    }
}

static void reference_of_an_empty_row_is_the_epilogue(void **state) {
    (void)state;
    setup s;
    tri_problem problem =
        tri_bsr_problem_of((tri_bsr_problem){.m = 4, .n = 3, .k = 4, .block_m = 2, .block_k = 2});
    setup_make(&s, problem, 1);
    tri_bsr_operands o = {.problem = &s.problem,
                          .pattern = &s.pattern,
                          .values = s.values,
                          .b = s.b,
                          .bias = s.bias,
                          .alpha = 1};
    double row[3];
    tri_reference_row(row, &o, 3);
    for (int j = 0; j < 3; j++)
        assert_true(row[j] == (double)((float *)s.bias)[3]);
    setup_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_names_value_and_range),
        cmocka_unit_test(check_knows_the_layouts),
        cmocka_unit_test(check_takes_the_largest),
        cmocka_unit_test(key_is_canonical),
        cmocka_unit_test(parse_is_the_inverse),
        cmocka_unit_test(parse_gives_the_count_of_the_density),
        cmocka_unit_test(parse_takes_every_real_fingerprint),
        cmocka_unit_test(parse_refuses),
        cmocka_unit_test(costs),
        cmocka_unit_test(distances),
        cmocka_unit_test(large_sizes_count_less),
        cmocka_unit_test(distance_is_infinite_where_no_kernel_serves_both),
        cmocka_unit_test(dtype_names),
        cmocka_unit_test(every_narrow_number_widens_exactly_and_comes_back),
        cmocka_unit_test(narrowing_rounds_to_nearest_even),
        cmocka_unit_test(narrowing_at_the_ends),
        cmocka_unit_test(narrowing_agrees_with_the_compiler),
        cmocka_unit_test(fill_is_normal),
        cmocka_unit_test(fill_depends_on_seed_and_index_alone),
        cmocka_unit_test(fill_rounds_to_the_type),
        cmocka_unit_test(scales_are_drawn),
        cmocka_unit_test(reference_follows_the_definition),
        cmocka_unit_test(reference_of_wide_rows),
        cmocka_unit_test(reference_of_an_empty_row_is_the_epilogue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
