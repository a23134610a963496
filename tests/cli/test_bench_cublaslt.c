/* triage_bench's cuBLASLt peer without a GPU: against a stand-in that takes cuBLASLt at its word (column-major,
 * factors transposed or not, scales behind pointers) and multiplies on the host, its C must pass the gate.
 * The peer's files are the program's, in no library, so they are included here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "support/bsr_of.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "cli/bench/bench.h"
#include "measure/bench_private.h"
#include "../../src/cli/bench/arena.c"
#include "../../src/cli/bench/bsr_gemm/cublaslt.c"

/* ---- the stand-in ---- */

typedef struct fake_layout {
    int type;
    int64_t rows, cols, ld;
} fake_layout;

enum { kSlow = 41, kQuick, kBroken, kNotForThis }; /* algorithms, in the order of the heuristic */

static struct {
    int live, turned[2], fast, fail_at, calls;
    const float *scale[2];
    bool no_algorithm, all_broken, rounded;
    uint64_t ran; /* the algorithm of the last product */
} fake;

static int enter(void) {
    return ++fake.calls == fake.fail_at ? 15 : 0; /* CUBLAS_STATUS_NOT_SUPPORTED */
}

static int make(void **out, size_t bytes) {
    if (enter())
        return 15;
    *out = calloc(1, bytes);
    fake.live++;
    return 0;
}

static int drop(void *object) {
    free(object);
    fake.live--;
    return 0;
}

static int f_create(void **handle) {
    return make(handle, 1);
}

static size_t f_version(void) {
    return 130100;
}

static const char *f_status_string(int status) {
    return status == 15 ? "not supported" : "another status";
}

static int f_matmul_create(void **desc, int compute, int scale_type) {
    assert_true(compute == 68 && scale_type == 0); /* CUBLAS_COMPUTE_32F, CUDA_R_32F */
    return make(desc, 1);
}

static int f_matmul_set(void *desc, int attribute, const void *value, size_t bytes) {
    assert_non_null(desc);
    switch (attribute) {
    case 3: /* TRANSA */
    case 4:
        assert_int_equal(bytes, 4);
        memcpy(&fake.turned[attribute - 3], value, 4);
        return enter();
    case 17: /* A_SCALE_POINTER */
    case 18:
        assert_int_equal(bytes, sizeof(void *));
        memcpy(&fake.scale[attribute - 17], value, bytes);
        return enter();
    case 25: /* FAST_ACCUM */
        assert_int_equal(bytes, 1);
        fake.fast = *(const int8_t *)value;
        return enter();
    default:
        fail_msg("attribute %d", attribute);
        return 7;
    }
}

static int f_layout_create(void **layout, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    if (make(layout, sizeof(fake_layout)))
        return 15;
    *(fake_layout *)*layout = (fake_layout){type, (int64_t)rows, (int64_t)cols, ld};
    assert_true(ld >= (int64_t)rows);
    return 0;
}

static int f_preference_create(void **preference) {
    return make(preference, 1);
}

static int f_preference_set(void *preference, int attribute, const void *value, size_t bytes) {
    assert_true(preference && attribute == 1 && bytes == 8 && *(const size_t *)value == WORKSPACE_BYTES);
    return enter();
}

static int f_heuristic(void *handle, void *desc, void *a, void *b, void *c, void *d, void *preference,
                       int wanted, algorithm *found, int *count) {
    assert_true(handle && desc && a && b && c && c == d && preference && wanted == ALGORITHMS);
    for (uint64_t i = 0; i < 4; i++)
        found[i] = (algorithm){.data = {kSlow + i}, .state = kSlow + i == kNotForThis ? 15 : 0};
    *count = fake.no_algorithm ? 0 : 4;
    return enter();
}

static triage_dtype dtype_of(int type) { /* cudaDataType */
    return type == 28 ? TRIAGE_E4M3 : type == 0 ? TRIAGE_F32 : type == 2 ? TRIAGE_F16 : TRIAGE_BF16;
}

static float at(const void *data, const fake_layout *layout, bool turned, int64_t row, int64_t col) {
    int64_t index = turned ? row * layout->ld + col : col * layout->ld + row;
    return tri_to_float(data, dtype_of(layout->type), (size_t)index);
}

static void multiply(void *d, const fake_layout *out, const void *a, const fake_layout *left, const void *b,
                     const fake_layout *right) {
    const int *turned = fake.turned;
    int64_t inner = turned[0] ? left->rows : left->cols;
    assert_int_equal(inner, turned[1] ? right->cols : right->rows);
    assert_int_equal(out->rows, turned[0] ? left->cols : left->rows);
    assert_int_equal(out->cols, turned[1] ? right->rows : right->cols);
    double scale = fake.scale[0] ? (double)*fake.scale[0] * (double)*fake.scale[1] : 1;
    for (int64_t j = 0; j < out->cols; j++)
        for (int64_t i = 0; i < out->rows; i++) {
            double sum = 0;
            for (int64_t k = 0; k < inner; k++)
                sum += (double)at(a, left, turned[0], i, k) * (double)at(b, right, turned[1], k, j);
            sum *= fake.rounded ? 1 + 0.02 * (double)(i % 2) : scale;
            tri_from_float(d, dtype_of(out->type), (size_t)(j * out->ld + i), (float)sum);
        }
}

