/* attention on the host device: the plain kernel and the fast one on the fixed cases, every row against float64. */
#include "support/attention_case.h"
#include "support/ones_bound.h"

#include <sys/mman.h>

static tri_device *device;

static int open_host(void **state) {
    (void)state;
    return tri_device_open(&device, "host", false) == TRIAGE_OK ? 0 : -1;
}

static int close_host(void **state) {
    (void)state;
    tri_device_close(device);
    return 0;
}

/* Kernels by what they are compiled for: sizes are not of it. */
#define KERNELS 80
static struct {
    char *text;
    tri_kernel *kernel;
} known[KERNELS];

static tri_kernel *kernel_for(const tri_attention_problem *p, const attention_tile *tile) {
    tri_source source;
    int at = 0;
    attention_render(&source, p, tile);
    while (at < KERNELS && known[at].text && strcmp(known[at].text, source.text) != 0)
        at++;
    assert_true(at < KERNELS);
    if (!known[at].text) {
        known[at].text = strdup(source.text);
        known[at].kernel = attention_kernel(device, &source);
    }
    tri_source_free(&source);
    return known[at].kernel;
}

static int forget_kernels(void **state) {
    for (int at = 0; at < KERNELS && known[at].text; at++) {
        tri_kernel_unload(known[at].kernel);
        free(known[at].text);
    }
    return close_host(state);
}

static const attention_tile small_tile = {16, 16, 4, 16};

static void run(const char *key) {
    const attention_tile *tiles[] = {NULL, &small_tile};
    attention_case c;
    attention_make(&c, key);
    for (int i = 0; i < 2; i++)
        for (int which = 0; which < tri_attention_cases(&c.problem); which++) {
            attention_launch(kernel_for(&c.problem, tiles[i]), &c, which);
            attention_verify(&c, which, key);
        }
    attention_free(&c);
}

static void run_all(const char *const *keys, size_t count) {
    for (size_t i = 0; i < count; i++)
        run(keys[i]);
}
#define RUN(...)                                                                                             \
    do {                                                                                                     \
        static const char *const keys[] = {__VA_ARGS__};                                                     \
        run_all(keys, sizeof keys / sizeof keys[0]);                                                         \
    } while (0)

/* Keyless rows are among them: O = 0 and LSE = -inf. */
static void causal_in_both_alignments(void **state) {
    (void)state;
    RUN("attention f32 f32 causal m=1 n=64 k=64 v=64 heads=2/2 batch=1 lse",
        "attention f32 f32 causal m=64 n=1 k=64 v=64 heads=2/2 batch=1 lse",
        "attention f32 f32 causal m=63 n=129 k=64 v=64 heads=2/2 batch=1 lse",
        "attention f32 f32 causal m=130 n=64 k=64 v=64 heads=2/2 batch=1 lse",
        "attention f32 f32 causal-top-left m=1 n=64 k=64 v=64 heads=2/2 batch=1 lse",
        "attention f32 f32 causal-top-left m=64 n=1 k=64 v=64 heads=2/2 batch=1 lse",
        "attention f32 f32 causal-top-left m=63 n=129 k=64 v=64 heads=2/2 batch=1 lse",
        "attention f32 f32 causal-top-left m=130 n=64 k=64 v=64 heads=2/2 batch=1 lse");
}

static void sizes_that_fill_no_tile(void **state) {
    (void)state;
    RUN("attention f32 f32 full m=1 n=1 k=64 v=64 heads=1/1 batch=2 lse",
        "attention f32 f32 full m=7 n=7 k=64 v=64 heads=1/1 batch=2 lse",
        "attention f32 f32 full m=65 n=65 k=64 v=64 heads=1/1 batch=2 lse",
        "attention f32 f32 full m=127 n=127 k=64 v=64 heads=1/1 batch=2 lse",
        "attention f32 f32 full m=129 n=129 k=64 v=64 heads=1/1 batch=2 lse",
        "attention f32 f32 full m=257 n=257 k=64 v=64 heads=1/1 batch=2",
        "attention f32 f32 full m=3 n=0 k=64 v=64 heads=1/1 batch=2 lse",
        "attention f32 f32 full m=0 n=3 k=64 v=64 heads=1/1 batch=2 lse");
}

