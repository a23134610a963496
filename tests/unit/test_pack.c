// links: triage counted
/* Packs: a first product from one loads no compiler and reads no database; whatever is wrong with one is a miss. On the CUDA
 * that is not there (support/fake_cuda), and on this CPU. The program that makes packs is asked as a user does. */
#include "support/fake_cuda/subject.h"
#include "support/program.h"

#include <unistd.h>

#include "api/context.h"
#include "pattern/pattern.h"

#define NVRTC FAKE_CUDA "/toolkit/lib64/libnvrtc.so.13"
enum { kM = 4096, kK = 11008, kN = 16, kBlock = 128 };

/* ---- what the log said ---- */

static struct {
    int count;
    char last[600];
} lines;

static void note(void *user, triage_log_level level, const char *line) {
    (void)user;
    if (level == TRIAGE_LOG_WARNING) {
        lines.count++;
        snprintf(lines.last, sizeof lines.last, "%s", line);
    }
}

/* ---- packs ---- */

static char *cuda_pack, *host_pack; /* paths */

static void make_packs(void) {
    scratch_write(folder, "cuda.csv",
                  "op,m,n,k,sparsity,block,shape\n"
                  "bsr_gemm,4096,16,11008,0.9,128,\n"
                  "attention,,,,,,\"2,4,4,128,128,64\"\n",
                  0600);
    scratch_write(folder, "host.csv", "m,n,k,sparsity,block\n256,64,256,0.5,32\n", 0600);
    setenv("LD_LIBRARY_PATH", FAKE_CUDA "/toolkit/lib64", 1);
    outcome made = run_program(
        "triage_db", "pack --target sm_90a --device H200 --shapes cuda.csv -o cuda.tripack --cache none");
    if (made.code != 0)
        fail_msg("%s", made.err);
    drop(&made);
    unsetenv("LD_LIBRARY_PATH");
    made = run_program("triage_db", "pack --target host --shapes host.csv -o host.tripack");
    if (made.code != 0)
        fail_msg("%s", made.err);
    drop(&made);
    cuda_pack = strdup(scratch_path(folder, "cuda.tripack"));
    host_pack = strdup(scratch_path(folder, "host.tripack"));
}

static int set_up(void **state) {
    make_home(state);
    cuda = fake_cuda_load(FAKE_CUDA "/libcuda.so.1");
    make_packs();
    return cuda ? 0 : -1;
}

static int tear_down(void **state) {
    free(cuda_pack);
    free(host_pack);
    return remove_scratch(state);
}

static triage_context *open_with(const char *device, const char *pack, const char *trust) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_context *context = NULL;
    options.device = device;
    options.pack_path = pack;
    options.pack_trust = trust;
    options.log = note;
    lines.count = 0;
    must(triage_context_open(&context, &options));
    return context;
}

/* ---- products ---- */

/* As --seed 1 draws it. */
static void make_drawn(subject *s, int64_t m, int64_t k, int64_t n, int32_t block, double sparsity,
                       triage_dtype dtype) {
    const size_t size = dtype == TRIAGE_F32 ? 4 : 2;
    tri_pattern pattern;
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    must(tri_pattern_random(&pattern, m / block, k / block, sparsity, 1));
    desc.dtype = dtype;
    desc.rows = m, desc.cols = k;
    desc.block_rows = desc.block_cols = block;
    desc.nnzb = pattern.nnzb;
    desc.row_ptr = pattern.row_ptr, desc.col_idx = pattern.col_idx;
    void *values = calloc((size_t)(pattern.nnzb * block * block), size);
    for (int64_t i = 0; dtype == TRIAGE_F32 && i < pattern.nnzb * block * block; i++)
        ((float *)values)[i] = (float)(i % 7) - 3;
    desc.values = values;
    must(triage_bsr_matrix_create(&s->a, s->context, &desc));
    must(triage_device_alloc(&s->memory, s->context, size * (size_t)(n * (m + k))));
    s->b = (triage_dense){s->memory, k, n, n, dtype, TRIAGE_ROW_MAJOR};
    s->c = (triage_dense){(char *)s->memory + size * (size_t)(n * k), m, n, n, dtype, TRIAGE_ROW_MAJOR};
    free(values);
    tri_pattern_free(&pattern);
}

static subject drawn_on_cuda(triage_context *context) {
    subject s = {.which = PRODUCT, .context = context};
    make_drawn(&s, kM, kK, kN, kBlock, 0.9, TRIAGE_F16);
    return s;
}

/* ---- a hit ---- */

