/* The built program: every command, its output as JSON, and its exit code when it is used wrongly. */
#include "store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/wait.h>
#include <time.h>
#include <utime.h>

#include "op/dense.h"

#define OTHER_PROBLEM                                                                                        \
    "bsr_gemm bf16 bf16 row row none nobias m=2048 n=512 k=4096 block=32x32 density=500 imbalance=10 "       \
    "overlap=0"

/* Legal for PROBLEM on DEVICE. */
#define WGMMA(tile_n, more)                                                                                  \
    "wgmma tile_n=" #tile_n " " more " ctas_per_sm=1 raster=1 share=1 order=0 promote=0"
#define WGMMA_256 WGMMA(256, "wg_n=1 step_k=64 stages=5 c_slabs=2 cluster_n=1")
#define WGMMA_128 WGMMA(128, "wg_n=1 step_k=64 stages=8 c_slabs=2 cluster_n=1")
#define WGMMA_128_HALVES WGMMA(128, "wg_n=2 step_k=64 stages=8 c_slabs=1 cluster_n=1")
#define WGMMA_256_HALVES WGMMA(256, "wg_n=2 step_k=64 stages=4 c_slabs=2 cluster_n=1")
#define WGMMA_WIDE WGMMA(256, "wg_n=4 step_k=64 stages=4 c_slabs=1 cluster_n=1")
#define HOST_DEVICE "host x86_64-avx512 sms=16 clock=0 memclock=0 bus=0 l2=33554432 smem=0"
#define HOST_CONFIG "host tile_n=32 tile_m=8 unroll=4 schedule=dynamic row_tasks=1 pack=1"

static char *out_text, *err_text;

static char *slurp(const char *name) {
    char *text = NULL;
    assert_ok(tri_file_read(&text, NULL, in_folder(name), 0));
    return text;
}

/* Runs triage_db with the words of a shell command; {} is the folder. Keeps what it printed. */
static int run(const char *words) {
    tri_text command = TRI_TEXT_INIT;
    assert_ok(tri_text_format(&command,
                              "env -u NO_COLOR XDG_DATA_HOME=%s/data XDG_CACHE_HOME=%s/cache HOME=%s "
                              "%s/bin/triage_db ",
                              folder, folder, folder, TRI_BINARY_DIR));
    for (const char *c = words; *c; c++) {
        if (c[0] == '{' && c[1] == '}') {
            assert_ok(tri_text_format(&command, "%s", folder));
            c++;
        } else {
            assert_ok(tri_text_append(&command, c, 1));
        }
    }
    assert_ok(tri_text_format(&command, " >%s/out 2>%s/err", folder, folder));
    int code = system(command.data);
    tri_text_free(&command);
    free(out_text);
    free(err_text);
    out_text = slurp("out");
    err_text = slurp("err");
    assert_true(WIFEXITED(code));
    return WEXITSTATUS(code);
}

static void expect_run(int code, const char *words) {
    int got = run(words);
    if (got != code)
        fail_msg("triage_db %s: exit code %d, not %d: %s%s", words, got, code, out_text, err_text);
}

/* Fails with this code, one line on stderr that begins with the program's name, nothing on stdout. */
static void expect_error(int code, const char *words, const char *message) {
    expect_run(code, words);
    if (strncmp(err_text, "triage_db: ", 11) != 0 || !strstr(err_text, message) ||
        strchr(err_text, '\n') != err_text + strlen(err_text) - 1)
        fail_msg("triage_db %s: \"%s\" is not one line with \"%s\"", words, err_text, message);
    assert_string_equal(out_text, "");
}

