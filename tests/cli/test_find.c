/* Finding evidence: the filters of list and show, what is shipped, tables that fit, and keys in words. */
#include "support/program.h"

#include <string.h>

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
    assert_int_equal(lines_of(one.out), 2); /* the titles, and the problem of README's table */
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
    assert_non_null(strstr(wrong.err, "M,N,K are wanted"));
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
    outcome wrong = expect(65, "triage_db", "show " H200 "--shape 8192,8192,8192 --block 8");
    assert_non_null(strstr(wrong.err, "nothing is known of such a problem on such a device"));
    drop(&wrong);
    wrong = expect(64, "triage_db", "show --shipped");
    drop(&wrong);
}

static void tables_fit(void **state) {
    static const char *const commands[] = {"list --shipped", "list --shipped --device H200 --block 64",
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
        cmocka_unit_test(a_file_of_blocks_says_their_size),
    };
    return cmocka_run_group_tests(tests, make_home, remove_scratch);
}
