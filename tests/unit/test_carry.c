/* Evidence over a move of text (carry/carry.h): a pure move carries a row; one changed constant, another launch, another
 * layout of the arguments, another compiler, or a row of another kernel does not. The shipped row of a small kernel, and two
 * data folders, of which the second is edited. */
#include "support/check.h"

#include <stdlib.h>
#include <string.h>

#include "carry/carry.h"
#include "evidence/pretuned.h"
#include "store/measurement.h"
#include "op/op.h"
#include "support/scratch.h"

#define H200 "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6016 l2=62914560 smem=232448"
#define KERNEL "templates/bsr_gemm/row.cu"

static char folder[64];
static tri_measurement row; /* as it was measured; each test has a copy of it */

static triage_status take_first(void *user, const tri_measurement *shipped) {
    tri_measurement *out = user;
    if (out->problem || strncmp(shipped->config, "row ", 4) != 0)
        return TRIAGE_OK;
    return tri_measurement_copy(out, shipped);
}

static int open_all(void **state) {
    (void)state;
    tri_device_info info;
    tri_store *shipped = NULL;
    must(tri_device_parse(&info, H200));
    must(tri_pretuned_open(&shipped, &info, NULL, NULL));
    must(tri_store_each(shipped, take_first, &row));
    tri_store_close(shipped);
    assert_non_null(row.problem);
    scratch_make(folder);
    scratch_copy_data(scratch_path(folder, "before"), TRI_SOURCE_DIR);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    tri_measurement_clear(&row);
    scratch_remove(folder);
    return 0;
}

static int edit_again(void **state) {
    (void)state;
    scratch_remove(scratch_path(folder, "after"));
    scratch_copy_data(scratch_path(folder, "after"), TRI_SOURCE_DIR);
    return 0;
}

static void require_compiler(void) {
    char version[TRI_COMPILER_SIZE];
    if (tri_compiler_version(version, sizeof version, "sm_90a") != TRIAGE_OK ||
        strncmp(version, row.compiler, strcspn(row.compiler, "(")) != 0) {
        print_message("skipped: no %s here\n", row.compiler);
        skip();
    }
}

/* Of a file of after: the first `old` becomes `new`. */
static void edit(const char *name, const char *old, const char *new) {
    const char *tree = scratch_path(folder, "after");
    char *text = NULL;
    tri_text edited = TRI_TEXT_INIT;
    must(tri_file_read(&text, NULL, scratch_path(tree, name), 0));
    char *at = strstr(text, old);
    assert_non_null(at);
    *at = '\0';
    must(tri_text_format(&edited, "%s%s%s", text, new, at + strlen(old)));
    scratch_write(tree, name, edited.data, 0600);
    tri_text_free(&edited);
    free(text);
}

/* lib/tile.cuh becomes a file that includes another, which has its text. */
static void move_text(void) {
    const char *tree = scratch_path(folder, "after");
    char *text = NULL;
    must(tri_file_read(&text, NULL, scratch_path(tree, "templates/lib/tile.cuh"), 0));
    scratch_write(tree, "templates/lib/moved.cuh", text, 0600);
    scratch_write(tree, "templates/lib/tile.cuh", "#pragma once\n#include \"lib/moved.cuh\"\n", 0600);
    free(text);
}

static carry_result carry_copy(tri_measurement *copy, const char *before) {
    carry_result result;
    carry with = {
        .before.folder = before, .after.folder = scratch_path(folder, "after"), .cache_dir = TEST_KERNELS};
    must(carry_row(&result, &with, copy));
    carry_end(&with);
    return result;
}

static carry_result carry_it(tri_measurement *copy) {
    must(tri_measurement_copy(copy, &row));
    return carry_copy(copy, scratch_path(folder, "before"));
}

/* ... and the row is what it was. */
static void refused(const carry_result *result, const tri_measurement *copy, const char *reason) {
    assert_int_equal(result->verdict, CARRY_REFUSED);
    if (!strstr(result->reason, reason))
        fail_msg("'%s' does not hold '%s'", result->reason, reason);
    assert_string_equal(copy->id, row.id);
    assert_string_equal(copy->source_hash, row.source_hash);
}

static void expect_refusal(const char *reason) {
    tri_measurement copy;
    const carry_result result = carry_it(&copy);
    refused(&result, &copy, reason);
    tri_measurement_clear(&copy);
}

