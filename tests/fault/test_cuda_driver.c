/* The cuda device over a fake driver: every call fails once, in turn, and everything that was taken is
 * given back exactly once. Runs without a GPU. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "support/bsr_of.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "fault/fake_driver.h"
#include "api/bsr_gemm/bsr_gemm.h"

static int reset(void **state) {
    (void)state;
    memset(&fake, 0, sizeof fake);
    fake.failure = CUDA_ERROR_ILLEGAL_ADDRESS;
    fake.devices = 2;
    tri_cuda_driver_replace(&table);
    return 0;
}

static int put_back(void **state) {
    (void)state;
    tri_cuda_driver_replace(NULL);
    return 0;
}

static void expect_nothing_left(const char *after) {
    for (int kind = 1; kind < kKinds; kind++) {
        if (fake.live[kind] != 0)
            fail_msg("after %s: %d of kind %d are left", after, fake.live[kind], kind);
    }
    if (fake.mistakes || fake.depth || fake.capturing)
        fail_msg("after %s: %d wrong handles, %d contexts pushed, capturing %d", after, fake.mistakes,
                 fake.depth, fake.capturing);
}

/* ---- a device's whole life ---- */

static const tri_launch big_launch = {
    .grid = {32, 4, 1},
    .block = {384, 1, 1},
    .cluster = {16, 1, 1},
    .smem_bytes = 200000,
    .workspace_bytes = 4096,
    .maps[TRI_BSR_MAP_A] = {.rank = 2, .box = {64, 64, 0}, .swizzle = 128},
    .maps[TRI_BSR_MAP_B] = {
        .rank = 3, .box = {64, 64, 4}, .inner_split = 64, .swizzle = 128, .l2_promotion = 256}};
static tri_problem make_problem(void) {
    return tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                .out_type = TRIAGE_F16,
                                                .m = 128,
                                                .n = 512,
                                                .k = 256,
                                                .ldb = 520,
                                                .ldc = 512,
                                                .block_m = 64,
                                                .block_k = 64,
                                                .nnzb = 3});
}

static char cubin[] = "not really a cubin";

typedef struct life {
    tri_device *device;
    tri_kernel *kernel;
    tri_address memory;
    char *circumstances;
} life;

static triage_status live(life *l) {
    triage_status status = TRIAGE_OK;
    tri_image image = {.data = cubin, .size = sizeof cubin};
    tri_bsr_gemm_args args;
    double ns[3];
    unsigned char bytes[64] = {0};
    TRI_TRY(tri_device_open(&l->device, "cuda:1", true));
    TRI_TRY(tri_device_alloc(l->device, &l->memory, 1 << 16));
    TRI_TRY(tri_device_upload(l->device, l->memory, bytes, sizeof bytes));
    TRI_TRY(tri_device_fill(l->device, l->memory, 0x7fc00000u, 16, NULL));
    TRI_TRY(tri_kernel_load(&l->kernel, l->device, &image, &big_launch));
    tri_bsr_buffers buffers = {.values = l->memory, .b = l->memory, .c = l->memory};
    const tri_problem problem = make_problem();
    TRI_TRY(tri_bsr_args_make(&args, l->device, &big_launch, &problem, &buffers, 1.0f, 0.0f));
    TRI_TRY(tri_kernel_launch(l->kernel, &args, NULL));
    TRI_TRY(tri_kernel_time(l->kernel, &args, 1 << 20, 1, ns, 3));
    TRI_TRY(tri_kernel_time(l->kernel, &args, 1 << 21, 4, ns, 2));
    TRI_TRY(tri_device_download(l->device, bytes, l->memory, sizeof bytes));
    TRI_TRY(tri_device_circumstances(&l->circumstances, l->device));
    TRI_TRY(tri_device_synchronize(l->device));
done:
    return status;
}

static void end(life *l) {
    fake.tearing = true;
    tri_kernel_unload(l->kernel);
    if (l->device)
        tri_device_release(l->device, l->memory);
    tri_device_close(l->device);
    free(l->circumstances);
}

static int calls_of_a_life(void) {
    life l = {0};
    assert_int_equal(live(&l), TRIAGE_OK);
    int calls = fake.calls;
    end(&l);
    expect_nothing_left("a life without failure");
    return calls;
}