/* Before all others: nothing has asked for NVRTC in this process yet. */
static void a_first_call_loads_no_compiler(void **state) {
    (void)state;
    triage_context *context = open_with("cuda:0", cuda_pack, NULL);
    subject s = drawn_on_cuda(context), attention = make_subject(context, ATTENTION, 128);
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    const long steps = database_steps;
    must(run(&s, NULL));
    must(run(&attention, NULL));
    assert_non_null(strstr(cuda->last.kernel, "templates/attention/"));
    assert_int_equal(cuda->launches, 2);
    assert_null(dlopen(NVRTC, RTLD_NOW | RTLD_NOLOAD));
    assert_null(dlopen("libnvrtc.so.13", RTLD_NOW | RTLD_NOLOAD));
    assert_int_equal(database_steps - steps, 0);
    must(choose(&choice, &s));
    assert_int_equal(choice.source, TRIAGE_SOURCE_EXACT);
    assert_true(choice.median_ns > 0);
    assert_int_equal(lines.count, 0);
    free_subject(&s);
    free_subject(&attention);
    triage_context_free(context);
}

/* ---- misses: from here on there is a compiler ---- */

static void take_nvrtc(void **state) {
    assert_int_equal(take_the_fakes(state), 0);
}

static void expect_line(const char *why) {
    assert_int_equal(lines.count, why ? 1 : 0);
    if (why && !strstr(lines.last, why))
        fail_msg("\"%s\" does not say \"%s\"", lines.last, why);
}

/* It is done without from the start. */
static void expect_refusal(const char *device, const char *pack, const char *trust, const char *why) {
    triage_context *context = open_with(device, pack, trust);
    assert_null(context->pack);
    expect_line(why);
    triage_context_free(context);
}

static void expect_named_once(const char *pack) {
    const char *name = strstr(lines.last, pack);
    assert_non_null(name);
    assert_null(strstr(name + 1, pack));
}

/* The product is there all the same, by the compiler; the log says why, once. */
static void expect_miss(const char *pack, const char *why) {
    triage_context *context = open_with("cuda:0", pack, NULL);
    subject s = drawn_on_cuda(context);
    const long compiles = nvrtc->compiles;
    must(run(&s, NULL));
    assert_int_equal(nvrtc->compiles - compiles, 1);
    expect_line(why);
    if (why)
        expect_named_once(pack);
    free_subject(&s);
    triage_context_free(context);
}

/* Without one: what is shipped of other problems is not read for an exact answer. */
static void a_shipped_answer_reads_its_own_rows(void **state) {
    take_nvrtc(state);
    triage_context *context = open_with("cuda:0", NULL, NULL);
    subject s = drawn_on_cuda(context);
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    const long steps = database_steps;
    must(run(&s, NULL));
    assert_true(context->asked_shipped && !context->asked_pretuned);
    assert_in_range(database_steps - steps, 1, 300); /* all rows: thousands */
    must(choose(&choice, &s));
    assert_int_equal(choice.source, TRIAGE_SOURCE_EXACT);
    free_subject(&s);
    triage_context_free(context);
}

/* Its bytes, of which a test may change some. */
static char *bytes;

static size_t read_pack(void) {
    size_t size = 0;
    must(tri_file_read(&bytes, &size, cuda_pack, 0));
    return size;
}

static const char *write_changed(const char *from, size_t size) {
    const char *path = scratch_path(folder, "changed.tripack");
    FILE *file = fopen(path, "w");
    assert_true(file && fwrite(from, 1, size, file) == size);
    assert_int_equal(fchmod(fileno(file), 0644) + fclose(file), 0);
    return path;
}

static void a_damaged_pack_is_a_miss(void **state) {
    take_nvrtc(state);
    const size_t size = read_pack();
    char *index = strchr(bytes, '\n') + 1, *config = strstr(index, "stages=");
    assert_non_null(config);
    config[7]++;
    expect_miss(write_changed(bytes, size), "its index is damaged");
    config[7]--;
    const size_t images = (size_t)(index - bytes) + strtoul(bytes + strlen("TRIPACK 1 ") + 33, NULL, 10);
    assert_in_range(images, 100, size - 1);
    for (size_t i = images; i < size; i++)
        bytes[i] ^= 1;
    expect_miss(write_changed(bytes, size), ": the kernel ");
    expect_refusal("cuda:0", write_changed(bytes, (size_t)(index - bytes) + 100), NULL, "cut short");
    bytes[0] = 't';
    expect_refusal("cuda:0", write_changed(bytes, size), NULL, "not a pack of this version");
    expect_refusal("cuda:0", write_changed("", 0), NULL, "not a pack of this version");
    free(bytes);
    expect_refusal("cuda:0", scratch_path(folder, "none.tripack"), NULL, "No such file");
    expect_refusal("cuda:0", folder, NULL, "not a regular file");
}

static void a_pack_that_all_may_write_to_is_a_miss(void **state) {
    take_nvrtc(state);
    assert_int_equal(chmod(cuda_pack, 0666), 0);
    expect_refusal("cuda:0", cuda_pack, NULL, "all may write to it");
    assert_int_equal(chmod(cuda_pack, 0644), 0);
}

