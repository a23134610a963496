/* The dense product by cuBLAS over a fake driver and a fake cuBLAS: are the right numbers handed over, in each
 * pair of layouts, and is everything given back when a call fails? Runs without a GPU. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fault/fake_driver.h"

/* ---- a cuBLAS that computes in column-major order, as cublasGemmEx is documented ---- */

enum { kM = 5, kN = 3, kK = 4, kWorkspace = 32 << 20 };

static struct blas {
    int handles, streams_set, workspaces_set, products, mistakes;
    void *stream, *workspace;
    size_t workspace_bytes;
    bool compute; /* the addresses are real: compute in float */
    int in_type, out_type;
    int fail_at, calls; /* 0: none */
} blas;

static int handle_token;

static int blas_step(void) {
    return ++blas.calls == blas.fail_at ? 14 : 0; /* CUBLAS_STATUS_INTERNAL_ERROR */
}
static int b_get_property(int type, int *value) {
    *value = type == 0 ? 13 : type == 1 ? 1 : 2;
    return blas_step();
}
static int b_create(void **handle) {
    int result = blas_step();
    expect_context();
    if (result == 0) {
        blas.handles++;
        *handle = &handle_token;
    }
    return result;
}
static int b_destroy(void *handle) {
    blas.mistakes += handle != &handle_token;
    expect_context();
    blas.handles--;
    return 0;
}
static int b_set_stream(void *handle, void *stream) {
    blas.mistakes += handle != &handle_token;
    blas.stream = stream;
    blas.workspace = NULL; /* forgotten, as the real one does */
    blas.streams_set++;
    return blas_step();
}
static int b_set_workspace(void *handle, void *memory, size_t bytes) {
    blas.mistakes += handle != &handle_token;
    expect_kind((uintptr_t)HANDLE_OF((CUdeviceptr)(uintptr_t)memory), kMemory);
    blas.workspace = memory;
    blas.workspace_bytes = bytes;
    blas.workspaces_set++;
    return blas_step();
}
static const char *b_status_string(int status) {
    return status == 14 ? "an internal cuBLAS error" : "?";
}

static double element(const float *x, int ld, int op, int row, int col) {
    return (double)(op == 0 ? x[(size_t)col * (size_t)ld + (size_t)row]
                            : x[(size_t)row * (size_t)ld + (size_t)col]);
}

static int b_gemm_ex(void *handle, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a,
                     int a_type, int lda, const void *b, int b_type, int ldb, const void *beta, void *c,
                     int c_type, int ldc, int compute, int algorithm) {
    float scale = *(const float *)alpha, keep = *(const float *)beta;
    float *to = c;
    int result = blas_step();
    expect_context();
    blas.mistakes +=
        handle != &handle_token || !blas.workspace || compute != 68 || algorithm != -1 || a_type != b_type;
    /* the least leading dimensions that the documentation allows */
    blas.mistakes += lda < (op_a == 0 ? m : k) || ldb < (op_b == 0 ? k : n) || ldc < m;
    blas.in_type = a_type;
    blas.out_type = c_type;
    blas.products++;
    fake.captured += fake.capturing;
    for (int col = 0; col < n && blas.compute && result == 0; col++) {
        for (int row = 0; row < m; row++) {
            double sum = 0;
            for (int i = 0; i < k; i++)
                sum += element(a, lda, op_a, row, i) * element(b, ldb, op_b, i, col);
            float *at = &to[(size_t)col * (size_t)ldc + (size_t)row];
            *at = (float)(scale * sum + (keep == 0 ? 0 : keep * *at));
        }
    }
    return result;
}

static const tri_cublas fake_cublas = {
#define TRI_SYMBOL(field, prototype, symbol) .field = b_##field,
#include "device/cuda/cublas.def"
#undef TRI_SYMBOL
};

static int reset(void **state) {
    (void)state;
    memset(&fake, 0, sizeof fake);
    memset(&blas, 0, sizeof blas);
    fake.failure = CUDA_ERROR_ILLEGAL_ADDRESS;
    fake.devices = 1;
    tri_cuda_driver_replace(&table);
    tri_cublas_replace(&fake_cublas);
    return 0;
}

static int put_back(void **state) {
    (void)state;
    tri_cublas_replace(NULL);
    tri_cuda_driver_replace(NULL);
    return 0;
}

static void expect_nothing_left(const char *after) {
    for (int kind = 1; kind < kKinds; kind++)
        if (fake.live[kind] != 0)
            fail_msg("after %s: %d of kind %d are left", after, fake.live[kind], kind);
    if (fake.mistakes || fake.depth || blas.mistakes || blas.handles)
        fail_msg("after %s: %d and %d mistakes, %d contexts pushed, %d handles", after, fake.mistakes,
                 blas.mistakes, fake.depth, blas.handles);
}

/* ---- the numbers ---- */

