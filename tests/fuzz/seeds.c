/* Makes the inputs that fuzzing begins with: valid ones, by the encoders of this build, so that they stay valid when a format
 * changes. Those that need no encoder are files (tests/fuzz/corpus, tests/data).
 *
 *     fuzz_seeds FOLDER        FOLDER/TARGET/NAME, for each target that has such */
#include "attack/space_mutations.h"
#include "device/backend.h"
#include "fuzz/fuzz.h"
#include "measure/codec.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "space/local.h"
#include "space/process.h"
#include "space/transfer.h"

#define SMALL TRI_SOURCE_DIR "/tests/data/spaces/small.lua"
#define BSR_KEY                                                                                              \
    "bsr_gemm f16 f16 row row none nobias m=512 n=512 k=512 block=32x32 density=1000 imbalance=14 overlap=1"
#define ATTENTION_KEY "attention bf16 bf16 window m=512 n=512 k=64 v=64 heads=4/2 batch=2 window=3,0 lse"

static const char *folder;
static tri_problem problem;
static tri_device_info info;

static void write_seed(const char *target, const char *name, const void *data, size_t size) {
    char *path = NULL, *in = NULL;
    MUST(tri_path_join(&in, folder, target) == TRIAGE_OK && tri_make_dirs(in) == TRIAGE_OK);
    MUST(tri_path_join(&path, in, name) == TRIAGE_OK);
    MUST(tri_file_write_atomic(path, data, size, 0644) == TRIAGE_OK);
    free(path);
    free(in);
}

static void write_text(const char *target, const char *name, const char *text) {
    write_seed(target, name, text, strlen(text));
}

/* ---- wire ---- */

/* Takes the reference. */
static void write_document(const char *name, json_t *json) {
    char *line = json ? json_dumps(json, JSON_COMPACT) : NULL;
    tri_text text = TRI_TEXT_INIT;
    MUST(line && tri_text_format(&text, "%s\n", line) == TRIAGE_OK);
    write_seed("wire", name, text.data, text.size);
    tri_text_free(&text);
    free(line);
    json_decref(json);
}

static json_t *reports(size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        tri_report report = {
            .outcome = i == 1 ? TRI_WRONG : TRI_RIGHT,
            .reason = "case 1: alpha 1.25",
            .timing = {.median_ns = 100, .low_ns = 99, .high_ns = 101, .min_ns = 98, .samples = 9},
            .row_error = 1e-4,
            .row_error_limit = 2e-4,
            .batch = 1};
        json_array_append_new(list, tri_json_report(&report));
    }
    return list;
}

static json_t *a_source(void) {
    tri_include include = {"lib/host.h", "int x;\n"};
    char *option = (char *)(uintptr_t) "-DTILE=32";
    const tri_source source = {.name = (char *)(uintptr_t) "templates/bsr_gemm/host.c",
                               .text = (char *)(uintptr_t) "#include \"lib/host.h\"\n",
                               .includes = &include,
                               .include_count = 1,
                               .options = &option,
                               .option_count = 1};
    return tri_json_source(&source);
}

static void write_events(void) {
    const char *text = "text";
    write_document("compiled", json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:i, s:b, s:f}", "event", "compiled",
                                         "status", 0, "message", "", "compiler", "nvrtc 13.0", "registers",
                                         168, "spill", 0, "smem", 1024, "cached", 0, "ms", 12.5));
    write_document("opened", json_pack("{s:s, s:o, s:s}", "event", "opened", "device", tri_json_device(&info),
                                       "compiler", "gcc 12.2.0"));
    write_document("ready",
                   json_pack("{s:s, s:f, s:f}", "event", "ready", "plain_ms", 1.5, "setup_ms", 20.0));
    write_document("measured", json_pack("{s:s, s:o, s:s, s:b}", "event", "measured", "reports", reports(1),
                                         "circumstances", "{}", "leaving", 1));
    write_document("raced", json_pack("{s:s, s:o, s:s}", "event", "raced", "reports", reports(3),
                                      "circumstances", "{}"));
    write_document("racing", json_pack("{s:s, s:I}", "event", "racing", "index", (json_int_t)2));
    write_document("failed", json_pack("{s:s, s:i, s:s}", "event", "failed", "status", 5, "message", text));
    write_document("library", json_pack("{s:s, s:s}", "event", "library", "library", "cublas 13.1.0"));
    write_document("counted", json_pack("{s:s, s:i}", "event", "counted", "gpus", 8));
}

static void write_requests(const tri_candidate *made) {
    tri_problem attention;
    MUST(tri_problem_parse(&attention, ATTENTION_KEY) == TRIAGE_OK);
    write_document("source", a_source());
    write_document("launch", tri_json_launch(&made->launch));
    write_document("trial", json_pack("{s:s, s:o, s:o}", "job", "measure", "source", a_source(), "launch",
                                      tri_json_launch(&made->launch)));
    write_document("problem_bsr_gemm", tri_json_problem(&problem));
    write_document("problem_attention", tri_json_problem(&attention));
}

static void write_pattern(void) {
    tri_pattern pattern;
    char *bytes = NULL, path[64];
    size_t size = 0;
    int fd = -1;
    MUST(tri_pattern_random(&pattern, 6, 5, 0.5, 1) == TRIAGE_OK &&
         tri_pattern_share(&fd, &pattern) == TRIAGE_OK);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    MUST(tri_file_read(&bytes, &size, path, 0) == TRIAGE_OK);
    write_seed("wire", "pattern", bytes, size);
    free(bytes);
    close(fd);
    tri_pattern_free(&pattern);
}

