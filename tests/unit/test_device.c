/* The devices' front: names, keys, targets, memory, and the argument block of a launch. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "device/host/host.h"
#include "support/scratch.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "bsr_gemm/args.h"
#include "device/device.h"

static void expect_error(triage_status got, triage_status want, const char *part) {
    assert_int_equal(got, want);
    if (!strstr(triage_last_error(), part))
        fail_msg("'%s' does not hold '%s'", triage_last_error(), part);
}

/* ---- names ---- */

static void test_open_specs(void **state) {
    (void)state;
    tri_device *device = (tri_device *)0x1;
    const char *bad[] = {"",        "gpu",     "Host",       "cuda:", "cuda:x",
                         "cuda:-1", "cuda:1 ", "cuda:99999", "cuda0", "host:0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        device = (tri_device *)0x1;
        assert_int_equal(tri_device_open(&device, bad[i], false), TRIAGE_E_INVALID);
        assert_null(device);
    }
    assert_int_equal(tri_device_open(&device, "host", false), TRIAGE_OK);
    const tri_device_info *info = tri_device_describe(device);
    assert_string_equal(info->backend, "host");
    assert_true(info->sm_count >= 1 && info->memory_bytes > 0 && info->cc == 0 && info->smem_bytes_max == 0);
    assert_int_equal(strncmp(info->name, "host: ", 6), 0);
    tri_device_close(device);
    assert_int_equal(tri_device_open(&device, "auto", false),
                     TRIAGE_OK); /* a GPU or the CPU, never nothing */
    tri_device_close(device);
    tri_device_close(NULL);
}

static void test_absent_gpu(void **state) {
    (void)state;
    int count = 7;
    tri_device *device = NULL;
    triage_status status = tri_device_count(&count, "cuda");
    if (status == TRIAGE_OK && count > 0) {
        print_message("skipped: this machine has a GPU\n");
        skip();
    }
    assert_int_equal(count, 0);
    assert_int_equal(tri_device_open(&device, "cuda", true), TRIAGE_E_NO_DEVICE);
    assert_int_equal(tri_device_open(&device, "cuda:0", false), TRIAGE_E_NO_DEVICE);
    assert_null(device);
    assert_true(strlen(triage_last_error()) > 10);
    assert_int_equal(tri_device_open(&device, "auto", false), TRIAGE_OK);
    assert_string_equal(tri_device_describe(device)->backend, "host");
    tri_device_close(device);
}

static void test_count(void **state) {
    (void)state;
    int count = 0;
    assert_int_equal(tri_device_count(&count, "host"), TRIAGE_OK);
    assert_int_equal(count, 1);
    expect_error(tri_device_count(&count, "tpu"), TRIAGE_E_INVALID, "'tpu'");
}

/* ---- keys and targets ---- */

static void test_key_and_back(void **state) {
    (void)state;
    static const char *const keys[] = {
        "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448",
        "cuda sm_120a sms=170 clock=2407000 memclock=14001000 bus=512 l2=100663296 smem=101376",
        "host x86_64-avx512 sms=2 clock=0 memclock=0 bus=0 l2=503316480 smem=0"};
    static const int cc[] = {90, 120, 0};
    static const char *const bad[] = {
        "",
        "cuda sm_90a",
        "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448 more",
        "cuda sm_90a sms=0132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448",
        "cuda avx2 sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448",
        "metal sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448"};
    tri_device_info info;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char *again = NULL;
        assert_int_equal(tri_device_parse(&info, keys[i]), TRIAGE_OK);
        assert_int_equal(tri_device_key(&again, &info), TRIAGE_OK);
        assert_string_equal(again, keys[i]);
        assert_int_equal(info.cc, cc[i]);
        assert_string_equal(info.name, "");
        free(again);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_error(tri_device_parse(&info, bad[i]), TRIAGE_E_DATA, "device key: ");
}

static void test_key_is_exact(void **state) {
    (void)state;
    tri_device_info info = {.backend = "cuda",
                            .name = "NVIDIA H200",
                            .target = "sm_90a",
                            .cc = 90,
                            .sm_count = 132,
                            .clock_khz = 1980000,
                            .memory_clock_khz = 3201000,
                            .memory_bus_bits = 6144,
                            .l2_bytes = 62914560,
                            .smem_bytes_max = 232448,
                            .memory_bytes = 1,
                            .driver_version = 13000};
    char *key = NULL, *again = NULL;
    assert_int_equal(tri_device_key(&key, &info), TRIAGE_OK);
    assert_string_equal(
        key, "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448");
    strcpy(info.name, "another name");
    info.driver_version = 12040;
    info.memory_bytes = 2;
    assert_int_equal(tri_device_key(&again, &info), TRIAGE_OK);
    assert_string_equal(key, again); /* neither name nor driver nor memory is identity */
    free(again);
    info.sm_count = 114;
    assert_int_equal(tri_device_key(&again, &info), TRIAGE_OK);
    assert_string_not_equal(key, again);
    free(again);
    free(key);
}