static tri_gemm gemm_of(triage_layout b, triage_layout c, triage_dtype in, triage_dtype out) {
    return (tri_gemm){
        .in_type = in, .out_type = out, .b_layout = b, .c_layout = c, .m = kM, .n = kN, .k = kK};
}

static size_t place_of(triage_layout layout, int64_t ld, int row, int col) {
    return layout == TRIAGE_ROW_MAJOR ? (size_t)row * (size_t)ld + (size_t)col
                                      : (size_t)col * (size_t)ld + (size_t)row;
}

static void check_layouts(triage_layout b_layout, triage_layout c_layout, float alpha, float beta) {
    float a[kM * kK], b[64], c[64], before[64];
    tri_gemm p = gemm_of(b_layout, c_layout, TRIAGE_F32, TRIAGE_F32);
    tri_device *device = NULL;
    tri_kernel *kernel = NULL;
    tri_gemm_args args = {.a = a,
                          .b = b,
                          .c = c,
                          .ldb = (b_layout == TRIAGE_ROW_MAJOR ? kN : kK) + 2,
                          .ldc = (c_layout == TRIAGE_ROW_MAJOR ? kN : kM) + 1};
    for (int i = 0; i < kM * kK; i++)
        a[i] = (float)(i % 7) - 2.5f;
    for (int i = 0; i < 64; i++)
        b[i] = (float)(i % 5) - 1.75f, before[i] = c[i] = (float)i / 8;
    args.alpha = alpha;
    args.beta = beta;
    reset(NULL);
    blas.compute = true;
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_OK);
    assert_int_equal(tri_dense_load(&kernel, device, &p), TRIAGE_OK);
    assert_int_equal(tri_kernel_launch(kernel, &args, POINTER(void *, 99)), TRIAGE_OK);
    assert_int_equal(NUMBER(blas.stream), 99);
    int written = 0;
    for (int row = 0; row < kM; row++) {
        for (int col = 0; col < kN; col++) {
            double sum = 0;
            size_t at = place_of(c_layout, args.ldc, row, col);
            for (int i = 0; i < kK; i++)
                sum += (double)a[row * kK + i] * (double)b[place_of(b_layout, args.ldb, i, col)];
            assert_true(fabs((double)c[at] - (alpha * sum + beta * (double)before[at])) < 1e-5);
            before[at] = c[at];
            written++;
        }
    }
    assert_int_equal(written, kM * kN);
    assert_memory_equal(c, before, sizeof c); /* nothing else */
    tri_kernel_unload(kernel);
    tri_device_close(device);
    expect_nothing_left("a product");
}

static void test_products_are_right(void **state) {
    (void)state;
    for (int layouts = 0; layouts < 4; layouts++) {
        check_layouts((triage_layout)(layouts & 1), (triage_layout)(layouts >> 1), 1.0f, 0.0f);
        check_layouts((triage_layout)(layouts & 1), (triage_layout)(layouts >> 1), 1.25f, -0.5f);
    }
}

static void test_types(void **state) {
    (void)state;
    static const struct {
        triage_dtype dtype;
        int cuda;
    } types[] = {{TRIAGE_F32, 0}, {TRIAGE_F16, 2}, {TRIAGE_BF16, 14}}; /* library_types.h */
    tri_device *device = NULL;
    tri_kernel *kernel = NULL;
    tri_gemm_args args = {.ldb = kN, .ldc = kN};
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_OK);
    for (int i = 0; i < 9; i++) {
        tri_gemm p = gemm_of(TRIAGE_ROW_MAJOR, TRIAGE_ROW_MAJOR, types[i / 3].dtype, types[i % 3].dtype);
        assert_int_equal(tri_dense_load(&kernel, device, &p), TRIAGE_OK);
        assert_int_equal(tri_kernel_launch(kernel, &args, NULL), TRIAGE_OK);
        assert_true(blas.in_type == types[i / 3].cuda && blas.out_type == types[i % 3].cuda);
        tri_kernel_unload(kernel);
    }
    tri_gemm p = gemm_of(TRIAGE_ROW_MAJOR, TRIAGE_ROW_MAJOR, TRIAGE_E4M3, TRIAGE_F16);
    assert_int_equal(tri_dense_load(&kernel, device, &p), TRIAGE_E_UNSUPPORTED);
    assert_null(kernel);
    args.ldb = INT64_C(1) << 31;
    p = gemm_of(TRIAGE_ROW_MAJOR, TRIAGE_ROW_MAJOR, TRIAGE_F16, TRIAGE_F16);
    assert_int_equal(tri_dense_load(&kernel, device, &p), TRIAGE_OK);
    assert_int_equal(tri_kernel_launch(kernel, &args, NULL), TRIAGE_E_UNSUPPORTED);
    tri_kernel_unload(kernel);
    tri_device_close(device);
    expect_nothing_left("types");
}