static void fail_each_call(CUresult failure, triage_status want, const char *text) {
    reset(NULL);
    int calls = calls_of_a_life();
    assert_true(calls > 60);
    for (int i = 1; i <= calls; i++) {
        life l = {0};
        reset(NULL);
        fake.failure = failure;
        fake.fail_at = i;
        triage_status status = live(&l);
        if (status != want)
            fail_msg("call %d (%s): status %d, not %d: %s", i, fake.failed, status, want,
                     triage_last_error());
        const char *message = triage_last_error();
        if (strncmp(message, fake.failed, strlen(fake.failed)) != 0 || !strstr(message, text))
            fail_msg("call %d (%s): message '%s'", i, fake.failed, message);
        end(&l);
        expect_nothing_left(fake.failed);
    }
}

static void test_each_call_fails_once(void **state) {
    (void)state;
    fail_each_call(CUDA_ERROR_ILLEGAL_ADDRESS, TRIAGE_E_DEVICE,
                   ": CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered)");
    fail_each_call(CUDA_ERROR_OUT_OF_MEMORY, TRIAGE_E_MEMORY, ": CUDA_ERROR_OUT_OF_MEMORY (");
    fail_each_call(CUDA_ERROR_NO_DEVICE, TRIAGE_E_NO_DEVICE, ": CUDA_ERROR_NO_DEVICE (");
    fail_each_call((CUresult)12345, TRIAGE_E_DEVICE, ": CUDA error 12345"); /* unknown to the driver itself */
}

static void test_failing_teardown_frees_once(void **state) {
    (void)state;
    life l = {0};
    assert_int_equal(live(&l), TRIAGE_OK);
    fake.teardown_fails = true;
    end(&l);
    expect_nothing_left("a failing teardown");
}

/* ---- devices ---- */

static void test_no_devices(void **state) {
    (void)state;
    tri_device *device = NULL;
    int count = -1;
    fake.devices = 0;
    assert_int_equal(tri_device_count(&count, "cuda"), TRIAGE_OK);
    assert_int_equal(count, 0);
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_E_NO_DEVICE);
    assert_int_equal(tri_device_open(&device, "auto", false), TRIAGE_OK);
    assert_string_equal(tri_device_describe(device)->backend, "host");
    tri_device_close(device);
    fake.devices = 2;
    assert_int_equal(tri_device_open(&device, "cuda:2", false), TRIAGE_E_NO_DEVICE);
    assert_non_null(strstr(triage_last_error(), "allowed 0 to 1"));
    expect_nothing_left("absent devices");
}

/* A GPU in trouble is not silently replaced by the CPU. */
static void test_auto_reports_trouble(void **state) {
    (void)state;
    tri_device *device = NULL;
    fake.fail_at = 3;
    assert_int_equal(tri_device_open(&device, "auto", false), TRIAGE_E_DEVICE);
    assert_null(device);
    expect_nothing_left("auto");
}

static void test_description(void **state) {
    (void)state;
    tri_device *device = NULL;
    char *key = NULL;
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_OK);
    const tri_device_info *info = tri_device_describe(device);
    assert_string_equal(info->target, "sm_90a");
    assert_string_equal(info->name, "NVIDIA Fake");
    assert_int_equal(info->driver_version, 13000);
    assert_int_equal(tri_device_key(&key, info), TRIAGE_OK);
    assert_string_equal(
        key, "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448");
    free(key);
    assert_string_equal(info->uuid, "GPU-a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0");
    tri_device_close(device);
    assert_int_equal(tri_device_open(&device, "cuda:1", false),
                     TRIAGE_OK); /* another card of the same kind */
    assert_string_equal(tri_device_describe(device)->uuid, "GPU-a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1");
    tri_device_close(device);
    expect_nothing_left("description");
}

/* An application's own context is used and neither retained nor released. */
static void test_current_context(void **state) {
    (void)state;
    tri_device *device = NULL;
    tri_address memory = 0;
    int own = make(kContext);
    fake.stack[fake.depth++] = own;
    fake.ordinal_of_context = 1;
    assert_int_equal(tri_device_open(&device, "cuda", true), TRIAGE_OK);
    assert_int_equal(fake.live[kContext], 1);
    assert_int_equal(tri_device_alloc(device, &memory, 100), TRIAGE_OK);
    assert_int_equal(fake.depth, 1);

    fake.depth = 0; /* another thread, without a context: pushed for the call and popped */
    assert_int_equal(tri_device_synchronize(device), TRIAGE_OK);
    assert_int_equal(fake.depth, 0);
    fake.stack[fake.depth++] = own;

    tri_device_release(device, memory);
    tri_device_close(device);
    assert_int_equal(fake.live[kContext], 1);
    fake.depth = 0;
    unmake(own, kContext);
    expect_nothing_left("a borrowed context");
}

