/* Weights of maxima that were not looked for, in e4m3 (templates/attention/wgmma_fp8_late.cuh), on the CPU: scores made again are
 * Q K^T, no weight is more than e4m3 holds, and what is left of a step is of one maximum, whatever its scores. */
#include <math.h>

#include "support/check.h"
#include "support/emulated.h"
#include "support/scratch_group.h"

#define ROWS 64
#define KEYS_MAX 224
#define D_MAX 256
#define OFFSET 4 /* log2 of the weight of a maximum */
#define MOST 448 /* of e4m3 */
enum { KEPT, SMALLER, AGAIN };

typedef struct args_late {
    const unsigned char *q, *k;
    const float *maximum;
    float *scores, *weights, *after, *sum, *before, *rescale;
    int *outcome;
} args_late;

/* One step. */
typedef struct step {
    int keys, d;
    unsigned char q[ROWS * D_MAX], k[KEYS_MAX * D_MAX];
    float maximum[ROWS], scores[ROWS * KEYS_MAX], weights[ROWS * KEYS_MAX];
    float after[ROWS], sum[ROWS], before[ROWS], rescale[ROWS];
    int outcome[ROWS / 16];
} step;

static step s;

/* -2 .. 2 as e4m3, so that scores are exact. */
static unsigned char whole(unsigned i, unsigned salt) {
    static const unsigned char values[] = {0xc0, 0xb8, 0, 0x38, 0x40};
    return values[((i + salt) * 2654435761u >> 13) % 5];
}

static int value_of(unsigned char bits) {
    return bits == 0 ? 0 : (bits & 128 ? -1 : 1) * (bits & 64 ? 2 : 1);
}

static int score_of(int row, int key) {
    int sum = 0;
    for (int c = 0; c < s.d; c++)
        sum += value_of(s.q[row * s.d + c]) * value_of(s.k[key * s.d + c]);
    return sum;
}

static float top_of(int row) {
    float top = -INFINITY;
    for (int key = 0; key < s.keys; key++)
        top = fmaxf(top, (float)score_of(row, key));
    return top;
}

static void compute(void) {
    char text[200];
    snprintf(text, sizeof text,
             "constexpr int kTileN = %d, kD = %d;\n#include \"%s/tests/emulate/late_fp8.cu\"\n", s.keys, s.d,
             TRI_SOURCE_DIR);
    tri_source source = {.text = text};
    emulated kernel = emulated_open(folder, &source);
    const args_late args = {s.q,     s.k,   s.maximum, s.scores,  s.weights,
                            s.after, s.sum, s.before,  s.rescale, s.outcome};
    emulated_launch(&kernel, &args, 1, 1, 128, 0);
    emulated_close(&kernel);
}

/* lag: of the maxima of the rows whose number is a multiple of 16; the others' are right. */
static void run(int keys, int d, float lag) {
    s.keys = keys, s.d = d;
    for (int i = 0; i < ROWS * d; i++)
        s.q[i] = whole((unsigned)i, 1);
    for (int i = 0; i < keys * d; i++)
        s.k[i] = whole((unsigned)i, 77);
    for (int row = 0; row < ROWS; row++)
        s.maximum[row] = top_of(row) - (row % 16 == 0 ? lag : 0);
    compute();
    for (int row = 0; row < ROWS; row++)
        for (int key = 0; key < keys; key++)
            assert_float_equal(s.scores[row * keys + key], score_of(row, key), 0);
}

/* Every weight, their sum and what was before are of the maximum afterwards. */
static void check_weights(int outcome) {
    for (int warp = 0; warp < ROWS / 16; warp++)
        assert_int_equal(s.outcome[warp], outcome);
    for (int row = 0; row < ROWS; row++) {
        double sum = 0, moved = exp2((double)s.maximum[row] - s.after[row]);
        for (int key = 0; key < s.keys; key++) {
            double expected = exp2((double)score_of(row, key) - s.after[row] + OFFSET);
            double weight = s.weights[row * s.keys + key];
            assert_true(fabs(weight - expected) <= 1e-5 * expected + 1e-37);
            assert_true(weight <= MOST);
            sum += expected;
        }
        assert_true(fabs(s.sum[row] - sum) <= 1e-4 * sum);
        assert_true(fabs(s.rescale[row] - moved) <= 1e-6 * moved && s.before[row] == s.rescale[row]);
    }
}

static void what_lags_little_stays(void **state) {
    (void)state;
    run(224, 64, 3);
    check_weights(KEPT);
    run(96, 128, 4);
    check_weights(KEPT);
    for (int row = 0; row < ROWS; row++)
        assert_true(s.after[row] == s.maximum[row]);
}

static void what_lags_far_is_made_smaller(void **state) {
    (void)state;
    static const struct {
        int keys, d;
        float lag;
    } steps[] = {{128, 128, 5}, {224, 64, 20}, {64, 256, 90}};
    for (int i = 0; i < 3; i++) {
        run(steps[i].keys, steps[i].d, steps[i].lag);
        check_weights(SMALLER);
        for (int row = 0; row < ROWS;
             row++) /* of a warp only the rows that ask for it; their largest weight is below 2^OFFSET */
            assert_true(row % 16 == 0 ? s.after[row] > s.maximum[row] &&
                                            s.after[row] <= s.maximum[row] + steps[i].lag + 1
                                      : s.after[row] == s.maximum[row]);
    }
}

/* Equal weights of the usual size, and sums that are large by their number alone. */
static void many_are_not_large(void **state) {
    (void)state;
    for (int scale = 0; scale < 2; scale++) {
        s.keys = 224, s.d = 16;
        memset(s.q, 0x38, sizeof s.q);
        memset(s.k, 0x38, sizeof s.k);
        for (int row = 0; row < ROWS; row++)
            s.maximum[row] = 16 - (float)scale * 3;
        compute();
        check_weights(scale == 0 ? KEPT : SMALLER); /* looked for, and found to be right as they are */
        for (int row = 0; row < ROWS; row++)
            assert_true(s.after[row] == s.maximum[row] && s.rescale[row] == 1);
    }
}

static void what_overflows_is_made_again(void **state) {
    (void)state;
    const float lags[] = {200, 1e5f, INFINITY, NAN};
    for (int i = 0; i < 4; i++) {
        run(96, 96, lags[i]);
        for (int warp = 0; warp < ROWS / 16; warp++)
            assert_int_equal(s.outcome[warp], AGAIN);
        for (int row = 0; row < ROWS; row++) { /* nothing has moved */
            assert_memory_equal(&s.after[row], &s.maximum[row], sizeof(float));
            assert_true(s.before[row] == 1);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lags_little_stays), cmocka_unit_test(what_lags_far_is_made_smaller),
        cmocka_unit_test(many_are_not_large), cmocka_unit_test(what_overflows_is_made_again)};
    if (!emulated_runs_here())
        return 77;
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