/* With a first line that fits, as one who wants to do harm would write it. */
static const char *write_pack(const char *target, const char *compiler, const tri_pack_answer *answer,
                              const tri_image *image, const char *kernel) {
    const char *path = scratch_path(folder, "made.tripack");
    tri_pack *pack = NULL;
    must(tri_pack_new(&pack, target, compiler));
    if (image)
        must(tri_pack_add_image(pack, kernel, image));
    if (answer)
        must(tri_pack_add_answer(pack, answer));
    must(tri_pack_write(pack, path, NULL));
    tri_pack_close(pack);
    return path;
}

static void another_machine_s_pack_is_a_miss(void **state) {
    take_nvrtc(state);
    expect_refusal("cuda:0", write_pack("sm_80", "nvrtc 13.0", NULL, NULL, NULL), NULL,
                   "are for sm_80; this device is sm_90a");
    expect_refusal("cuda:0", write_pack("sm_90a", "nvrtc 14.1", NULL, NULL, NULL), NULL,
                   "made by nvrtc 14.1; this driver");
    expect_refusal("cuda:0", host_pack, NULL, "this device is sm_90a");
}

/* Other tokens of a template: not this kernel, said once. Another device: nothing to complain of. */
static void another_text_is_a_miss(void **state) {
    static char code[] = "fake cubin of something else";
    const tri_image image = {.data = code, .size = sizeof code};
    triage_context *context = open_with("cuda:0", cuda_pack, NULL);
    tri_pack *pack = NULL;
    take_nvrtc(state);
    must(tri_pack_open(&pack, cuda_pack, NULL,
                       &(tri_device_info){.target = "sm_90a", .driver_version = 13000}));
    tri_pack_answer answer = pack->answers[0];
    char other[] = "00000000000000000000000000000000", elsewhere[] = "cuda sm_90a";
    answer.kernel = other;
    expect_miss(write_pack("sm_90a", "nvrtc 13.0", &answer, &image, other), "was packed from other text");
    answer = pack->answers[0];
    answer.device = elsewhere;
    expect_miss(write_pack("sm_90a", "nvrtc 13.0", &answer, NULL, NULL), NULL);
    tri_pack_close(pack);
    triage_context_free(context);
}

static void what_does_not_load_is_compiled(void **state) {
    take_nvrtc(state);
    triage_context *context = open_with("cuda:0", cuda_pack, NULL);
    subject s = drawn_on_cuda(context), attention = make_subject(context, ATTENTION, 128);
    const long compiles = nvrtc->compiles;
    cuda->fail_call = FAKE_module_load, cuda->fail_at = 1,
    cuda->fail_with = (CUresult)200; /* CUDA_ERROR_INVALID_IMAGE */
    must(run(&s, NULL));
    assert_int_equal(nvrtc->compiles - compiles, 1);
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.last, "doing without the pack"));
    expect_named_once(cuda_pack);
    must(run(&attention, NULL)); /* nor is the pack asked again */
    assert_int_equal(nvrtc->compiles - compiles, 2);
    assert_int_equal(lines.count, 1);
    free_subject(&s);
    free_subject(&attention);
    triage_context_free(context);
}

static void a_signature_can_be_asked_for(void **state) {
    char trusted[65];
    take_nvrtc(state);
    outcome key = run_program("triage_db", "key --key signing.key");
    assert_int_equal(key.code, 0);
    snprintf(trusted, sizeof trusted, "%.64s", key.out);
    drop(&key);
    expect_refusal("cuda:0", cuda_pack, trusted, "not signed by the trusted key");
    outcome made = run_program("triage_db", "pack --target host --shapes host.csv -o signed.tripack --sign "
                                            "--key signing.key");
    assert_int_equal(made.code, 0);
    drop(&made);
    triage_context *context = open_with("host", scratch_path(folder, "signed.tripack"), trusted);
    assert_int_equal(lines.count, 0);
    triage_context_free(context);
    trusted[0] = trusted[0] == '0' ? '1' : '0';
    expect_refusal("host", scratch_path(folder, "signed.tripack"), trusted, "not signed by the trusted key");
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host", options.pack_trust = "ABC";
    assert_int_equal(triage_context_open(&context, &options), TRIAGE_E_INVALID);
}

