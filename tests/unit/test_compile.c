/* Compiling for the CPU and (with NVRTC, no GPU needed) for every architecture; the cache of images. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/backend.h"

static char folder[64]; /* this test's own */

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/triage-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info, (void)type, (void)where;
    return remove(path);
}

static int remove_folder(void **state) {
    (void)state;
    return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *host_target(void) {
    static tri_device_info info;
    assert_int_equal(tri_device_info_of_target(&info, "host"), TRIAGE_OK);
    return info.target;
}

static void require_nvrtc(void) {
    char version[TRI_COMPILER_SIZE];
    if (tri_compiler_version(version, sizeof version, "sm_90a") == TRIAGE_E_NO_DEVICE) {
        print_message("skipped: %s\n", triage_last_error());
        skip();
    }
}

static tri_source source_of(const char *name, const char *text) {
    return (tri_source){.name = (char *)name, .text = (char *)text};
}

static void expect_failure(const char *target, const tri_source *source, triage_status status,
                           const char *part) {
    tri_image image;
    assert_int_equal(tri_compile(&image, target, source, NULL), status);
    assert_null(image.data);
    if (!strstr(triage_last_error(), part))
        fail_msg("'%s' does not hold '%s'", triage_last_error(), part);
}

/* ---- versions and targets ---- */

static void test_versions(void **state) {
    (void)state;
    char version[TRI_COMPILER_SIZE];
    assert_int_equal(tri_compiler_version(version, sizeof version, host_target()), TRIAGE_OK);
    assert_true(strncmp(version, "gcc ", 4) == 0 || strncmp(version, "clang ", 6) == 0);
    assert_true(strspn(strchr(version, ' ') + 1, "0123456789") > 0);
    assert_true(strstr(version, " (") && strstr(version, ") #"));
    require_nvrtc();
    assert_int_equal(tri_compiler_version(version, sizeof version, "sm_80"), TRIAGE_OK);
    assert_int_equal(strncmp(version, "nvrtc 1", 7), 0);
}

static void test_bad_targets(void **state) {
    (void)state;
    tri_source source = source_of("x", "");
    const char *bad[] = {"",         "sm_", "sm_90x", "sm_90ab",         "SM_90",
                         "sm_99999", "x86", "host",   "sm_90a -lineinfo"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_failure(bad[i], &source, TRIAGE_E_INVALID, "target '");
}

/* ---- host ---- */

static void test_host_compile_and_error(void **state) {
    (void)state;
    tri_image image;
    tri_include include = {"lib/one.h", "#define ONE 1\n"};
    tri_source source = source_of("one.c", "#include \"lib/one.h\"\nint triage_kernel(void);\n"
                                           "int triage_kernel(void) { return ONE + TWO; }\n");
    source.includes = &include;
    source.include_count = 1;
    expect_failure(host_target(), &source, TRIAGE_E_COMPILE, "TWO");
    assert_non_null(strstr(triage_last_error(), "one.c: "));
    assert_non_null(strstr(triage_last_error(), "kernel.c:3:"));

    char *options[] = {"-DTWO=2"};
    source.options = options;
    source.option_count = 1;
    assert_int_equal(tri_compile(&image, host_target(), &source, NULL), TRIAGE_OK);
    assert_memory_equal(image.data, "\177ELF", 4);
    assert_int_equal(image.registers, -1);
    assert_false(image.from_cache);
    assert_non_null(image.log);
    tri_image_free(&image);
    assert_null(image.data);
}

static void test_host_header_stays_inside(void **state) {
    (void)state;
    const char *names[] = {"../out.h", "/tmp/out.h", "a/../../out.h", "a/..", ".."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tri_include include = {names[i], ""};
        tri_source source = source_of("x.c", "int x;\n");
        source.includes = &include;
        source.include_count = 1;
        expect_failure(host_target(), &source, TRIAGE_E_INVALID, "leaves the compiler's folder");
    }
}

/* The compiler's folder of a source that holds mark, if one was left in /tmp. */
static bool left_behind(const char *mark) {
    bool found = false;
    DIR *dir = opendir("/tmp");
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char *path = NULL, *text = NULL;
        if (strncmp(entry->d_name, "triage-work-", 12) != 0)
            continue;
        assert_int_equal(tri_format(&path, "/tmp/%s/kernel.c", entry->d_name), TRIAGE_OK);
        if (access(path, R_OK) == 0 && tri_file_read(&text, NULL, path, 0) == TRIAGE_OK)
            found = found || strstr(text, mark);
        free(text);
        free(path);
    }
    closedir(dir);
    return found;
}

static void test_host_leaves_nothing_behind(void **state) {
    (void)state;
    char text[128];
    tri_image image;
    snprintf(text, sizeof text, "int mark_%ld;\n", (long)getpid());
    tri_source source = source_of("x.c", text);
    assert_int_equal(tri_compile(&image, host_target(), &source, NULL), TRIAGE_OK);
    tri_image_free(&image);
    assert_false(left_behind(text));
    strcat(text, "syntax error\n");
    source.text = text;
    expect_failure(host_target(), &source, TRIAGE_E_COMPILE, "x.c: ");
    assert_false(left_behind(text));
}

static void test_set_tools(void **state) {
    (void)state;
    char version[TRI_COMPILER_SIZE];
    assert_int_equal(tri_device_set_tools("host", "cc"), TRIAGE_E_INVALID);
    assert_int_equal(tri_device_set_tools("host", "/no/such/compiler"), TRIAGE_E_INVALID);
    assert_int_equal(tri_device_set_tools("tpu", NULL), TRIAGE_E_INVALID);
    assert_int_equal(tri_device_set_tools("host", "/bin/false"), TRIAGE_OK); /* a program, but no compiler */
    assert_int_equal(tri_compiler_version(version, sizeof version, host_target()), TRIAGE_E_NO_DEVICE);
    assert_int_equal(tri_device_set_tools("host", NULL), TRIAGE_OK);
    assert_int_equal(tri_compiler_version(version, sizeof version, host_target()), TRIAGE_OK);
}

/* ---- NVRTC ---- */

static const char small_kernel[] =
    "#include \"lib/scale.cuh\"\n"
    "extern \"C\" __global__ void triage_kernel(float *p)\n"
    "{ __shared__ float s[64]; s[threadIdx.x] = p[threadIdx.x]; __syncthreads();\n"
    "  p[threadIdx.x] = scale(s[63 - threadIdx.x]); }\n";
static const char scale_header[] =
    "#include <cuda_fp16.h>\n"
    "__device__ float scale(float v) { return __half2float(__float2half(v)) * FACTOR; }\n";

static void test_nvrtc_every_architecture(void **state) {
    (void)state;
    static const char *const targets[] = {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"};
    tri_include include = {"lib/scale.cuh", scale_header};
    char *options[] = {"-DFACTOR=3.0f"};
    require_nvrtc();
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        tri_image image;
        tri_source source = source_of("small.cu", small_kernel);
        source.includes = &include;
        source.include_count = 1;
        source.options = options;
        source.option_count = 1;
        if (tri_compile(&image, targets[i], &source, NULL) != TRIAGE_OK)
            fail_msg("%s: %s", targets[i], triage_last_error());
        assert_memory_equal(image.data, "\177ELF", 4);
        assert_in_range(image.registers, 2, 64);
        assert_int_equal(image.spill_bytes, 0);
        assert_int_equal(image.static_smem_bytes >= 256, 1);
        tri_image_free(&image);
    }
}

static void test_nvrtc_errors(void **state) {
    (void)state;
    require_nvrtc();
    tri_source source =
        source_of("bad.cu", "extern \"C\" __global__ void triage_kernel(float *p)\n{ *p = foo; }\n");
    expect_failure("sm_90a", &source, TRIAGE_E_COMPILE, "bad.cu(2): error: identifier \"foo\" is undefined");
    source = source_of("bad.cu", "#include \"none.cuh\"\n");
    expect_failure("sm_90a", &source, TRIAGE_E_COMPILE, "none.cuh");
    source = source_of("bad.cu", "extern \"C\" __global__ void triage_kernel() { asm(\"no.such;\"); }\n");
    expect_failure("sm_90a", &source, TRIAGE_E_COMPILE, "such");
    source = source_of("big.cu",
                       "extern \"C\" __global__ void triage_kernel(float *p) { __shared__ float a[70000];\n"
                       "a[threadIdx.x] = *p; __syncthreads(); *p = a[5]; }\n");
    expect_failure("sm_90a", &source, TRIAGE_E_COMPILE, "280000 bytes");
    source = source_of("x.cu", "");
    expect_failure("sm_10", &source, TRIAGE_E_DEVICE, "gpu-architecture"); /* too new or too old a compiler */
}

/* 1024 threads, two blocks a processor: 32 registers for 64 live values. */
static void test_nvrtc_reports_spills(void **state) {
    (void)state;
    tri_image image;
    tri_source source = source_of(
        "spill.cu", "extern \"C\" __global__ void __launch_bounds__(1024, 2) triage_kernel(float *p)\n"
                    "{ float a[64]; for (int i = 0; i < 64; i++) a[i] = p[i * threadIdx.x];\n"
                    "  for (int j = 0; j < 100; j++) for (int i = 0; i < 64; i++)\n"
                    "      a[i] = a[i] * a[(i * 7 + 1) % 64] + a[(i + 5) % 64];\n"
                    "  float s = 0; for (int i = 0; i < 64; i++) s += a[i]; p[threadIdx.x] = s; }\n");
    require_nvrtc();
    assert_int_equal(tri_compile(&image, "sm_90a", &source, NULL), TRIAGE_OK);
    assert_int_equal(image.registers, 32);
    assert_in_range(image.spill_bytes, 256, 100000);
    int32_t stores = 0, loads = 0;
    const char *line = strstr(image.log, "stack frame, ");
    assert_non_null(line);
    assert_int_equal(
        sscanf(line, "stack frame, %d bytes spill stores, %d bytes spill loads", &stores, &loads), 2);
    assert_int_equal(image.spill_bytes, stores + loads);
    tri_image_free(&image);
}

/* The accumulators of a wgmma under way are touched: ptxas serialises it and says C7510 or its like. */
static void test_nvrtc_serialised_wgmma_fails(void **state) {
    (void)state;
    tri_source source =
        source_of("serial.cu",
                  "extern \"C\" __global__ void triage_kernel(float *p, unsigned long long d)\n"
                  "{ float a[4]; for (int i = 0; i < 4; i++) a[i] = p[i];\n"
                  "  for (int j = 0; j < 4; j++) {\n"
                  "    asm volatile(\"wgmma.fence.sync.aligned;\");\n"
                  "    asm volatile(\"{.reg .pred q; setp.ne.b32 q, 1, 0; "
                  "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 \"\n"
                  "                 \"{%0,%1,%2,%3}, %4, %4, q, 1, 1, 0, 0;}\"\n"
                  "                 : \"+f\"(a[0]), \"+f\"(a[1]), \"+f\"(a[2]), \"+f\"(a[3]) : \"l\"(d));\n"
                  "    asm volatile(\"wgmma.commit_group.sync.aligned;\");\n"
                  "    a[0] += 1.0f;\n"
                  "  }\n"
                  "  asm volatile(\"wgmma.wait_group.sync.aligned 0;\");\n"
                  "  for (int i = 0; i < 4; i++) p[threadIdx.x * 4 + i] = a[i]; }\n");
    require_nvrtc();
    expect_failure("sm_90a", &source, TRIAGE_E_COMPILE, "C75");
}

/* ---- the cache ---- */

static void new_cache(char out[128]) {
    static int number;
    snprintf(out, 128, "%s/cache%d", folder, number++);
}

static char entry[512]; /* of the one .bin file that find_entry met last */
static int entries;

static int note_entry(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)where;
    if (type == FTW_F && strlen(path) > 4 && strcmp(path + strlen(path) - 4, ".bin") == 0) {
        snprintf(entry, sizeof entry, "%s", path);
        entries++;
        assert_int_equal(info->st_mode & 07777, 0600);
    } else if (type == FTW_D) {
        assert_int_equal(info->st_mode & 07777, 0700);
    }
    return 0;
}