static void heads_of_any_dimension(void **state) {
    (void)state;
    RUN("attention f32 f32 full m=20 n=33 k=40 v=40 heads=2/1 batch=1 lse",
        "attention f32 f32 full m=20 n=33 k=72 v=72 heads=2/1 batch=1",
        "attention f32 f32 full m=20 n=33 k=100 v=100 heads=2/1 batch=1",
        "attention f32 f32 full m=20 n=33 k=192 v=128 heads=2/1 batch=1 lse",
        "attention f32 f32 full m=20 n=33 k=256 v=256 heads=2/1 batch=1",
        "attention f32 f32 full m=20 n=33 k=1 v=3 heads=2/1 batch=1 lse");
}

static void types_and_soft_caps(void **state) {
    (void)state;
    RUN("attention f16 f16 causal m=70 n=70 k=64 v=64 heads=4/2 batch=1 lse",
        "attention bf16 bf16 causal m=70 n=70 k=64 v=64 heads=4/2 batch=1 lse",
        "attention bf16 f16 causal softcap m=70 n=70 k=64 v=64 heads=4/2 batch=1 lse",
        "attention e4m3 bf16 causal m=70 n=70 k=64 v=64 heads=4/2 batch=2 lse",
        "attention e4m3 f16 causal softcap m=70 n=70 k=64 v=64 heads=4/2 batch=2 lse",
        "attention f32 f32 full softcap m=33 n=70 k=64 v=64 heads=4/2 batch=1 lse");
}

static void windows(void **state) {
    (void)state;
    RUN("attention f32 f32 window m=16 n=16 k=64 v=64 heads=2/1 batch=1 window=3,0 lse",
        "attention f32 f32 window m=16 n=16 k=64 v=64 heads=2/1 batch=1 window=0,3 lse",
        "attention f32 f32 window m=65 n=80 k=64 v=64 heads=2/1 batch=1 window=3,3 lse",
        "attention f32 f32 window m=80 n=65 k=64 v=64 heads=2/1 batch=1 window=20,500 lse",
        "attention f32 f32 window m=65 n=80 k=64 v=64 heads=2/1 batch=1 window=open,3 lse",
        "attention f32 f32 window m=65 n=80 k=64 v=64 heads=2/1 batch=1 window=20,open lse");
}

static void sequences_of_any_length(void **state) {
    (void)state;
    RUN("attention f32 f32 causal varlen m=37 n=37 k=64 v=64 heads=2/1 batch=17 lse",
        "attention f32 f32 full varlen m=37 n=90 k=64 v=64 heads=2/1 batch=17 lse");
}

static void caches(void **state) {
    (void)state;
    RUN("attention f32 f32 causal cache m=1 n=300 k=64 v=64 heads=8/2 batch=40 lse",
        "attention f32 f32 causal cache m=16 n=100 k=64 v=64 heads=8/2 batch=9 lse",
        "attention f16 f16 causal cache m=4 n=100 k=64 v=64 heads=8/2 batch=9 lse",
        "attention f32 f32 causal paged m=1 n=300 k=64 v=64 heads=8/2 batch=9 page=1 lse",
        "attention f32 f32 causal paged m=1 n=300 k=64 v=64 heads=8/2 batch=9 page=8 lse",
        "attention f32 f32 causal paged m=2 n=300 k=64 v=64 heads=8/2 batch=9 page=16 lse",
        "attention f32 f32 causal paged m=1 n=300 k=64 v=64 heads=8/2 batch=9 page=64 lse",
        "attention f32 f32 causal paged m=1 n=500 k=64 v=64 heads=8/2 batch=9 page=192 lse",
        "attention e4m3 bf16 causal paged m=1 n=300 k=64 v=64 heads=8/2 batch=9 page=16 lse");
}

#define LISTS " density=5000 imbalance=10 overlap=5"
static void block_masks(void **state) {
    (void)state;
    RUN("attention f32 f32 full blocks=16x16 m=90 n=100 k=64 v=64 heads=4/2 batch=2 lists=all" LISTS " lse",
        "attention f32 f32 full blocks=128x16 m=290 n=100 k=64 v=64 heads=4/2 batch=2 lists=kv" LISTS " lse",
        "attention f32 f32 full blocks=16x128 m=90 n=500 k=64 v=64 heads=4/2 batch=2 lists=q" LISTS " lse",
        "attention f32 f32 causal blocks=64x32 m=200 n=230 k=64 v=64 heads=4/2 batch=2 lists=batch" LISTS
        " lse",
        "attention f32 f32 causal blocks=32x64 m=200 n=230 k=64 v=64 heads=4/2 batch=2 lists=batch-q" LISTS
        " bits lse",
        "attention f32 f32 window blocks=32x32 m=200 n=230 k=64 v=64 heads=4/2 batch=2 window=60,5 "
        "lists=batch-kv" LISTS " bits lse",
        "attention f16 f16 full blocks=32x64 varlen m=100 n=100 k=64 v=64 heads=4/2 batch=6 lists=kv" LISTS
        " lse");
}