/* ---- launch and time ---- */

static void open_and_load(life *l, const tri_launch *launch) {
    tri_image image = {.data = cubin, .size = sizeof cubin};
    assert_int_equal(tri_device_open(&l->device, "cuda", false), TRIAGE_OK);
    assert_int_equal(tri_kernel_load(&l->kernel, l->device, &image, launch), TRIAGE_OK);
}

static void test_launch_is_as_asked(void **state) {
    (void)state;
    life l = {0};
    tri_bsr_gemm_args args, seen;
    memset(&args, 0, sizeof args);
    args.m = 4711;
    open_and_load(&l, &big_launch);
    args.workspace = (void *)(uintptr_t)tri_kernel_workspace(l.kernel);
    assert_int_equal(fake.dynamic_smem, 200000);
    assert_int_equal(fake.nonportable, 1);
    int calls = fake.calls;
    assert_int_equal(tri_kernel_launch(l.kernel, &args, POINTER(void *, 99)), TRIAGE_OK);
    assert_int_equal(fake.calls - calls, 4); /* current context, push, workspace, launch: nothing else */
    assert_true(fake.config.gridDimX == 32 && fake.config.gridDimY == 4 && fake.config.gridDimZ == 1);
    assert_true(fake.config.blockDimX == 384 && fake.config.sharedMemBytes == 200000);
    assert_int_equal(NUMBER(fake.config.hStream), 99);
    assert_int_equal(fake.config.numAttrs, 1);
    assert_int_equal(fake.attribute.id, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
    assert_int_equal(fake.attribute.value.clusterDim.x, 16);
    memcpy(&seen, fake.args, sizeof seen);
    assert_int_equal(seen.m, 4711);
    assert_int_equal(NUMBER(seen.workspace), fake.fill_at); /* zeroed on the same stream, all of it */
    assert_int_equal(fake.fill_bytes, 4096);
    assert_int_equal(NUMBER(fake.fill_stream), 99);
    end(&l);

    reset(NULL);
    life plain = {0};
    tri_launch launch = {.grid = {1, 1, 1}, .block = {32, 1, 1}, .cluster = {1, 1, 1}};
    open_and_load(&plain, &launch);
    assert_int_equal(fake.nonportable, 0);
    assert_int_equal(tri_kernel_launch(plain.kernel, &args, NULL), TRIAGE_OK);
    assert_int_equal(fake.config.numAttrs, 0);
    assert_int_equal(fake.fill_bytes, 0);
    end(&plain);
    expect_nothing_left("launch");
}

/* A call that its matrix knows asks which context is current and launches, as it was made and on the caller's stream:
 * no other call to the driver, no lock, and no failure is hidden or kept. */
static void test_known_call(void **state) {
    (void)state;
    const tri_launch launch = {.grid = {7, 1, 1}, .block = {32, 1, 1}, .cluster = {1, 1, 1}};
    const triage_dense b = {POINTER(void *, 4096), 64, 8, 8, TRIAGE_F16, TRIAGE_ROW_MAJOR};
    const triage_dense c = {POINTER(void *, 8192), 64, 8, 8, TRIAGE_F16, TRIAGE_ROW_MAJOR};
    const tri_bsr_call call = {.b = &b, .c = &c, .alpha = 1};
    life l = {0};
    triage_context context = {0};
    triage_bsr_matrix a = {.context = &context};
    open_and_load(&l, &launch);
    tri_plan plan = {.kernel = l.kernel};
    tri_bsr_served_call made = {.served.plan = &plan, .alpha = 1, .b = b, .c = c, .args.m = 4711};
    assert_int_equal(tri_caller_open(&a.caller, &tri_bsr_gemm_calls, &context, &a), TRIAGE_OK);
    tri_calls_put(&a.caller, &made.served, &call);
    fake.stack[fake.depth++] = (int)NUMBER(((tri_cuda_device *)l.device)->context);
    for (uintptr_t stream = 5; stream < 8; stream++) {
        int calls = fake.calls;
        assert_int_equal(triage_bsr_gemm(&context, 1, &a, &b, 0, &c, NULL, POINTER(void *, stream)),
                         TRIAGE_OK);
        assert_int_equal(fake.calls - calls, 2);
        assert_int_equal(NUMBER(fake.config.hStream), stream);
        assert_int_equal(fake.config.gridDimX, 7);
        assert_memory_equal(fake.args, &made.args, sizeof made.args);
    }
    fake.depth = 0; /* another thread: the context is pushed, and popped */
    assert_int_equal(triage_bsr_gemm(&context, 1, &a, &b, 0, &c, NULL, NULL), TRIAGE_OK);
    for (int after = 1; after <= 3; after++) { /* the question, the push, the launch */
        int launches = fake.launches;
        fake.fail_at = fake.calls + after;
        assert_int_equal(triage_bsr_gemm(&context, 1, &a, &b, 0, &c, NULL, NULL), TRIAGE_E_DEVICE);
        assert_true(strncmp(triage_last_error(), fake.failed, strlen(fake.failed)) == 0);
        assert_int_equal(fake.launches, launches);
        assert_int_equal(fake.depth, 0);
        assert_int_equal(triage_bsr_gemm(&context, 1, &a, &b, 0, &c, NULL, NULL), TRIAGE_OK);
    }
    tri_served_call *known = tri_calls_take(&a.caller, &tri_bsr_gemm_calls, &call, NULL);
    assert_non_null(known);
    assert_int_equal(atomic_load(&known->users), 1); /* every call gave it back */
    tri_caller_close(&a.caller);
    end(&l);
    expect_nothing_left("known calls");
}

static void test_bad_launches(void **state) {
    (void)state;
    static const tri_launch bad[] = {
        {.grid = {0, 1, 1}, .block = {32, 1, 1}, .cluster = {1, 1, 1}},
        {.grid = {1, 65536, 1}, .block = {32, 1, 1}, .cluster = {1, 1, 1}},
        {.grid = {1, 1, 1}, .block = {1025, 1, 1}, .cluster = {1, 1, 1}},
        {.grid = {1, 1, 1}, .block = {32, 32, 2}, .cluster = {1, 1, 1}},
        {.grid = {1, 1, 1}, .block = {0, 1, 1}, .cluster = {1, 1, 1}},
        {.grid = {4, 1, 1}, .block = {32, 1, 1}, .cluster = {0, 1, 1}},
        {.grid = {4, 1, 1}, .block = {32, 1, 1}, .cluster = {3, 1, 1}},
        {.grid = {32, 1, 1}, .block = {32, 1, 1}, .cluster = {32, 1, 1}},
    };
    life l = {0};
    tri_image image = {.data = cubin, .size = sizeof cubin};
    assert_int_equal(tri_device_open(&l.device, "cuda", false), TRIAGE_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tri_kernel_load(&l.kernel, l.device, &image, &bad[i]), TRIAGE_E_INVALID);
        assert_null(l.kernel);
    }
    end(&l);
    expect_nothing_left("bad launches");
}

