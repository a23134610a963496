/* What is shipped (db/pretuned): every row passes the checks of an import, speaks of today's kernels, and is
 * found by a device like the one it was measured on, below the user's own evidence. */
#include "support/bsr_of.h"
#include "support/check.h"

#include <stdlib.h>
#include <string.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "op/dense.h"
#include "evidence/lookup.h"
#include "evidence/pretuned.h"
#include "support/scratch.h"
#include "support/shipped_spaces.h"

#define H100 "cuda sm_90a sms=132 clock=1980000 memclock=2619000 bus=5120 l2=52428800 smem=232448"
#define H200 "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6016 l2=62914560 smem=232448"
#define FILE_OF_H200 "db/pretuned/nvidia-h200.jsonl"

static tri_device_info info; /* an H200 */
static tri_store *shipped;

static int open_all(void **state) {
    (void)state;
    must(tri_device_parse(&info, H200));
    must(tri_pretuned_open(&shipped, &info, NULL, NULL));
    shipped_spaces_open();
    return 0;
}

static int close_all(void **state) {
    (void)state;
    tri_store_close(shipped);
    shipped_spaces_close();
    return 0;
}

typedef struct census {
    const tri_device_info *device;
    double bytes_a_ns;          /* of its memory, by NVIDIA's data sheet */
    int rows, kernels, current; /* kernels: rows of the space's; current: ... of today's */
} census;

/* TFLOP/s by the data sheet, dense */
static double peak_of(triage_dtype in) {
    return in == TRIAGE_E4M3 ? 1979e3 : 989e3;
}

/* No kernel of the space: the dense product of a library, held to the same limits of the chip. */
static triage_status check_dense(const tri_measurement *row) {
    tri_gemm gemm;
    tri_least_work work;
    char hash[TRI_HASH_SIZE];
    must(tri_dense_parse(&gemm, row->problem));
    tri_dense_least_work(&work, &gemm);
    tri_dense_source_hash(hash, tri_dense_kernel(row->device));
    assert_string_equal(row->source_hash, hash);
    assert_true(work.flops / row->median_ns < peak_of(gemm.in_type));
    return TRIAGE_OK;
}

static triage_status count_row(void *user, const tri_measurement *row) {
    census *seen = user;
    seen->rows++;
    if (tri_dense_is_key(row->problem))
        return check_dense(row);
    tri_problem problem;
    tri_least_work work;
    tri_candidate candidate = {0};
    tri_source source = {0};
    char hash[TRI_HASH_SIZE];
    must(tri_problem_parse(&problem, row->problem));
    tri_space *of = shipped_space_of(&problem);
    must(tri_space_knows(of, row->config));
    must(tri_space_candidate(&candidate, of, &problem, seen->device, row->config));
    must(tri_render(&source, &candidate, NULL));
    tri_source_hash(hash, &source, seen->device->target);
    seen->kernels++;
    seen->current += strcmp(hash, row->source_hash) == 0;
    problem.op->least_work(&work, &problem);
    assert_true(work.flops / row->median_ns < peak_of(work.dtype));
    assert_true((work.input_bytes + work.output_bytes) / row->median_ns < seen->bytes_a_ns);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    return TRIAGE_OK;
}

/* rows, kernels: at least so many are shipped. */
static void check_rows(const char *key, double bytes_a_ns, int rows, int kernels) {
    tri_device_info device;
    tri_store *store = NULL;
    must(tri_device_parse(&device, key));
    must(tri_pretuned_open(&store, &device, NULL, NULL));
    assert_non_null(store);
    census seen = {.device = &device, .bytes_a_ns = bytes_a_ns};
    must(tri_store_each(store, count_row, &seen));
    print_message("%d rows, %d of %d kernels' speak of today's\n", seen.rows, seen.current, seen.kernels);
    assert_true(seen.rows >= rows && seen.kernels >= kernels);
    /* An edited template makes rows stale: measure them again. */
    assert_int_equal(seen.current, seen.kernels);
    tri_store_close(store);
}

static void rows_are_sound(void **state) {
    (void)state;
    check_rows(H100, 3350, 9, 0);
    check_rows(H200, 4800, 621, 621);
}