static void test_targets(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int cc;
        int64_t smem; /* bytes a block may have: CUDA C++ Programming Guide, 163, 99 and 227 KB */
    } known[] = {{"sm_80", 80, 166912},  {"sm_86", 86, 101376},    {"sm_89", 89, 101376},
                 {"sm_90a", 90, 232448}, {"sm_100a", 100, 232448}, {"sm_120a", 120, 101376}};
    tri_device_info info;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_int_equal(tri_device_info_of_target(&info, known[i].name), TRIAGE_OK);
        assert_string_equal(info.target, known[i].name);
        assert_string_equal(info.backend, "cuda");
        assert_int_equal(info.cc, known[i].cc);
        assert_int_equal(info.smem_bytes_max, known[i].smem);
        assert_true(info.sm_count > 0 && info.l2_bytes > 0 && info.clock_khz > 0 && info.memory_bytes > 0);
    }
    assert_int_equal(tri_device_info_of_target(&info, "host"), TRIAGE_OK);
    assert_string_equal(info.backend, "host");
    assert_int_equal(strncmp(info.target, "sm_", 3) != 0, 1);
    expect_error(tri_device_info_of_target(&info, "sm_90"), TRIAGE_E_INVALID, "sm_120a");
}

/* ---- memory ---- */

static void test_host_memory(void **state) {
    (void)state;
    tri_device *device = NULL;
    tri_address address = 0;
    uint32_t words[8] = {1, 2, 3, 4, 5, 6, 7, 8}, back[8] = {0};
    assert_int_equal(tri_device_open(&device, "host", false), TRIAGE_OK);
    assert_int_equal(tri_device_alloc(device, &address, sizeof words), TRIAGE_OK);
    assert_int_equal(address % 256, 0);
    assert_int_equal(tri_device_upload(device, address, words, sizeof words), TRIAGE_OK);
    assert_int_equal(tri_device_fill(device, address + 8, 0x7fc00000u, 2, NULL), TRIAGE_OK);
    assert_int_equal(tri_device_synchronize(device), TRIAGE_OK);
    assert_int_equal(tri_device_download(device, back, address, sizeof back), TRIAGE_OK);
    assert_true(back[1] == 2 && back[2] == 0x7fc00000u && back[3] == 0x7fc00000u && back[4] == 5);
    tri_device_release(device, address);

    assert_int_equal(tri_device_alloc(device, &address, 0), TRIAGE_OK);
    assert_true(address != 0);
    assert_int_equal(tri_device_upload(device, address, NULL, 0), TRIAGE_OK);
    tri_device_release(device, address);
    tri_device_release(device, 0);
    expect_error(tri_device_alloc(device, &address, SIZE_MAX), TRIAGE_E_MEMORY, "bytes");
    assert_int_equal(address, 0);
    tri_device_close(device);
}

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* A group's own limit or one above it, whichever is less; "max" and -1 are none. */
static void test_cpu_quota(void **state) {
    (void)state;
    char folder[64], groups[192], root[192], path[512];
    scratch_make(folder);
    snprintf(groups, sizeof groups, "%s/groups", folder);
    snprintf(root, sizeof root, "%s/fs", folder);
    snprintf(path, sizeof path, "%s/pod/job", root);
    assert_int_equal(tri_make_dirs(path), TRIAGE_OK);
    put(groups, "9:name=systemd:/\n0::/pod/job\n");
    assert_true(tri_host_cpu_quota(groups, root) == 0);
    snprintf(path, sizeof path, "%s/pod/job/cpu.max", root);
    put(path, "max 100000\n");
    assert_true(tri_host_cpu_quota(groups, root) == 0);
    snprintf(path, sizeof path, "%s/pod/cpu.max", root);
    put(path, "150000 100000\n");
    assert_true(tri_host_cpu_quota(groups, root) == 1.5);
    snprintf(path, sizeof path, "%s/pod/job/cpu.max", root);
    put(path, "400000 100000\n");
    assert_true(tri_host_cpu_quota(groups, root) == 1.5);
    put(groups, "5:cpuset:/pod/job\n4:cpu,cpuacct:/box\n");
    snprintf(path, sizeof path, "%s/cpu/box", root);
    assert_int_equal(tri_make_dirs(path), TRIAGE_OK);
    snprintf(path, sizeof path, "%s/cpu/box/cpu.cfs_quota_us", root);
    put(path, "-1\n");
    snprintf(path, sizeof path, "%s/cpu/box/cpu.cfs_period_us", root);
    put(path, "50000\n");
    assert_true(tri_host_cpu_quota(groups, root) == 0);
    snprintf(path, sizeof path, "%s/cpu/box/cpu.cfs_quota_us", root);
    put(path, "25000\n");
    assert_true(tri_host_cpu_quota(groups, root) == 0.5);
    assert_true(tri_host_cpu_quota("/no/such/file", root) == 0);
    scratch_remove(folder);
}