static void test_time_uses_events_and_graphs(void **state) {
    (void)state;
    life l = {0};
    tri_bsr_gemm_args args;
    double ns[600];
    memset(&args, 0, sizeof args);
    open_and_load(&l, &big_launch);
    assert_int_equal(tri_kernel_time(l.kernel, &args, 1 << 20, 1, ns, 5), TRIAGE_OK);
    assert_int_equal(fake.sweeps, 1 + 5); /* the first one makes what it needs */
    assert_int_equal(fake.launches, 5);
    assert_int_equal(fake.swept.bytes, 1 << 20);
    assert_true(fake.swept.from != 0 && fake.swept.from == fake.swept.sink);
    for (int i = 0; i < 5; i++)
        assert_true(ns[i] == 0.5e6);
    fake.sweeps = 0;
    assert_int_equal(tri_kernel_time(l.kernel, &args, 0, 4, ns, 3), TRIAGE_OK);
    assert_int_equal(fake.captured, 4);
    assert_int_equal(fake.graph_launches, 3);
    assert_int_equal(fake.sweeps, 0);
    assert_true(ns[0] == 0.125e6 && ns[2] == 0.125e6);
    assert_int_equal(tri_kernel_time(l.kernel, &args, 0, 1, ns, 600), TRIAGE_OK); /* in chunks */
    assert_int_equal(fake.launches, 5 + 4 + 600);
    assert_int_equal(fake.live[kEvent], 0);
    end(&l);
    expect_nothing_left("timing");
}

