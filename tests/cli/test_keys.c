// links: triage cli
/* Each word of a problem's key is told of: keys that differ in one word differ in what is said of them. */
#include "cli/common/problem.h"

#include <string.h>

#include "support/check.h"

static tri_text said(const char *key) {
    tri_text words = TRI_TEXT_INIT;
    tri_problem problem;
    if (tri_problem_parse(&problem, key) != TRIAGE_OK)
        fail_msg("%s: %s", key, triage_last_error());
    assert_int_equal(tri_cli_problem_describe(&words, &problem), TRIAGE_OK);
    assert_true(words.size > 0);
    return words;
}

/* Of the key with each of the others' words in its place. */
static void expect_each_told(const char *const *keys, size_t count) {
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++) {
            tri_text one = said(keys[i]), other = said(keys[k]);
            if (strcmp(one.data, other.data) == 0)
                fail_msg("%s and %s are both: %s", keys[i], keys[k], one.data);
            tri_text_free(&one), tri_text_free(&other);
        }
}

static void of_block_sparse_products(void **state) {
    static const char *const keys[] = {
#define REST "m=8192 n=512 k=8192 block=64x64 density=1000 imbalance=14 overlap=1"
        "bsr_gemm f16 f16 row row none nobias " REST,
        "bsr_gemm bf16 bf16 row row none nobias " REST,
        "bsr_gemm f16 f32 row row none nobias " REST,
        "bsr_gemm f16 f16 col row none nobias " REST,
        "bsr_gemm f16 f16 row col none nobias " REST,
        "bsr_gemm f16 f16 row row none bias " REST,
        "bsr_gemm f16 f16 row row relu nobias " REST,
        "bsr_gemm f16 f16 row row gelu nobias " REST,
        "bsr_gemm f16 f16 row row silu nobias " REST,
        "bsr_gemm f16 f16 row row none nobias transposed " REST,
        "bsr_gemm e4m3 bf16 row row none nobias " REST,
        "bsr_gemm f16 f16 row row none nobias m=8192 n=512 k=8192 block=64x32 density=1000 imbalance=14 "
        "overlap=1",
        "bsr_gemm f16 f16 row row none nobias m=8192 n=512 k=8192 block=64x64 density=2000 imbalance=14 "
        "overlap=1",
        "bsr_gemm f16 f16 row row none nobias m=8192 n=512 k=8192 block=64x64 density=1000 imbalance=20 "
        "overlap=1",
        "bsr_gemm f16 f16 row row none nobias m=8192 n=512 k=8192 block=64x64 density=1000 imbalance=14 "
        "overlap=2",
    };
    (void)state;
    expect_each_told(keys, sizeof keys / sizeof *keys);
}

static void of_sampled_products(void **state) {
    static const char *const keys[] = {
        "bsr_sddmm f16 f16 row row " REST,
        "bsr_sddmm bf16 bf16 row row " REST,
        "bsr_sddmm f16 f32 row row " REST,
        "bsr_sddmm f16 f16 col row " REST,
        "bsr_sddmm f16 f16 row col " REST,
        "bsr_sddmm f16 f16 row row m=8192 n=512 k=8192 block=64x64 density=2000 imbalance=14 overlap=1",
        "bsr_sddmm f16 f16 row row m=8192 n=512 k=8192 block=64x64 density=1000 imbalance=20 overlap=1",
        "bsr_sddmm f16 f16 row row m=8192 n=512 k=8192 block=64x64 density=1000 imbalance=14 overlap=2",
    };
    (void)state;
    expect_each_told(keys, sizeof keys / sizeof *keys);
}

static void of_attention(void **state) {
    static const char *const keys[] = {
#define SIZES "m=8192 n=8192 k=64 v=64 heads=8/8 batch=1"
#define BLOCKS "attention bf16 bf16 full blocks=64x64 " SIZES
        "attention bf16 bf16 full " SIZES,
        "attention f16 f16 full " SIZES,
        "attention e4m3 bf16 full " SIZES,
        "attention bf16 bf16 causal " SIZES,
        "attention bf16 bf16 causal-top-left " SIZES,
        "attention bf16 bf16 window " SIZES " window=16,0",
        "attention bf16 bf16 window " SIZES " window=16,1",
        "attention bf16 bf16 full softcap " SIZES,
        "attention bf16 bf16 full varlen " SIZES,
        "attention bf16 bf16 full cache " SIZES,
        "attention bf16 bf16 full paged " SIZES " page=16",
        "attention bf16 bf16 full paged " SIZES " page=32",
        "attention bf16 bf16 full " SIZES " splits=4",
        "attention bf16 bf16 full " SIZES " lse",
        "attention bf16 bf16 full m=8192 n=8192 k=64 v=64 heads=8/4 batch=1",
        "attention bf16 bf16 full m=8192 n=8192 k=64 v=128 heads=8/8 batch=1",
        "attention bf16 bf16 full m=8192 n=8192 k=64 v=64 heads=8/8 batch=2",
        BLOCKS " lists=all density=1000 imbalance=10 overlap=1",
        BLOCKS " lists=kv density=1000 imbalance=10 overlap=1",
        BLOCKS " lists=q density=1000 imbalance=10 overlap=1",
        BLOCKS " lists=batch density=1000 imbalance=10 overlap=1",
        BLOCKS " lists=all density=2000 imbalance=10 overlap=1",
        BLOCKS " lists=all density=1000 imbalance=14 overlap=1",
        BLOCKS " lists=all density=1000 imbalance=10 overlap=2",
        BLOCKS " lists=all density=1000 imbalance=10 overlap=1 bits",
    };
    (void)state;
    expect_each_told(keys, sizeof keys / sizeof *keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_block_sparse_products),
        cmocka_unit_test(of_sampled_products),
        cmocka_unit_test(of_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
