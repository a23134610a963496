/* The name of a kernel: all that is shipped is today's, by count; a comment, a blank line, an indentation anywhere
 * changes no name, a token anywhere does. The templates are edited in a data folder. */
#include "op/bsr_gemm/bsr_gemm.h"
#include "support/check.h"

#include <stdlib.h>
#include <string.h>

#include "op/dense.h"
#include "render/render.h"
#include "evidence/pretuned.h"
#include "support/scratch.h"
#include "support/shipped_spaces.h"

#define H200 "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6016 l2=62914560 smem=232448"
#define ROOT "templates/"

static tri_device_info info;
static tri_store *shipped;
static char folder[64];

static int open_all(void **state) {
    (void)state;
    must(tri_device_parse(&info, H200));
    must(tri_pretuned_open(&shipped, &info, NULL, NULL));
    shipped_spaces_open();
    scratch_make(folder);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    scratch_remove(folder);
    tri_store_close(shipped);
    shipped_spaces_close();
    return 0;
}

/* ---- a data folder with edited templates ---- */

/* Writes the edited text of a file. */
typedef void (*edit_fn)(tri_text *out, const char *name, const char *text);

static void unedited(tri_text *out, const char *name, const char *text) {
    (void)name;
    must(tri_text_append(out, text, strlen(text)));
}

/* Another indentation, a comment and blank lines at every line that does not go on. */
static void reworded(tri_text *out, const char *name, const char *text) {
    (void)name;
    must(tri_text_format(out, "// Of another\n/* author,\n%s *\\/ // */\n\n", "#include \"lib/none.h\"\n"));
    for (const char *line = text, *next; *line; line = next) {
        const size_t size = strcspn(line, "\n");
        next = line + size + (line[size] == '\n');
        const bool goes_on = size && line[size - 1] == '\\';
        must(tri_text_format(out, " \t %.*s%s\n", (int)size, line, goes_on ? "" : " // note\n\n\t"));
    }
}

static const char *edited_file; /* of with_token */

static void with_token(tri_text *out, const char *name, const char *text) {
    must(tri_text_append(out, text, strlen(text)));
    if (strcmp(name, edited_file) == 0)
        must(tri_text_format(out, "\n#define TRI_EDITED\n"));
}

static void with_token_reworded(tri_text *out, const char *name, const char *text) {
    tri_text edited = TRI_TEXT_INIT;
    with_token(&edited, name, text);
    reworded(out, name, edited.data);
    tri_text_free(&edited);
}

/* One character more within each string of a header. */
static void with_string(tri_text *out, const char *name, const char *text) {
    const char *string = strcmp(name, edited_file) ? NULL : strstr(text, "\"setmaxnreg.inc");
    const size_t size = string ? (size_t)(string + 1 - text) : 0;
    must(tri_text_append(out, text, size));
    must(tri_text_format(out, "%s%s", string ? " " : "", text + size));
}

static void write_templates(edit_fn edit) {
    for (size_t i = 0; tri_resource_name(i); i++) {
        const char *name = tri_resource_name(i);
        char *text = NULL, *parent = NULL;
        tri_text edited = TRI_TEXT_INIT;
        if (strncmp(name, ROOT, strlen(ROOT)) != 0)
            continue;
        must(tri_resource_read(&text, NULL, NULL, name));
        edit(&edited, name + strlen(ROOT), text);
        must(tri_format(&parent, "%s/%.*s", folder, (int)(strrchr(name, '/') - name), name));
        must(tri_make_dirs(parent));
        scratch_write(folder, name, edited.data ? edited.data : "", 0600);
        tri_text_free(&edited);
        free(parent);
        free(text);
    }
}

/* ---- names of the shipped kernels ---- */

typedef struct census {
    const char *data_dir;
    const char *file; /* a header or template */
    int kernels, current;
    int of_file, of_file_current; /* kernels that see the file */
} census;

static bool sees(const tri_source *source, const char *name) {
    bool found = strcmp(source->name + strlen(ROOT), name) == 0;
    for (size_t i = 0; i < source->include_count; i++)
        found = found || strcmp(source->includes[i].name, name) == 0;
    return found;
}

static void render(tri_source *out, const tri_measurement *row, const char *data_dir) {
    tri_problem problem;
    tri_candidate candidate = {0};
    must(tri_problem_parse(&problem, row->problem));
    tri_space *of = shipped_space_of(&problem);
    must(tri_space_candidate(&candidate, of, &problem, &info, row->config));
    must(tri_render(out, &candidate, data_dir));
    tri_candidate_free(&candidate);
}