static int find_entry(const char *cache) {
    entries = 0;
    nftw(cache, note_entry, 16, FTW_PHYS);
    return entries;
}

static void compile_cached(const char *cache, const tri_source *source, bool from_cache) {
    tri_image image;
    if (tri_compile(&image, host_target(), source, cache) != TRIAGE_OK)
        fail_msg("compile: %s", triage_last_error());
    assert_int_equal(image.from_cache, from_cache);
    assert_memory_equal(image.data, "\177ELF", 4);
    assert_non_null(image.log);
    tri_image_free(&image);
}

static void test_cache_keeps_and_keys(void **state) {
    (void)state;
    char cache[128];
    tri_source source = source_of("x.c", "#include \"y.h\"\nint x = Y;\n"), other = source;
    tri_include one = {"y.h", "#define Y 1\n"}, two = {"y.h", "#define Y 2\n"};
    char *options[] = {"-O1"};
    source.includes = other.includes = &one;
    source.include_count = other.include_count = 1;
    new_cache(cache);
    compile_cached(cache, &source, false);
    compile_cached(cache, &source, true);
    assert_int_equal(find_entry(cache), 1);

    other.text = "#include \"y.h\"\nint x = Y ;\n";
    compile_cached(cache, &other, false);
    other = source;
    other.includes = &two;
    compile_cached(cache, &other, false);
    other = source;
    other.options = options;
    other.option_count = 1;
    compile_cached(cache, &other, false);
    assert_int_equal(find_entry(cache), 4);
    compile_cached(cache, &source, true);
}