/* ---- by hand ---- */

/* V of each KV head is its number: so is O of each q head of its group. */
static void query_heads_take_their_kv_head(void **state) {
    (void)state;
    static const int heads[][2] = {{32, 8}, {32, 1}, {28, 4}, {6, 3}};
    const attention_tile *tiles[] = {NULL, &small_tile};
    for (int at = 0; at < 8; at++) {
        attention_case c;
        tri_attention_problem p = {.in_type = TRIAGE_F32,
                                   .out_type = TRIAGE_F32,
                                   .batch = 1,
                                   .sq = 5,
                                   .sk = 9,
                                   .d = 64,
                                   .dv = 64,
                                   .heads_q = heads[at / 2][0],
                                   .heads_kv = heads[at / 2][1]};
        tri_attention_complete(&p);
        attention_make_of(&c, &p);
        for (int64_t i = 0; i < p.sk * p.heads_kv * p.dv; i++)
            ((float *)c.inputs.v)[i] = (float)(i / p.dv % p.heads_kv);
        attention_launch(kernel_for(&p, tiles[at % 2]), &c, 0);
        for (int64_t i = 0; i < p.sq * p.heads_q * p.dv; i++) {
            float head = (float)(i / p.dv % p.heads_q / (p.heads_q / p.heads_kv));
            assert_true(fabsf(((float *)c.o)[i] - head) <= 1e-5f * head);
        }
        attention_free(&c);
    }
}

/* cu = [0, 0, 5, 5, 9]: the first and the third sequence are empty. And none has a row. */
static void offsets_by_hand(void **state) {
    (void)state;
    static const int32_t offsets[2][5] = {{0, 0, 5, 5, 9}, {0, 0, 0, 0, 0}};
    const attention_tile *tiles[] = {NULL, &small_tile};
    for (int at = 0; at < 4; at++) {
        attention_case c;
        attention_make(&c, "attention f32 f32 causal varlen m=5 n=5 k=64 v=64 heads=2/1 batch=4 lse");
        memcpy(c.inputs.cu_q, offsets[at / 2], sizeof offsets[0]);
        memcpy(c.inputs.cu_k, offsets[at / 2], sizeof offsets[0]);
        for (int64_t i = 0; i < 9 * 64; i++) { /* what was behind the ends may be NaN */
            ((float *)c.inputs.q)[i] = ((float *)c.inputs.q)[i + 9 * 64] = (float)(i % 13) / 8 - 0.5f;
            ((float *)c.inputs.k)[i] = (float)(i % 7) / 8 - 0.5f;
            ((float *)c.inputs.v)[i] = (float)(i % 11) / 8;
        }
        attention_launch(kernel_for(&c.problem, tiles[at % 2]), &c, 0);
        attention_verify(&c, 0, "offsets");
        size_t rows = (size_t)offsets[at / 2][4] * 2; /* and no other */
        assert_true(rows == c.lse_count || isnan(c.lse[rows]));
        attention_free(&c);
    }
}

/* Caches of every length 1 .. 300, one a sequence. */
static void every_length_of_a_cache(void **state) {
    (void)state;
    const attention_tile *tiles[] = {NULL, &small_tile};
    for (int at = 0; at < 2; at++) {
        attention_case c;
        attention_make(&c, "attention f32 f32 causal cache m=1 n=300 k=64 v=64 heads=2/2 batch=300 lse");
        for (int b = 0; b < 300; b++)
            c.inputs.len_k[b] = b + 1;
        attention_launch(kernel_for(&c.problem, tiles[at]), &c, 0);
        attention_verify(&c, 0, "every length");
        attention_free(&c);
    }
}

