/* The measuring half of tests/bench_store.sh: JSON objects, one a line, on stdout. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "evidence/lookup.h"
#include "store/measurement.h"

#define FAMILY "bsr_gemm f16 f16 row row none nobias"

enum { TURNS = 201, CANDIDATES = 100 };

/* ---- a world: the built-in space, a made-up GPU, problems on a lattice ---- */

static struct {
    tri_space *space;
    tri_device_info info;
    char *device, config[300], hash[TRI_HASH_SIZE]; /* a kernel that the space has, and its text today */
} world;

static const int sizes[10] = {1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576};

static void key_of(char key[200], int64_t m, int64_t n, int64_t k) {
    snprintf(key, 200, FAMILY " m=%lld n=%lld k=%lld block=64x64 density=1000 imbalance=10 overlap=1",
             (long long)m, (long long)n, (long long)k);
}

/* The i-th problem: tests/bench_store.sh makes the same. Kernels for n % 64 = 0 have another text: none is here. */
static void problem_at(char key[200], int64_t i) {
    key_of(key, sizes[i % 10], 16 + 64 * (i / 100), sizes[i / 10 % 10]);
}

static triage_status make_world(void) {
    triage_status status = TRIAGE_OK;
    tri_problem problem;
    tri_configs configs = {0};
    tri_candidate candidate = {0};
    tri_source source = {0};
    char key[200];
    problem_at(key, 0); /* what is legal for few columns is for many */
    TRI_TRY(tri_device_info_of_target(&world.info, "sm_90a"));
    TRI_TRY(tri_device_key(&world.device, &world.info));
    TRI_TRY(tri_space_open(&world.space, &tri_op_bsr_gemm, &(tri_space_options){0}));
    TRI_TRY(tri_problem_parse(&problem, key));
    TRI_TRY(tri_space_enumerate(&configs, world.space, &problem, &world.info));
    snprintf(world.config, sizeof world.config, "%s", configs.text[configs.default_index]);
    TRI_TRY(tri_space_candidate(&candidate, world.space, &problem, &world.info, world.config));
    TRI_TRY(tri_render(&source, &candidate, NULL));
    tri_source_hash(world.hash, &source, world.info.target);
done:
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    tri_configs_free(&configs);
    return status;
}

/* ---- rows ---- */

static char *literal(const char *text) {
    return (char *)(uintptr_t)text;
}