static int f_matmul(void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b,
                    void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                    const void *chosen, void *workspace, size_t workspace_bytes, void *stream) {
    const fake_layout *left = a_layout, *right = b_layout;
    (void)stream;
    assert_true(handle && desc && c == d && c_layout == d_layout && workspace &&
                workspace_bytes == WORKSPACE_BYTES);
    assert_true(*(const float *)alpha == 1 && *(const float *)beta == 0);
    assert_int_equal(left->type, right->type);
    /* e4m3 has no other form */
    assert_true(left->type != 28 || (fake.turned[0] == 1 && fake.turned[1] == 0 && fake.scale[0]));
    memcpy(&fake.ran, chosen, sizeof fake.ran);
    assert_true(fake.ran >= kSlow && fake.ran < kNotForThis);
    if (fake.ran == kBroken || fake.all_broken)
        return 15;
    for (int i = 0; i < (fake.ran == kSlow ? 8 : 0); i++) /* slower however busy the machine is */
        multiply(d, d_layout, a, left, b, right);
    multiply(d, d_layout, a, left, b, right);
    return enter();
}

triage_status tri_library_open(void **out, const char *const *names, const char *hint) {
    (void)hint;
    assert_string_equal(names[0], "libcublasLt.so.13");
    *out = &fake;
    return TRIAGE_OK;
}

triage_status tri_peer_symbols(void *table, void *library, const char *const *names, size_t count) {
    const lt_api api = {f_create,
                        drop,
                        f_version,
                        f_status_string,
                        f_matmul_create,
                        drop,
                        f_matmul_set,
                        f_layout_create,
                        drop,
                        f_preference_create,
                        drop,
                        f_preference_set,
                        f_heuristic,
                        f_matmul};
    assert_true(library == &fake && count * sizeof(void *) == sizeof api);
    assert_string_equal(names[count - 1], "cublasLtMatmul");
    memcpy(table, &api, sizeof api);
    return TRIAGE_OK;
}

triage_status tri_peer_cuda_type(int *out, triage_dtype dtype) {
    *out = dtype == TRIAGE_F32 ? 0 : dtype == TRIAGE_F16 ? 2 : 14;
    return TRIAGE_OK;
}

/* ---- the tests ---- */

static triage_context *context;
static tri_pattern pattern; /* of the arena that is open */

static int open_host(void **state) {
    (void)state;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    return triage_context_open(&context, &options) == TRIAGE_OK ? 0 : -1;
}

static int close_host(void **state) {
    (void)state;
    triage_context_free(context);
    tri_pattern_free(&pattern);
    return 0;
}

static void open_arena(tri_arena *arena, tri_problem problem) {
    tri_pattern_free(&pattern);
    bsr_of(&problem)->m = 96;
    bsr_of(&problem)->n = 48;
    bsr_of(&problem)->k = 128;
    bsr_of(&problem)->ldb =
        bsr_of(&problem)->b_layout == TRIAGE_ROW_MAJOR ? bsr_of(&problem)->n : bsr_of(&problem)->k;
    bsr_of(&problem)->ldc =
        bsr_of(&problem)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(&problem)->n : bsr_of(&problem)->m;
    bsr_of(&problem)->block_m = bsr_of(&problem)->block_k = 32;
    assert_int_equal(tri_pattern_random(&pattern, 3, 4, 0.5, 1), TRIAGE_OK);
    bsr_of(&problem)->nnzb = pattern.nnzb;
    tri_fingerprint_of(&bsr_of(&problem)->fingerprint, &pattern);
    if (tri_arena_open(arena, context, &problem, &pattern, 1, true) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    memset(&fake, 0, sizeof fake);
}

/* Opens the peer, which tries all algorithms; the quick one must run and be right. */
static void run_peer(tri_arena *arena, const tri_contestant_type *type, const char *detail_has) {
    void *peer = NULL;
    char detail[256];
    tri_report report = {0};
    if (type->open(&peer, detail, arena) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    if (!strstr(detail, detail_has))
        fail_msg("'%s' is not in '%s'", detail_has, detail);
    assert_int_equal(tri_bench_make_ready(arena->bench, 0), TRIAGE_OK);
    assert_int_equal(type->run(peer, NULL), TRIAGE_OK);
    assert_int_equal(fake.ran, kQuick);
    if (!tri_bench_examine(arena->bench, 0, &report))
        fail_msg("b %d c %d: %s", bsr_of(&arena->problem)->b_layout, bsr_of(&arena->problem)->c_layout,
                 report.reason);
    if (bsr_of(&arena->problem)->in_type == TRIAGE_E4M3)
        fake.scale[1] = fake.scale[0]; /* the check can fail: a wrong scale */
    else
        fake.rounded = true; /* ... sums of fewer bits */
    assert_int_equal(type->run(peer, NULL), TRIAGE_OK);
    assert_false(tri_bench_examine(arena->bench, 0, &report));
    type->close(peer);
    assert_int_equal(fake.live, 0);
}

static void e4m3_passes_the_gate(void **state) {
    (void)state;
    const tri_contestant_type *const types[] = {&tri_contestant_cublaslt, &tri_contestant_cublaslt_fast};
    for (int variant = 0; variant < 12; variant++) {
        tri_arena arena;
        int fast = variant / 6;
        open_arena(&arena,
                   tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_E4M3,
                                                        .out_type = (triage_dtype)(variant % 3),
                                                        .b_layout = TRIAGE_COL_MAJOR,
                                                        .c_layout = (triage_layout)(variant / 3 % 2)}));
        run_peer(&arena, types[fast],
                 fast ? "130100, dense A, fastest of 4 algorithms, fast" : "4 algorithms, exact");
        assert_int_equal(fake.fast, fast);
        tri_arena_close(&arena);
    }
}

