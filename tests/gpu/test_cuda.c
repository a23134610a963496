/* The cuda device on a real GPU: the plain kernel against float64, tensor maps, clusters, shared memory,
 * workspace, timing, threads, and a kernel that crashes. */
#include "support/bsr_of.h"
#include "support/bsr_case.h"

#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include "op/bsr_gemm/bsr_gemm.h"

static tri_device *device;
static const tri_launch one_block = {.grid = {1, 1, 1}, .block = {32, 1, 1}, .cluster = {1, 1, 1}};

/* ---- building ---- */

static tri_kernel *build(const tri_source *source, const tri_launch *launch) {
    tri_image image;
    tri_kernel *kernel = NULL;
    if (tri_compile(&image, tri_device_describe(device)->target, source, NULL) != TRIAGE_OK)
        fail_msg("compile: %s", triage_last_error());
    if (tri_kernel_load(&kernel, device, &image, launch) != TRIAGE_OK)
        fail_msg("load: %s", triage_last_error());
    tri_image_free(&image);
    return kernel;
}

/* A kernel in CUDA text that may include the argument block and the asm wrappers. */
static tri_kernel *build_text(const char *text, const tri_launch *launch) {
    static const char *const names[] = {"bsr_gemm/args.h", "lib/mbarrier.cuh", "lib/tma.cuh"};
    tri_include includes[3];
    char *path = NULL, *texts[3] = {NULL};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tri_format(&path, TRI_SOURCE_DIR "/templates/%s", names[i]), TRIAGE_OK);
        if (tri_file_read(&texts[i], NULL, path, 0) != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        includes[i] = (tri_include){names[i], texts[i]};
        free(path);
    }
    tri_source source = {.name = "test.cu", .text = (char *)text, .includes = includes, .include_count = 3};
    tri_kernel *kernel = build(&source, launch);
    for (int i = 0; i < 3; i++)
        free(texts[i]);
    return kernel;
}

static void launch_and_wait(tri_kernel *kernel, const tri_bsr_gemm_args *args) {
    if (tri_kernel_launch(kernel, args, NULL) != TRIAGE_OK || tri_device_synchronize(device) != TRIAGE_OK)
        fail_msg("launch: %s", triage_last_error());
}

static tri_address new_memory(size_t bytes) {
    tri_address address = 0;
    if (tri_device_alloc(device, &address, bytes) != TRIAGE_OK)
        fail_msg("alloc: %s", triage_last_error());
    return address;
}

static void read_back(void *to, tri_address from, size_t bytes) {
    if (tri_device_download(device, to, from, bytes) != TRIAGE_OK)
        fail_msg("download: %s", triage_last_error());
}

static void *pointer(tri_address address) {
    return (void *)(uintptr_t)address;
}

/* ---- the plain kernel ---- */

static void check_reference(const bsr_case *spec) {
    static const char *const types[3] = {"float", "__half", "__nv_bfloat16"};
    bsr_data data;
    tri_bsr_buffers buffers;
    tri_bsr_gemm_args args;
    tri_source source;
    case_params params = {.count = 0};
    case_problem_params(&params, spec, types);
    case_param(&params, "scale_per_block", "0");
    case_render(&source, "templates/bsr_gemm/reference.cu", &params);
    case_make(&data, spec, 3);
    bool row = spec->c_layout == TRIAGE_ROW_MAJOR;
    uint32_t m = (uint32_t)bsr_of(&data.problem)->m, n = (uint32_t)bsr_of(&data.problem)->n;
    tri_launch launch = one_block;
    launch.block[0] = 256;
    launch.grid[0] = row ? (m + 7) / 8 : (m + 31) / 32;
    launch.grid[1] = row ? (n + 31) / 32 : (n + 7) / 8;
    tri_kernel *kernel = build(&source, &launch);
    case_buffers(&buffers, device, &data);
    assert_int_equal(
        tri_bsr_args_make(&args, device, &launch, &data.problem, &buffers, spec->alpha, spec->beta),
        TRIAGE_OK);
    launch_and_wait(kernel, &args);
    void *c = malloc(data.c_bytes);
    assert_non_null(c);
    read_back(c, buffers.c, data.c_bytes);
    case_verify(&data, c, "reference.cu");
    free(c);
    tri_kernel_unload(kernel);
    case_release(&buffers, device);
    case_free(&data);
    tri_source_free(&source);
}

