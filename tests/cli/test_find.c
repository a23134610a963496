/* Finding evidence: the filters of list and show, what is shipped, tables that fit, keys in words, and a run that finds less
 * than the database knows. */
#include "support/program.h"

#include <string.h>

#include "store/store.h"
#include "support/check.h"

#define H200 "--shipped --device H200 "

static outcome expect(int code, const char *program, const char *arguments) {
    outcome o = run_program(program, arguments);
    if (o.code != code)
        fail_msg("%s %s: exit code %d, not %d: %s", program, arguments, o.code, code, o.err);
    return o;
}

static size_t lines_of(const char *text) {
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static size_t widest(const char *text) {
    size_t most = 0;
    for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
        most = strcspn(text, "\n") > most ? strcspn(text, "\n") : most;
    return most;
}

static void list_takes_the_filters_of_a_problem(void **state) {
    (void)state;
    outcome all = expect(0, "triage_db", "list " H200);
    outcome f16 = expect(0, "triage_db", "list " H200 "--dtype fp16");
    outcome one =
        expect(0, "triage_db", "list " H200 "--shape 8192x8192x8192 --block 64 --dtype f16 --op bsr_gemm");
    assert_true(lines_of(all.out) > lines_of(f16.out) && lines_of(f16.out) > lines_of(one.out));
    assert_int_equal(lines_of(one.out), 3); /* the titles, the problem of README's table, and its transpose */
    assert_non_null(strstr(one.out, "m=8192 n=8192 k=8192 block=64x64"));
    assert_null(strstr(one.out, "bf16"));
    drop(&all), drop(&f16), drop(&one);
    outcome none = expect(0, "triage_db", "list --shipped --device RTX");
    assert_string_equal(none.out, "");
    drop(&none);
    outcome wrong = expect(64, "triage_db", "list --shipped --sparsity 0.9");
    assert_non_null(strstr(wrong.err, "--sparsity is no filter: --shape, --block"));
    drop(&wrong);
    wrong = expect(64, "triage_db", "list --shipped --shape 8192,8192");
    assert_non_null(strstr(wrong.err, "M,N,K are expected"));
    drop(&wrong);
    wrong = expect(64, "triage_db", "list --shipped --db x.db");
    assert_non_null(strstr(wrong.err, "leave out --db"));
    drop(&wrong);
}

static void show_says_what_a_key_means(void **state) {
    (void)state;
    outcome shown = expect(0, "triage_db", "show " H200 "--shape 8192,8192,8192 --block 64 --dtype f16");
    assert_non_null(strstr(shown.out, "problem bsr_gemm f16 f16 row row none nobias m=8192"));
    assert_non_null(strstr(shown.out,
                           "that is C (8192 x 8192) = A (8192 x 8192) B: A is block-sparse, 10 % of its "
                           "blocks of 64 x 64 are stored"));
    assert_non_null(strstr(shown.out, "winner"));
    drop(&shown);
    shown = expect(0, "triage_db", "show --shipped 'dense_gemm f16 f16 row row m=2048 n=2048 k=2048'");
    assert_non_null(strstr(shown.out, "that is C (2048 x 2048) = A (2048 x 2048) B, dense"));
    drop(&shown);
    outcome wrong = expect(65, "triage_db", "show " H200 "--shape 8192,8192,8192 --block 8");
    assert_non_null(strstr(wrong.err, "nothing is known of such a problem on such a device"));
    drop(&wrong);
    wrong = expect(64, "triage_db", "show --shipped");
    drop(&wrong);
}

static void a_word_is_broken_only_where_there_is_no_room(void **state) {
    (void)state;
    setenv("COLUMNS", "80", 1);
    outcome narrow = expect(0, "triage_db", "list " H200);
    unsetenv("COLUMNS");
    outcome wide = expect(0, "triage_db", "list " H200 "--dtype f16");
    size_t words = 0;
    char *rest = NULL;
    for (char *word = strtok_r(wide.out, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        words += strchr(word, '=') != NULL;
        if (strchr(word, '=') && !strstr(narrow.out, word))
            fail_msg("%s is broken", word);
    }
    assert_true(words > 1000);
    drop(&wide), drop(&narrow);
}

static void tables_fit(void **state) {
    static const char *const commands[] = {"list --shipped", "list --shipped --device H200 --block 64",
                                           "show " H200 "--shape 8192,8192,8192 --block 64",
                                           "explain --shape 8192,4096,8192 --sparsity 0.8 --device H200"};
    static const char *const widths[] = {"80", "120"};
    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        unsetenv("COLUMNS");
        outcome wide = expect(0, "triage_db", commands[i]);
        assert_true(widest(wide.out) > 120); /* the check can fail */
        for (size_t w = 0; w < 2; w++) {
            setenv("COLUMNS", widths[w], 1);
            outcome narrow = expect(0, "triage_db", commands[i]);
            if (widest(narrow.out) > (size_t)atoi(widths[w]))
                fail_msg("%s takes %zu columns of %s", commands[i], widest(narrow.out), widths[w]);
            drop(&narrow);
        }
        drop(&wide);
    }
    outcome once =
        expect(0, "triage_db", "list " H200 "--block 64"); /* what is the same everywhere is said above */
    assert_non_null(strstr(once.out, "device: NVIDIA H200\n"));
    assert_int_equal(strncmp(once.out, "device: ", 8), 0);
    drop(&once);
    once = expect(0, "triage_db", "list --wide " H200 "--block 64");
    assert_true(widest(once.out) > 120);
    drop(&once);
    unsetenv("COLUMNS");
}

/* ---- a run that finds less ---- */

/* A kernel of tomorrow, measured here: a million times as fast as that row's. Its source is its own, as its configuration is:
 * by its source a row is judged, and another's would make it that one's. */
static void add_faster(const char *like) {
    tri_store *store = NULL;
    tri_measurement row = {0};
    must(tri_measurement_from_json(&row, like));
    free(row.config);
    free(row.source_hash);
    must(tri_strdup(&row.config, "host tile_n=1 a_kernel_of_tomorrow=1"));
    must(tri_strdup(&row.source_hash, "0123456789abcdef0123456789abcdef"));
    row.median_ns = row.low_ns = row.high_ns = row.min_ns = 1;
    must(tri_store_open(&store, scratch_path(folder, "t.db"), TRI_STORE_WRITE));
    must(tri_store_add(store, &row));
    tri_store_close(store);
    tri_measurement_clear(&row);
}

static void a_run_says_what_the_database_knows_better(void **state) {
    (void)state;
    static const char *const run =
        "--device host --shape 64,64,64 --sparsity 0.5 --block 32 --db t.db --strategy exhaustive "
        "--cold-start --budget 2";
    outcome first = expect(0, "triage_tune", run);
    assert_null(strstr(first.err, "the database knows a faster one"));
    outcome rows = expect(0, "triage_db", "export - --db t.db");
    char *raced = strstr(rows.out, "\"stage\":\"race\"");
    assert_non_null(raced);
    while (raced > rows.out && raced[-1] != '\n')
        raced--;
    raced[strcspn(raced, "\n")] = '\0';
    add_faster(raced);
    outcome second = expect(0, "triage_tune", run);
    assert_non_null(strstr(second.err, "the database knows a faster one than this run found: host tile_n=1 "
                                       "a_kernel_of_tomorrow=1, 1.00 ns instead of "));
    char quiet[256];
    snprintf(quiet, sizeof quiet, "%s --quiet", run);
    outcome third = expect(0, "triage_tune", quiet);
    assert_string_equal(third.err, "");
    drop(&first), drop(&rows), drop(&second), drop(&third);
}

/* README's sizes are a GPU's. */
static void a_large_problem_on_a_cpu_is_told_of(void **state) {
    (void)state;
    outcome o =
        expect(70, "triage_tune",
               "--device host --op attention --shape 2,32,8,8192,8192,128 --mask causal --time-limit 0.001");
    assert_non_null(strstr(o.err, "1.1 TFLOP are much for a CPU"));
    drop(&o);
    o = expect(0, "triage_tune", "--device host --shape 64,64,64 --sparsity 0.5 --block 32 --dry-run");
    assert_null(strstr(o.err, "much for a CPU"));
    drop(&o);
}

/* ---- "-" and files that are read ---- */

static void an_output_is_a_pipe_or_a_file_of_its_own(void **state) {
    (void)state;
    struct stat file;
    outcome written = expect(0, "triage_db", "report --shipped --html page.html");
    outcome piped = expect(0, "triage_db", "report --shipped --html -");
    assert_true(strncmp(piped.out, "<!doctype html>", 15) == 0 && strstr(piped.out, "</html>"));
    assert_int_not_equal(stat(scratch_path(folder, "-"), &file), 0);
    assert_int_equal(stat(scratch_path(folder, "page.html"), &file), 0);
    assert_int_equal(strlen(piped.out), file.st_size);
    drop(&written), drop(&piped);
    FILE *shapes = fopen(scratch_path(folder, "shapes.csv"), "w");
    fputs("m,n,k,sparsity,block\n64,64,64,0.5,32\n", shapes);
    fclose(shapes);
    const char *pack = "pack --target host --shapes shapes.csv -o ";
    char arguments[256];
    snprintf(arguments, sizeof arguments, "%s-", pack);
    outcome o = expect(0, "triage_db", arguments);
    assert_true(strncmp(o.out, "TRIPACK 1 ", 10) == 0);
    assert_non_null(strstr(o.err, "1 kernels"));
    drop(&o);
    static const struct {
        const char *to, *said;
        int code;
    } bad[] = {{"shapes.csv", "shapes.csv is read here: it cannot be written, too", 64},
               {"./shapes.csv", "is read here", 64},
               {"no/such/x.tripack", "cannot be written", 74},
               {". ", "it is a folder", 74},
               {"- --json", "leave out --json", 64}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(arguments, sizeof arguments, "%s%s", pack, bad[i].to);
        o = expect(bad[i].code, "triage_db", arguments);
        assert_non_null(strstr(o.err, bad[i].said));
        drop(&o);
    }
    char *text = slurp(scratch_path(folder, "shapes.csv"));
    assert_true(strncmp(text, "m,n,k", 5) == 0);
    free(text);
}

/* scipy's BSR: 3 x 2 elements a block (tests/data/patterns/bsr.npz). */
static void a_file_of_blocks_says_their_size(void **state) {
    (void)state;
    const char *file = TRI_SOURCE_DIR "/tests/data/patterns/bsr.npz";
    char arguments[400];
    snprintf(arguments, sizeof arguments, "--pattern %s --n 16 --target host --dry-run", file);
    outcome taken = expect(0, "triage_tune", arguments);
    drop(&taken);
    snprintf(arguments, sizeof arguments, "--pattern %s --n 16 --block 64 --target host --dry-run", file);
    outcome refused = expect(64, "triage_tune", arguments);
    assert_non_null(strstr(refused.err, "has blocks of "));
    assert_non_null(strstr(refused.err, "--block is 64x64"));
    drop(&refused);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_takes_the_filters_of_a_problem),
        cmocka_unit_test(show_says_what_a_key_means),
        cmocka_unit_test(tables_fit),
        cmocka_unit_test(a_word_is_broken_only_where_there_is_no_room),
        cmocka_unit_test(a_file_of_blocks_says_their_size),
        cmocka_unit_test(a_run_says_what_the_database_knows_better),
        cmocka_unit_test(a_large_problem_on_a_cpu_is_told_of),
        cmocka_unit_test(an_output_is_a_pipe_or_a_file_of_its_own),
    };
    return cmocka_run_group_tests(tests, make_home, remove_scratch);
}