/* Is the compiler's version known, or was it never asked? */
static bool compiler_was_asked(void) {
    char file[4096];
    bool chosen;
    tri_host_backend.compiler_file(file, sizeof file, &chosen);
    assert_false(chosen);
    return file[0] != '\0';
}

/* A hit in a new process needs no compiler: not even its version. */
static void test_a_hit_asks_no_compiler(void **state) {
    (void)state;
    char cache[128], memo[160], version[TRI_COMPILER_SIZE];
    tri_source source = source_of("h.c", "int hit = 1;\n"), other = source_of("h.c", "int hit = 2;\n");
    new_cache(cache);
    snprintf(memo, sizeof memo, "%s/compiler-host", cache);
    compile_cached(cache, &source, false);
    assert_int_equal(access(memo, R_OK), 0);
    assert_int_equal(tri_device_set_tools("host", NULL), TRIAGE_OK); /* as in a new process */
    compile_cached(cache, &source, true);
    assert_false(compiler_was_asked());
    compile_cached(cache, &other, false); /* a miss is compiled by the one that is there */
    assert_true(compiler_was_asked());
    /* another file under its name: the version is asked for again */
    FILE *file = fopen(memo, "r+");
    assert_non_null(file);
    assert_non_null(fgets(version, sizeof version, file));
    fprintf(file, "/bin/true\n0 0 0 0.000000000\n");
    fclose(file);
    assert_false(tri_compiler_version_read(version, sizeof version, cache, "host"));
    assert_int_equal(tri_device_set_tools("host", NULL), TRIAGE_OK);
    compile_cached(cache, &source, true);
    assert_true(compiler_was_asked());
    assert_true(tri_compiler_version_read(version, sizeof version, cache, "host")); /* remembered anew */
    assert_false(tri_compiler_version_read(version, sizeof version, cache, "cuda"));
}