static tri_problem benchmark(int32_t block, int64_t size) {
    tri_pattern pattern;
    tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                               .out_type = TRIAGE_F16,
                                                               .m = size,
                                                               .n = size,
                                                               .k = size,
                                                               .ldb = size,
                                                               .ldc = size,
                                                               .block_m = block,
                                                               .block_k = block});
    must(tri_pattern_random(&pattern, size / block, size / block, 0.9,
                            5)); /* another seed than the tuned one */
    bsr_of(&problem)->nnzb = pattern.nnzb;
    tri_fingerprint_of(&bsr_of(&problem)->fingerprint, &pattern);
    tri_pattern_free(&pattern);
    return problem;
}

static tri_found find(tri_store *own, const tri_problem *problem) {
    tri_found found;
    must(tri_lookup(&found, own, shipped_space_of(problem), problem, &info, NULL));
    must(tri_lookup_below(&found, shipped, shipped_space_of(problem), problem, &info, NULL));
    return found;
}

static void a_new_user_has_it(void **state) {
    (void)state;
    for (int32_t block = 16; block <= 128; block *= 2) {
        tri_problem problem = benchmark(block, 8192);
        tri_found found = find(NULL, &problem);
        assert_int_equal(found.source, TRIAGE_SOURCE_EXACT);
        assert_true(found.median_ns > 0);
        tri_found_free(&found);
    }
}

/* Takes the first row that lookup would use and stores it as one's own, slower: one's own wins all the same. */
static void ones_own_comes_first(void **state) {
    (void)state;
    tri_store *own = NULL;
    tri_problem problem = benchmark(64, 8192);
    tri_found found = find(NULL, &problem);
    assert_int_equal(found.source, TRIAGE_SOURCE_EXACT);
    char *key = NULL, hash[TRI_HASH_SIZE], device[] = H200, kernel[] = "wgmma", search[] = "search",
         empty[] = "", object[] = "{}", compiler[] = "nvrtc 13.0", version[] = TRIAGE_VERSION,
         host[] = "00000000000000000000000000000000", name[] = "mine";
    must(tri_problem_key(&key, &problem));
    tri_source_hash(hash, &found.rendered, info.target);
    tri_measurement row = {.problem = key,
                           .device = device,
                           .device_name = name,
                           .kernel = kernel,
                           .config = found.candidate.config,
                           .source_hash = hash,
                           .compiler = compiler,
                           .stage = search,
                           .reason = empty,
                           .outcome = TRI_RIGHT,
                           .median_ns = 1e9,
                           .low_ns = 0.99e9,
                           .high_ns = 1.01e9,
                           .min_ns = 0.98e9,
                           .samples = 20,
                           .cold_l2 = true,
                           .row_error = 1e-4,
                           .row_error_limit = 2e-4,
                           .measured_at_ms = 1700000000000,
                           .host = host,
                           .version = version,
                           .circumstances = object};
    must(tri_store_open_memory(&own));
    must(tri_store_add(own, &row));
    tri_found mine = find(own, &problem);
    assert_int_equal(mine.source, TRIAGE_SOURCE_EXACT);
    assert_true(mine.median_ns == 1e9);
    /* what one's own evidence does not know exactly is still looked for below it */
    tri_problem other = benchmark(128, 8192);
    tri_found below = find(own, &other);
    assert_int_equal(below.source, TRIAGE_SOURCE_EXACT);
    assert_true(below.median_ns < 1e6);
    tri_found_free(&below);
    tri_found_free(&mine);
    tri_found_free(&found);
    tri_store_close(own);
    free(key);
}

/* Each problem, once: rows of one follow one another in no order. */
typedef struct key_list {
    char *keys[1000];
    size_t count;
} key_list;

static triage_status list_key(void *user, const tri_measurement *row) {
    key_list *list = user;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->keys[i], row->problem) == 0)
            return TRIAGE_OK;
    assert_true(list->count < sizeof list->keys / sizeof list->keys[0]);
    return tri_strdup(&list->keys[list->count++], row->problem);
}

