/* The host device end to end: its templates compiled, loaded, run, checked against float64, and timed. */
#include "support/bsr_case.h"

#include <pthread.h>
#include <time.h>
#include "op/bsr_gemm/bsr_gemm.h"
#include "support/scratch.h"

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

/* In a sanitized test the kernels are sanitized too. */
static tri_kernel *build_for(const tri_source *source, const char *target, const tri_launch *launch) {
    tri_image image;
    tri_kernel *kernel = NULL;
    tri_source checked = *source;
#ifdef __SANITIZE_ADDRESS__
    char *options[] = {"-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"};
    checked.options = options;
    checked.option_count = 2;
#endif
    if (tri_compile(&image, target, &checked, TEST_KERNELS) != TRIAGE_OK)
        fail_msg("compile: %s", triage_last_error());
    if (tri_kernel_load(&kernel, device, &image, launch) != TRIAGE_OK)
        fail_msg("load: %s", triage_last_error());
    tri_image_free(&image);
    return kernel;
}

static tri_kernel *build(const tri_source *source, const tri_launch *launch) {
    return build_for(source, tri_device_describe(device)->target, launch);
}

static tri_source text_source(const char *text) {
    return (tri_source){.name = "test.c", .text = (char *)text};
}

/* ---- the templates ---- */

typedef struct tile {
    int n, m, unroll, row_tasks, pack;
    const char *schedule;
} tile;

static const char *const type_names[3] = {"float", "f16_t", "bf16_t"};

static void render_host(tri_source *out, const bsr_case *spec, const tile *t) {
    case_params params = {.count = 0};
    case_problem_params(&params, spec, type_names);
    if (!t)
        case_param(&params, "scale_per_block", "0");
    if (t) {
        case_param(&params, "tile_n", "%d", t->n);
        case_param(&params, "tile_m", "%d", t->m);
        case_param(&params, "unroll", "%d", t->unroll);
        case_param(&params, "row_tasks", "%d", t->row_tasks);
        case_param(&params, "pack", "%d", t->pack);
        case_param(&params, "schedule", "%s", t->schedule);
    }
    case_render(out, t ? "templates/bsr_gemm/host.c" : "templates/bsr_gemm/reference.c", &params);
}

static void run_and_verify(tri_kernel *kernel, const bsr_case *spec, uint64_t seed, const char *what) {
    bsr_data data;
    tri_bsr_buffers buffers;
    tri_bsr_gemm_args args;
    tri_launch launch = {0};
    case_make(&data, spec, seed);
    case_buffers(&buffers, device, &data);
    void *c = malloc(data.c_bytes);
    assert_non_null(c);
    assert_int_equal(
        tri_bsr_args_make(&args, device, &launch, &data.problem, &buffers, spec->alpha, spec->beta),
        TRIAGE_OK);
    assert_int_equal(tri_kernel_launch(kernel, &args, NULL), TRIAGE_OK);
    assert_int_equal(tri_device_download(device, c, buffers.c, data.c_bytes), TRIAGE_OK);
    case_verify(&data, c, what);
    free(c);
    case_release(&buffers, device);
    case_free(&data);
}

static void check_template(const bsr_case *spec, const tile *t, const char *target) {
    tri_source source;
    tri_launch launch = {0};
    render_host(&source, spec, t);
    tri_kernel *kernel = build_for(&source, target, &launch);
    run_and_verify(kernel, spec, 7, t ? "host.c" : "reference.c");
    tri_kernel_unload(kernel);
    tri_source_free(&source);
}

static const char *own_target(void) {
    return tri_device_describe(device)->target;
}

static void test_reference_right(void **state) {
    (void)state;
    const bsr_case row = {16, 32, 5, 4, 37, TRIAGE_F32, TRIAGE_F32, 0, 0, 0, false, 1.0f, 0.0f, 0};
    const bsr_case col = {8, 4, 6, 9, 21, TRIAGE_BF16, TRIAGE_F32, 1, 1, 2, true, 0.5f, -1.5f, 3};
    check_template(&row, NULL, own_target());
    check_template(&col, NULL, own_target());
}