/* Packed Q, K, V, and heads of K and V that lie in one place. */
static void strides_of_any_kind(void **state) {
    (void)state;
    enum { kRows = 40, kHeads = 4, kD = 64 };
    const attention_tile *tiles[] = {NULL, &small_tile};
    float *packed = calloc(2 * kRows * 3 * kHeads * kD, sizeof *packed);
    for (int i = 0; i < 2 * kRows * 3 * kHeads * kD; i++)
        packed[i] = (float)((i * 2654435761u >> 20) % 1000) / 500 - 1;
    for (int at = 0; at < 4; at++) {
        attention_case c;
        attention_make(&c, "attention f32 f32 causal m=40 n=40 k=64 v=64 heads=4/4 batch=2 lse");
        tri_attention_args *args = &c.inputs.args;
        tri_attention_stride of = {kRows * 3 * kHeads * kD, kD,
                                   3 * kHeads * kD}; /* [batch][row][q, k, v][head][d] */
        args->q = packed, args->k = packed + kHeads * kD, args->v = packed + 2 * kHeads * kD;
        args->q_stride = args->k_stride = args->v_stride = of;
        if (at / 2)
            args->k_stride.head = args->v_stride.head = args->k_stride.batch = 0;
        attention_launch(kernel_for(&c.problem, tiles[at % 2]), &c, 0);
        attention_verify(&c, 0, "strides");
        attention_free(&c);
    }
    free(packed);
}

/* 65537 queries and keys, of which each query sees four: the first ones, the last ones and some between. */
static void rows_beyond_16_bits(void **state) {
    (void)state;
    const attention_tile *tiles[] = {NULL, &small_tile};
    for (int at = 0; at < 2; at++) {
        attention_case c;
        attention_make(&c,
                       "attention f32 f32 window m=65537 n=65537 k=8 v=8 heads=1/1 batch=1 window=3,0 lse");
        attention_launch(kernel_for(&c.problem, tiles[at]), &c, 0);
        for (int64_t i = 0; i < c.problem.sq; i += i < 70 || i > 65400 ? 1 : 997)
            if (!attention_row_is_right(&c, &c.inputs.args, 0, 0, i, (size_t)i))
                fail_msg("query %lld is wrong", (long long)i);
        attention_free(&c);
    }
}

/* The second sequence of each tensor begins behind 2^31 elements. Of that memory only a few pages are ever touched. */
static void elements_beyond_2_31(void **state) {
    (void)state;
    enum { kRows = 20, kHeads = 2, kD = 64, kSequence = kRows * kHeads * kD };
    const int64_t far = (INT64_C(1) << 31) + 64;
    const size_t bytes = (size_t)(far + kSequence) * sizeof(float);
    const attention_tile *tiles[] = {NULL, &small_tile};
    float *all[4];
    for (int i = 0; i < 4; i++) {
        all[i] =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (all[i] == MAP_FAILED)
            skip(); /* an address space that is kept small */
    }
    for (int at = 0; at < 2; at++) {
        attention_case c;
        attention_make(&c, "attention f32 f32 causal m=20 n=20 k=64 v=64 heads=2/2 batch=2");
        tri_attention_args *args = &c.inputs.args;
        const void **tensors[] = {&args->q, &args->k, &args->v};
        tri_attention_stride *strides[] = {&args->q_stride, &args->k_stride, &args->v_stride};
        for (int i = 0; i < 3; i++) {
            for (int b = 0; b < 2; b++)
                memcpy(all[i] + b * far, (const float *)*tensors[i] + b * kSequence,
                       kSequence * sizeof(float));
            *tensors[i] = all[i];
            strides[i]->batch = far;
        }
        tri_attention_args far_too = *args;
        far_too.o = all[3];
        far_too.o_stride.batch = far;
        assert_int_equal(tri_kernel_launch(kernel_for(&c.problem, tiles[at]), &far_too, NULL), TRIAGE_OK);
        for (int b = 0; b < 2; b++)
            memcpy((float *)c.o + b * kSequence, all[3] + b * far, kSequence * sizeof(float));
        attention_verify(&c, 0, "beyond 2^31");
        attention_free(&c);
    }
    for (int i = 0; i < 4; i++)
        munmap(all[i], bytes);
}

/* V = 1 and 65537 keys: O is 1. And 20 launches leave the same bits. */
static void ones_stay_ones_and_bits_stay_the_same(void **state) {
    (void)state;
    const char *const keys[] = {"attention f16 f16 full m=2 n=65537 k=64 v=64 heads=1/1 batch=1",
                                "attention bf16 bf16 full m=2 n=65537 k=64 v=64 heads=1/1 batch=1",
                                "attention e4m3 bf16 full m=2 n=65537 k=64 v=64 heads=1/1 batch=1"};
    for (int at = 0; at < 3; at++) {
        attention_case c;
        attention_make(&c, keys[at]);
        for (int64_t i = 0; i < c.problem.sk * c.problem.dv; i++)
            tri_from_float(c.inputs.v, c.problem.in_type, (size_t)i, 1);
        if (c.inputs.scale_v)
            c.inputs.scale_v[0] = 1;
        for (int repeat = 0; repeat < 20; repeat++) {
            attention_launch(kernel_for(&c.problem, &small_tile), &c, 0);
            for (size_t i = 0; i < c.o_count; i++)
                assert_true(fabsf(tri_to_float(c.o, c.problem.out_type, i) - 1) <= 1e-3f);
        }
        attention_free(&c);
    }
}