/* ---- tensor maps ---- */

static void test_tensor_maps(void **state) {
    (void)state;
    tri_device *device = NULL;
    unsigned char map[128] = {0};
    tri_tensor_box flat = {.rank = 2, .box = {32, 16, 0}, .swizzle = 64, .l2_promotion = 128};
    tri_tensor_box split = {.rank = 3, .box = {32, 16, 4}, .inner_split = 64, .swizzle = 128};
    tri_tensor_box none = {0};
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_OK);

    assert_int_equal(tri_tensor_map_make(map, device, &none, TRIAGE_F16, 0, 0, 0, 0), TRIAGE_OK);
    assert_int_equal(map[0], 0);
    assert_int_equal(tri_tensor_map_make(map, device, &flat, TRIAGE_BF16, 0x1000, 1000, 77, 1008), TRIAGE_OK);
    assert_int_equal(map[127], 0xab);
    assert_int_equal(fake.map_type, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16);
    assert_int_equal(fake.map_rank, 2);
    assert_true(fake.map_dims[0] == 1000 && fake.map_dims[1] == 77 && fake.map_strides[0] == 2016);
    assert_true(fake.map_box[0] == 32 && fake.map_box[1] == 16);
    assert_int_equal(fake.map_swizzle, CU_TENSOR_MAP_SWIZZLE_64B);
    assert_int_equal(fake.map_promotion, CU_TENSOR_MAP_L2_PROMOTION_L2_128B);

    assert_int_equal(tri_tensor_map_make(map, device, &split, TRIAGE_F32, 0x1000, 512, 77, 516), TRIAGE_OK);
    assert_true(fake.map_dims[0] == 64 && fake.map_dims[1] == 77 && fake.map_dims[2] == 8);
    assert_true(fake.map_strides[0] == 516 * 4 && fake.map_strides[1] == 64 * 4);
    assert_true(fake.map_box[2] == 4);

    const struct {
        tri_tensor_box box;
        tri_address base;
        int64_t inner, outer, ld;
    } bad[] = {
        {flat, 0x1008, 64, 64, 64},
        {flat, 0, 64, 64, 64},
        {flat, 0x1000, 64, 64, 65},
        {flat, 0x1000, 64, 64, 56},
        {flat, 0x1000, 0, 64, 64},
        {flat, 0x1000, 64, INT64_C(1) << 33, 64},
        {split, 0x1000, 100, 64, 104},
        {{.rank = 1}, 0x1000, 64, 64, 64},
        {{.rank = 2, .box = {257, 1, 0}}, 0x1000, 512, 64, 512},
        {{.rank = 2, .box = {64, 1, 0}, .swizzle = 16}, 0x1000, 512, 64, 512},
        {{.rank = 2, .box = {64, 1, 0}, .l2_promotion = 32}, 0x1000, 512, 64, 512},
        {{.rank = 2, .box = {4, 1, 0}}, 0x1000, 512, 64, 512},
        {{.rank = 2, .box = {64, 1, 0}, .swizzle = 64}, 0x1000, 512, 64, 512},
        {{.rank = 3, .box = {8, 1, 1}, .inner_split = 4}, 0x1000, 512, 64, 512},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        triage_status status = tri_tensor_map_make(map, device, &bad[i].box, TRIAGE_F16, bad[i].base,
                                                   bad[i].inner, bad[i].outer, bad[i].ld);
        if (status != TRIAGE_E_INVALID)
            fail_msg("bad map %zu: status %d", i, status);
    }
    tri_device_close(device);
    expect_nothing_left("tensor maps");
}

