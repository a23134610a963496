/* What calls ask for and nobody tuned: noted by the context, tuned by triage_tune --from, then known. */
#include "support/api_cases.h"
#include "support/check.h"
#include "support/program.h"

#include <glob.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const api_case wanted = {.m = 96,
                                .n = 40,
                                .k = 128,
                                .block = 32,
                                .sparsity = 0.4,
                                .in = TRIAGE_F32,
                                .out = TRIAGE_F32,
                                .c_layout = TRIAGE_COL_MAJOR,
                                .b_layout = TRIAGE_COL_MAJOR,
                                .bias = true,
                                .alpha = 1};

typedef struct heard {
    int count;
    char line[512];
} heard;

static void hear(void *user, triage_log_level level, const char *line) {
    heard *h = user;
    if (level != TRIAGE_LOG_WARNING)
        return;
    h->count++;
    snprintf(h->line, sizeof h->line, "%s", line);
}

static triage_context *open_recording(const char *db, const char *record, heard *h) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_context *context = NULL;
    options.device = "host";
    options.db_path = db;
    options.cache_dir = TEST_KERNELS;
    options.record_path = record;
    options.log = hear;
    options.log_user = h;
    must(triage_context_open(&context, &options));
    return context;
}

static triage_source product(api_world *world) {
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    must(triage_bsr_gemm(world->context, 1, world->a, &world->b, 0, &world->c, &world->epilogue, NULL));
    must(triage_bsr_gemm_choice(&choice, world->context, world->a, &world->b, &world->c, &world->epilogue));
    return choice.source;
}

/* The gradients of a layer: of its input, with the transpose, and of its values. */
static void gradients(const api_world *world, triage_source sources[2]) {
    const triage_bsr_matrix *turned = NULL;
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    triage_dense y = world->c, x = world->b;
    void *d = NULL;
    must(triage_bsr_matrix_transposed(&turned, world->a));
    must(triage_bsr_gemm(world->context, 1, turned, &y, 0, &x, NULL, NULL));
    must(triage_bsr_gemm_choice(&choice, world->context, turned, &y, &x, NULL));
    sources[0] = choice.source;
    must(triage_device_alloc(&d, world->context, (size_t)world->pattern.nnzb * 32 * 32 * sizeof(float)));
    must(triage_bsr_sddmm(world->context, 1, &y, &x, 0, world->a, d, TRIAGE_F32, NULL));
    must(triage_bsr_sddmm_choice(&choice, world->context, &y, &x, world->a, d, TRIAGE_F32));
    sources[1] = choice.source;
    triage_device_release(world->context, d);
}

/* Dense with a window, and with the lists of each call. */
static triage_source attend(triage_context *context, bool blocks) {
    triage_attention_desc desc = TRIAGE_ATTENTION_DESC_INIT;
    triage_attention_call call = TRIAGE_ATTENTION_CALL_INIT;
    triage_attention *attention = NULL;
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    int32_t count[2] = {1, 1}, cols[2] = {0, 1};
    float *memory = calloc(4 * 32 * 16, sizeof *memory);
    desc.in_type = desc.out_type = TRIAGE_F32;
    desc.max_q = desc.max_k = 32;
    desc.head_dim = desc.head_dim_v = 16;
    desc.mask = blocks ? TRIAGE_MASK_FULL : TRIAGE_MASK_WINDOW;
    desc.left = blocks ? 0 : 7;
    if (blocks) {
        desc.mask_rows = desc.mask_cols = 16;
        desc.lists_memory = TRIAGE_MEMORY_DEVICE;
        desc.density = 0.5;
        call.full = (triage_device_lists){count, cols, 1};
    }
    const triage_tensor rows = {memory, 32 * 16, 32 * 16, 16};
    call.q = call.k = call.v = call.o = rows;
    call.o.data = memory + 3 * 32 * 16;
    must(triage_attention_create(&attention, context, &desc));
    must(triage_attention_run(attention, &call, NULL));
    must(triage_attention_choice(&choice, attention, &call));
    triage_attention_free(attention);
    free(memory);
    return choice.source;
}

static int lines_of(const char *path) {
    char *text = slurp(path);
    int lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    free(text);
    return lines;
}