static void rewrite(const char *path, size_t at, bool truncate_there) {
    char *bytes = NULL;
    size_t size = 0;
    assert_int_equal(tri_file_read(&bytes, &size, path, 0), TRIAGE_OK);
    assert_true(at < size);
    bytes[at] ^= 1;
    assert_int_equal(tri_file_write_atomic(path, bytes, truncate_there ? at : size, 0600), TRIAGE_OK);
    free(bytes);
}

/* Damage anywhere (header, data, end, length) means that the entry is made again, and is whole then. */
static void test_cache_remakes_damage(void **state) {
    (void)state;
    static const size_t places[] = {0, 8, 12, 24, 45, 200, 3000};
    char cache[128];
    tri_source source = source_of("x.c", "int damaged;\n");
    new_cache(cache);
    compile_cached(cache, &source, false);
    for (size_t i = 0; i < 2 * (sizeof places / sizeof *places); i++) {
        assert_int_equal(find_entry(cache), 1);
        rewrite(entry, places[i / 2], i % 2);
        compile_cached(cache, &source, false);
        compile_cached(cache, &source, true);
    }
    /* another key's entry under this name */
    tri_source other = source_of("x.c", "int another;\n");
    char first[512], *bytes = NULL;
    size_t size = 0;
    find_entry(cache);
    strcpy(first, entry);
    char second_cache[128];
    new_cache(second_cache);
    compile_cached(second_cache, &other, false);
    find_entry(second_cache);
    assert_int_equal(tri_file_read(&bytes, &size, entry, 0), TRIAGE_OK);
    assert_int_equal(tri_file_write_atomic(first, bytes, size, 0600), TRIAGE_OK);
    free(bytes);
    compile_cached(cache, &source, false);
}