static void assert_same_answer(tri_store *few, const char *key) {
    tri_problem problem;
    tri_found all, one;
    bool exact = false;
    must(tri_problem_parse(&problem, key));
    tri_space *of = shipped_space_of(&problem);
    must(tri_lookup_exact(&all, &exact, shipped, of, &problem, &info, NULL));
    assert_true(exact);
    must(tri_lookup_exact(&one, &exact, few, of, &problem, &info, NULL));
    assert_true(exact);
    assert_string_equal(all.candidate.config, one.candidate.config);
    assert_string_equal(all.rendered.text, one.rendered.text);
    assert_true(all.median_ns == one.median_ns && all.is_claim == one.is_claim);
    tri_found_free(&all);
    tri_found_free(&one);
}

static triage_status count(void *user, const tri_measurement *row) {
    (void)row;
    ++*(int *)user;
    return TRIAGE_OK;
}

/* A problem's rows alone give the answer that all rows give, and together they are all rows. */
static void one_problem_is_read_alone(void **state) {
    (void)state;
    key_list list = {0};
    int all = 0, apart = 0;
    must(tri_store_each(shipped, list_key, &list));
    must(tri_store_each(shipped, count, &all));
    for (size_t i = 0; i < list.count; i++) {
        tri_store *few = NULL;
        const int before = apart;
        must(tri_pretuned_open_problem(&few, &info, list.keys[i], NULL));
        assert_non_null(few);
        must(tri_store_each(few, count, &apart));
        assert_true(apart > before && (apart - before < all || list.count == 1));
        if (!tri_dense_is_key(list.keys[i]))
            assert_same_answer(few, list.keys[i]);
        tri_store_close(few);
        free(list.keys[i]);
    }
    assert_int_equal(apart, all);
    tri_store *none = NULL;
    must(tri_pretuned_open_problem(&none, &info, "bsr_gemm", NULL));
    assert_null(none);
}

static void other_devices_get_nothing(void **state) {
    (void)state;
    tri_device_info other = info;
    tri_store *nothing = NULL;
    other.sm_count = 114;
    must(tri_pretuned_open(&nothing, &other, NULL, NULL));
    assert_null(nothing);
}

static void note(void *user, triage_log_level level, const char *line) {
    (void)level;
    must(tri_text_format(user, "%s\n", line));
}

/* A data folder with templates/ and tuner/ only is enough, and a spoiled row in one does not take the others, or
 * the lookup, with it. */
static void from_a_data_folder(void **state) {
    (void)state;
    char folder[64], *text = NULL;
    int all = 0, rest = 0;
    tri_store *store = NULL;
    tri_text said = TRI_TEXT_INIT;
    const tri_log log = {note, &said};
    assert_non_null(shipped);
    scratch_make(folder);
    must(tri_pretuned_open(&store, &info, folder, &log));
    assert_non_null(store);
    must(tri_store_each(store, count, &all));
    tri_store_close(store);
    assert_null(said.data);

    must(tri_make_dirs(scratch_path(folder, "db/pretuned")));
    must(tri_resource_read(&text, NULL, NULL, FILE_OF_H200));
    char *time = strstr(text, "\"min_ns\":");
    char *digit = time + strlen("\"min_ns\":"); /* one digit of one row */
    *digit = *digit == '9' ? '8' : '9';
    scratch_write(folder, FILE_OF_H200, text, 0600);
    must(tri_pretuned_open(&store, &info, folder, &log));
    must(tri_store_each(store, count, &rest));
    assert_int_equal(rest, all - 1);
    assert_non_null(said.data);
    if (!strstr(said.data, "nvidia-h200.jsonl: line 1, measurement 0"))
        fail_msg("%s", said.data);
    tri_store_close(store);
    free(text);
    tri_text_free(&said);
    scratch_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sound),
        cmocka_unit_test(a_new_user_has_it),
        cmocka_unit_test(ones_own_comes_first),
        cmocka_unit_test(other_devices_get_nothing),
        cmocka_unit_test(one_problem_is_read_alone),
        cmocka_unit_test(from_a_data_folder),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