/* f32, f16 and bf16 in every layout of B and C; no scales are set. */
static void other_types_pass_the_gate(void **state) {
    (void)state;
    for (int variant = 0; variant < 12; variant++) {
        tri_arena arena;
        triage_dtype dtype = (triage_dtype)(variant / 4);
        open_arena(&arena,
                   tri_bsr_problem_of((tri_bsr_problem){.in_type = dtype,
                                                        .out_type = dtype,
                                                        .b_layout = (triage_layout)(variant % 2),
                                                        .c_layout = (triage_layout)(variant / 2 % 2)}));
        run_peer(&arena, &tri_contestant_cublaslt, "cublasLtMatmul 130100, dense A, fastest of 4 algorithms");
        assert_null(fake.scale[0]);
        tri_arena_close(&arena);
    }
}

static void expect_absent(tri_problem problem, const char *reason) {
    tri_arena arena;
    void *peer = NULL;
    char detail[256];
    open_arena(&arena, problem);
    assert_int_equal(tri_contestant_cublaslt.open(&peer, detail, &arena), TRIAGE_E_UNSUPPORTED);
    if (!strstr(triage_last_error(), reason))
        fail_msg("'%s' is not in '%s'", reason, triage_last_error());
    assert_null(peer);
    tri_arena_close(&arena);
}

static void what_it_has_no_product_for(void **state) {
    (void)state;
    expect_absent(tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_E4M3, .out_type = TRIAGE_F16}),
                  "column-major B");
    expect_absent(tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_E4M3,
                                                       .out_type = TRIAGE_F16,
                                                       .b_layout = TRIAGE_COL_MAJOR,
                                                       .scale_per_block = true}),
                  "each block of A");
}

/* Every call of the library may fail: a reason, and nothing left. */
static void failures_are_absences(void **state) {
    (void)state;
    tri_arena arena;
    void *peer = NULL;
    char detail[256];
    open_arena(&arena, tri_bsr_problem_of((tri_bsr_problem){
                           .in_type = TRIAGE_E4M3, .out_type = TRIAGE_BF16, .b_layout = TRIAGE_COL_MAJOR}));
    const int products = 14; /* the first of them; an algorithm that fails is only not chosen */
    for (int at = 1; at <= products; at++) {
        fake.calls = 0;
        fake.fail_at = at;
        triage_status status = tri_contestant_cublaslt.open(&peer, detail, &arena);
        assert_int_equal(status, at == products ? TRIAGE_OK : TRIAGE_E_DEVICE);
        if (at < products)
            assert_non_null(strstr(triage_last_error(), "not supported"));
        else
            tri_contestant_cublaslt.close(peer);
        assert_int_equal(fake.live, 0);
    }
    fake.fail_at = 0;
    fake.no_algorithm = true;
    assert_int_equal(tri_contestant_cublaslt.open(&peer, detail, &arena), TRIAGE_E_UNSUPPORTED);
    assert_non_null(strstr(triage_last_error(), "no algorithm"));
    assert_int_equal(fake.live, 0);
    fake.no_algorithm = false;
    fake.all_broken = true;
    assert_int_equal(tri_contestant_cublaslt.open(&peer, detail, &arena), TRIAGE_E_DEVICE);
    assert_non_null(strstr(triage_last_error(), "none of 4 algorithms runs"));
    assert_int_equal(fake.live, 0);
    tri_arena_close(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(e4m3_passes_the_gate),
        cmocka_unit_test(other_types_pass_the_gate),
        cmocka_unit_test(what_it_has_no_product_for),
        cmocka_unit_test(failures_are_absences),
    };
    return cmocka_run_group_tests(tests, open_host, close_host);
}