/* ---- the secret of the cache ---- */

enum { DIGEST_AT = 40, DIGEST_SIZE = 40, HEADER_SIZE = 80 };

/* Other code, with the digest that everybody can make who has not read the secret. */
static void forge(const char *path, const unsigned char guess[32]) {
    char *bytes = NULL, digest[DIGEST_SIZE] = "", blank[HEADER_SIZE];
    size_t size = 0;
    uint64_t data_size;
    assert_int_equal(tri_file_read(&bytes, &size, path, 0), TRIAGE_OK);
    bytes[HEADER_SIZE + 200] ^= 1;
    memcpy(&data_size, bytes + 24, sizeof data_size);
    memcpy(blank, bytes, sizeof blank);
    memset(blank + DIGEST_AT, 0, DIGEST_SIZE);
    const char *key = strrchr(path, '/') + 1, *log = bytes + HEADER_SIZE + data_size;
    const tri_piece pieces[] = {{guess, 32},
                                {key, strlen(key) - strlen(".bin")},
                                {blank, sizeof blank},
                                {bytes + HEADER_SIZE, data_size},
                                {log, size - HEADER_SIZE - data_size}};
    tri_hash_pieces(digest, pieces + !guess, 5 - !guess);
    memcpy(bytes + DIGEST_AT, digest, sizeof digest);
    assert_int_equal(tri_file_write_atomic(path, bytes, size, 0600), TRIAGE_OK);
    free(bytes);
}

