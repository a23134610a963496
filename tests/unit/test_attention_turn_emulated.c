/* V turned in shared memory for products of 8-bit operands (templates/attention/wgmma_turn.cuh), on the CPU: which value is
 * where a product reads it, and zeros behind the last key. */
#include "support/check.h"
#include "support/emulated.h"
#include "support/scratch_group.h"

typedef struct args_turn {
    const unsigned char *v;
    unsigned char *turned;
    int valid;
} args_turn;

/* What stands at place k of 16 in a turned row: a thread has sums of columns 2 q, 2 q + 1, 2 q + 8 and 2 q + 9. */
static int key_at(int k) {
    return k / 16 * 16 + k % 16 / 4 * 2 + k % 2 + k % 4 / 2 * 8;
}

/* Of 16 rows, the even columns of V come first. */
static int column_at(int row) {
    return row / 16 * 16 + row % 8 * 2 + row % 16 / 8;
}

/* Where a K-major operand of rows of `width` bytes with the swizzle of that width has byte k of a row. */
static int place_of(int row, int k, int width, int rows) {
    int at = k / width * (rows * width) + row * width + k % width;
    return at ^ (at / 128 % 8 * 16 & (width - 1));
}

static void check(int tile_n, int dv, int valid) {
    static unsigned char v[256 * 256], turned[256 * 256];
    int width = tile_n % 128 == 0 ? 128 : tile_n % 64 == 0 ? 64 : 32;
    char text[160];
    snprintf(text, sizeof text,
             "constexpr int kTileN = %d, kDv = %d, kWidth = %d;\n#include \"%s/tests/emulate/turn.cu\"\n",
             tile_n, dv, width, TRI_SOURCE_DIR);
    tri_source source = {.text = text};
    emulated kernel = emulated_open(folder, &source);
    for (int i = 0; i < tile_n * dv; i++)
        v[i] = (unsigned char)((unsigned)i * 2654435761u >> 24 | 1);
    const args_turn args = {v, turned, valid};
    emulated_launch(&kernel, &args, 1, 1, 128, (unsigned)((dv + 127) / 128 * 128 * tile_n + tile_n * dv));
    for (int row = 0; row < dv; row++)
        for (int k = 0; k < tile_n; k++) {
            int key = key_at(k), expected = key < valid ? v[key * dv + column_at(row)] : 0;
            if (turned[place_of(row, k, width, dv)] != expected)
                fail_msg("%d keys of %d, %d: row %d, byte %d", tile_n, valid, dv, row, k);
        }
    emulated_close(&kernel);
}

static void whole_steps(void **state) {
    (void)state;
    check(128, 128, 128);
    check(192, 128, 1000);
    check(224, 64, 224);
    check(96, 256, 96);
}

static void steps_with_an_end(void **state) {
    (void)state;
    check(192, 128, 1);
    check(96, 80, 37);
    check(160, 16, 159);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_steps), cmocka_unit_test(steps_with_an_end)};
    if (!emulated_runs_here())
        return 77;
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