/* V = 1 in e4m3, rows of every kind: O strays from 1 by what rounding the weights can do and no more, also that of the plain
 * kernel, which rounds them all. */
static void ones_of_e4m3(void **state) {
    (void)state;
    static const char *const keys[] = {"attention e4m3 bf16 full m=8 n=65537 k=64 v=64 heads=1/1 batch=1",
                                       "attention e4m3 f16 full m=8 n=300 k=64 v=64 heads=2/1 batch=3"};
    const attention_tile *tiles[] = {NULL, &small_tile};
    for (int at = 0; at < 4; at++) {
        attention_case c;
        attention_make(&c, keys[at / 2]);
        const tri_attention_problem *p = &c.problem;
        for (int64_t i = 0; i < p->batch * p->sk * p->dv; i++)
            tri_from_float(c.inputs.v, p->in_type, (size_t)i, 1);
        for (int64_t b = 0; b < p->batch; b++)
            c.inputs.scale_v[b] = 1;
        attention_launch(kernel_for(p, tiles[at % 2]), &c, 0);
        double most = 0;
        for (int64_t row = 0; row < p->batch * p->sq * p->heads_q; row++) {
            int b = (int)(row / p->heads_q / p->sq), head = (int)(row % p->heads_q);
            double bound = ones_bound(p, &c.inputs.args, b, head, row / p->heads_q % p->sq), off = 0;
            for (int64_t x = 0; x < p->dv; x++)
                off = fmax(off, fabs((double)tri_to_float(c.o, p->out_type, (size_t)(row * p->dv + x)) - 1));
            if (!(off <= bound))
                fail_msg("row %lld of %s: O is %g from 1, at most %g", (long long)row, keys[at / 2], off,
                         bound);
            most = fmax(most, off / bound);
        }
        print_message("%s, %s kernel: at most %.2f of the bound\n", keys[at / 2], at % 2 ? "fast" : "plain",
                      most);
        attention_free(&c);
    }
}

/* A sequence alone and among 64 leaves the same bits. */
static void a_sequence_does_not_know_its_batch(void **state) {
    (void)state;
    attention_case c;
    attention_make(&c, "attention f32 f32 causal cache m=1 n=300 k=64 v=64 heads=8/2 batch=64 lse");
    tri_kernel *kernel = kernel_for(&c.problem, &small_tile);
    attention_launch(kernel, &c, 1);
    float *together = malloc(c.o_count * sizeof(float));
    memcpy(together, c.o, c.o_count * sizeof(float));
    tri_attention_args args = tri_attention_case_args(&c.inputs, 1);
    for (int b = 0; b < 64; b++) {
        tri_attention_args alone = args;
        float o[8 * 64];
        alone.batch = 1;
        alone.q = (const float *)args.q + b * args.q_stride.batch;
        alone.k = (const float *)args.k + b * args.k_stride.batch;
        alone.v = (const float *)args.v + b * args.v_stride.batch;
        alone.len_k = args.len_k + b;
        alone.o = o;
        assert_int_equal(tri_kernel_launch(kernel, &alone, NULL), TRIAGE_OK);
        assert_memory_equal(o, together + b * 8 * 64, sizeof o);
    }
    free(together);
    attention_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causal_in_both_alignments),
        cmocka_unit_test(sizes_that_fill_no_tile),
        cmocka_unit_test(heads_of_any_dimension),
        cmocka_unit_test(types_and_soft_caps),
        cmocka_unit_test(windows),
        cmocka_unit_test(sequences_of_any_length),
        cmocka_unit_test(caches),
        cmocka_unit_test(block_masks),
        cmocka_unit_test(query_heads_take_their_kv_head),
        cmocka_unit_test(offsets_by_hand),
        cmocka_unit_test(every_length_of_a_cache),
        cmocka_unit_test(strides_of_any_kind),
        cmocka_unit_test(ones_stay_ones_and_bits_stay_the_same),
        cmocka_unit_test(rows_beyond_16_bits),
        cmocka_unit_test(elements_beyond_2_31),
        cmocka_unit_test(ones_of_e4m3),
        cmocka_unit_test(a_sequence_does_not_know_its_batch),
    };
    return cmocka_run_group_tests(tests, open_host, forget_kernels);
}