static void what_has_not_changed_is_current(void **state) {
    (void)state;
    tri_measurement copy;
    edit(KERNEL, "/* bsr_gemm", "/* A comment */\n/* bsr_gemm");
    assert_int_equal(carry_it(&copy).verdict, CARRY_CURRENT);
    assert_string_equal(copy.id, row.id);
    tri_measurement_clear(&copy);
}

static void a_move_carries(void **state) {
    (void)state;
    require_compiler();
    tri_measurement copy;
    move_text();
    const carry_result result = carry_it(&copy);
    assert_string_equal(result.reason, "");
    assert_int_equal(result.verdict, CARRY_CARRIED);
    assert_string_equal(result.was, row.source_hash);
    assert_string_equal(result.id_was, row.id);
    assert_true(result.image_bytes > 1000);
    assert_string_not_equal(copy.source_hash, row.source_hash);
    assert_string_not_equal(copy.id, row.id);
    assert_string_equal(copy.problem, row.problem);
    assert_true(copy.median_ns == row.median_ns && copy.measured_at_ms == row.measured_at_ms);
    /* the name is that of the kernel which is shipped then: nothing is left to be carried */
    assert_int_equal(carry_copy(&copy, scratch_path(folder, "before")).verdict, CARRY_CURRENT);
    tri_measurement_clear(&copy);
}

/* As large and as quick: only bytes tell. */
static void a_constant_does_not(void **state) {
    (void)state;
    require_compiler();
    move_text();
    edit(KERNEL, "unsigned parity = 1;", "unsigned parity = 3;");
    expect_refusal("the machine code differs");
}

static void another_launch_does_not(void **state) {
    (void)state;
    move_text();
    edit("tuner/spaces/bsr_gemm/row.lua", "(c.group * (p.block_m", "(16 + c.group * (p.block_m");
    expect_refusal("the launch differs");
}

static void another_layout_of_the_arguments_does_not(void **state) {
    (void)state;
    edit("templates/bsr_gemm/args.h", "#define", "#define TRI_EDITED\n#define");
    expect_refusal("a header that the host reads differs");
}

static void what_does_not_compile_does_not(void **state) {
    (void)state;
    require_compiler();
    edit(KERNEL, "/* Consumer: one warp. */", "nonsense");
    expect_refusal("row.cu(");
}

static void another_compiler_does_not(void **state) {
    (void)state;
    tri_measurement copy;
    require_compiler();
    move_text();
    must(tri_measurement_copy(&copy, &row));
    strcpy(copy.compiler, "nvrtc 1");
    const carry_result result = carry_copy(&copy, scratch_path(folder, "before"));
    refused(&result, &copy, "measured with nvrtc 1, the compiler here is");
    tri_measurement_clear(&copy);
}

static void other_registers_do_not(void **state) {
    (void)state;
    tri_measurement copy;
    require_compiler();
    move_text();
    must(tri_measurement_copy(&copy, &row));
    copy.registers++;
    const carry_result result = carry_copy(&copy, scratch_path(folder, "before"));
    refused(&result, &copy, "registers and spills");
    tri_measurement_clear(&copy);
}

/* The tree before is not that of the measurement. */
static void another_kernels_row_is_not_carried(void **state) {
    (void)state;
    tri_measurement copy;
    const char *after = scratch_path(folder, "after");
    move_text();
    must(tri_measurement_copy(&copy, &row));
    copy.source_hash[0] = copy.source_hash[0] == '0' ? '1' : '0';
    const carry_result result = carry_copy(&copy, after);
    assert_int_equal(result.verdict, CARRY_REFUSED);
    assert_non_null(strstr(result.reason, "not the one that was measured"));
    tri_measurement_clear(&copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_has_not_changed_is_current, edit_again),
        cmocka_unit_test_setup(a_move_carries, edit_again),
        cmocka_unit_test_setup(a_constant_does_not, edit_again),
        cmocka_unit_test_setup(another_launch_does_not, edit_again),
        cmocka_unit_test_setup(another_layout_of_the_arguments_does_not, edit_again),
        cmocka_unit_test_setup(what_does_not_compile_does_not, edit_again),
        cmocka_unit_test_setup(another_compiler_does_not, edit_again),
        cmocka_unit_test_setup(other_registers_do_not, edit_again),
        cmocka_unit_test_setup(another_kernels_row_is_not_carried, edit_again),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