/* Bytes for bytes: boxes and splits count elements, swizzles and strides count bytes. */
static void test_tensor_maps_of_bytes(void **state) {
    (void)state;
    tri_device *device = NULL;
    unsigned char map[128] = {0};
    tri_tensor_box flat = {.rank = 2, .box = {128, 256, 0}, .swizzle = 128, .l2_promotion = 256};
    tri_tensor_box split = {.rank = 3, .box = {64, 16, 4}, .inner_split = 64, .swizzle = 64};
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_OK);
    assert_int_equal(tri_tensor_map_make(map, device, &flat, TRIAGE_E4M3, 0x1000, 4096, 77, 4112), TRIAGE_OK);
    assert_int_equal(fake.map_type, CU_TENSOR_MAP_DATA_TYPE_UINT8);
    assert_true(fake.map_dims[0] == 4096 && fake.map_dims[1] == 77 && fake.map_strides[0] == 4112);
    assert_true(fake.map_box[0] == 128 && fake.map_box[1] == 256);
    assert_int_equal(fake.map_swizzle, CU_TENSOR_MAP_SWIZZLE_128B);
    assert_int_equal(tri_tensor_map_make(map, device, &split, TRIAGE_E4M3, 0x1000, 512, 77, 512), TRIAGE_OK);
    assert_true(fake.map_dims[0] == 64 && fake.map_dims[2] == 8 && fake.map_strides[1] == 64);

    static const struct {
        tri_tensor_box box;
        int64_t inner, ld;
        const char *message;
    } bad[] = {
        {{.rank = 2, .box = {128, 8, 0}, .swizzle = 128}, 4096, 4104, "4104 bytes is not a multiple of 16"},
        {{.rank = 2, .box = {8, 8, 0}}, 4096, 4096, "a box of 8 bytes is not a multiple of 16"},
        {{.rank = 2, .box = {256, 8, 0}, .swizzle = 128}, 4096, 4096, "a box of 256 bytes, at most 128"},
        {{.rank = 3, .box = {16, 8, 4}, .inner_split = 8}, 4096, 4096, "inner_split of 8 bytes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(
            tri_tensor_map_make(map, device, &bad[i].box, TRIAGE_E4M3, 0x1000, bad[i].inner, 64, bad[i].ld),
            TRIAGE_E_INVALID);
        assert_non_null(strstr(triage_last_error(), bad[i].message));
    }
    tri_device_close(device);
    expect_nothing_left("tensor maps of bytes");
}

/* What a launch for e4m3 gets: A and B in bytes, C in its own type, the scales' addresses. */
static void test_args_of_e4m3(void **state) {
    (void)state;
    static const CUtensorMapDataType types[] = {
        CU_TENSOR_MAP_DATA_TYPE_FLOAT32, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16};
    tri_device *device = NULL;
    tri_bsr_gemm_args args;
    tri_bsr_buffers buffers = {
        .values = 0x10000, .b = 0x20000, .c = 0x30000, .scale_a = 0x40000, .scale_b = 0x50004};
    tri_launch launch = big_launch;
    tri_problem p = make_problem();
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_OK);
    bsr_of(&p)->in_type = TRIAGE_E4M3;
    bsr_of(&p)->scale_per_block = true;
    bsr_of(&p)->b_layout = bsr_of(&p)->c_layout = TRIAGE_COL_MAJOR;
    bsr_of(&p)->ldb = 272;
    bsr_of(&p)->ldc = bsr_of(&p)->m;
    launch.maps[TRI_BSR_MAP_A] = (tri_tensor_box){.rank = 2, .box = {64, 64, 0}, .swizzle = 64};
    launch.maps[TRI_BSR_MAP_B] = (tri_tensor_box){.rank = 2, .box = {64, 128, 0}, .swizzle = 64};
    assert_int_equal(tri_bsr_args_make(&args, device, &launch, &p, &buffers, 1, 0), TRIAGE_OK);
    assert_int_equal(fake.map_type, CU_TENSOR_MAP_DATA_TYPE_UINT8); /* B, the last one made */
    assert_true(fake.map_dims[0] == 256 && fake.map_dims[1] == 512 && fake.map_strides[0] == 272);
    assert_true((uintptr_t)args.scale_a == 0x40000 && (uintptr_t)args.scale_b == 0x50004);
    launch.maps[TRI_BSR_MAP_B].rank = 0;
    assert_int_equal(tri_bsr_args_make(&args, device, &launch, &p, &buffers, 1, 0), TRIAGE_OK);
    assert_int_equal(fake.map_type, CU_TENSOR_MAP_DATA_TYPE_UINT8); /* A */
    assert_true(fake.map_dims[0] == 64 && fake.map_strides[0] == 64);
    for (int out = TRIAGE_F32; out <= TRIAGE_BF16; out++) {
        bsr_of(&p)->out_type = (triage_dtype)out;
        launch.maps[TRI_BSR_MAP_C] = (tri_tensor_box){.rank = 2, .box = {32, 64, 0}, .swizzle = 128};
        assert_int_equal(tri_bsr_args_make(&args, device, &launch, &p, &buffers, 1, 0), TRIAGE_OK);
        assert_int_equal(fake.map_type, types[out]);
        assert_true(fake.map_strides[0] == (cuuint64_t)bsr_of(&p)->ldc * (out == TRIAGE_F32 ? 4 : 2));
    }
    bsr_of(&p)->ldb = 264; /* 264 bytes: what is enough for halves is not for bytes */
    launch.maps[TRI_BSR_MAP_B].rank = 2;
    assert_int_equal(tri_bsr_args_make(&args, device, &launch, &p, &buffers, 1, 0), TRIAGE_E_INVALID);
    assert_non_null(strstr(triage_last_error(), "264 bytes"));
    tri_device_close(device);
}