/* ---- frames ---- */

/* What tri_frame_send sends. */
static void write_frame(const char *name, tri_frame_kind kind, tri_packer *payload) {
    int pair[2];
    static char bytes[1 << 16];
    MUST(payload->status == TRIAGE_OK && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    MUST(tri_frame_send(pair[0], kind, payload->bytes.data, payload->bytes.size) == TRIAGE_OK);
    const ssize_t size = recv(pair[1], bytes, sizeof bytes, MSG_DONTWAIT);
    MUST(size > 0 && (size_t)size < sizeof bytes);
    write_seed("frames", name, bytes, (size_t)size);
    close(pair[0]);
    close(pair[1]);
    tri_packer_free(payload);
}

static void write_frames(tri_space *space, const tri_candidate *made) {
    tri_packer model = {0}, candidate = {0}, reference = {0}, asked = {0}, failure = {0};
    tri_question question = {.backend = "cuda"};
    tri_facts_of_problem(&question.problem, &problem);
    tri_facts_of_device(&question.device, &info);
    tri_pack_model(&model, space);
    tri_pack_candidate(&candidate, made);
    tri_pack_candidate(&reference, made);
    tri_pack_question(&asked, &question);
    tri_pack_failure(&failure, tri_fail(TRIAGE_E_DATA, "small.lua:3: what is wrong"));
    write_frame("model", TRI_FRAME_OPEN_SPACE, &model);
    write_frame("candidate", TRI_FRAME_FILL, &candidate);
    write_frame("reference", TRI_FRAME_FILL_REFERENCE, &reference);
    write_frame("question", TRI_FRAME_JUDGE, &asked);
    write_frame("failure", TRI_FRAME_FAILED, &failure);
}

/* ---- cache ---- */

/* Where the cache lays entries is its own affair: the file is looked for. */
static void write_cache(void) {
    static const char key[] = "0123456789abcdef0123456789abcdef";
    char cache[] = "/tmp/triage-seeds-XXXXXX", *path = NULL, *command = NULL, *bytes = NULL, *memo = NULL;
    size_t size = 0;
    const tri_image image = {
        .data = (char *)(uintptr_t) "\177ELF", .size = 4, .registers = 168, .log = (char *)(uintptr_t) "ok"};
    MUST(mkdtemp(cache) && tri_cache_write(&image, cache, key) == TRIAGE_OK);
    MUST(tri_format(&path, "%s/kernels/%.2s/%s.bin", cache, key, key) == TRIAGE_OK);
    MUST(tri_file_read(&bytes, &size, path, 0) == TRIAGE_OK);
    write_seed("cache", "entry", bytes, size);
    free(path);
    free(bytes);
    tri_compiler_version_write(cache, "host", "/bin/sh", "gcc 12.2.0");
    MUST(tri_path_join(&memo, cache, "compiler-host") == TRIAGE_OK &&
         tri_file_read(&bytes, &size, memo, 0) == TRIAGE_OK);
    write_seed("cache", "memo", bytes, size);
    free(memo);
    free(bytes);
    MUST(tri_format(&command, "rm -rf %s", cache) == TRIAGE_OK && system(command) == 0);
    free(command);
}

/* ---- Lua, keys ---- */

static void write_spaces(void) {
    enum { SPACES = 48 };
    for (uint64_t seed = 1; seed <= SPACES; seed++) {
        tri_text text = TRI_TEXT_INIT;
        char name[32];
        MUST(write_mutation(&text, seed) == TRIAGE_OK);
        snprintf(name, sizeof name, "mutation%d", (int)seed);
        write_seed("lua", name, text.data, text.size);
        tri_text_free(&text);
    }
}

static void write_keys(void) {
    tri_space *space = NULL;
    tri_configs configs;
    char *device = NULL;
    MUST(tri_space_open(&space, &tri_op_bsr_gemm, NULL) == TRIAGE_OK &&
         tri_device_key(&device, &info) == TRIAGE_OK);
    MUST(tri_space_enumerate(&configs, space, &problem, &info) == TRIAGE_OK);
    for (size_t i = 0; i < configs.count; i += configs.count / 8 + 1) {
        tri_text text = TRI_TEXT_INIT;
        char name[32];
        MUST(tri_text_format(&text, "%s\n%s\n%s", BSR_KEY, configs.text[i], device) == TRIAGE_OK);
        snprintf(name, sizeof name, "config%zu", i);
        write_seed("key", name, text.data, text.size);
        tri_text_free(&text);
    }
    write_text("key", "attention", ATTENTION_KEY);
    free(device);
    tri_configs_free(&configs);
    tri_space_free(space);
}

int main(int argc, char **argv) {
    tri_space *space = NULL;
    tri_candidate made;
    if (argc != 2)
        return fprintf(stderr, "usage: fuzz_seeds FOLDER\n"), 64;
    folder = argv[1];
    MUST(tri_problem_parse(&problem, BSR_KEY) == TRIAGE_OK);
    MUST(tri_device_info_of_target(&info, "sm_90a") == TRIAGE_OK);
    MUST(tri_space_open_here(&space, &tri_op_bsr_gemm, &(tri_space_options){.path = SMALL}) == TRIAGE_OK);
    MUST(tri_space_candidate(&made, space, &problem, &info, "first tile=32 mode=fast") == TRIAGE_OK);
    write_events();
    write_requests(&made);
    write_pattern();
    write_frames(space, &made);
    write_cache();
    write_spaces();
    write_keys();
    tri_candidate_free(&made);
    tri_space_free(space);
    return 0;
}
