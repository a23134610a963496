/* triage_bench's cuBLASLt peer without a GPU: against a stand-in that takes cuBLASLt at its word (column-major,
 * left factor transposed, scales behind pointers) and multiplies on the host, its C must pass the gate.
 * The peer's files are the program's, in no library, so they are included here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/cli_bench.h"
#include "../../src/cli/cli_bench_arena.c"
#include "../../src/cli/cli_bench_cublaslt.c"

/* ---- the stand-in ---- */

typedef struct fake_layout {
    int type;
    int64_t rows, cols, ld;
} fake_layout;

static struct {
    int live, transpose_a, fast, fail_at, calls;
    const float *scale[2];
    bool no_algorithm;
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
        assert_int_equal(bytes, 4);
        memcpy(&fake.transpose_a, value, 4);
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
    assert_true(handle && desc && a && b && c && c == d && preference && wanted == 1);
    *found = (algorithm){.data = {42}};
    *count = !fake.no_algorithm;
    return enter();
}

static triage_dtype dtype_of(int type) { /* cudaDataType */
    return type == 28 ? TRIAGE_E4M3 : type == 0 ? TRIAGE_F32 : type == 2 ? TRIAGE_F16 : TRIAGE_BF16;
}

static int f_matmul(void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b,
                    void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                    const void *chosen, void *workspace, size_t workspace_bytes, void *stream) {
    const fake_layout *left = a_layout, *right = b_layout, *out = d_layout;
    (void)stream;
    assert_true(handle && desc && c == d && c_layout == d_layout && workspace &&
                workspace_bytes == WORKSPACE_BYTES);
    assert_true(*(const float *)alpha == 1 && *(const float *)beta == 0 && *(const uint64_t *)chosen == 42);
    assert_true(left->type == 28 && right->type == 28 && fake.transpose_a == 1);
    assert_true(left->rows == right->rows && left->cols == out->rows && right->cols == out->cols);
    for (int64_t j = 0; j < out->cols; j++)
        for (int64_t i = 0; i < out->rows; i++) {
            double sum = 0;
            for (int64_t k = 0; k < left->rows; k++)
                sum += (double)tri_to_float(a, TRIAGE_E4M3, (size_t)(i * left->ld + k)) *
                       (double)tri_to_float(b, TRIAGE_E4M3, (size_t)(j * right->ld + k));
            sum *= (double)*fake.scale[0] * (double)*fake.scale[1];
            tri_from_float(d, dtype_of(out->type), (size_t)(j * out->ld + i), (float)sum);
        }
    return enter();
}