/* Writes a row as a line of JSON. Candidate 0 is the real one, and the fastest. */
static triage_status write_row(FILE *file, int64_t problem, int64_t candidate, int64_t seed) {
    char *line = NULL;
    char key[200], config[64], hash[TRI_HASH_SIZE];
    problem_at(key, problem);
    snprintf(config, sizeof config, "wgmma bench=%lld", (long long)candidate);
    tri_hash(hash, config, strlen(config));
    const double ns = candidate ? 1000 + (double)((problem * 31 + candidate * 977) % 5000) : 900;
    tri_measurement row = {.problem = key,
                           .device = world.device,
                           .device_name = literal("NVIDIA H200"),
                           .kernel = literal("wgmma"),
                           .config = candidate ? config : world.config,
                           .source_hash = candidate ? hash : world.hash,
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

/* Rows of the problems first, first + 1, ...: 100 candidates each, two rows a candidate. */
static triage_status fill(tri_store *store, int64_t first, int64_t rows) {
    char name[] = "/tmp/triage-rows-XXXXXX";
    tri_merge_result result;
    triage_status status = TRIAGE_OK;
    FILE *file = fdopen(mkstemp(name), "w");
    if (!file)
        return tri_fail(TRIAGE_E_IO, "cannot write to /tmp");
    for (int64_t i = 0; i < rows && status == TRIAGE_OK; i++)
        status = write_row(file, first + i / (2 * CANDIDATES), (i / 2) % CANDIDATES, i % 2);
    fclose(file);
    const int64_t start = tri_now_ns();
    if (status == TRIAGE_OK)
        status = tri_store_import(&result, store, name, NULL, NULL, NULL);
    if (status == TRIAGE_OK && result.added != rows)
        status =
            tri_fail(TRIAGE_E_DATA, "%lld of %lld rows were new", (long long)result.added, (long long)rows);
    if (status == TRIAGE_OK)
        printf("{\"what\": \"import\", \"where\": \"%s\", \"rows\": %lld, \"seconds\": %.1f}\n",
               tri_store_is_server(store) ? "server" : "file", (long long)result.added,
               (double)(tri_now_ns() - start) / 1e9);
    remove(name);
    return status;
}

/* ---- lookups ---- */

static int by_value(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* A whole lookup, rendering included, that must have the wanted answer. */
static triage_status look_up(tri_store *store, const char *key, triage_source wanted, double *ms) {
    triage_status status = TRIAGE_OK;
    tri_problem problem;
    tri_found found = {0};
    TRI_TRY(tri_problem_parse(&problem, key));
    const int64_t start = tri_now_ns();
    TRI_TRY(tri_lookup(&found, store, world.space, &problem, &world.info, NULL));
    *ms = (double)(tri_now_ns() - start) / 1e6;
    if (found.source != wanted || strcmp(found.candidate.config, world.config) != 0 ||
        (wanted == TRIAGE_SOURCE_NEAREST && found.expected_loss < 0))
        status = tri_fail(TRIAGE_E_DATA, "%s: source %d, %s, loss %g", key, (int)found.source,
                          found.candidate.config, found.expected_loss);
done:
    tri_found_free(&found);
    return status;
}

static triage_status first_row(void *user, const tri_measurement *row) {
    (void)row;
    ++*(int64_t *)user;
    return TRIAGE_OK;
}

/* What an exact lookup asks of the store. */
static triage_status best(tri_store *store, const char *key, triage_source wanted, double *ms) {
    int64_t rows = 0;
    (void)wanted;
    const int64_t start = tri_now_ns();
    triage_status status = tri_store_best(store, key, world.device, 1, first_row, &rows);
    *ms = (double)(tri_now_ns() - start) / 1e6;
    return status != TRIAGE_OK || rows == 1 ? status : tri_fail(TRIAGE_E_DATA, "%s: not found", key);
}

static triage_status rank(tri_store *store, const char *key, triage_source wanted, double *ms) {
    int64_t rows = 0;
    (void)wanted;
    const int64_t start = tri_now_ns();
    triage_status status = tri_store_ranking(store, key, world.device, first_row, &rows);
    *ms = (double)(tri_now_ns() - start) / 1e6;
    return status != TRIAGE_OK || rows == CANDIDATES ? status
                                                     : tri_fail(TRIAGE_E_DATA, "%s: %d rows", key, (int)rows);
}

typedef triage_status (*action)(tri_store *store, const char *key, triage_source wanted, double *ms);

/* Problems all over the database; for the nearest between the lattice's points: n always, m in every other turn. */
static void pick(char key[200], triage_source wanted, int64_t problems, int turn) {
    const int64_t i = (int64_t)turn * 7919 % problems;
    if (wanted == TRIAGE_SOURCE_EXACT)
        problem_at(key, i);
    else
        key_of(key, turn % 2 ? 5120 : sizes[i % 10], 40 + 64 * (i / 100), sizes[i / 10 % 10]);
}

static triage_status report(tri_store *store, const char *what, triage_source wanted, int64_t problems,
                            action run) {
    double ms[TURNS];
    char key[200];
    for (int i = 0; i < TURNS; i++) {
        pick(key, wanted, problems, i);
        triage_status status = run(store, key, wanted, &ms[i]);
        if (status != TRIAGE_OK)
            return status;
    }
    qsort(ms, TURNS, sizeof ms[0], by_value);
    printf("{\"what\": \"%s\", \"where\": \"%s\", \"turns\": %d, \"median_ms\": %.3f, \"p10_ms\": %.3f, "
           "\"p90_ms\": "
           "%.3f, \"longest_ms\": %.3f}\n",
           what, tri_store_is_server(store) ? "server" : "file", TURNS, ms[TURNS / 2], ms[TURNS / 10],
           ms[TURNS * 9 / 10], ms[TURNS - 1]);
    fflush(stdout);
    return TRIAGE_OK;
}

static triage_status lookups(const char *url, int64_t rows) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    const int64_t problems = rows / (2 * CANDIDATES);
    TRI_TRY(tri_store_open(&store, url, TRI_STORE_READ));
    TRI_TRY(report(store, "exact lookup, store only", TRIAGE_SOURCE_EXACT, problems, best));
    TRI_TRY(report(store, "exact lookup, rendering included", TRIAGE_SOURCE_EXACT, problems, look_up));
    TRI_TRY(report(store, "whole ranking read", TRIAGE_SOURCE_EXACT, problems, rank));
    TRI_TRY(report(store, "nearest lookup, rendering included", TRIAGE_SOURCE_NEAREST, problems, look_up));
done:
    tri_store_close(store);
    return status;
}

/* ---- filling and syncing ---- */

/* One row on both sides: the first of problem 0. */
static triage_status seed(const char *url, const char *path) {
    triage_status status = TRIAGE_OK;
    tri_store *server = NULL, *local = NULL;
    tri_sync_result moved;
    TRI_TRY(tri_store_open(&server, url, TRI_STORE_WRITE));
    TRI_TRY(tri_store_open(&local, path, TRI_STORE_WRITE));
    TRI_TRY(fill(local, 0, 1));
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
    TRI_TRY(fill(store, 0, rows));
done:
    tri_store_close(store);
    return status;
}

static triage_status timed_sync(const char *what, tri_store *local, tri_store *server, int64_t rows) {
    tri_sync_result moved;
    const int64_t start = tri_now_ns();
    triage_status status = tri_store_sync(&moved, local, server, &(tri_sync_options){0});
    if (status == TRIAGE_OK && moved.sent + moved.received != rows)
        status = tri_fail(TRIAGE_E_DATA, "sync: %lld sent, %lld received", (long long)moved.sent,
                          (long long)moved.received);
    if (status == TRIAGE_OK)
        printf("{\"what\": \"%s\", \"rows\": %lld, \"seconds\": %.2f}\n", what, (long long)rows,
               (double)(tri_now_ns() - start) / 1e9);
    return status;
}

/* The local file claims to have read the server up to `last`: only the new rows travel, each way. */
static triage_status sync_new(const char *path, const char *url, const char *last, int64_t rows) {
    triage_status status = TRIAGE_OK;
    tri_store *server = NULL, *local = NULL;
    sqlite3 *db = NULL;
    char text[100];
    snprintf(text, sizeof text, "UPDATE server SET pulled = %lld", atoll(last));
    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        TRI_TRY(tri_fail(TRIAGE_E_DB, "%s: %s", path, sqlite3_errmsg(db)));
    TRI_TRY(tri_store_open(&local, path, TRI_STORE_WRITE));
    TRI_TRY(tri_store_open(&server, url, TRI_STORE_WRITE));
    TRI_TRY(fill(local, 100000000, rows));
    TRI_TRY(timed_sync("sync to the server", local, server, rows));
    TRI_TRY(fill(server, 110000000, rows));
    TRI_TRY(timed_sync("sync from the server", local, server, rows));
done:
    sqlite3_close(db);
    tri_store_close(local);
    tri_store_close(server);
    return status;
}

int main(int argc, char **argv) {
    triage_status status = make_world();
    const char *what = argc > 1 ? argv[1] : "";
    if (status == TRIAGE_OK && argc == 4 && strcmp(what, "lookups") == 0)
        status = lookups(argv[2], atoll(argv[3]));
    else if (status == TRIAGE_OK && argc == 4 && strcmp(what, "seed") == 0)
        status = seed(argv[2], argv[3]);
    else if (status == TRIAGE_OK && argc == 4 && strcmp(what, "fill") == 0)
        status = fill_file(argv[2], atoll(argv[3]));
    else if (status == TRIAGE_OK && argc == 6 && strcmp(what, "sync") == 0)
        status = sync_new(argv[2], argv[3], argv[4], atoll(argv[5]));
    else if (status == TRIAGE_OK)
        status = tri_fail(TRIAGE_E_INVALID, "bench_store lookups|seed|fill|sync ...");
    if (status != TRIAGE_OK)
        fprintf(stderr, "bench_store: %s\n", triage_last_error());
    free(world.device);
    tri_space_free(world.space);
    return status == TRIAGE_OK ? 0 : 1;
}