static triage_status count(void *user, const tri_measurement *row) {
    census *seen = user;
    tri_source source;
    char name[TRI_HASH_SIZE];
    if (tri_dense_is_key(row->problem))
        return TRIAGE_OK;
    render(&source, row, seen->data_dir);
    tri_source_hash(name, &source, info.target);
    const bool is_current = strcmp(name, row->source_hash) == 0, sees_file = sees(&source, seen->file);
    seen->kernels++;
    seen->current += is_current;
    seen->of_file += sees_file;
    seen->of_file_current += is_current && sees_file;
    tri_source_free(&source);
    return TRIAGE_OK;
}

static census take_census(const char *data_dir, const char *file) {
    census seen = {.data_dir = data_dir, .file = file};
    must(tri_store_each(shipped, count, &seen));
    return seen;
}

static void all_that_is_shipped_is_current(void **state) {
    (void)state;
    const census seen = take_census(NULL, "");
    assert_int_equal(seen.kernels, 621);
    assert_int_equal(seen.current, seen.kernels);
}

static void words_change_no_name(void **state) {
    (void)state;
    write_templates(reworded);
    const census seen = take_census(folder, "");
    assert_int_equal(seen.kernels, 621);
    assert_int_equal(seen.current, seen.kernels);
}

/* A token in one file takes their names from those kernels that reach it, and from no other. */
static void a_token_changes_the_names_of_those_that_see_it(void **state) {
    (void)state;
    static const char *const files[] = {"bsr_gemm/args.h", "lib/ptx.cuh", "bsr_gemm/panel.cu"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        edited_file = files[i];
        write_templates(with_token);
        const census seen = take_census(folder, files[i]);
        assert_true(seen.of_file > 0);
        assert_int_equal(seen.of_file_current, 0);
        assert_int_equal(seen.current, seen.kernels - seen.of_file);
    }
}

static void a_string_changes_them(void **state) {
    (void)state;
    edited_file = "lib/ptx.cuh";
    write_templates(with_string);
    const census seen = take_census(folder, edited_file);
    assert_true(seen.of_file > 0);
    assert_int_equal(seen.of_file_current, 0);
}

/* ---- a kernel that has no old name ---- */

typedef struct named {
    char name[TRI_HASH_SIZE];
    bool known;
} named;

static triage_status name_first(void *user, const tri_measurement *row) {
    named *out = user;
    tri_source source;
    if (strncmp(row->config, "strip ", 6) != 0) /* a kernel of before 2026-12 */
        return TRIAGE_OK;
    render(&source, row, folder);
    tri_source_hash(out->name, &source, info.target);
    out->known = source.known_as != NULL;
    tri_source_free(&source);
    return TRIAGE_E_INTERRUPTED;
}

static named name_with(edit_fn edit) {
    named out = {0};
    write_templates(edit);
    assert_int_equal(tri_store_each(shipped, name_first, &out), TRIAGE_E_INTERRUPTED);
    return out;
}

static void new_kernels_are_named_by_tokens_too(void **state) {
    (void)state;
    edited_file = "bsr_gemm/args.h";
    const named old = name_with(unedited), made = name_with(with_token),
                again = name_with(with_token_reworded);
    assert_true(old.known);
    assert_false(made.known);
    assert_false(again.known);
    assert_string_not_equal(made.name, old.name);
    assert_string_equal(again.name, made.name);
}

/* What a source sees of its layout is part of it. */
static void layout_counts_where_it_is_seen(void **state) {
    (void)state;
    tri_source plain = {.name = "t", .text = "int x; "}, spaced = {.name = "t", .text = "int  x;"},
               lines = {.name = "t", .text = "int x = __LINE__; "},
               moved = {.name = "t", .text = "\nint x = __LINE__;"};
    char a[TRI_HASH_SIZE], b[TRI_HASH_SIZE];
    tri_source_hash(a, &plain, "sm_90a");
    tri_source_hash(b, &spaced, "sm_90a");
    assert_string_equal(a, b);
    tri_source_hash(a, &lines, "sm_90a");
    tri_source_hash(b, &moved, "sm_90a");
    assert_string_not_equal(a, b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_shipped_is_current),
        cmocka_unit_test(words_change_no_name),
        cmocka_unit_test(a_token_changes_the_names_of_those_that_see_it),
        cmocka_unit_test(a_string_changes_them),
        cmocka_unit_test(new_kernels_are_named_by_tokens_too),
        cmocka_unit_test(layout_counts_where_it_is_seen),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