static void test_reference_right(void **state) {
    (void)state;
    static const bsr_case cases[] = {
        {16, 32, 5, 7, 100, TRIAGE_F16, TRIAGE_F16, 0, 0, 0, false, 1.0f, 0.0f, 0},
        {32, 32, 4, 5, 33, TRIAGE_BF16, TRIAGE_BF16, 1, 1, 2, true, 0.5f, -1.0f, 8},
        {7, 3, 6, 9, 1, TRIAGE_F32, TRIAGE_F32, 0, 1, 3, true, 1.0f, 0.0f, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_reference(&cases[i]);
}

/* ---- memory ---- */

static void test_memory(void **state) {
    (void)state;
    uint32_t words[1000], back[1000];
    for (uint32_t i = 0; i < 1000; i++)
        words[i] = i * 2654435761u;
    tri_address at = new_memory(sizeof words);
    assert_int_equal(at % 256, 0);
    assert_int_equal(tri_device_upload(device, at, words, sizeof words), TRIAGE_OK);
    assert_int_equal(tri_device_fill(device, at + 400, 0x7fc00000u, 10, NULL), TRIAGE_OK);
    read_back(back, at, sizeof back);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(back[i], i >= 100 && i < 110 ? 0x7fc00000u : words[i]);
    tri_device_release(device, at);
    assert_int_equal(tri_device_alloc(device, &at, (size_t)1 << 46), TRIAGE_E_MEMORY);
    assert_non_null(strstr(triage_last_error(), "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY ("));
    assert_int_equal(at, 0);
}

/* ---- tensor maps ---- */

/* Copies one box, at (64, 3) or slab (1, 3), from shared memory to c as it lies there. */
#define TMA_KERNEL(copy)                                                                                     \
    "#include \"bsr_gemm/args.h\"\n#include \"lib/tma.cuh\"\n"                                               \
    "extern \"C\" __global__ void triage_kernel(const __grid_constant__ tri_bsr_gemm_args args) {\n"         \
    "  __shared__ alignas(1024) float box[1024];\n"                                                          \
    "  __shared__ unsigned long long bar;\n"                                                                 \
    "  if (threadIdx.x == 0) { mbarrier_init(&bar, 1); mbarrier_init_fence(); }\n"                           \
    "  __syncthreads();\n"                                                                                   \
    "  if (threadIdx.x == 0) { mbarrier_arrive_expect_tx(&bar, 4096); " copy "; }\n"                         \
    "  mbarrier_wait(&bar, 0);\n"                                                                            \
    "  for (int i = threadIdx.x; i < 1024; i += 32) ((float *)args.c)[i] = box[i]; }\n"

static void check_map(const char *text, const tri_tensor_box *box, int outer_size, int slabs) {
    enum { kOuter = 10, kInner = 256, kLd = 260 };
    static float matrix[kOuter * kLd], seen[1024];
    for (int i = 0; i < kOuter * kLd; i++)
        matrix[i] = (float)(i + 1);
    tri_address b = new_memory(sizeof matrix), c = new_memory(sizeof seen);
    assert_int_equal(tri_device_upload(device, b, matrix, sizeof matrix), TRIAGE_OK);
    tri_bsr_gemm_args args = {.c = pointer(c)};
    if (tri_tensor_map_make(&args.map_b, device, box, TRIAGE_F32, b, kInner, kOuter, kLd) != TRIAGE_OK)
        fail_msg("rank %d: %s", box->rank, triage_last_error());
    tri_kernel *kernel = build_text(text, &one_block);
    launch_and_wait(kernel, &args);
    read_back(seen, c, sizeof seen);
    int width = 1024 / outer_size / slabs;
    for (int s = 0; s < slabs; s++) {
        for (int o = 0; o < outer_size; o++) {
            for (int i = 0; i < width; i++) {
                int row = 3 + o, col = 64 + s * width + i;
                float want = row < kOuter ? matrix[row * kLd + col] : 0.0f;
                assert_true(seen[(s * outer_size + o) * width + i] == want);
            }
        }
    }
    tri_kernel_unload(kernel);
    tri_device_release(device, b);
    tri_device_release(device, c);
}

static void test_tensor_maps(void **state) {
    (void)state;
    if (tri_device_describe(device)->cc < 90) {
        print_message("skipped: tensor maps need compute capability 9.0\n");
        skip();
    }
    tri_tensor_box flat = {.rank = 2, .box = {128, 8, 0}};
    tri_tensor_box split = {.rank = 3, .box = {64, 8, 2}, .inner_split = 64, .l2_promotion = 128};
    check_map(TMA_KERNEL("tma_load_2d(box, &args.map_b, &bar, 64, 3)"), &flat, 8, 1);
    check_map(TMA_KERNEL("tma_load_3d(box, &args.map_b, &bar, 0, 3, 1)"), &split, 8, 2);
}

/* ---- launch ---- */

#define KERNEL(body)                                                                                         \
    "#include \"bsr_gemm/args.h\"\n"                                                                         \
    "extern \"C\" __global__ void triage_kernel(const __grid_constant__ tri_bsr_gemm_args args) { " body     \
    " }\n"

static void test_workspace(void **state) {
    (void)state;
    int sum = -1;
    tri_address c = new_memory(sizeof sum);
    assert_int_equal(tri_device_fill(device, c, 0, 1, NULL), TRIAGE_OK);
    tri_launch launch = one_block;
    launch.workspace_bytes = 4096;
    tri_kernel *kernel = build_text(KERNEL("int *w = (int *)args.workspace; if (threadIdx.x == 0) "
                                           "*(int *)args.c += 1 + w[1023]++;"),
                                    &launch);
    tri_bsr_gemm_args args = {.c = pointer(c), .workspace = pointer(tri_kernel_workspace(kernel))};
    for (int i = 0; i < 3; i++)
        launch_and_wait(kernel, &args);
    read_back(&sum, c, sizeof sum);
    assert_int_equal(sum, 3);
    tri_kernel_unload(kernel);
    tri_device_release(device, c);
}

static void check_cluster(uint32_t size) {
    unsigned seen = 0;
    tri_address c = new_memory(sizeof seen);
    tri_launch launch = one_block;
    launch.grid[0] = 2 * size;
    launch.cluster[0] = size;
    tri_kernel *kernel =
        build_text(KERNEL("unsigned n; asm(\"mov.u32 %0, %%cluster_nctarank;\" : \"=r\"(n)); "
                          "if (threadIdx.x == 0) *(unsigned *)args.c = n;"),
                   &launch);
    tri_bsr_gemm_args args = {.c = pointer(c)};
    launch_and_wait(kernel, &args);
    read_back(&seen, c, sizeof seen);
    assert_int_equal(seen, size);
    tri_kernel_unload(kernel);
    tri_device_release(device, c);
}

static void test_clusters(void **state) {
    (void)state;
    if (tri_device_describe(device)->cc < 90) {
        print_message("skipped: clusters need compute capability 9.0\n");
        skip();
    }
    check_cluster(1);
    check_cluster(2);
    check_cluster(8);
    if (tri_device_describe(device)->cc == 90)
        check_cluster(16); /* beyond the portable 8 */
}

static void test_all_shared_memory(void **state) {
    (void)state;
    int seen = 0, bytes = (int)tri_device_describe(device)->smem_bytes_max;
    tri_address c = new_memory(sizeof seen);
    tri_launch launch = one_block;
    launch.smem_bytes = (uint32_t)bytes;
    tri_kernel *kernel =
        build_text(KERNEL("extern __shared__ int s[]; s[args.n / 4 - 1] = 42; __syncthreads(); "
                          "if (threadIdx.x == 0) *(int *)args.c = s[args.n / 4 - 1];"),
                   &launch);
    tri_bsr_gemm_args args = {.c = pointer(c), .n = bytes};
    launch_and_wait(kernel, &args);
    read_back(&seen, c, sizeof seen);
    assert_int_equal(seen, 42);
    tri_kernel_unload(kernel);
    tri_device_release(device, c);
}

/* Another thread has no current context; a launch must bring it. */
static void *launch_in_thread(void *argument) {
    tri_bsr_gemm_args args = {.c = ((void **)argument)[1]};
    return tri_kernel_launch(((tri_kernel **)argument)[0], &args, NULL) == TRIAGE_OK ? argument : NULL;
}

static void test_threads(void **state) {
    (void)state;
    int sum = 0;
    tri_address c = new_memory(sizeof sum);
    assert_int_equal(tri_device_fill(device, c, 0, 1, NULL), TRIAGE_OK);
    tri_kernel *kernel = build_text(KERNEL("atomicAdd((int *)args.c, 1);"), &one_block);
    void *argument[2] = {kernel, pointer(c)}, *result = NULL;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, launch_in_thread, argument), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, argument);
    }
    assert_int_equal(tri_device_synchronize(device), TRIAGE_OK);
    read_back(&sum, c, sizeof sum);
    assert_int_equal(sum, 4 * 32);
    tri_kernel_unload(kernel);
    tri_device_release(device, c);
}