static void test_host_template_right(void **state) {
    (void)state;
    static const struct {
        bsr_case spec;
        tile t;
    } cases[] = {
        /* row-major f32, read in place with a ragged last panel */
        {{32, 32, 6, 5, 100, TRIAGE_F32, TRIAGE_F32, 0, 0, 0, false, 1.0f, 0.0f, 0},
         {48, 8, 2, 1, 0, "static"}},
        /* packed, more row tasks than rows, epilogue with everything */
        {{16, 16, 3, 7, 33, TRIAGE_F32, TRIAGE_F32, 0, 0, 3, true, 2.0f, 0.5f, 5},
         {16, 16, 1, 8, 1, "dynamic"}},
        /* the linear layer's layouts */
        {{64, 64, 3, 3, 50, TRIAGE_F16, TRIAGE_F16, 1, 1, 1, true, 1.0f, 0.0f, 8},
         {32, 4, 4, 2, 1, "static"}},
        {{32, 16, 4, 6, 64, TRIAGE_BF16, TRIAGE_BF16, 0, 0, 2, true, 1.0f, 1.0f, 0},
         {64, 4, 2, 1, 0, "dynamic"}},
        /* mixed layouts and types, odd sizes, narrower than a vector */
        {{3, 5, 7, 4, 1, TRIAGE_F16, TRIAGE_F32, 1, 0, 0, false, -1.0f, 0.0f, 1}, {4, 3, 8, 4, 1, "static"}},
        {{5, 1, 4, 8, 19, TRIAGE_F32, TRIAGE_BF16, 0, 1, 0, false, 1.0f, 2.0f, 2}, {8, 1, 1, 1, 0, "static"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_template(&cases[i].spec, &cases[i].t, own_target());
}

static void test_lesser_targets_right(void **state) {
    (void)state;
    const bsr_case spec = {32, 32, 3, 5, 65, TRIAGE_F32, TRIAGE_F32, 0, 0, 0, false, 1.0f, 0.0f, 0};
    const tile t = {16, 4, 2, 1, 1, "static"};
    if (strncmp(own_target(), "x86_64-", 7) != 0)
        skip();
    check_template(&spec, &t, "x86_64");
    check_template(&spec, &t, "x86_64-avx2");
}

/* One kernel for every size: k and n are known at run time only, so scratch memory must grow. */
static void test_one_kernel_many_sizes(void **state) {
    (void)state;
    bsr_case spec = {16, 16, 4, 2, 40, TRIAGE_F32, TRIAGE_F32, 0, 0, 0, false, 1.0f, 0.0f, 0};
    const tile t = {16, 8, 2, 2, 1, "static"};
    tri_source source;
    tri_launch launch = {0};
    render_host(&source, &spec, &t);
    tri_kernel *kernel = build(&source, &launch);
    for (int i = 0; i < 6; i++) {
        spec.block_cols = 1 + (i * 13) % 30;
        spec.block_rows = 1 + i % 4;
        spec.n = 1 + i * 17;
        run_and_verify(kernel, &spec, (uint64_t)i, "many sizes");
    }
    tri_kernel_unload(kernel);
    tri_source_free(&source);
}

/* ---- threads ---- */

typedef struct thread_case {
    tri_kernel *kernel;
    const bsr_case *spec;
    uint64_t seed;
} thread_case;

static void *launch_repeatedly(void *argument) {
    const thread_case *t = argument;
    for (int i = 0; i < 10; i++)
        run_and_verify(t->kernel, t->spec, t->seed + (uint64_t)i, "threads");
    return NULL;
}

static void test_launches_from_threads(void **state) {
    (void)state;
    const bsr_case spec = {16, 16, 4, 12, 100, TRIAGE_F32, TRIAGE_F32, 0, 0, 0, true, 1.0f, 1.0f, 0};
    const tile t = {32, 4, 2, 1, 1, "dynamic"};
    pthread_t threads[4];
    thread_case cases[4];
    tri_source source;
    tri_launch launch = {0};
    render_host(&source, &spec, &t);
    tri_kernel *kernel = build(&source, &launch);
    for (uint64_t i = 0; i < 4; i++) {
        cases[i] = (thread_case){kernel, &spec, 100 * i};
        assert_int_equal(pthread_create(&threads[i], NULL, launch_repeatedly, &cases[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    tri_kernel_unload(kernel);
    tri_source_free(&source);
}

/* ---- loading ---- */

/* Unloading must leave the OpenMP runtime, whose threads sleep, where it is. */
static void test_load_and_unload_many(void **state) {
    (void)state;
    const char *text = "#include <omp.h>\n"
                       "#include \"bsr_gemm/args.h\"\n"
                       "void triage_kernel(const tri_bsr_gemm_args *args) {\n"
                       "    int sum = 0;\n"
                       "#pragma omp parallel for reduction(+ : sum)\n"
                       "    for (int i = 0; i < args->n; i++) sum += i;\n"
                       "    *(int *)args->c = sum;\n"
                       "}\n";
    tri_source source = text_source(text);
    char *header = NULL;
    assert_int_equal(tri_file_read(&header, NULL, TRI_SOURCE_DIR "/templates/bsr_gemm/args.h", 0), TRIAGE_OK);
    tri_include include = {"bsr_gemm/args.h", header};
    source.includes = &include;
    source.include_count = 1;
    tri_image image;
    tri_launch launch = {0};
    assert_int_equal(tri_compile(&image, own_target(), &source, NULL), TRIAGE_OK);
    for (int i = 0; i < 20; i++) {
        tri_kernel *kernel = NULL;
        int sum = -1;
        tri_bsr_gemm_args args = {.n = 10 * i, .c = &sum};
        assert_int_equal(tri_kernel_load(&kernel, device, &image, &launch), TRIAGE_OK);
        assert_int_equal(tri_kernel_launch(kernel, &args, NULL), TRIAGE_OK);
        assert_int_equal(sum, 10 * i * (10 * i - 1) / 2);
        tri_kernel_unload(kernel);
    }
    tri_image_free(&image);
    free(header);
}

static void test_bad_images(void **state) {
    (void)state;
    tri_launch launch = {0};
    tri_kernel *kernel = NULL;
    char junk[] = "this is no shared object";
    tri_image image = {.data = junk, .size = sizeof junk};
    assert_int_equal(tri_kernel_load(&kernel, device, &image, &launch), TRIAGE_E_DEVICE);
    assert_null(kernel);
    image = (tri_image){0};
    assert_int_equal(tri_kernel_load(&kernel, device, &image, &launch), TRIAGE_E_INVALID);

    tri_source source = text_source("int another_name(void); int another_name(void) { return 1; }\n");
    assert_int_equal(tri_compile(&image, own_target(), &source, NULL), TRIAGE_OK);
    assert_int_equal(tri_kernel_load(&kernel, device, &image, &launch), TRIAGE_E_COMPILE);
    assert_non_null(strstr(triage_last_error(), "triage_kernel"));
    assert_null(kernel);
    tri_image_free(&image);
}

/* ---- workspace and time ---- */

static void test_workspace_is_zeroed_each_time(void **state) {
    (void)state;
    _Static_assert(offsetof(tri_bsr_gemm_args, c) == 8 * sizeof(void *), "the text below knows args");
    _Static_assert(offsetof(tri_bsr_gemm_args, workspace) == 512, "likewise");
    tri_source source = text_source(
        "typedef struct { void *p[8]; int *c; char q[512 - 9 * sizeof(void *)]; int *workspace; } args;\n"
        "void triage_kernel(const args *a) { *a->c += 1 + a->workspace[99]++; }\n");
    tri_launch launch = {.workspace_bytes = 400};
    int c = 0;
    tri_bsr_gemm_args args = {.c = &c, .workspace = NULL};
    tri_kernel *kernel = build(&source, &launch);
    args.workspace = (void *)(uintptr_t)tri_kernel_workspace(kernel);
    for (int i = 0; i < 3; i++)
        assert_int_equal(tri_kernel_launch(kernel, &args, NULL), TRIAGE_OK);
    assert_int_equal(c, 3);
    tri_kernel_unload(kernel);

    launch.keeps_workspace = true; /* zeros once, and what launches make of them */
    launch.workspace_zero_bytes = 400;
    kernel = build(&source, &launch);
    args.workspace = (void *)(uintptr_t)tri_kernel_workspace(kernel);
    c = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(tri_kernel_launch(kernel, &args, NULL), TRIAGE_OK);
    assert_int_equal(c, 1 + 2 + 3);
    tri_kernel_unload(kernel);
}

static void test_time_measures(void **state) {
    (void)state;
    tri_source source = text_source("#include <time.h>\n"
                                    "void triage_kernel(const void *args) {\n"
                                    "    struct timespec t = {0, 2000000};\n"
                                    "    nanosleep(&t, 0);\n"
                                    "}\n");
    tri_launch launch = {0};
    tri_bsr_gemm_args args = {0};
    double ns[5] = {0};
    tri_kernel *kernel = build(&source, &launch);
    const int64_t start = tri_now_ns();
    assert_int_equal(tri_kernel_time(kernel, &args, 1 << 20, 1, ns, 5), TRIAGE_OK);
    const double took = (double)(tri_now_ns() - start);
    for (int i = 0; i < 5; i++)
        assert_true(ns[i] >= 2e6); /* it sleeps so long */
    assert_true(ns[0] + ns[1] + ns[2] + ns[3] + ns[4] <= took);
    assert_int_equal(tri_kernel_time(kernel, &args, 0, 3, ns, 2), TRIAGE_OK);
    assert_true(ns[0] >= 2e6 && ns[0] < 1e9); /* of one launch, not of three */

    assert_int_equal(tri_kernel_time(kernel, &args, 0, 0, ns, 1), TRIAGE_E_INVALID);
    assert_int_equal(tri_kernel_time(kernel, &args, 0, 1, ns, 0), TRIAGE_E_INVALID);
    assert_int_equal(tri_kernel_time(kernel, &args, -1, 1, ns, 1), TRIAGE_E_INVALID);
    tri_kernel_unload(kernel);
}

/* ---- 16-bit floats of templates/lib/host.h ---- */

static double f16_value(unsigned bits) {
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double magnitude = exponent == 0    ? ldexp(mantissa, -24)
                       : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                        : ldexp(1024 + mantissa, exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

static void test_f16_conversions(void **state) {
    (void)state;
    for (unsigned bits = 0; bits < 65536; bits++) {
        double want = f16_value(bits), got = float_from_f16((f16_t){(uint16_t)bits});
        unsigned back = f16_from_float((float)got).bits;
        if (isnan(want)) {
            assert_true(isnan(got) && isnan(f16_value(back)));
            continue;
        }
        assert_true(want == got && signbit(want) == signbit(got));
        assert_int_equal(back, bits);
    }
    for (unsigned bits = 0; bits < 0x7bff; bits++) { /* ties to even, both sides of the tie right */
        float tie = (float)((f16_value(bits) + f16_value(bits + 1)) / 2);
        unsigned even = bits % 2 == 0 ? bits : bits + 1;
        assert_int_equal(f16_from_float(tie).bits, even);
        assert_int_equal(f16_from_float(-tie).bits, even | 0x8000);
        assert_int_equal(f16_from_float(nextafterf(tie, 1e9f)).bits, bits + 1);
        assert_int_equal(f16_from_float(nextafterf(tie, 0.0f)).bits, bits);
    }
    assert_int_equal(f16_from_float(65520.0f).bits, 0x7c00);
    assert_int_equal(f16_from_float(nextafterf(65520.0f, 0.0f)).bits, 0x7bff);
    assert_int_equal(f16_from_float(1e30f).bits, 0x7c00);
    assert_int_equal(f16_from_float(1e-30f).bits, 0);
}

static void test_bf16_conversions(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float value = float_from_bf16((bf16_t){(uint16_t)bits});
        unsigned back = bf16_from_float(value).bits;
        if (isnan(value)) {
            assert_true(isnan(float_from_bf16((bf16_t){(uint16_t)back})));
            continue;
        }
        assert_int_equal(back, bits);
        uint32_t tie = bits << 16 | 0x8000u;
        if ((bits & 0x7f80) == 0x7f80)
            continue;
        assert_int_equal(bf16_from_float(float_of_bits(tie)).bits, bits + bits % 2);
        assert_int_equal(bf16_from_float(float_of_bits(tie + 1)).bits, bits + 1);
        assert_int_equal(bf16_from_float(float_of_bits(tie - 1)).bits, bits);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_right),
        cmocka_unit_test(test_host_template_right),
        cmocka_unit_test(test_lesser_targets_right),
        cmocka_unit_test(test_one_kernel_many_sizes),
        cmocka_unit_test(test_launches_from_threads),
        cmocka_unit_test(test_load_and_unload_many),
        cmocka_unit_test(test_bad_images),
        cmocka_unit_test(test_workspace_is_zeroed_each_time),
        cmocka_unit_test(test_time_measures),
        cmocka_unit_test(test_f16_conversions),
        cmocka_unit_test(test_bf16_conversions),
    };
    return cmocka_run_group_tests(tests, open_host, close_host);
}
