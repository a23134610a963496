/* Weights of maxima that were not looked for (templates/attention/wgmma_late.cuh), on the CPU: scores made again are Q K^T, and
 * what is left of a step is of one maximum, whatever its scores. */
#include <math.h>

#include "support/check.h"
#include "support/emulated.h"
#include "support/scratch_group.h"

#define ROWS 64
#define KEYS_MAX 128
#define D_MAX 256
enum { KEPT, SMALLER, AGAIN };

typedef struct args_late {
    const unsigned short *q, *k;
    const float *maximum;
    float *scores, *weights, *after, *sum, *rescale;
    int *outcome;
} args_late;

/* One step: kTileN keys of kD elements; maxima before it lag by `lag` behind the scores' own. */
typedef struct step {
    int keys, d;
    unsigned short q[ROWS * D_MAX], k[KEYS_MAX * D_MAX];
    float maximum[ROWS], scores[ROWS * KEYS_MAX], weights[ROWS * KEYS_MAX];
    float after[ROWS], sum[ROWS], rescale[ROWS];
    int outcome[ROWS / 16];
} step;

/* -2 .. 2 as bf16, so that scores are exact. */
static unsigned short whole(unsigned i, unsigned salt) {
    static const unsigned short values[] = {0xc000, 0xbf80, 0, 0x3f80, 0x4000};
    return values[((i + salt) * 2654435761u >> 13) % 5];
}

static float value_of(unsigned short bits) {
    float value;
    unsigned wide = (unsigned)bits << 16;
    memcpy(&value, &wide, 4);
    return value;
}

static float score_of(const step *s, int row, int key) {
    float sum = 0;
    for (int c = 0; c < s->d; c++)
        sum += value_of(s->q[row * s->d + c]) * value_of(s->k[key * s->d + c]);
    return sum;
}

static float top_of(const step *s, int row) {
    float top = -INFINITY;
    for (int key = 0; key < s->keys; key++)
        top = fmaxf(top, score_of(s, row, key));
    return top;
}

/* lag: of the rows whose number is a multiple of 16; the others' maxima are right. */
static void run(step *s, int keys, int d, float lag) {
    char text[200];
    s->keys = keys, s->d = d;
    for (int i = 0; i < ROWS * d; i++)
        s->q[i] = whole((unsigned)i, 1);
    for (int i = 0; i < keys * d; i++)
        s->k[i] = whole((unsigned)i, 77);
    for (int row = 0; row < ROWS; row++)
        s->maximum[row] = top_of(s, row) - (row % 16 == 0 ? lag : 0);
    snprintf(text, sizeof text,
             "constexpr int kTileN = %d, kD = %d, kSkip = 13;\n#include \"%s/tests/emulate/late.cu\"\n", keys,
             d, TRI_SOURCE_DIR);
    tri_source source = {.text = text};
    emulated kernel = emulated_open(folder, &source);
    const args_late args = {s->q,     s->k,   s->maximum, s->scores, s->weights,
                            s->after, s->sum, s->rescale, s->outcome};
    emulated_launch(&kernel, &args, 1, 1, 128, 0);
    emulated_close(&kernel);
    for (int row = 0; row < ROWS; row++)
        for (int key = 0; key < keys; key++)
            assert_float_equal(s->scores[row * keys + key], score_of(s, row, key), 0);
}

/* Every weight, their sum and what was before are of the maximum afterwards. */
static void check_weights(const step *s, int outcome) {
    for (int warp = 0; warp < ROWS / 16; warp++)
        assert_int_equal(s->outcome[warp], outcome);
    for (int row = 0; row < ROWS; row++) {
        double sum = 0;
        for (int key = 0; key < s->keys; key++) {
            double expected = exp2((double)score_of(s, row, key) - s->after[row]);
            double weight = s->weights[row * s->keys + key];
            assert_true(fabs(weight - expected) <= 1e-5 * expected + 1e-37);
            assert_true(weight <= 8192);
            sum += expected;
        }
        assert_true(fabs(s->sum[row] - sum) <= 1e-4 * sum);
        assert_true(fabs(s->rescale[row] - exp2((double)s->maximum[row] - s->after[row])) <= 1e-6);
    }
}

static step s;

static void what_lags_little_stays(void **state) {
    (void)state;
    run(&s, 128, 64, 7);
    check_weights(&s, KEPT);
    for (int row = 0; row < ROWS; row++)
        assert_float_equal(s.after[row], s.maximum[row], 0);
}

static void what_lags_far_is_made_smaller(void **state) {
    (void)state;
    run(&s, 128, 128, 14);
    check_weights(&s, SMALLER);
    run(&s, 64, 256, 90);
    check_weights(&s, SMALLER);
    for (int row = 0; row < ROWS; row++) { /* of a warp only the rows that ask for it */
        assert_true(row % 16 == 0 ? s.after[row] > s.maximum[row] + 89 : s.after[row] == s.maximum[row]);
        assert_true(row % 16 != 0 || (s.sum[row] >= 0.5f && s.sum[row] < 4));
    }
}

static void what_overflows_is_made_again(void **state) {
    (void)state;
    const float lags[] = {200, 1e5f, INFINITY, NAN};
    for (int i = 0; i < 4; i++) {
        run(&s, 80, 96, lags[i]);
        for (int warp = 0; warp < ROWS / 16; warp++)
            assert_int_equal(s.outcome[warp], AGAIN);
        for (int row = 0; row < ROWS; row++) /* nothing has moved */
            assert_memory_equal(&s.after[row], &s.maximum[row], sizeof(float));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_lags_little_stays),
                                       cmocka_unit_test(what_lags_far_is_made_smaller),
                                       cmocka_unit_test(what_overflows_is_made_again)};
    if (!emulated_runs_here())
        return 77;
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