/* ---- time ---- */

static double median_of(double *ns, int count) {
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && ns[j - 1] > ns[j]; j--) {
            double swap = ns[j];
            ns[j] = ns[j - 1];
            ns[j - 1] = swap;
        }
    return ns[count / 2];
}

static void test_time_of_known_kernel(void **state) {
    (void)state;
    double ns[21];
    tri_kernel *kernel = build_text(
        KERNEL("unsigned long long a, b; asm volatile(\"mov.u64 %0, %%globaltimer;\" : \"=l\"(a)); "
               "do { asm volatile(\"mov.u64 %0, %%globaltimer;\" : \"=l\"(b)); } while (b - a < 200000);"),
        &one_block);
    tri_bsr_gemm_args args = {0};
    for (int batch = 1; batch <= 4; batch += 3) {
        assert_int_equal(tri_kernel_time(kernel, &args, 1 << 20, batch, ns, 21), TRIAGE_OK);
        double median = median_of(ns, 21);
        if (median < 195e3 || median > 260e3)
            fail_msg("batch %d: a kernel of 200 us took %.1f us", batch, median / 1e3);
    }
    tri_kernel_unload(kernel);
}

/* 16 MB from L2 or, after a flush, from memory. */
static void test_flush_makes_cold(void **state) {
    (void)state;
    enum { kBytes = 16 << 20 };
    double warm[21], cold[21];
    int64_t flush = 2 * tri_device_describe(device)->l2_bytes;
    tri_address b = new_memory(kBytes), c = new_memory(4);
    assert_int_equal(tri_device_fill(device, b, 1, kBytes / 4, NULL), TRIAGE_OK);
    tri_launch launch = one_block;
    launch.grid[0] = 1024;
    launch.block[0] = 256;
    tri_kernel *kernel = build_text(
        KERNEL("int s = 0; for (int i = blockIdx.x * 256 + threadIdx.x; i < args.n; i += 1024 * 256) "
               "s += ((const int *)args.b)[i]; if (s == -1) *(int *)args.c = s;"),
        &launch);
    tri_bsr_gemm_args args = {.b = pointer(b), .c = pointer(c), .n = kBytes / 4};
    assert_int_equal(tri_kernel_time(kernel, &args, 0, 1, warm, 21), TRIAGE_OK);
    assert_int_equal(tri_kernel_time(kernel, &args, flush, 1, cold, 21), TRIAGE_OK);
    double warm_ns = median_of(warm, 21), cold_ns = median_of(cold, 21);
    print_message("16 MB: warm %.1f us, cold %.1f us\n", warm_ns / 1e3, cold_ns / 1e3);
    assert_true(tri_device_describe(device)->l2_bytes < kBytes || cold_ns > 1.15 * warm_ns);
    tri_kernel_unload(kernel);
    tri_device_release(device, b);
    tri_device_release(device, c);
}