static void test_circumstances(void **state) {
    (void)state;
    tri_device *device = NULL;
    char *text = NULL;
    assert_int_equal(tri_device_open(&device, "host", false), TRIAGE_OK);
    assert_int_equal(tri_device_circumstances(&text, device), TRIAGE_OK);
    assert_int_equal(strncmp(text, "{\"backend\":\"host\",", 18), 0);
    assert_int_equal(text[strlen(text) - 1], '}');
    free(text);
    tri_device_close(device);
}

/* ---- the argument block ---- */

static void test_args_have_every_field(void **state) {
    (void)state;
    tri_device *device = NULL;
    tri_bsr_gemm_args args;
    memset(&args, 0xff, sizeof args);
    tri_launch launch = {.maps[TRI_BSR_MAP_B] = {.rank = 2, .box = {64, 8, 0}}}; /* the host makes no map */
    tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F32,
                                                               .out_type = TRIAGE_F32,
                                                               .m = 96,
                                                               .n = 50,
                                                               .k = 80,
                                                               .ldb = 56,
                                                               .ldc = 52,
                                                               .block_m = 32,
                                                               .block_k = 16,
                                                               .nnzb = 7});
    tri_bsr_buffers buffers = {
        .values = 0x1000,
        .row_ptr = 0x2000,
        .col_idx = 0x3000,
        .b = 0x4000,
        .c = 0x5000,
        .bias = 0x6000,
        .scale_a = 0x7000,
        .scale_b = 0x8000,
        .workspace = 0x9000,
        .schedule = {.rows = 0xa000, .panels = 0xb000, .steps = 0xc000, .deal = 0xd000}};
    assert_int_equal(tri_device_open(&device, "host", false), TRIAGE_OK);
    assert_int_equal(tri_bsr_args_make(&args, device, &launch, &problem, &buffers, 1.5f, -2.0f), TRIAGE_OK);
    assert_ptr_equal(args.values, (void *)0x1000);
    assert_ptr_equal(args.row_ptr, (void *)0x2000);
    assert_ptr_equal(args.col_idx, (void *)0x3000);
    assert_ptr_equal(args.b, (void *)0x4000);
    assert_ptr_equal(args.c, (void *)0x5000);
    assert_ptr_equal(args.bias, (void *)0x6000);
    assert_ptr_equal(args.scale_a, (void *)0x7000);
    assert_ptr_equal(args.scale_b, (void *)0x8000);
    assert_ptr_equal(args.workspace, (void *)0x9000);
    assert_ptr_equal(args.rows, (void *)0xa000);
    assert_ptr_equal(args.panels, (void *)0xb000);
    assert_ptr_equal(args.steps, (void *)0xc000);
    assert_ptr_equal(args.deal, (void *)0xd000);
    assert_true(args.m == 96 && args.n == 50 && args.k == 80 && args.ldb == 56 && args.ldc == 52);
    assert_true(args.block_rows == 3);
    buffers.schedule.slots = 64; /* panels of uneven height: slots without a row count too */
    assert_int_equal(tri_bsr_args_make(&args, device, &launch, &problem, &buffers, 1.5f, -2.0f), TRIAGE_OK);
    assert_true(args.block_rows == 64 && args.m == 96);
    assert_true(args.alpha == 1.5f && args.beta == -2.0f);
    const unsigned char zero[128] = {0};
    assert_memory_equal(args.map_a.bytes, zero, 128);
    assert_memory_equal(args.map_b.bytes, zero, 128);
    tri_device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_specs),   cmocka_unit_test(test_absent_gpu),
        cmocka_unit_test(test_count),        cmocka_unit_test(test_key_and_back),
        cmocka_unit_test(test_key_is_exact), cmocka_unit_test(test_targets),
        cmocka_unit_test(test_host_memory),  cmocka_unit_test(test_circumstances),
        cmocka_unit_test(test_cpu_quota),    cmocka_unit_test(test_args_have_every_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
