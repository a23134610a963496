/* The measuring half of tests/bench_store.sh. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/measurement.h"

#define DEVICE "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448"
#define FAMILY "bsr_gemm f16 f16 row row none nobias"

enum { TURNS = 201 };

static char *literal(const char *text) {
    return (char *)(uintptr_t)text;
}

/* Writes a row as a line of JSON. */
static triage_status write_row(FILE *file, int64_t n, int64_t candidate, int64_t seed) {
    char *line = NULL;
    char key[200], config[64], hash[TRI_HASH_SIZE];
    snprintf(key, sizeof key, FAMILY " m=4096 n=%lld k=4096 block=64x64 density=1000 imbalance=10 overlap=1",
             (long long)n);
    snprintf(config, sizeof config, "wgmma bench=%lld", (long long)candidate);
    tri_hash(hash, config, strlen(config));
    const double ns = 1000 + (double)((n * 31 + candidate * 977) % 5000);
    tri_measurement row = {.problem = key,
                           .device = literal(DEVICE),
                           .device_name = literal("NVIDIA H200"),
                           .kernel = literal("wgmma"),
                           .config = config,
                           .source_hash = hash,
                           .compiler = literal("nvrtc 13.0"),
                           .stage = literal("search"),
                           .reason = literal(""),
                           .median_ns = ns,
                           .low_ns = ns * 0.999,
                           .high_ns = ns * 1.001,
                           .min_ns = ns * 0.99,
                           .samples = 30,
                           .cold_l2 = true,
                           .row_error = 1e-4,
                           .row_error_limit = 6e-4,
                           .registers = 168,
                           .smem_bytes = 196608,
                           .seed = seed,
                           .measured_at_ms = 1790000000000,
                           .host = literal("00112233445566778899aabbccddeeff"),
                           .version = literal("0.1.0"),
                           .circumstances =
                               literal("{\"driver\": 13000, \"power_cap_w\": 700, \"mig\": false}")};
    tri_measurement_id(row.id, &row);
    triage_status status = tri_measurement_to_json(&line, &row);
    if (status == TRIAGE_OK && fprintf(file, "%s\n", line) < 0)
        status = tri_fail(TRIAGE_E_IO, "cannot write");
    free(line);
    return status;
}

/* Rows of problems first_n, first_n + 1, ...: 100 candidates each, two rows a candidate. */
static triage_status fill(tri_store *store, int64_t first_n, int64_t rows) {
    char name[] = "/tmp/triage-rows-XXXXXX";
    tri_merge_result result;
    triage_status status = TRIAGE_OK;
    FILE *file = fdopen(mkstemp(name), "w");
    if (!file)
        return tri_fail(TRIAGE_E_IO, "cannot write to /tmp");
    for (int64_t i = 0; i < rows && status == TRIAGE_OK; i++)
        status = write_row(file, first_n + i / 200, (i / 2) % 100, i % 2);
    fclose(file);
    const int64_t start = tri_now_ns();
    if (status == TRIAGE_OK)
        status = tri_store_import(&result, store, name, NULL, NULL, NULL);
    if (status == TRIAGE_OK)
        printf("%s: %lld rows imported in %.1f s\n", tri_store_name(store), (long long)result.added,
               (double)(tri_now_ns() - start) / 1e9);
    remove(name);
    return status;
}

static triage_status first_row(void *user, const tri_measurement *row) {
    (void)row;
    ++*(int64_t *)user;
    return TRIAGE_OK;
}