static void test_circumstances(void **state) {
    (void)state;
    char *text = NULL, *key = NULL;
    assert_int_equal(tri_device_circumstances(&text, device), TRIAGE_OK);
    assert_int_equal(tri_device_key(&key, tri_device_describe(device)), TRIAGE_OK);
    print_message("%s\n%s\n%s\n", tri_device_describe(device)->name, key, text);
    assert_int_equal(strncmp(text, "{\"backend\":\"cuda\",\"cuda_driver\":", 31), 0);
    assert_int_equal(text[strlen(text) - 1], '}');
    free(text);
    free(key);
}

/* ---- a crash: in a process of its own, since it takes the context with it ---- */

static int crash(void) {
    tri_bsr_gemm_args args = {.c = (void *)16};
    int status = 1;
    if (tri_device_open(&device, "cuda", false) != TRIAGE_OK)
        return status;
    tri_kernel *kernel = build_text(KERNEL("*(int *)args.c = 1;"), &one_block);
    triage_status launched = tri_kernel_launch(kernel, &args, NULL);
    triage_status ended = tri_device_synchronize(device);
    if (launched == TRIAGE_OK && ended == TRIAGE_E_DEVICE &&
        strstr(triage_last_error(), "cuCtxSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS ("))
        status = 0;
    else
        printf("launch %d, synchronize %d: %s\n", launched, ended, triage_last_error());
    tri_kernel_unload(kernel);
    tri_device_close(device);
    return status;
}

static void test_crash_is_reported(void **state) {
    (void)state;
    char *argv[] = {"test_cuda", "crash", NULL}, *environment[] = {NULL};
    pid_t child = 0;
    int result = -1;
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environment), 0);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "crash") == 0)
        return crash();
    triage_status status = tri_device_open(&device, "cuda", false);
    if (status == TRIAGE_E_NO_DEVICE) {
        printf("skipped: no CUDA device (%s)\n", triage_last_error());
        return 77;
    }
    if (status != TRIAGE_OK) {
        printf("cuda: %s\n", triage_last_error());
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_right),   cmocka_unit_test(test_memory),
        cmocka_unit_test(test_tensor_maps),       cmocka_unit_test(test_workspace),
        cmocka_unit_test(test_clusters),          cmocka_unit_test(test_all_shared_memory),
        cmocka_unit_test(test_threads),           cmocka_unit_test(test_time_of_known_kernel),
        cmocka_unit_test(test_flush_makes_cold),  cmocka_unit_test(test_circumstances),
        cmocka_unit_test(test_crash_is_reported),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tri_device_close(device);
    return failed;
}
