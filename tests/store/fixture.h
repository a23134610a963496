/* A temporary folder and rows of evidence for the store's tests. */
#ifndef TRIAGE_TESTS_STORE_FIXTURE_H
#define TRIAGE_TESTS_STORE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

#define PROBLEM                                                                                              \
    "bsr_gemm f16 f16 row row none nobias m=4096 n=4096 k=4096 block=64x64 density=1000 imbalance=10 "       \
    "overlap=1"
#define DEVICE "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448"

#define assert_ok(expr)                                                                                      \
    do {                                                                                                     \
        triage_status assert_status = (expr);                                                                \
        if (assert_status != TRIAGE_OK)                                                                      \
            print_error("%s: %s\n", #expr, triage_last_error());                                             \
        assert_int_equal(assert_status, TRIAGE_OK);                                                          \
    } while (0)

#define assert_fails(wanted, words, expr)                                                                    \
    do {                                                                                                     \
        triage_status assert_status = (expr);                                                                \
        if (assert_status != (wanted) || !strstr(triage_last_error(), (words)))                              \
            print_error("%s: %s: %s\n", #expr, triage_status_name(assert_status), triage_last_error());      \
        assert_int_equal(assert_status, (wanted));                                                           \
        assert_non_null(strstr(triage_last_error(), (words)));                                               \
    } while (0)

static char folder[64];

static inline int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static inline int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/triage-store-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state) {
    (void)state;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path of a file in the folder; one of four static texts. */
static inline const char *in_folder(const char *name) {
    static char paths[4][192];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, 192, "%s/%s", folder, name);
    return path;
}

/* A right row of a config; its texts are literals or static: never clear it. The source hash follows from the
 * config's text. */
static inline tri_measurement row_of(const char *config, double median_ns) {
    static char hashes[4096][TRI_HASH_SIZE];
    static size_t next;
    char *hash = hashes[next++ % 4096];
    tri_hash(hash, config, strlen(config));
    return (tri_measurement){.problem = (char *)(uintptr_t)PROBLEM,
                             .device = (char *)(uintptr_t)DEVICE,
                             .device_name = (char *)(uintptr_t) "NVIDIA H200",
                             .kernel = (char *)(uintptr_t) "wgmma",
                             .config = (char *)(uintptr_t)config,
                             .source_hash = hash,
                             .compiler = (char *)(uintptr_t) "nvrtc 13.0",
                             .stage = (char *)(uintptr_t) "search",
                             .outcome = TRI_RIGHT,
                             .reason = (char *)(uintptr_t) "",
                             .median_ns = median_ns,
                             .low_ns = median_ns * 0.995,
                             .high_ns = median_ns * 1.005,
                             .min_ns = median_ns * 0.99,
                             .samples = 30,
                             .cold_l2 = true,
                             .row_error = 2.5e-4,
                             .row_error_limit = 6e-4,
                             .registers = 168,
                             .smem_bytes = 196608,
                             .seed = 7,
                             .measured_at_ms = 1790000000000,
                             .host = (char *)(uintptr_t) "00112233445566778899aabbccddeeff",
                             .version = (char *)(uintptr_t) "0.1.0",
                             .circumstances = (char *)(uintptr_t) "{\"driver\": 13000}"};
}

static inline tri_measurement failed_row(const char *config, tri_outcome outcome, const char *reason) {
    tri_measurement row = row_of(config, 1);
    row.outcome = outcome;
    row.reason = (char *)(uintptr_t)reason;
    row.median_ns = row.low_ns = row.high_ns = row.min_ns = 0;
    row.samples = 0;
    row.row_error = row.row_error_limit = 0;
    return row;
}

/* Where a store of this name is: a file in the folder, unless a test puts it on a server. */
static const char *(*locate_store)(const char *name) = in_folder;

static inline tri_store *open_store(const char *name, tri_store_mode mode) {
    tri_store *store = NULL;
    assert_ok(tri_store_open(&store, locate_store(name), mode));
    assert_non_null(store);
    return store;
}

static inline void add(tri_store *store, tri_measurement row) {
    assert_ok(tri_store_add(store, &row));
}

/* "config config ..." of the rows it is called with. */
static inline triage_status list_configs(void *user, const tri_measurement *row) {
    return tri_text_format(user, "%s ", row->config);
}

static inline triage_status count_rows(void *user, const tri_measurement *row) {
    (void)row;
    ++*(int64_t *)user;
    return TRIAGE_OK;
}

static inline void expect_ranking(tri_store *store, const char *wanted) {
    tri_text configs = TRI_TEXT_INIT;
    assert_ok(tri_store_ranking(store, PROBLEM, DEVICE, list_configs, &configs));
    assert_string_equal(configs.data ? configs.data : "", wanted);
    tri_text_free(&configs);
}

static inline void expect_rows(tri_store *store, int64_t wanted) {
    int64_t rows = 0;
    assert_ok(tri_store_each(store, count_rows, &rows));
    assert_int_equal(rows, wanted);
}

#endif