static json_t *run_json(const char *words, const char *kind) {
    expect_run(0, words);
    json_t *document = json_loads(out_text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(document);
    assert_int_equal(json_integer_value(json_object_get(document, "schema")), 1);
    assert_string_equal(json_string_value(json_object_get(document, "kind")), kind);
    return document;
}

static int64_t integer_of(const json_t *object, const char *key) {
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

static const char *string_of(const json_t *object, const char *key) {
    assert_true(json_is_string(json_object_get(object, key)));
    return json_string_value(json_object_get(object, key));
}

/* The default database: two problems, three candidates and two failures of the first. */
static int make_database(void **state) {
    if (make_folder(state) != 0)
        return -1;
    tri_store *store = open_store("data/triage/triage.db", TRI_STORE_WRITE);
    add(store, row_of(WGMMA_256, 100000));
    add(store, row_of(WGMMA_128, 100200));
    add(store, row_of(WGMMA_128_HALVES, 250000));
    add(store, failed_row(WGMMA_256_HALVES, TRI_SPILLED, "spills 96 bytes, 0 allowed"));
    add(store, failed_row(WGMMA_WIDE, TRI_WRONG, "row 3 column 7 is off"));
    tri_measurement other = row_of(HOST_CONFIG, 5000000);
    other.problem = (char *)(uintptr_t)OTHER_PROBLEM;
    other.device = (char *)(uintptr_t)HOST_DEVICE;
    other.kernel = (char *)(uintptr_t) "host";
    other.device_name = (char *)(uintptr_t) "host: a CPU";
    add(store, other);
    tri_store_close(store);
    return 0;
}

static int remove_all(void **state) {
    free(out_text);
    free(err_text);
    return remove_folder(state);
}

static size_t lines_of(const char *text) {
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void test_list(void **state) {
    (void)state;
    expect_run(0, "list");
    assert_int_equal(lines_of(out_text), 3);
    assert_non_null(strstr(out_text, PROBLEM "  "));
    assert_non_null(strstr(out_text, "wgmma tile_n=256"));
    assert_non_null(strstr(out_text, "100 us"));
    assert_non_null(strstr(out_text, " 140 ")); /* 2 * 4096^3 / 10 in 100 us: 137 TFLOP/s */
    assert_null(strchr(out_text, '\033'));      /* no terminal, no colour */
    expect_run(0, "list --device H200");
    assert_int_equal(lines_of(out_text), 2);
    expect_run(0, "list --device sm_75");
    assert_string_equal(out_text, "");
    expect_run(0, "list --op attention");
    assert_string_equal(out_text, "");
    json_t *document = run_json("list --json --op bsr_gemm --device avx512", "list");
    json_t *winners = json_object_get(document, "winners");
    assert_int_equal(json_array_size(winners), 1);
    json_t *winner = json_array_get(winners, 0);
    assert_string_equal(string_of(winner, "problem"), OTHER_PROBLEM);
    assert_string_equal(string_of(winner, "config"), HOST_CONFIG);
    assert_true(json_number_value(json_object_get(winner, "median_ns")) == 5000000);
    assert_int_equal(integer_of(json_object_get(winner, "circumstances"), "driver"), 13000);
    json_decref(document);
}

static void test_show(void **state) {
    (void)state;
    expect_run(0, "show '" PROBLEM "'");
    const char *winner = strstr(out_text, "winner"), *tie = strstr(out_text, "tie ");
    assert_non_null(winner);
    assert_non_null(tie);
    assert_non_null(strstr(winner, "wgmma tile_n=256"));
    assert_non_null(strstr(tie, "wgmma tile_n=128"));
    assert_non_null(strstr(out_text, "spills 96 bytes, 0 allowed"));
    assert_non_null(strstr(out_text, "row 3 column 7 is off"));
    json_t *document = run_json("show --json '" PROBLEM "'", "problem");
    json_t *device = json_array_get(json_object_get(document, "devices"), 0);
    assert_int_equal(json_array_size(json_object_get(document, "devices")), 1);
    assert_string_equal(string_of(device, "device"), DEVICE);
    json_t *ranking = json_object_get(device, "ranking");
    assert_int_equal(json_array_size(ranking), 3);
    assert_true(json_is_true(json_object_get(json_array_get(ranking, 1), "tie")));
    assert_true(json_is_false(json_object_get(json_array_get(ranking, 2), "tie")));
    assert_int_equal(json_array_size(json_object_get(device, "evidence")), 5);
    char command[64];
    snprintf(command, sizeof command, "show --json %.8s", string_of(json_array_get(ranking, 0), "id"));
    json_t *one = run_json(command, "measurement");
    assert_string_equal(string_of(json_object_get(one, "measurement"), "config"), WGMMA_256);
    json_decref(one);
    snprintf(command, sizeof command, "show %.8s", string_of(json_array_get(ranking, 0), "id"));
    expect_run(0, command);
    assert_non_null(strstr(out_text, "source_hash"));
    json_decref(document);
    expect_error(65, "show 0123456789abcdef", "no measurement has that id");
    expect_error(65, "show 'bsr_gemm of something'", "nothing is known");
    expect_error(65, "show --device sm_75 '" PROBLEM "'", "on such a device");
    expect_error(64, "show abc", "4 .. 32");
}

static void test_verify_and_hash(void **state) {
    (void)state;
    json_t *document = run_json("verify --json", "verify");
    assert_int_equal(integer_of(document, "measurements"), 6);
    json_decref(document);
    expect_run(0, "hash");
    char *hash = NULL;
    assert_ok(tri_strdup(&hash, out_text));
    assert_int_equal(strlen(hash), 33);
    expect_run(0, "hash {}/data/triage/triage.db");
    assert_string_equal(out_text, hash);
    expect_run(0, "hash --db {}/data/triage/triage.db");
    assert_string_equal(out_text, hash);
    expect_error(64, "hash --db a b", "not both");
    free(hash);
}

static void test_export_import_merge(void **state) {
    (void)state;
    expect_run(0, "hash");
    char *hash = NULL;
    assert_ok(tri_strdup(&hash, out_text));
    expect_run(0, "export {}/all.jsonl");
    assert_non_null(strstr(out_text, "6 measurements written"));
    json_t *document = run_json("--db {}/imported.db import --json {}/all.jsonl", "import");
    assert_int_equal(integer_of(document, "added"), 6);
    assert_int_equal(integer_of(document, "refused"), 0);
    json_decref(document);
    expect_run(0, "hash {}/imported.db");
    assert_string_equal(out_text, hash);
    document = run_json("merge --json {}/merged.db {}/imported.db {}/data/triage/triage.db", "merge");
    assert_int_equal(integer_of(document, "read"), 12);
    assert_int_equal(integer_of(document, "added"), 6);
    assert_int_equal(integer_of(document, "present"), 6);
    json_decref(document);
    expect_run(0, "hash {}/merged.db");
    assert_string_equal(out_text, hash);
    free(hash);
}

/* ---- trust ---- */

typedef struct origins {
    tri_store *store;
    tri_tier tier;
    int64_t count;
} origins;

static triage_status count_origin(void *user, const tri_measurement *row) {
    origins *found = user;
    tri_tier tier;
    char name[128];
    assert_ok(tri_store_origin(&tier, name, found->store, row->id));
    found->count += tier == found->tier;
    assert_int_equal(strncmp(name, "key ", 4) == 0, tier == TRI_TIER_PEER);
    return TRIAGE_OK;
}

static void expect_origins(const char *name, tri_tier tier, int64_t wanted) {
    tri_store *store = open_store(name, TRI_STORE_READ);
    origins found = {.store = store, .tier = tier};
    assert_ok(tri_store_each(store, count_origin, &found));
    assert_int_equal(found.count, wanted);
    tri_store_close(store);
}

static void replace_start(const char *name, const char *from, const char *to) {
    char *text = slurp(name);
    tri_text changed = TRI_TEXT_INIT;
    assert_int_equal(strncmp(text, from, strlen(from)), 0);
    assert_ok(tri_text_format(&changed, "%s%s", to, text + strlen(from)));
    assert_ok(tri_file_write_atomic(in_folder(name), changed.data, changed.size, 0600));
    tri_text_free(&changed);
    free(text);
}

/* A key is made once; what it signed is a peer's for those who name it, and nobody else's. */
static void test_signed_evidence(void **state) {
    (void)state;
    struct stat info;
    char *key = NULL, words[256];
    expect_error(64, "export --sign {}/signed.jsonl", "no signing key");
    expect_run(0, "key");
    assert_int_equal(strspn(out_text, "0123456789abcdef"), 64);
    assert_ok(tri_format(&key, "%.64s", out_text));
    expect_run(0, "key");
    assert_memory_equal(out_text, key, 64);
    assert_int_equal(stat(in_folder("data/triage/signing.key"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    expect_run(0, "export --sign {}/signed.jsonl");

    snprintf(words, sizeof words, "import --db {}/peer.db --trust %s --json {}/signed.jsonl", key);
    json_t *document = run_json(words, "import");
    assert_int_equal(integer_of(document, "added"), 6);
    assert_int_equal(integer_of(document, "trusted"), 6);
    json_decref(document);
    expect_origins("peer.db", TRI_TIER_PEER, 6);
    /* without the key's name, or by another's, it is what anybody says */
    expect_run(0, "import --db {}/claims.db {}/signed.jsonl");
    expect_origins("claims.db", TRI_TIER_UNKNOWN, 6);
    snprintf(words, sizeof words, "import --db {}/claims.db --trust %s {}/signed.jsonl", key);
    expect_run(0, words); /* and believed when the key is named later */
    expect_origins("claims.db", TRI_TIER_PEER, 6);
    expect_run(0, "key --key {}/other.key");
    snprintf(words, sizeof words, "import --db {}/none.db --trust %.64s {}/signed.jsonl", out_text);
    expect_error(65, words, "not by the one that is trusted");
    expect_error(64, "import --db {}/none.db --trust me {}/signed.jsonl", "is no key");
    expect_error(64, "import --db {}/none.db --sign {}/signed.jsonl", "--sign does not apply to import");
    free(key);
}

/* A row that was changed is none of those that were signed, and neither is one that was added. */
static void test_a_signature_covers_what_was_signed(void **state) {
    (void)state;
    char *key = NULL, words[256];
    expect_run(0, "key");
    assert_ok(tri_format(&key, "%.64s", out_text));
    expect_run(0, "export --sign {}/half.jsonl --db {}/data/triage/triage.db");
    tri_store *store = open_store("more.db", TRI_STORE_WRITE);
    add(store, row_of(WGMMA_128_HALVES, 77000));
    tri_store_close(store);
    expect_run(0, "merge {}/more.db {}/data/triage/triage.db");
    expect_run(0, "export {}/more.jsonl --db {}/more.db");
    assert_int_equal(rename(in_folder("more.jsonl"), in_folder("half.jsonl")), 0);
    snprintf(words, sizeof words, "import --db {}/half.db --trust %s --json {}/half.jsonl", key);
    json_t *document = run_json(words, "import");
    assert_int_equal(integer_of(document, "added"), 7);
    assert_int_equal(integer_of(document, "trusted"), 6);
    json_decref(document);
    expect_origins("half.db", TRI_TIER_UNKNOWN, 1);
    /* an id more, a digit of the signature, no signature at all */
    replace_start("half.jsonl.sig", "triage signature 1\n", "triage signature 2\n");
    snprintf(words, sizeof words, "import --db {}/none.db --trust %s {}/half.jsonl", key);
    expect_error(65, words, "not a signature of triage");
    replace_start("half.jsonl.sig", "triage signature 2\n", "triage signature 1\n");
    char *sig = slurp("half.jsonl.sig");
    sig[strlen(sig) - 2] = sig[strlen(sig) - 2] == '0' ? '1' : '0';
    assert_ok(tri_file_write_atomic(in_folder("half.jsonl.sig"), sig, strlen(sig), 0600));
    expect_error(65, words, "the signature is not that of these ids");
    free(sig);
    assert_int_equal(unlink(in_folder("half.jsonl.sig")), 0);
    expect_run(74, words);
    free(key);
}

static void test_bad_lines_are_named_and_skipped(void **state) {
    (void)state;
    expect_run(0, "export {}/some.jsonl");
    char *good = slurp("some.jsonl");
    tri_text text = TRI_TEXT_INIT;
    assert_ok(tri_text_format(&text, "%s{\"schema\": 1}\n", good));
    assert_ok(tri_file_write_atomic(in_folder("some.jsonl"), text.data, text.size, 0600));
    expect_run(65, "import --db {}/some.db {}/some.jsonl");
    assert_non_null(strstr(out_text, "7 measurements read: 6 added, 0 already there, 1 refused"));
    assert_non_null(strstr(err_text, "some.jsonl: line 7 refused: id: missing"));
    assert_non_null(strstr(err_text, "1 of 7 measurements were refused"));
    tri_text_free(&text);
    free(good);
    /* Sound rows about a problem that no kernel is for. */
    tri_store *store = open_store("strange.db", TRI_STORE_WRITE);
    tri_measurement row = row_of("a", 100);
    row.problem = (char *)(uintptr_t) "bsr_gemm of something";
    add(store, row);
    tri_store_close(store);
    expect_run(65, "merge {}/target.db {}/strange.db");
    assert_non_null(strstr(out_text, "0 added"));
}

static void test_wrong_usage(void **state) {
    (void)state;
    expect_error(64, "", "no command is given");
    expect_error(64, "frobnicate", "unknown command \"frobnicate\"");
    expect_error(64, "list more", "list takes no arguments; 1 arguments given");
    expect_error(64, "show", "show takes an id");
    expect_error(64, "merge {}/a.db", "merge takes INTO.db FROM.db...");
    expect_error(64, "export", "export takes FILE.jsonl");
    expect_error(64, "merge --db x {}/a.db {}/b.db", "--db does not apply to merge");
    expect_error(64, "list --max-age 3", "--max-age does not apply to list");
    expect_error(64, "gc --max-age -1", "--max-age");
    expect_error(64, "gc --max-size many", "--max-size");
    expect_run(64, "--no-such-option");
    assert_string_equal(out_text, "");
    expect_run(0, "--help");
    assert_non_null(strstr(out_text, "merge INTO.db FROM.db..."));
    expect_run(0, "--version");
    assert_string_equal(out_text, "triage_db " TRIAGE_VERSION "\n");
}

static void test_bad_files_leave_nothing_behind(void **state) {
    (void)state;
    assert_ok(
        tri_file_write_atomic(in_folder("poem.db"), "This is a poem, not a database file.\n", 37, 0600));
    expect_error(74, "list --db {}/nowhere.db", "no such database");
    expect_error(74, "merge {}/new.db {}/nowhere.db", "No such file");
    expect_error(74, "import --db {}/new.db {}/nowhere.jsonl", "No such file");
    expect_error(65, "list --db {}/poem.db", "not a database");
    expect_error(65, "merge {}/poem.db {}/data/triage/triage.db", "not a database");
    expect_error(65, "hash {}", "not a regular file");
    expect_error(74, "export {}/no/such/folder.jsonl", "folder.jsonl");
    expect_error(64, "merge {}/data/triage/triage.db {}/data/triage/triage.db", "into itself");
    assert_int_equal(access(in_folder("new.db"), F_OK), -1);
    assert_int_equal(access(in_folder("nowhere.db"), F_OK), -1);
}

/* A full disk is no success. */
static void test_output_that_cannot_be_written(void **state) {
    (void)state;
    char command[512];
    snprintf(command, sizeof command,
             "%s/bin/triage_db list --db %s/data/triage/triage.db >/dev/full 2>%s/err", TRI_BINARY_DIR,
             folder, folder);
    int code = system(command);
    assert_true(WIFEXITED(code) && WEXITSTATUS(code) == 74);
    char *said = slurp("err");
    assert_non_null(strstr(said, "No space left"));
    free(said);
}

/* ---- gc ---- */

static void make_entry(const char *name, size_t size, int days) {
    char *bytes = NULL, path[192];
    snprintf(path, sizeof path, "%s", in_folder(name));
    assert_ok(tri_calloc(&bytes, size, 1));
    memcpy(bytes, "TRICACHE", 8);
    *strrchr(path, '/') = '\0';
    assert_ok(tri_make_dirs(path));
    assert_ok(tri_file_write_atomic(in_folder(name), bytes, size, 0600));
    free(bytes);
    struct utimbuf times = {.actime = time(NULL) - days * 86400, .modtime = time(NULL) - days * 86400};
    assert_int_equal(utime(in_folder(name), &times), 0);
}

static bool is_there(const char *name) {
    return access(in_folder(name), F_OK) == 0;
}

#define NEW_ENTRY "cache/triage/kernels/ab/ab000000000000000000000000000000.bin"
#define OLD_ENTRY "cache/triage/kernels/cd/cd000000000000000000000000000000.bin"
#define LEFTOVER "cache/triage/kernels/cd/cd000000000000000000000000000000.bin.x7Gh2k"
#define STRANGER "cache/triage/kernels/cd/cd000000000000000000000000000000.txt"
#define NO_ENTRY "cache/triage/kernels/cd/cd000000000000000000000000000001.bin"

static void test_gc(void **state) {
    (void)state;
    expect_run(0, "gc"); /* no cache: nothing to do */
    make_entry(NEW_ENTRY, 1 << 20, 1);
    make_entry(OLD_ENTRY, 1 << 20, 40);
    make_entry(LEFTOVER, 100, 2);
    make_entry(STRANGER, 100, 400);
    assert_ok(tri_file_write_atomic(in_folder(NO_ENTRY), "my own file", 11, 0600));
    struct utimbuf long_ago = {0};
    assert_int_equal(utime(in_folder(NO_ENTRY), &long_ago), 0);
    json_t *document = run_json("gc --dry-run --json", "gc");
    assert_int_equal(integer_of(document, "removed"), 2);
    assert_int_equal(integer_of(document, "freed_bytes"), (1 << 20) + 100);
    json_decref(document);
    assert_true(is_there(OLD_ENTRY) && is_there(LEFTOVER));
    expect_run(0, "gc");
    assert_string_equal(out_text, "removed 2 compiled kernels (1.00 MiB), 1 kept (1.00 MiB)\n");
    assert_true(is_there(NEW_ENTRY) && is_there(STRANGER) && is_there(NO_ENTRY));
    assert_false(is_there(OLD_ENTRY) || is_there(LEFTOVER));
    make_entry(OLD_ENTRY, 1 << 20, 10);
    expect_run(0, "gc --max-size 1"); /* the least recently used goes */
    assert_true(is_there(NEW_ENTRY));
    assert_false(is_there(OLD_ENTRY));
    expect_run(0, "gc --cache {}/cache/triage --max-age 0.5");
    assert_false(is_there(NEW_ENTRY));
    assert_true(is_there("data/triage/triage.db"));
    expect_run(0, "verify");
}

/* A library's dense product is of no space: it has a key, a name and a hash of its own, and all must fit. */
static void test_dense_rows_are_checked(void **state) {
    (void)state;
    char hash[TRI_HASH_SIZE];
    tri_dense_source_hash(hash, "cublas");
    tri_store *store = open_store("dense.db", TRI_STORE_WRITE);
    for (int i = 0; i < 6; i++) {
        tri_measurement row = row_of("cublas", 1e6);
        row.problem = (char *)(uintptr_t) "dense_gemm f16 f16 row row m=4096 n=4096 k=4096";
        row.kernel = row.config;
        if (i != 1)
            row.source_hash = hash;
        if (i == 2)
            row.kernel = (char *)(uintptr_t) "wgmma";
        if (i == 3)
            row.device =
                (char
                     *)(uintptr_t) "host x86_64-avx2 sms=16 clock=0 memclock=0 bus=0 l2=1 smem=0"; /* by OpenBLAS */
        if (i == 4)
            row.problem = (char *)(uintptr_t) "dense_gemm f16 f16 row row m=4096 n=4096 k=04096";
        if (i == 5)
            row.min_ns = row.low_ns = row.median_ns = row.high_ns = 1000; /* 137 GFLOP */
        add(store, row);
    }
    tri_store_close(store);
    expect_run(0, "export {}/dense.jsonl --db {}/dense.db");
    expect_run(65, "import {}/dense.jsonl --db {}/believer.db");
    assert_non_null(strstr(out_text, "1 added, 0 already there, 5 refused"));
    assert_non_null(strstr(err_text, "which is by cublas on this device"));
    assert_non_null(strstr(err_text, "which is by openblas on this device"));
    assert_non_null(strstr(err_text, "is not written as"));
    assert_non_null(strstr(err_text, "min_ns: 1000 ns for 1.3"));
    expect_run(0, "list --db {}/believer.db");
    assert_non_null(strstr(out_text, "dense_gemm f16 f16 row row m=4096 n=4096 k=4096"));
    assert_non_null(strstr(out_text, " 140 ")); /* TFLOP/s: 2 m n k in a millisecond */
}

/* 13.7 GFLOP in a nanosecond: no device did that, whoever says so. */
static void test_impossible_times_are_refused(void **state) {
    (void)state;
    tri_store *store = open_store("liar.db", TRI_STORE_WRITE);
    add(store, row_of(WGMMA_256, 1));
    add(store, row_of(WGMMA_128, 100000));
    tri_store_close(store);
    expect_run(0, "export {}/liar.jsonl --db {}/liar.db");
    expect_run(65, "import {}/liar.jsonl --db {}/believer.db");
    assert_non_null(strstr(out_text, "1 added, 0 already there, 1 refused"));
    assert_non_null(strstr(err_text, "min_ns: 0.99 ns for 1.3"));
    assert_non_null(strstr(err_text, "allowed on this device from "));
    assert_non_null(strstr(err_text, "liar.jsonl: line "));
    assert_non_null(strstr(err_text, ", measurement "));
}

/* ---- explain ---- */

#define SHAPE "--shape 4096,4096,4096 --sparsity 0.9 "
/* the H200 of db/pretuned */
#define SHIPPED_KEY "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6016 l2=62914560 smem=232448"
/* ... and a problem that it has: a layer */
#define SHIPPED_SHAPE "--shape 4096,512,11008 --block 32 --sparsity 0.9 "
#define SHIPPED_PROBLEM                                                                                      \
    "bsr_gemm f16 f16 row row none nobias m=4096 n=512 k=11008 block=32x32 density=1000 imbalance=10 "       \
    "overlap=1"
#define SHIPPED_DEVICE "--device '" SHIPPED_KEY "' "

static void test_explain_exact(void **state) {
    (void)state;
    json_t *document = run_json("explain " SHIPPED_SHAPE SHIPPED_DEVICE "--json", "explain");
    assert_string_equal(string_of(document, "source"), "exact");
    assert_string_equal(string_of(document, "layer"), "shipped");
    assert_string_equal(string_of(document, "problem"), SHIPPED_PROBLEM);
    assert_string_equal(string_of(json_object_get(document, "device"), "name"), "NVIDIA H200");
    json_t *first = json_array_get(json_object_get(document, "candidates"), 0);
    assert_string_equal(string_of(first, "standing"), "used");
    assert_string_equal(string_of(first, "config"), string_of(document, "config"));
    assert_true(json_number_value(json_object_get(document, "expected_loss")) == 0);
    json_decref(document);
    expect_run(0, "explain " SHIPPED_SHAPE SHIPPED_DEVICE);
    assert_non_null(strstr(out_text, "answer    exact: row"));
    assert_non_null(strstr(out_text, "from      shipped evidence"));
    assert_non_null(strstr(out_text, "measured for this problem"));
}

static void test_explain_nearest(void **state) {
    (void)state;
    json_t *document = run_json(
        "explain --shape 4096,560,11008 --block 32 --sparsity 0.9 --json " SHIPPED_DEVICE, "explain");
    assert_string_equal(string_of(document, "source"), "nearest");
    assert_string_equal(string_of(document, "donor"), SHIPPED_PROBLEM);
    json_t *distance = json_object_get(document, "distance");
    assert_float_equal(json_number_value(json_object_get(distance, "shape")), 0.129, 1e-2);
    assert_float_equal(json_number_value(json_object_get(distance, "sparsity")), 0, 1e-9);
    assert_float_equal(json_number_value(json_object_get(distance, "pattern")), 0, 1e-9);
    assert_true(json_is_object(json_object_get(document, "leave_one_out")));
    json_decref(document);
    expect_run(0, "explain --shape 4096,560,11008 --block 32 --sparsity 0.9 " SHIPPED_DEVICE);
    assert_non_null(strstr(out_text, "answer    nearest: row"));
    assert_non_null(strstr(out_text, "donor     " SHIPPED_PROBLEM));
    assert_non_null(strstr(out_text, "shape 0.13, sparsity 0.00, pattern 0.00"));
    assert_non_null(strstr(out_text, "nearest tuned problems"));
}

/* Nothing near is tuned: a layer with its epilogue, from what was measured of others. */
static void test_explain_predicted(void **state) {
    (void)state;
    const char *const asked = "explain --shape 5120,64,13824 --block 128 --sparsity 0.9 --layout col --bias "
                              "--activation silu " SHIPPED_DEVICE;
    char json[400];
    snprintf(json, sizeof json, "%s--json", asked);
    json_t *document = run_json(json, "explain");
    assert_string_equal(string_of(document, "source"), "predicted");
    assert_string_equal(string_of(document, "layer"), "predictor");
    assert_non_null(
        strstr(string_of(document, "problem"), "bsr_gemm f16 f16 col col silu bias m=5120 n=64 "));
    assert_true(json_is_null(json_object_get(document, "donor")));
    assert_true(json_number_value(json_object_get(document, "expected_loss")) > 0);
    const json_t *prediction = json_object_get(document, "prediction");
    assert_true(json_number_value(json_object_get(prediction, "expected_ns")) > 1000);
    assert_int_equal(json_object_size(json_object_get(prediction, "terms_ns")), 6);
    json_decref(document);
    expect_run(0, asked);
    assert_non_null(strstr(out_text, "answer    predicted: "));
    assert_non_null(strstr(out_text, "guess     "));
    expect_error(64, "explain " SHAPE "--activation tanh",
                 "--activation tanh is not one of none, relu, gelu, silu");
    expect_error(64, "explain " SHAPE "--bias=maybe", "--bias maybe is not one of yes, no");
}

/* The rows of this database have made-up source hashes: each is passed over, and says why. What serves is what another
 * device of the architecture knows. */
static void test_explain_elsewhere(void **state) {
    (void)state;
    expect_run(0, "explain " SHAPE "--device '" DEVICE "'");
    assert_non_null(strstr(out_text, "answer    nearest: "));
    assert_non_null(
        strstr(out_text, "from      another device of this architecture\nthere     NVIDIA H200 (cuda "));
    assert_non_null(strstr(out_text, "loss      unknown: nothing that serves was measured on this device"));
    assert_non_null(strstr(out_text, "its source has changed since it was measured"));
    assert_non_null(strstr(out_text, "spilled: spills 96 bytes, 0 allowed"));
    assert_non_null(strstr(out_text, "wrong: row 3 column 7 is off"));
    json_t *document = run_json("explain --json " SHAPE "--device '" DEVICE "'", "explain");
    assert_string_equal(string_of(document, "layer"), "elsewhere");
    assert_string_equal(string_of(json_object_get(document, "donor_device"), "name"), "NVIDIA H200");
    assert_true(json_is_null(json_object_get(document, "expected_loss")));
    assert_true(json_is_null(json_object_get(document, "leave_one_out")));
    json_decref(document);
}

/* A device of an architecture that nobody has seen is answered by others, this machine by the default; the type that fits it. */
static void test_explain_default(void **state) {
    (void)state;
    expect_run(0, "explain " SHAPE "--device 'cuda sm_80 sms=108 clock=1410000 memclock=1215000 bus=5120 "
                  "l2=41943040 smem=166912'");
    assert_non_null(strstr(out_text, "answer    predicted: "));
    assert_non_null(strstr(out_text, "from      what was measured on other architectures"));
    expect_run(0, "explain --shape 64,64,64 --sparsity 0.5 --block 16 --device host");
    assert_non_null(strstr(out_text, "answer    default: "));
    assert_non_null(strstr(out_text, "no evidence serves"));
    assert_non_null(strstr(out_text, "problem   bsr_gemm f32 f32"));
    assert_ok(tri_file_write_atomic(in_folder("ok.smtx"), "3, 4, 4\n0 2 2 4\n0 3 1 2\n", 24, 0600));
    expect_run(0, "explain --pattern {}/ok.smtx --n 24 --block 16 --dtype bf16 --layout col " SHIPPED_DEVICE);
    assert_non_null(strstr(out_text, "bsr_gemm bf16 bf16 col col none nobias m=48 n=24 k=64 block=16x16"));
    expect_run(0, "explain --shape 64,64,64 --sparsity 0.5 --block 16 --device host");
    assert_non_null(strstr(out_text, "problem   bsr_gemm f32 f32"));
}

static void test_explain_loss(void **state) {
    (void)state;
    json_t *document = run_json("explain --loss --json --device '" DEVICE "'", "explain_loss");
    json_t *device = json_array_get(json_object_get(document, "devices"), 0);
    const int64_t problems = integer_of(device, "problems");
    assert_true(problems > 0);
    assert_int_equal(json_array_size(json_object_get(device, "cases")), problems);
    assert_int_equal(integer_of(device, "judged") + integer_of(device, "failed") +
                         integer_of(device, "untimed") + integer_of(device, "no_donor") +
                         integer_of(device, "stale"),
                     problems);
    json_decref(document);
    expect_run(0, "explain --loss");
    assert_non_null(strstr(out_text, "90 %"));
    /* this database's two devices, and the shipped one (of the H100 no tuned problem is) */
    const int flatters = strstr(out_text, "the figures flatter") != NULL;
    assert_int_equal(lines_of(out_text), 1 + 3 + 5 + flatters);
    expect_error(65, "explain --loss --device sm_75", "no device with that");
}

static void test_explain_wrong_usage(void **state) {
    (void)state;
    expect_error(64, "explain", "no problem is given");
    expect_error(64, "explain --loss --sparsity 0.5", "leave out --sparsity");
    expect_error(64, "explain " SHAPE "--device sms=", "devices have that in their name or key");
    expect_error(65, "explain " SHAPE "--device A100", "--device A100: no device with that");
    expect_error(74, "explain " SHAPE "--db {}/nowhere.db", "no such database");
    expect_error(64, "explain " SHAPE "--seed x", "--seed");
    expect_error(64, "list " SHAPE, "--sparsity is no filter");
    expect_error(64, "verify --shape 1,2,3", "--shape does not apply to verify");
    expect_error(64, "hash --op bsr_gemm", "--op does not apply to hash");
    expect_error(64, "show --loss x", "--loss does not apply to show");
    assert_int_equal(access(in_folder("nowhere.db"), F_OK), -1);
}

/* Whoever asks changes nothing: not the database, nor what is beside it, nor is one made. */
static void test_asking_writes_nothing(void **state) {
    (void)state;
    char *before = NULL, *after = NULL;
    size_t size = 0, size_after = 0;
    assert_ok(tri_file_read(&before, &size, in_folder("data/triage/triage.db"), 0));
    expect_run(0, "explain " SHAPE SHIPPED_DEVICE);
    expect_run(0, "explain --loss");
    expect_run(0, "list");
    assert_ok(tri_file_read(&after, &size_after, in_folder("data/triage/triage.db"), 0));
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    assert_int_equal(access(in_folder("data/triage/triage.db-wal"), F_OK), -1);
    assert_int_equal(access(in_folder("data/triage/triage.db-shm"), F_OK), -1);
    free(before);
    free(after);
    char command[512];
    snprintf(command, sizeof command,
             "XDG_DATA_HOME=%s/fresh %s/bin/triage_db explain " SHAPE SHIPPED_DEVICE " >/dev/null", folder,
             TRI_BINARY_DIR);
    assert_int_equal(system(command), 0);
    assert_int_equal(access(in_folder("fresh"), F_OK), -1);
}

/* The program on a file system that says it is NFS: it works, and says what to do instead. */
static void test_network_advice(void **state) {
    (void)state;
    static const char source[] = "#include <sys/vfs.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n"
                                 "int statfs(const char *path, struct statfs *out) {\n"
                                 "    long code = syscall(SYS_statfs, path, out);\n"
                                 "    out->f_type = 0x6969;\n    return (int)code;\n}\n";
    char command[1024];
    assert_ok(tri_file_write_atomic(in_folder("nfs.c"), source, sizeof source - 1, 0600));
    snprintf(command, sizeof command, "cc -D_GNU_SOURCE -shared -fPIC -o %s %s", in_folder("nfs.so"),
             in_folder("nfs.c"));
    assert_int_equal(system(command), 0);
    snprintf(
        command, sizeof command,
        "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 LD_PRELOAD=%s %s/bin/triage_db list --db %s "
        "2>%s >/dev/null",
        in_folder("nfs.so"), TRI_BINARY_DIR, in_folder("data/triage/triage.db"), in_folder("err"));
    assert_int_equal(system(command), 0);
    char *said = slurp("err");
    assert_non_null(strstr(said, "triage.db is on a network file system: no write-ahead log there"));
    assert_non_null(strstr(said, "triage_db sync"));
    free(said);
    expect_run(0, "list --db {}/data/triage/triage.db");
    assert_string_equal(err_text, "");
}

/* What needs a server says so, and a password on the command line goes no further. */
static void test_servers(void **state) {
    (void)state;
    expect_error(64, "sync", "a server is expected");
    expect_error(64, "jobs --server {}/x.db", "a server is expected");
    expect_error(64, "enqueue --server postgresql://u@127.0.0.1:1/x", "--shapes");
    expect_error(64, "enqueue --retry", "a server is expected");
    expect_error(64, "enqueue --retry --shapes {}/x.csv --server postgresql://u@127.0.0.1:1/x", "not both");
    expect_error(64, "jobs --retry", "does not apply");
    expect_error(64, "list --server postgresql://u@h/x", "does not apply");
    expect_error(64, "merge {}/into.db postgresql://u@127.0.0.1:1/x", "sync");
    static const char *const words[] = {"list --db postgresql://u:secret@127.0.0.1:1/x",
                                        "sync --server 'postgresql://u@127.0.0.1:1/x?password=secret'",
                                        "merge postgresql://u:secret@127.0.0.1:1/x {}/data/triage/triage.db",
                                        "hash postgresql://u:secret@127.0.0.1:1/x"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        expect_run(64, words[i]);
        assert_null(strstr(err_text, "secret"));
        assert_null(strstr(out_text, "secret"));
    }
}

static void expect_bad_shapes(const char *text, const char *message) {
    FILE *file = fopen(in_folder("shapes.csv"), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    expect_error(65, "enqueue --shapes {}/shapes.csv --server postgresql://u@127.0.0.1:1/x", message);
}

static void test_bad_shapes(void **state) {
    (void)state;
    expect_bad_shapes("", "no shapes");
    expect_bad_shapes("m,n,k\n1,1,1\n", "no column sparsity");
    expect_bad_shapes("m,n,k,sparsity,m\n", "column \"m\"");
    expect_bad_shapes("m,n,k,sparsity,speed\n", "column \"speed\"");
    expect_bad_shapes("m,n,k,sparsity\n64,64,64,0.5\n64,64,64\n", "line 3");
    expect_bad_shapes("m,n,k,sparsity\n64,64,x,0.5\n", "line 2");
    expect_bad_shapes("m,n,k,sparsity\n64,64,64,1.5\n", "1.5");
    expect_bad_shapes("m,n,k,sparsity,block\n64,64,64,0.5,48\n", "48");
    expect_error(74, "enqueue --shapes {}/none.csv --server postgresql://u@127.0.0.1:1/x", "none.csv");
}

/* ---- status of a file ---- */

static tri_measurement drifting(const char *config, double median_ns, int64_t later_ms,
                                const char *circumstances) {
    tri_measurement row = row_of(config, median_ns);
    row.stage = (char *)(uintptr_t) "race";
    row.measured_at_ms += later_ms;
    row.circumstances = (char *)(uintptr_t)circumstances;
    return row;
}

static json_t *first_drift(const char *words) {
    expect_run(0, words);
    json_t *document = json_loads(out_text, 0, NULL), *list = json_object_get(document, "drifted");
    assert_non_null(json_object_get(document, "measurements"));
    json_t *first = json_array_get(list, 0);
    json_incref(first);
    json_decref(document);
    return first;
}

static void test_status_of_a_file(void **state) {
    (void)state;
    static const char before[] = "{\"driver\":\"580.1\",\"power_limit_mw\":700000,\"power_mw\":150000}",
                      after[] = "{\"driver\":\"590.2\",\"power_limit_mw\":500000,\"power_mw\":170000}";
    tri_store *store = open_store("drift.db", TRI_STORE_WRITE);
    add(store, drifting("a", 100000, 0, before));
    add(store, drifting("b", 104000, 0, before));
    assert_null(first_drift("status --db {}/drift.db --json"));
    add(store, drifting("a", 120000, 10, after));
    json_t *drift = first_drift("status --db {}/drift.db --json"),
           *changed = json_object_get(drift, "changed");
    assert_true(json_is_true(json_object_get(drift, "demoted")));
    assert_true(json_is_false(json_object_get(drift, "measured_since")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(drift, "winner"), "config")), "b");
    assert_int_equal(json_array_size(changed), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(changed, 0), "name")), "driver");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(changed, 1), "to")), 500000);
    json_decref(drift);
    expect_run(0, "status --db {}/drift.db");
    assert_non_null(strstr(out_text, "3 measurements of 1 problems"));
    assert_non_null(strstr(out_text, "a: 100 us -> 120 us (+20.0 %)"));
    assert_non_null(strstr(out_text, "driver \"580.1\" -> \"590.2\", power_limit_mw 700000 -> 500000"));
    assert_non_null(strstr(out_text, "now first: b, 104 us, measured before that change"));
    assert_null(strstr(out_text, "jobs"));
    assert_null(strstr(out_text, "busy"));
    add(store, drifting("b", 99000, 20, "{\"processes\":2}")); /* newer and faster; but another was there */
    expect_run(0, "status --db {}/drift.db");
    assert_null(strstr(out_text, "busy"));
    tri_measurement alone = drifting("a", 80000, 0, "{\"processes\":3}");
    alone.problem = (char *)(uintptr_t) "other words without sizes";
    add(store, alone);
    expect_run(0, "status --db {}/drift.db");
    assert_non_null(
        strstr(out_text, "busy: other words without sizes on NVIDIA H200\n  a, 80.0 us, timed while"));
    tri_store_close(store);
    expect_error(74, "status --db {}/nowhere.db", "no such database");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_of_a_file),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_show),
        cmocka_unit_test(test_verify_and_hash),
        cmocka_unit_test(test_export_import_merge),
        cmocka_unit_test(test_signed_evidence),
        cmocka_unit_test(test_a_signature_covers_what_was_signed),
        cmocka_unit_test(test_bad_lines_are_named_and_skipped),
        cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_bad_files_leave_nothing_behind),
        cmocka_unit_test(test_output_that_cannot_be_written),
        cmocka_unit_test(test_gc),
        cmocka_unit_test(test_dense_rows_are_checked),
        cmocka_unit_test(test_impossible_times_are_refused),
        cmocka_unit_test(test_explain_exact),
        cmocka_unit_test(test_explain_nearest),
        cmocka_unit_test(test_explain_predicted),
        cmocka_unit_test(test_explain_elsewhere),
        cmocka_unit_test(test_explain_default),
        cmocka_unit_test(test_explain_loss),
        cmocka_unit_test(test_explain_wrong_usage),
        cmocka_unit_test(test_asking_writes_nothing),
        cmocka_unit_test(test_network_advice),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_bad_shapes),
    };
    return cmocka_run_group_tests_name("triage_db", tests, make_database, remove_all);
}