/* Which files the matrix's pattern and its transpose are: a file that is written anew is another one. */
static void find_patterns(ino_t out[2]) {
    glob_t found;
    assert_int_equal(glob(scratch_path(folder, "app.jsonl.*.smtx"), 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 2);
    for (int i = 0; i < 2; i++) {
        struct stat info;
        assert_int_equal(stat(found.gl_pathv[i], &info), 0);
        out[i] = info.st_ino;
    }
    globfree(&found);
}

static void what_is_recorded_is_tuned(void **state) {
    (void)state;
    char db[200], path[200];
    heard h = {0};
    api_world world;
    triage_source gradient[2];
    ino_t patterns[2][2];
    snprintf(db, sizeof db, "%s", scratch_path(folder, "t.db"));
    snprintf(path, sizeof path, "%s", scratch_path(folder, "app.jsonl"));
    for (int turn = 0; turn < 2; turn++) { /* the second adds nothing */
        triage_context *context = open_recording(db, path, &h);
        api_build(&world, context, &wanted);
        for (int i = 0; i < 2; i++)
            assert_int_not_equal(product(&world), TRIAGE_SOURCE_EXACT);
        gradients(&world, gradient);
        (void)attend(context, false);
        (void)attend(context, true);
        api_destroy(&world);
        triage_context_free(context);
        assert_int_equal(lines_of(path), 5);
        find_patterns(patterns[turn]);
    }
    assert_memory_equal(patterns[0], patterns[1], sizeof patterns[0]);
    assert_int_equal(h.count, 0);

    outcome o = run_program("triage_tune", "--from app.jsonl --device host --db t.db --budget 1 --quiet");
    if (o.code != 0)
        fail_msg("triage_tune: exit %d: %s", o.code, o.err);
    drop(&o);
    triage_context *context = open_recording(db, path, &h);
    api_build(&world, context, &wanted);
    assert_int_equal(product(&world), TRIAGE_SOURCE_EXACT);
    gradients(&world, gradient);
    assert_int_equal(gradient[0], TRIAGE_SOURCE_EXACT);
    assert_int_equal(gradient[1], TRIAGE_SOURCE_EXACT);
    assert_int_equal(attend(context, false), TRIAGE_SOURCE_EXACT);
    assert_int_equal(attend(context, true), TRIAGE_SOURCE_EXACT);
    api_destroy(&world);
    triage_context_free(context);
    assert_int_equal(lines_of(path), 5);
}

/* The product runs all the same. */
static void what_cannot_be_written_is_said(void **state) {
    (void)state;
    heard h = {0};
    api_world world;
    triage_context *context = open_recording(NULL, scratch_path(folder, "no/such/folder"), &h);
    api_build(&world, context, &wanted);
    assert_int_not_equal(product(&world), TRIAGE_SOURCE_EXACT);
    assert_int_equal(h.count, 1);
    assert_non_null(strstr(h.line, "not recorded"));
    api_destroy(&world);
    triage_context_free(context);
}

/* Of files as large as the record will be, and a little: compilers write smaller ones. */
static void a_part_of_a_line_is_taken_back(void **state) {
    (void)state;
    enum { SIZE = 8 << 20 };
    heard h = {0};
    api_world world;
    char *blank = malloc(SIZE), *text = NULL;
    struct rlimit before, limit;
    char path[200];
    snprintf(path, sizeof path, "%s", scratch_path(folder, "full.jsonl"));
    memset(blank, '\n', SIZE);
    must(tri_file_write_atomic(path, blank, SIZE, 0644));
    triage_context *context = open_recording(NULL, path, &h);
    api_build(&world, context, &wanted);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){SIZE + 10, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    (void)product(&world);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(h.count, 1);
    assert_non_null(strstr(h.line, "No space left on device: not recorded"));
    size_t size = 0;
    must(tri_file_read(&text, &size, path, SIZE * 2));
    assert_int_equal(size, SIZE);
    free(text);
    free(blank);
    api_destroy(&world);
    triage_context_free(context);
}

static void write_text(const char *name, const char *text) {
    FILE *stream = fopen(scratch_path(folder, name), "w");
    fputs(text, stream);
    fclose(stream);
}

static void refuse(const char *line, const char *needle) {
    write_text("bad.jsonl", line);
    outcome o = run_program("triage_tune", "--from bad.jsonl --device host --db bad.db --budget 1");
    if (o.code != 65 || !strstr(o.err, needle) || !strstr(o.err, "bad.jsonl, line 1"))
        fail_msg("%s: exit %d, %s (expected %s)", line, o.code, o.err, needle);
    drop(&o);
}

static void a_line_that_is_wrong_is_named(void **state) {
    (void)state;
#define KEY                                                                                                  \
    "bsr_gemm f32 f32 col col none nobias m=32 n=40 k=64 block=32x32 density=5000 imbalance=10 overlap=0"
    refuse("{\"problem\":\"" KEY "\"}\n", "the file of its pattern is not named");
    refuse("{\"problem\":\"" KEY "\",\"pattern\":\"absent.smtx\"}\n", "absent.smtx");
    write_text("other.smtx", "2, 2, 1\n0 1 1\n0\n");
    refuse("{\"problem\":\"" KEY "\",\"pattern\":\"other.smtx\"}\n", "is not the pattern of that problem");
    refuse("{\"problem\":\"bsr_gemm of old\"}\n", "is not a type");
    refuse("{\"problem\":7}\n", "not a text");
    refuse("{\"key\":\"\"}\n", "as options.record_path writes it");
    refuse("{\n", "as options.record_path writes it");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_recorded_is_tuned), cmocka_unit_test(what_cannot_be_written_is_said),
        cmocka_unit_test(a_part_of_a_line_is_taken_back), cmocka_unit_test(a_line_that_is_wrong_is_named)};
    return cmocka_run_group_tests(tests, make_home, remove_scratch);
}