void *tri_peer_library(const char *const *names) {
    assert_string_equal(names[0], "libcublasLt.so.13");
    return &fake;
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

static int open_host(void **state) {
    (void)state;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    return triage_context_open(&context, &options) == TRIAGE_OK ? 0 : -1;
}

static int close_host(void **state) {
    (void)state;
    triage_context_free(context);
    return 0;
}

static void open_arena(tri_arena *arena, tri_problem problem) {
    tri_pattern pattern = {0};
    problem.m = 96;
    problem.n = 48;
    problem.k = 128;
    problem.ldb = problem.b_layout == TRIAGE_ROW_MAJOR ? problem.n : problem.k;
    problem.ldc = problem.c_layout == TRIAGE_ROW_MAJOR ? problem.n : problem.m;
    problem.block_m = problem.block_k = 32;
    assert_int_equal(tri_pattern_random(&pattern, 3, 4, 0.5, 1), TRIAGE_OK);
    problem.nnzb = pattern.nnzb;
    tri_fingerprint_of(&problem.fingerprint, &pattern);
    if (tri_arena_open(arena, context, &problem, &pattern, 1) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    memset(&fake, 0, sizeof fake);
}

static void the_product_passes_the_gate(void **state) {
    (void)state;
    const tri_contestant_type *const types[] = {&tri_contestant_cublaslt, &tri_contestant_cublaslt_fast};
    for (int variant = 0; variant < 12; variant++) {
        tri_arena arena;
        void *peer = NULL;
        char detail[256];
        tri_verdict verdict;
        int fast = variant / 6;
        open_arena(&arena, (tri_problem){.in_type = TRIAGE_E4M3,
                                         .out_type = (triage_dtype)(variant % 3),
                                         .b_layout = TRIAGE_COL_MAJOR,
                                         .c_layout = (triage_layout)(variant / 3 % 2)});
        if (types[fast]->open(&peer, detail, &arena, NULL) != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        assert_int_equal(fake.fast, fast);
        assert_non_null(strstr(detail, fast ? "130100, dense A, fast" : "130100, dense A, exact"));
        assert_int_equal(tri_arena_poison(&arena), TRIAGE_OK);
        assert_int_equal(types[fast]->run(peer), TRIAGE_OK);
        assert_int_equal(tri_arena_judge(&verdict, &arena), TRIAGE_OK);
        if (!verdict.right)
            fail_msg("variant %d: %s", variant, verdict.reason);
        fake.scale[1] = fake.scale[0]; /* the check can fail */
        assert_int_equal(types[fast]->run(peer), TRIAGE_OK);
        assert_int_equal(tri_arena_judge(&verdict, &arena), TRIAGE_OK);
        assert_false(verdict.right);
        types[fast]->close(peer);
        assert_int_equal(fake.live, 0);
        tri_arena_close(&arena);
    }
}

static void expect_absent(const tri_problem *problem, const char *reason) {
    tri_arena arena;
    void *peer = NULL;
    char detail[256];
    open_arena(&arena, *problem);
    assert_int_equal(tri_contestant_cublaslt.open(&peer, detail, &arena, NULL), TRIAGE_E_UNSUPPORTED);
    if (!strstr(triage_last_error(), reason))
        fail_msg("'%s' is not in '%s'", reason, triage_last_error());
    assert_null(peer);
    tri_arena_close(&arena);
}

static void what_it_has_no_product_for(void **state) {
    (void)state;
    expect_absent(&(tri_problem){.in_type = TRIAGE_E4M3, .out_type = TRIAGE_F16}, "column-major B");
    expect_absent(&(tri_problem){.in_type = TRIAGE_E4M3,
                                 .out_type = TRIAGE_F16,
                                 .b_layout = TRIAGE_COL_MAJOR,
                                 .scale_per_block = true},
                  "each block of A");
    expect_absent(&(tri_problem){.in_type = TRIAGE_F16, .out_type = TRIAGE_F16, .b_layout = TRIAGE_COL_MAJOR},
                  "only e4m3");
}

/* Every call of the library may fail: a reason, and nothing left. */
static void failures_are_absences(void **state) {
    (void)state;
    tri_arena arena;
    void *peer = NULL;
    char detail[256];
    open_arena(&arena,
               (tri_problem){.in_type = TRIAGE_E4M3, .out_type = TRIAGE_BF16, .b_layout = TRIAGE_COL_MAJOR});
    for (int at = 1; at <= 13; at++) {
        fake.calls = 0;
        fake.fail_at = at;
        triage_status status = tri_contestant_cublaslt.open(&peer, detail, &arena, NULL);
        assert_int_equal(status, at == 13 ? TRIAGE_OK : TRIAGE_E_DEVICE);
        if (at < 13)
            assert_non_null(strstr(triage_last_error(), "not supported"));
        else
            tri_contestant_cublaslt.close(peer);
        assert_int_equal(fake.live, 0);
    }
    fake.fail_at = 0;
    fake.no_algorithm = true;
    assert_int_equal(tri_contestant_cublaslt.open(&peer, detail, &arena, NULL), TRIAGE_E_UNSUPPORTED);
    assert_non_null(strstr(triage_last_error(), "no algorithm"));
    assert_int_equal(fake.live, 0);
    tri_arena_close(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_product_passes_the_gate),
        cmocka_unit_test(what_it_has_no_product_for),
        cmocka_unit_test(failures_are_absences),
    };
    return cmocka_run_group_tests(tests, open_host, close_host);
}