/* A batch is captured, and cuBLAS must have been given its memory before: it allocates in no capture. */
static void test_timing(void **state) {
    (void)state;
    tri_device *device = NULL;
    tri_kernel *kernel = NULL;
    tri_gemm_args args = {.ldb = kN, .ldc = kN};
    tri_gemm p = gemm_of(TRIAGE_ROW_MAJOR, TRIAGE_ROW_MAJOR, TRIAGE_F16, TRIAGE_F16);
    double ns[4];
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_OK);
    assert_int_equal(tri_dense_load(&kernel, device, &p), TRIAGE_OK);
    assert_int_equal(tri_kernel_launch(kernel, &args, NULL), TRIAGE_OK);
    assert_int_equal(tri_kernel_time(kernel, &args, 1 << 20, 1, ns, 3), TRIAGE_OK);
    assert_true(ns[0] == 0.5e6 && fake.sweeps == 1 + 3);
    assert_int_equal(blas.products, 4);
    int streams = blas.streams_set;
    assert_int_equal(streams, 2); /* one a change */
    assert_int_equal(tri_kernel_time(kernel, &args, 0, 5, ns, 4), TRIAGE_OK);
    assert_int_equal(fake.captured, 5);
    assert_int_equal(fake.graph_launches, 4);
    assert_true(ns[0] == 0.1e6);
    assert_int_equal(blas.streams_set, streams);
    assert_int_equal(blas.workspaces_set, streams);
    assert_int_equal(blas.workspace_bytes, kWorkspace);
    tri_kernel_unload(kernel);
    tri_device_close(device);
    expect_nothing_left("timing");
}

static void test_library_is_named(void **state) {
    (void)state;
    tri_device *device = NULL;
    char library[64];
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_OK);
    assert_int_equal(tri_dense_library(library, sizeof library, device), TRIAGE_OK);
    assert_string_equal(library, "cublas 13.1.2");
    tri_device_close(device);
}

/* ---- failures ---- */

static triage_status live(tri_device **device, tri_kernel **kernel) {
    tri_gemm_args args = {.ldb = kN, .ldc = kM};
    tri_gemm p = gemm_of(TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR, TRIAGE_F16, TRIAGE_F16);
    char library[64];
    double ns[2];
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_device_open(device, "cuda", false));
    TRI_TRY(tri_dense_library(library, sizeof library, *device));
    TRI_TRY(tri_dense_load(kernel, *device, &p));
    TRI_TRY(tri_kernel_launch(*kernel, &args, NULL));
    TRI_TRY(tri_kernel_time(*kernel, &args, 0, 2, ns, 2));
done:
    return status;
}

static void end(tri_device *device, tri_kernel *kernel) {
    fake.tearing = true;
    tri_kernel_unload(kernel);
    tri_device_close(device);
}

static void test_each_call_fails_once(void **state) {
    (void)state;
    tri_device *device = NULL;
    tri_kernel *kernel = NULL;
    assert_int_equal(live(&device, &kernel), TRIAGE_OK);
    const int driver_calls = fake.calls, blas_calls = blas.calls;
    assert_true(blas_calls > 8);
    end(device, kernel);
    expect_nothing_left("no failure");
    for (int i = 1; i <= driver_calls + blas_calls; i++) {
        const bool of_blas = i > driver_calls;
        reset(NULL);
        device = NULL;
        kernel = NULL;
        fake.fail_at = of_blas ? 0 : i;
        blas.fail_at = of_blas ? i - driver_calls : 0;
        assert_int_equal(live(&device, &kernel), TRIAGE_E_DEVICE);
        if (of_blas && (strncmp(triage_last_error(), "cublas", 6) != 0 ||
                        !strstr(triage_last_error(), ": an internal cuBLAS error")))
            fail_msg("call %d of cuBLAS: '%s'", i - driver_calls, triage_last_error());
        end(device, kernel);
        expect_nothing_left(of_blas ? "a failure of cuBLAS" : fake.failed);
    }
}

/* The real library, where there is one: it has what we ask of it. It needs no GPU for that. */
static void test_the_real_library(void **state) {
    (void)state;
    tri_device *device = NULL;
    char library[64] = "";
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_OK);
    tri_cublas_replace(NULL);
    triage_status status = tri_dense_library(library, sizeof library, device);
    tri_device_close(device);
    if (status == TRIAGE_E_NOT_FOUND) {
        print_message("no cuBLAS here: %s\n", triage_last_error());
        skip();
    }
    assert_int_equal(status, TRIAGE_OK);
    assert_true(strncmp(library, "cublas 1", 8) == 0);
    print_message("%s\n", library);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_products_are_right, reset, put_back),
        cmocka_unit_test_setup_teardown(test_types, reset, put_back),
        cmocka_unit_test_setup_teardown(test_timing, reset, put_back),
        cmocka_unit_test_setup_teardown(test_library_is_named, reset, put_back),
        cmocka_unit_test_setup_teardown(test_each_call_fails_once, reset, put_back),
        cmocka_unit_test_setup_teardown(test_the_real_library, reset, put_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