static int by_value(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

typedef triage_status (*action)(tri_store *store, int64_t n, int64_t *rows);

static triage_status exact(tri_store *store, int64_t n, int64_t *rows) {
    char key[200];
    snprintf(key, sizeof key, FAMILY " m=4096 n=%lld k=4096 block=64x64 density=1000 imbalance=10 overlap=1",
             (long long)n);
    return tri_store_ranking(store, key, DEVICE, first_row, rows);
}

static triage_status next_key(void *user, const char *problem, const char *device) {
    (void)problem, (void)device;
    ++*(int64_t *)user;
    return TRIAGE_OK;
}

/* What a nearest lookup asks of the store: all keys of the family, and the rankings of nine donors. */
static triage_status nearest(tri_store *store, int64_t n, int64_t *rows) {
    triage_status status = tri_store_tuned(store, DEVICE, FAMILY, next_key, rows);
    for (int i = 0; i < 9 && status == TRIAGE_OK; i++)
        status = exact(store, n + i, rows);
    return status;
}

static triage_status report(tri_store *store, const char *what, const char *where, action run, int turns) {
    double ms[TURNS];
    int64_t rows = 0;
    for (int i = 0; i < turns; i++) {
        const int64_t start = tri_now_ns();
        triage_status status = run(store, 1001 + 4 * i, &rows);
        if (status != TRIAGE_OK)
            return status;
        ms[i] = (double)(tri_now_ns() - start) / 1e6;
    }
    qsort(ms, (size_t)turns, sizeof ms[0], by_value);
    printf("%s: %s lookup: median %.2f ms, longest %.2f ms (%lld rows seen, %d turns)\n", where, what,
           ms[turns / 2], ms[turns - 1], (long long)rows, turns);
    fflush(stdout);
    return TRIAGE_OK;
}

static triage_status lookups(const char *url, const char *where) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    TRI_TRY(tri_store_open(&store, url, TRI_STORE_READ));
    TRI_TRY(report(store, "exact", where, exact, TURNS));
    TRI_TRY(report(store, "nearest (without rendering)", where, nearest, 21));
done:
    tri_store_close(store);
    return status;
}

static triage_status seed(const char *url, const char *path) {
    triage_status status = TRIAGE_OK;
    tri_store *server = NULL, *local = NULL;
    tri_sync_result moved;
    TRI_TRY(tri_store_open(&server, url, TRI_STORE_WRITE));
    TRI_TRY(tri_store_open(&local, path, TRI_STORE_WRITE));
    TRI_TRY(fill(local, 999, 1));
    TRI_TRY(tri_store_sync(&moved, local, server, &(tri_sync_options){0}));
done:
    tri_store_close(local);
    tri_store_close(server);
    return status;
}

static triage_status fill_file(const char *path, int64_t rows) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    TRI_TRY(tri_store_open(&store, path, TRI_STORE_WRITE));
    TRI_TRY(fill(store, 1001, rows));
done:
    tri_store_close(store);
    return status;
}

/* The local file claims to have read the server up to `last`: only the new rows travel, each way. */
static triage_status sync_new(const char *path, const char *url, const char *last, int64_t rows) {
    triage_status status = TRIAGE_OK;
    tri_store *server = NULL, *local = NULL;
    tri_sync_result moved;
    sqlite3 *db = NULL;
    char text[100];
    snprintf(text, sizeof text, "UPDATE server SET pulled = %lld", atoll(last));
    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        TRI_TRY(tri_fail(TRIAGE_E_DB, "%s: %s", path, sqlite3_errmsg(db)));
    TRI_TRY(tri_store_open(&local, path, TRI_STORE_WRITE));
    TRI_TRY(tri_store_open(&server, url, TRI_STORE_WRITE));
    TRI_TRY(fill(local, 100000000, rows));
    int64_t start = tri_now_ns();
    TRI_TRY(tri_store_sync(&moved, local, server, &(tri_sync_options){0}));
    printf("sync: %lld new rows sent in %.2f s\n", (long long)moved.sent,
           (double)(tri_now_ns() - start) / 1e9);
    TRI_TRY(fill(server, 200000000, rows));
    start = tri_now_ns();
    TRI_TRY(tri_store_sync(&moved, local, server, &(tri_sync_options){0}));
    printf("sync: %lld new rows received in %.2f s\n", (long long)moved.received,
           (double)(tri_now_ns() - start) / 1e9);
done:
    sqlite3_close(db);
    tri_store_close(local);
    tri_store_close(server);
    return status;
}

int main(int argc, char **argv) {
    triage_status status = tri_fail(TRIAGE_E_INVALID, "bench_store lookups|seed|fill|sync ...");
    if (argc == 4 && strcmp(argv[1], "lookups") == 0)
        status = lookups(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "seed") == 0)
        status = seed(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "fill") == 0)
        status = fill_file(argv[2], atoll(argv[3]));
    if (argc == 6 && strcmp(argv[1], "sync") == 0)
        status = sync_new(argv[2], argv[3], argv[4], atoll(argv[5]));
    if (status != TRIAGE_OK)
        fprintf(stderr, "bench_store: %s\n", triage_last_error());
    return status == TRIAGE_OK ? 0 : 1;
}