/* Any byte but one may be another: nothing is read beyond the file, and no image is taken that was not written. */
static void no_damage_gets_through(void **state) {
    (void)state;
    const tri_device_info info = {.target = "sm_90a", .driver_version = 13000};
    size_t opened = 0;
    const size_t size = read_pack();
    const size_t head = (size_t)(strchr(bytes, '}') - bytes);
    for (unsigned i = 0; i < 200; i++) {
        const size_t at = (i * 7919u) % (i % 2 ? head : size);
        tri_pack *pack = NULL;
        tri_image image = {0};
        bytes[at] ^= (char)(1u << i % 8);
        if (tri_pack_open(&pack, write_changed(bytes, size), NULL, &info) == TRIAGE_OK) {
            opened++;
            size_t bad = 0;
            for (size_t k = 0; k < pack->image_count; k++) {
                bad += tri_pack_read(&image, pack, pack->images[k].kernel) == TRIAGE_E_DATA;
                tri_image_free(&image);
            }
            assert_true(bad == 1 || at < head); /* an unsigned pack's key and signature say nothing */
        }
        tri_pack_close(pack);
        bytes[at] ^= (char)(1u << i % 8);
    }
    assert_true(opened > 0);
    free(bytes);
}

/* An index that fits its hash, and lies. */
static void a_lying_index_is_a_miss(void **state) {
    static const char *const lies[][2] = {
        {"{\"target\":\"sm_90a\",\"compiler\":\"nvrtc 13.0\",\"images\":[{\"kernel\":\"k\",\"hash\":\"0\"}]}",
         "hash"},
        {"[1]", "target"},
        {"{\"target\":7}", "target"},
        {"{\"target\":\"sm_90a\",\"compiler\":\"nvrtc 13.0\",\"images\":[{\"kernel\":\"k\",\"hash\":"
         "\"00000000000000000000000000000000\",\"offset\":-1}]}",
         "offset"},
        {"{\"target\":\"sm_90a\",\"compiler\":\"nvrtc 13.0\",\"answers\":[{}]}", "problem"},
        {"{", "JSON"}};
    take_nvrtc(state);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char file[600], hash[TRI_HASH_SIZE];
        tri_hash(hash, lies[i][0], strlen(lies[i][0]));
        const int size =
            snprintf(file, sizeof file, "TRIPACK 1 %s %zu - -\n%s", hash, strlen(lies[i][0]), lies[i][0]);
        expect_refusal("cuda:0", write_changed(file, (size_t)size), NULL, lies[i][1]);
    }
}

/* ---- the host device ---- */

static void host_product(float *out, const char *pack) {
    enum { kSize = 256, kColumns = 64 };
    triage_context *context = open_with("host", pack, NULL);
    subject s = {.which = PRODUCT, .context = context};
    make_drawn(&s, kSize, kSize, kColumns, 32, 0.5, TRIAGE_F32);
    for (int i = 0; i < kSize * kColumns; i++)
        ((float *)s.b.data)[i] = (float)(i % 5) - 2;
    must(run(&s, NULL));
    memcpy(out, s.c.data, sizeof(float) * kSize * kColumns);
    free_subject(&s);
    triage_context_free(context);
}

static void the_host_starts_no_compiler(void **state) {
    (void)state;
    static float compiled[256 * 64], packed[256 * 64];
    host_product(compiled, NULL);
    must(tri_device_set_tools("host", "/bin/false"));
    host_product(packed, host_pack);
    assert_int_equal(lines.count, 0);
    assert_memory_equal(compiled, packed, sizeof compiled);
    triage_context *context = open_with("host", NULL, NULL);
    subject s = {.which = PRODUCT, .context = context};
    make_drawn(&s, 256, 256, 64, 32, 0.5, TRIAGE_F32);
    assert_int_not_equal(run(&s, NULL), TRIAGE_OK); /* the check can fail */
    free_subject(&s);
    triage_context_free(context);
    must(tri_device_set_tools("host", NULL));
}

/* ---- the programs' own places ---- */

static void a_context_takes_the_programs_places(void **state) {
    (void)state;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_context *context = NULL;
    options.device = "host";
    must(triage_context_open(&context, &options));
    assert_null(context->cache_dir);
    triage_context_free(context);
    options.default_places = 1;
    must(triage_context_open(&context, &options));
    assert_non_null(strstr(context->cache_dir, "/.cache/triage"));
    triage_context_free(context);
    options.version = 2; /* a caller who does not know of it */
    must(triage_context_open(&context, &options));
    assert_null(context->cache_dir);
    triage_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_call_loads_no_compiler),
        cmocka_unit_test(a_shipped_answer_reads_its_own_rows),
        cmocka_unit_test(a_damaged_pack_is_a_miss),
        cmocka_unit_test(a_pack_that_all_may_write_to_is_a_miss),
        cmocka_unit_test(another_machine_s_pack_is_a_miss),
        cmocka_unit_test(another_text_is_a_miss),
        cmocka_unit_test(what_does_not_load_is_compiled),
        cmocka_unit_test(a_signature_can_be_asked_for),
        cmocka_unit_test(no_damage_gets_through),
        cmocka_unit_test(a_lying_index_is_a_miss),
        cmocka_unit_test(the_host_starts_no_compiler),
        cmocka_unit_test(a_context_takes_the_programs_places),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