static void test_args_maps(void **state) {
    (void)state;
    tri_device *device = NULL;
    tri_bsr_gemm_args args;
    tri_bsr_buffers buffers = {.values = 0x10000, .b = 0x20000, .c = 0x30000};
    tri_problem p = make_problem();
    const unsigned char zero[128] = {0};
    assert_int_equal(tri_device_open(&device, "cuda", false), TRIAGE_OK);
    assert_int_equal(tri_bsr_args_make(&args, device, &big_launch, &p, &buffers, 1, 0), TRIAGE_OK);
    assert_true(fake.map_dims[0] == 64 && fake.map_dims[1] == 256 &&
                fake.map_dims[2] == 8); /* B: n split, k */
    assert_int_equal(fake.map_strides[0], 520 * 2);
    assert_memory_not_equal(args.map_a.bytes, zero, 128);
    assert_memory_equal(args.map_c.bytes, zero, 128);

    bsr_of(&p)->b_layout = TRIAGE_COL_MAJOR;
    bsr_of(&p)->ldb = 256;
    assert_int_equal(tri_bsr_args_make(&args, device, &big_launch, &p, &buffers, 1, 0), TRIAGE_OK);
    assert_true(fake.map_dims[1] == 512 && fake.map_dims[2] == 4); /* B: k split, n */

    bsr_of(&p)->nnzb = 0; /* no values: no map of them, and no error */
    buffers.values = 0;
    assert_int_equal(tri_bsr_args_make(&args, device, &big_launch, &p, &buffers, 1, 0), TRIAGE_OK);
    assert_memory_equal(args.map_a.bytes, zero, 128);
    tri_device_close(device);
}

/* ---- NVRTC's log ---- */

static void test_log_is_read(void **state) {
    (void)state;
    tri_image image = {
        .log = "ptxas info    : Function properties for triage_kernel\n"
               "ptxas         .     816 bytes stack frame, 1640 bytes spill stores, 1844 bytes spill loads\n"
               "ptxas info    : Used 168 registers, used 16 barriers, 816 bytes cumulative stack size, "
               "1024 bytes smem, 360 bytes cmem[0]\n"};
    tri_nvrtc_read_log(&image);
    assert_int_equal(image.registers, 168);
    assert_int_equal(image.spill_bytes, 3484);
    assert_int_equal(image.static_smem_bytes, 1024);
    image.log = "";
    tri_nvrtc_read_log(&image);
    assert_true(image.registers == -1 && image.spill_bytes == -1 && image.static_smem_bytes == 0);

    const char *codes[] = {"C7504", "C7508", "C7509", "C7510", "C7511"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        char log[200], line[200], want[100];
        snprintf(want, sizeof want, "ptxas info    : (%s) Potential Performance Loss: of some kind",
                 codes[i]);
        snprintf(log, sizeof log, "ptxas info : 0 bytes gmem\n%s\nptxas info : more\n", want);
        tri_nvrtc_bad_warning(line, sizeof line, log);
        assert_string_equal(line, want);
    }
    char line[100];
    tri_nvrtc_bad_warning(line, sizeof line, "ptxas info    : (C7505) something harmless\n");
    assert_string_equal(line, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, reset, put_back)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_known_call),
        TEST(test_each_call_fails_once),
        TEST(test_failing_teardown_frees_once),
        TEST(test_no_devices),
        TEST(test_auto_reports_trouble),
        TEST(test_description),
        TEST(test_current_context),
        TEST(test_launch_is_as_asked),
        TEST(test_bad_launches),
        TEST(test_time_uses_events_and_graphs),
        TEST(test_tensor_maps),
        TEST(test_tensor_maps_of_bytes),
        TEST(test_args_of_e4m3),
        TEST(test_args_maps),
        TEST(test_log_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