static void test_cache_runs_nobody_elses_code(void **state) {
    (void)state;
    static const unsigned char zeros[32];
    char cache[128], secret[160], *bytes = NULL;
    struct stat info;
    tri_source source = source_of("x.c", "int forged;\n");
    new_cache(cache);
    compile_cached(cache, &source, false);
    snprintf(secret, sizeof secret, "%s/secret", cache);
    assert_int_equal(stat(secret, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(info.st_size, 32);
    find_entry(cache);
    forge(entry, NULL);
    compile_cached(cache, &source, false);
    forge(entry, zeros);
    compile_cached(cache, &source, false);
    compile_cached(cache, &source, true);
    /* made once: it stays, and whoever has it makes entries that are taken */
    assert_int_equal(tri_file_read(&bytes, NULL, secret, 0), TRIAGE_OK);
    forge(entry, (unsigned char *)bytes);
    compile_cached(cache, &source, true);
    /* one that others can read is none: nothing is taken, or kept */
    assert_int_equal(chmod(secret, 0644), 0);
    compile_cached(cache, &source, false);
    compile_cached(cache, &source, false);
    assert_int_equal(chmod(secret, 0600), 0);
    compile_cached(cache, &source, true);
    /* another secret: what is there is made again */
    assert_int_equal(unlink(secret), 0);
    compile_cached(cache, &source, false);
    compile_cached(cache, &source, true);
    free(bytes);
}

/* It is not used, and why is said when it is asked for; what was to be compiled is. */
static void expect_refused(const char *cache, const tri_source *source, const char *part) {
    tri_image image;
    assert_int_equal(tri_cache_check(cache), TRIAGE_E_IO);
    if (!strstr(triage_last_error(), part))
        fail_msg("'%s' does not hold '%s'", triage_last_error(), part);
    assert_int_equal(tri_compile(&image, host_target(), source, cache), TRIAGE_OK);
    assert_false(image.from_cache);
    tri_image_free(&image);
}

static void test_unsafe_caches_are_not_used(void **state) {
    (void)state;
    char cache[128], kernels[160];
    tri_source source = source_of("x.c", "int unsafe;\n");
    new_cache(cache);
    compile_cached(cache, &source, false);
    snprintf(kernels, sizeof kernels, "%s/kernels", cache);
    assert_int_equal(chmod(kernels, 0777), 0);
    expect_refused(cache, &source, "others may write to it");
    assert_int_equal(chmod(kernels, 0700), 0);
    assert_int_equal(chmod(cache, 0770), 0);
    expect_refused(cache, &source, "others may write to it");
    assert_int_equal(chmod(cache, 0755), 0);
    assert_int_equal(tri_cache_check(cache), TRIAGE_OK);
    compile_cached(cache, &source, true);
    if (geteuid() == 0) {
        assert_int_equal(chown(cache, 12345, 12345), 0);
        expect_refused(cache, &source, "belongs to user 12345");
    }
    new_cache(cache);
    assert_int_equal(tri_file_write_atomic(cache, "a file", 6, 0600), TRIAGE_OK);
    expect_refused(cache, &source, cache);
    expect_refused("/proc/no/such/folder", &source, "/proc/no");
}

/* What stands where an entry, or its folder, is to be. */
static void test_obstacles_make_way(void **state) {
    (void)state;
    char cache[128], path[512];
    tri_source source = source_of("x.c", "int x;\n");
    new_cache(cache);
    compile_cached(cache, &source, false);
    assert_int_equal(find_entry(cache), 1);
    assert_int_equal(unlink(entry), 0);
    snprintf(path, sizeof path, "%.400s/in_it", entry);
    assert_int_equal(tri_make_dirs(path), TRIAGE_OK);
    compile_cached(cache, &source, false);
    compile_cached(cache, &source, true);

    char *slash = strrchr(entry, '/');
    assert_int_equal(unlink(entry), 0);
    *slash = '\0';
    snprintf(path, sizeof path, "%.400s.old", entry);
    assert_int_equal(rename(entry, path), 0);
    assert_int_equal(tri_file_write_atomic(entry, "a file", 6, 0600), TRIAGE_OK);
    compile_cached(cache, &source, false);
    compile_cached(cache, &source, true);
}

static void test_links_below_a_cache_are_not_followed(void **state) {
    (void)state;
    char cache[128], elsewhere[128], link[256];
    tri_source source = source_of("x.c", "int x;\n");
    new_cache(cache);
    new_cache(elsewhere);
    assert_int_equal(tri_make_dirs(cache), TRIAGE_OK);
    assert_int_equal(tri_make_dirs(elsewhere), TRIAGE_OK);
    snprintf(link, sizeof link, "%s/kernels", cache);
    assert_int_equal(symlink(elsewhere, link), 0);
    expect_refused(cache, &source, "is not a folder");
    assert_int_equal(find_entry(elsewhere), 0);
}

/* In an application that does not hear of its children's ends, or whose own code waits for all of them. */
static void test_ends_that_nobody_hears_of(void **state) {
    (void)state;
    tri_image image;
    tri_source source = source_of("x.c", "int x;\n"), wrong = source_of("x.c", "int int;\n");
    signal(SIGCHLD, SIG_IGN);
    assert_int_equal(tri_compile(&image, host_target(), &source, NULL), TRIAGE_OK);
    assert_memory_equal(image.data, "\177ELF", 4);
    tri_image_free(&image);
    assert_int_equal(tri_compile(&image, host_target(), &wrong, NULL), TRIAGE_E_COMPILE);
    signal(SIGCHLD, SIG_DFL);
}

static void test_failed_compile_is_not_kept(void **state) {
    (void)state;
    char cache[128];
    tri_image image;
    tri_source source = source_of("x.c", "int int;\n");
    new_cache(cache);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tri_compile(&image, host_target(), &source, cache), TRIAGE_E_COMPILE);
    assert_int_equal(find_entry(cache), 0);
}

static void test_cuda_figures_survive_the_cache(void **state) {
    (void)state;
    char cache[128];
    tri_image made, kept;
    tri_include include = {"lib/scale.cuh", scale_header};
    char *options[] = {"-DFACTOR=2.0f"};
    tri_source source = source_of("small.cu", small_kernel);
    source.includes = &include;
    source.include_count = 1;
    source.options = options;
    source.option_count = 1;
    require_nvrtc();
    new_cache(cache);
    assert_int_equal(tri_compile(&made, "sm_80", &source, cache), TRIAGE_OK);
    assert_int_equal(tri_compile(&kept, "sm_80", &source, cache), TRIAGE_OK);
    assert_true(!made.from_cache && kept.from_cache);
    assert_int_equal(kept.size, made.size);
    assert_memory_equal(kept.data, made.data, made.size);
    assert_string_equal(kept.log, made.log);
    assert_int_equal(kept.registers, made.registers);
    assert_int_equal(kept.spill_bytes, made.spill_bytes);
    assert_int_equal(kept.static_smem_bytes, made.static_smem_bytes);
    tri_image_free(&made);
    tri_image_free(&kept);
    assert_int_equal(tri_compile(&made, "sm_86", &source, cache), TRIAGE_OK);
    assert_false(made.from_cache);
    tri_image_free(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_bad_targets),
        cmocka_unit_test(test_host_compile_and_error),
        cmocka_unit_test(test_host_header_stays_inside),
        cmocka_unit_test(test_host_leaves_nothing_behind),
        cmocka_unit_test(test_set_tools),
        cmocka_unit_test(test_nvrtc_every_architecture),
        cmocka_unit_test(test_nvrtc_errors),
        cmocka_unit_test(test_nvrtc_reports_spills),
        cmocka_unit_test(test_nvrtc_serialised_wgmma_fails),
        cmocka_unit_test(test_cache_keeps_and_keys),
        cmocka_unit_test(test_a_hit_asks_no_compiler),
        cmocka_unit_test(test_cache_remakes_damage),
        cmocka_unit_test(test_cache_runs_nobody_elses_code),
        cmocka_unit_test(test_unsafe_caches_are_not_used),
        cmocka_unit_test(test_obstacles_make_way),
        cmocka_unit_test(test_links_below_a_cache_are_not_followed),
        cmocka_unit_test(test_ends_that_nobody_hears_of),
        cmocka_unit_test(test_failed_compile_is_not_kept),
        cmocka_unit_test(test_cuda_figures_survive_the_cache),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
