// links: triage
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "support/bsr_of.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "render/render.h"

/* ---- a data folder of our own: templates/t.cu and headers ---- */

static char folder[] = "/tmp/triage-test-render-XXXXXX";

static void path_of(char out[256], const char *name) {
    snprintf(out, 256, "%s/%s", folder, name);
}

static int make_folder(void **state) {
    char path[256];
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    path_of(path, "templates");
    if (mkdir(path, 0700))
        return -1;
    path_of(path, "templates/lib");
    return mkdir(path, 0700);
}

static int remove_folder(void **state) {
    static const char *const files[] = {"templates/t.cu", "templates/a.h", "templates/lib/b.h",
                                        "templates/lib/c.h", "secret.h"};
    char path[256];
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        path_of(path, files[i]);
        (void)unlink(path);
    }
    path_of(path, "templates/lib");
    (void)rmdir(path);
    path_of(path, "templates");
    (void)rmdir(path);
    return rmdir(folder);
}

static void put(const char *name, const char *text) {
    char path[256];
    path_of(path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static tri_candidate candidate_of(tri_param *params, size_t count) {
    return (tri_candidate){.template_name = (char *)"templates/t.cu", .params = params, .param_count = count};
}

static void assert_message(const char *part) {
    if (!strstr(triage_last_error(), part))
        fail_msg("the message is: %s\nand lacks:      %s", triage_last_error(), part);
}

/* ---- placeholders ---- */

static tri_param two_params[] = {{(char *)"tile_n", (char *)"128"}, {(char *)"in_type", (char *)"__half"}};

static void replaces_every_placeholder(void **state) {
    (void)state;
    tri_source source;
    tri_candidate candidate = candidate_of(two_params, 2);
    put("templates/t.cu", "using in_t = {{in_type}};\nint a = {{tile_n}}, b = {{tile_n}};\n"
                          "int c[2][2] = { {1, 2}, {3, 4}};\n{{tile_n}}");
    assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_OK);
    assert_string_equal(source.text,
                        "using in_t = __half;\nint a = 128, b = 128;\nint c[2][2] = { {1, 2}, {3, 4}};\n128");
    assert_string_equal(source.name, "templates/t.cu");
    assert_int_equal(source.include_count, 0);
    tri_source_free(&source);
}

static void names_file_and_line_of_a_fault(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{{tile_n}}\n{{in_type}}\n{{tile_k}}",
         "templates/t.cu:3: no parameter for the placeholder {{tile_k}}"},
        {"{{tile_n}}", "templates/t.cu: has no placeholder {{in_type}}"},
        {"", "templates/t.cu: has no placeholder {{tile_n}}"},
        {"{{tile_n}}\n\n{{in_type", "templates/t.cu:3: '{{' does not begin a placeholder"},
        {"{{tile_n}}\n{{in_type}", "templates/t.cu:2: '{{' does not begin a placeholder"},
        {"{{ tile_n }}{{in_type}}", "templates/t.cu:1: '{{'"},
        {"{{Tile}}{{in_type}}", "templates/t.cu:1: '{{'"},
        {"{{}}{{in_type}}", "templates/t.cu:1: '{{'"},
        {"{{9a}}{{in_type}}", "templates/t.cu:1: '{{'"},
        {"{{{tile_n}}}{{in_type}}", "templates/t.cu:1: '{{'"},
        {"{{tile_n\n}}{{in_type}}", "templates/t.cu:1: '{{'"},
        {"{{", "templates/t.cu:1: '{{'"},
        {"{{tile_n}}{{in_type}}\n{{#a}}\n{{/b}}", "templates/t.cu:3: {{/b}} where another section is open"},
        {"{{tile_n}}{{in_type}}\n{{#a}}{{^b}}", "templates/t.cu:2: {{^b}} where another section is open"},
        {"{{tile_n}}{{in_type}}\n{{/a}}", "templates/t.cu:2: {{/a}} where no section is open"},
        {"{{tile_n}}{{in_type}}\n{{#a}}", "templates/t.cu:2: the section {{a}} has no end"},
        {"{{tile_n}}{{in_type}}{{# a}}", "templates/t.cu:1: '{{'"},
        {"{{#tile_n}}{{tile_k}}{{/tile_n}}{{in_type}}", "no parameter for the placeholder {{tile_k}}"},
    };
    tri_candidate candidate = candidate_of(two_params, 2);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tri_source source;
        put("templates/t.cu", cases[i].text);
        assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_E_DATA);
        assert_message(cases[i].part);
        assert_null(source.text);
    }
}

static void refuses_a_parameter_given_twice(void **state) {
    (void)state;
    tri_param twice[] = {two_params[0], two_params[0]};
    tri_candidate candidate = candidate_of(twice, 2);
    tri_source source;
    put("templates/t.cu", "{{tile_n}}");
    assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_E_DATA);
    assert_message("the parameter tile_n is given twice");
}

static void refuses_a_missing_template(void **state) {
    (void)state;
    tri_candidate candidate = candidate_of(NULL, 0);
    candidate.template_name = (char *)"templates/none.cu";
    tri_source source;
    assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_E_DATA);
    assert_message("there is no template templates/none.cu");
}

/* A value is text, not a template: what looks like a placeholder in it stays. */
static void replaces_once_only(void **state) {
    (void)state;
    tri_param params[] = {{(char *)"a", (char *)"{{b}}"}, {(char *)"b", (char *)"x"}};
    tri_candidate candidate = candidate_of(params, 2);
    tri_source source;
    put("templates/t.cu", "{{a}} {{b}}");
    assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_OK);
    assert_string_equal(source.text, "{{b}} x");
    tri_source_free(&source);
}

/* A section is kept where its parameter is there and not 0; the parameter counts as met then, and in what is left out. */
static void keeps_and_leaves_out_sections(void **state) {
    (void)state;
    static const struct {
        const char *value, *text; /* NULL: there is no such parameter */
    } cases[] = {{"1", "a1x8 c"}, {"yes", "a1xyes c"}, {"0", "a1 b c"}, {NULL, "a1 b c"}};
    put("templates/t.cu", "a{{n}}{{#turned}}x{{wide}}{{/turned}}{{^turned}} b{{/turned}} c");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tri_param params[] = {{(char *)"n", (char *)"1"},
                              {(char *)"wide", (char *)(i == 1 ? "yes" : "8")},
                              {(char *)"turned", (char *)cases[i].value}};
        tri_candidate candidate = candidate_of(params, cases[i].value ? 3 : 2);
        tri_source source;
        assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_OK);
        assert_string_equal(source.text, cases[i].text);
        tri_source_free(&source);
    }
}

/* ---- includes ---- */

static void put_headers(void) {
    put("templates/t.cu", "#include <cuda_fp16.h>\n#include \"lib/c.h\"\n  #  include  \"a.h\" // why\n"
                          "#include \"a.h\"\nint last;\n");
    put("templates/a.h", "#include \"lib/b.h\"\nint a;\n");
    put("templates/lib/b.h", "#pragma once\n#include \"a.h\"\nint b; // {{not_a_parameter}}\n");
    put("templates/lib/c.h", "int c;");
}

static void gathers_headers_once_and_in_order_of_name(void **state) {
    (void)state;
    static const char *const expected[] = {"a.h", "lib/b.h", "lib/c.h"};
    tri_candidate candidate = candidate_of(NULL, 0);
    tri_source source;
    put_headers();
    assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_OK);
    assert_int_equal(source.include_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(source.includes[i].name, expected[i]);
    assert_string_equal(source.includes[2].text, "int c;");
    assert_non_null(strstr(source.text, "#include <cuda_fp16.h>"));
    tri_source_free(&source);
}

static void keeps_includes_below_templates(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"\n#include \"../secret.h\"\n", "templates/t.cu:2: #include \"../secret.h\" is not a plain path"},
        {"#include \"lib/../../secret.h\"\n",
         "templates/t.cu:1: #include \"lib/../../secret.h\" is not a plain"},
        {"#include \"/etc/passwd\"\n", "templates/t.cu:1: #include \"/etc/passwd\" is not a plain path"},
        {"#include \"\"\n", "templates/t.cu:1: #include \"\" is not a plain path"},
        {"#include \".hidden\"\n", "is not a plain path"},
        {"int a;\n\n#include \"lib/none.h\"\n", "templates/t.cu:3: there is no header templates/lib/none.h"},
        {"\n#include </etc/passwd>\n", "templates/t.cu:2: #include </etc/passwd> is not a plain path"},
        {"#include <../../../etc/passwd>\n", "is not a plain path"},
        {"%:include </etc/passwd>\n", "is not a plain path"},
        {"%:\\\ninclude </etc/passwd>\n", "is not a plain path"},
        {"#/* \n */include/**/</etc/passwd>\n", "is not a plain path"},
        {"#inc\\\nlude </etc/passwd>\n", "is not a plain path"},
        {"#include_next </etc/passwd>\n", "is not a plain path"},
        {"#import </etc/passwd>\n", "is not a plain path"},
        {"char c[] = {\n#embed </etc/passwd>\n};\n",
         "templates/t.cu:2: #include </etc/passwd> is not a plain path"},
        {"#define FILE </etc/passwd>\n#include FILE\n",
         "templates/t.cu:2: #include FILE is not a plain path"},
        {"?\?=include </etc/passwd>\n", "templates/t.cu: has a trigraph"},
        {"#inc?\?/\nlude </etc/passwd>\n", "templates/t.cu: has a trigraph"},
    };
    put("secret.h", "int secret;\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tri_candidate candidate = candidate_of(NULL, 0);
        tri_source source;
        put("templates/t.cu", cases[i].text);
        assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_E_DATA);
        assert_message(cases[i].part);
    }
    put("templates/t.cu", "#include \"lib/c.h\"\n");
    put("templates/lib/c.h", "int c;\n#include \"lib/none.h\"\n");
    tri_candidate candidate = candidate_of(NULL, 0);
    tri_source source;
    assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_E_DATA);
    assert_message("templates/lib/c.h:2: there is no header templates/lib/none.h");
    put("templates/lib/c.h", "int c;\n#include </etc/passwd>\n");
    assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_E_DATA);
    assert_message("lib/c.h:2: #include </etc/passwd> is not a plain path");
    put("templates/lib/c.h", "int c;\n");
    put("templates/t.cu", "#include <cuda_fp16.h>\n#include <sys/mman.h>\n/* #include </etc/passwd> */\n"
                          "const char *s = \"\\n#include </etc/passwd>\";\n");
    assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_OK);
    tri_source_free(&source);
}

/* ---- flattening ---- */

static void flattens_headers_before_their_users(void **state) {
    (void)state;
    tri_candidate candidate = candidate_of(NULL, 0);
    tri_source source;
    char *flat = NULL;
    put_headers();
    assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_OK);
    assert_int_equal(tri_source_flatten(&flat, &source), TRIAGE_OK);
    assert_string_equal(flat, "#line 1 \"templates/lib/c.h\"\nint c;\n"
                              "#line 1 \"templates/lib/b.h\"\n\n\nint b; // {{not_a_parameter}}\n"
                              "#line 1 \"templates/a.h\"\n\nint a;\n"
                              "#line 1 \"templates/t.cu\"\n#include <cuda_fp16.h>\n\n\n\nint last;\n");
    free(flat);
    tri_source_free(&source);
}

/* Which it may need: here `int first` before what a.h says. */
static void leaves_headers_further_down_in_their_places(void **state) {
    (void)state;
    tri_candidate candidate = candidate_of(NULL, 0);
    tri_source source;
    char *flat = NULL;
    put_headers();
    put("templates/t.cu", "#include \"lib/c.h\"\n\nint first;\n#include \"a.h\"\nint last;\n");
    assert_int_equal(tri_render(&source, &candidate, folder), TRIAGE_OK);
    assert_int_equal(tri_source_flatten(&flat, &source), TRIAGE_OK);
    assert_string_equal(flat, "#line 1 \"templates/lib/c.h\"\nint c;\n"
                              "#line 1 \"templates/t.cu\"\n\n\nint first;\n"
                              "#line 1 \"templates/lib/b.h\"\n\n\nint b; // {{not_a_parameter}}\n"
                              "#line 1 \"templates/a.h\"\n\nint a;\n"
                              "#line 5 \"templates/t.cu\"\nint last;\n");
    free(flat);
    tri_source_free(&source);
}

/* ---- identity ---- */

static void hash_of(char out[TRI_HASH_SIZE], const tri_source *source) {
    tri_source_hash(out, source, "sm_90a");
}

static void hash_covers_all_that_is_compiled(void **state) {
    (void)state;
    tri_include includes[] = {{"a.h", "int a;"}, {"b.h", "int b;"}};
    char *options[] = {(char *)"-O3", (char *)"-DX"};
    const tri_source base = {(char *)"templates/t.cu", (char *)"text", includes, 2, options, 2, NULL};
    char first[TRI_HASH_SIZE], other[TRI_HASH_SIZE];
    hash_of(first, &base);
    assert_int_equal(strlen(first), TRI_HASH_SIZE - 1);

    tri_source changed = base;
    changed.name = (char *)"templates/renamed.cu";
    hash_of(other, &changed);
    assert_string_equal(first, other); /* a rename changes nothing that runs */

    tri_include new_text[] = {{"a.h", "int a;"}, {"b.h", "int c;"}};
    tri_include new_name[] = {{"a.h", "int a;"}, {"c.h", "int b;"}};
    tri_include moved[] = {{"a.h", "int a;b"}, {".h", "int b;"}};
    char *new_options[] = {(char *)"-O3", (char *)"-DY"};
    char *split_options[] = {(char *)"-O3-", (char *)"DX"};
    const tri_source others[] = {
        {base.name, (char *)"texts", includes, 2, options, 2, NULL},
        {base.name, base.text, new_text, 2, options, 2, NULL},
        {base.name, base.text, new_name, 2, options, 2, NULL},
        {base.name, base.text, moved, 2, options, 2, NULL},
        {base.name, base.text, includes, 2, new_options, 2, NULL},
        {base.name, base.text, includes, 2, options, 1, NULL},
        {base.name, base.text, includes, 2, split_options, 2, NULL},
        {base.name, base.text, includes, 1, options, 2, NULL},
        {base.name, (char *)"", includes, 2, options, 2, NULL},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        hash_of(other, &others[i]);
        assert_string_not_equal(first, other);
    }
    tri_source_hash(other, &base, "sm_100a");
    assert_string_not_equal(first, other);
}

/* A header and two options have the same pieces as no header and four. */
static void hash_keeps_headers_and_options_apart(void **state) {
    (void)state;
    tri_include include[] = {{"x", "y"}};
    char *two[] = {(char *)"p", (char *)"q"}, *four[] = {(char *)"x", (char *)"y", (char *)"p", (char *)"q"};
    const tri_source a = {NULL, (char *)"t", include, 1, two, 2, NULL},
                     b = {NULL, (char *)"t", NULL, 0, four, 4, NULL};
    char first[TRI_HASH_SIZE], other[TRI_HASH_SIZE];
    hash_of(first, &a);
    hash_of(other, &b);
    assert_string_not_equal(first, other);
}

/* ---- what ships ---- */

static tri_device_info device_of(const char *target, int64_t smem_bytes) {
    tri_device_info info = {.sm_count = 100, .smem_bytes_max = smem_bytes, .l2_bytes = 50 << 20};
    strcpy(info.backend, strncmp(target, "sm_", 3) ? "host" : "cuda");
    strcpy(info.target, target);
    info.cc = atoi(target + 3);
    return info;
}

static void render_candidate(const tri_candidate *candidate, const char *target) {
    tri_source once, twice;
    char hash[TRI_HASH_SIZE], again[TRI_HASH_SIZE], *flat = NULL;
    if (tri_render(&once, candidate, TRI_SOURCE_DIR) != TRIAGE_OK)
        fail_msg("%s: %s", candidate->config, triage_last_error());
    assert_int_equal(tri_render(&twice, candidate, TRI_SOURCE_DIR), TRIAGE_OK);
    assert_string_equal(once.text, twice.text);
    tri_source_hash(hash, &once, target);
    tri_source_hash(again, &twice, target);
    assert_string_equal(hash, again);
    assert_null(strstr(once.text, "{{"));
    assert_int_equal(tri_source_flatten(&flat, &once), TRIAGE_OK);
    assert_null(strstr(flat, "#include \""));
    free(flat);
    tri_source_free(&once);
    tri_source_free(&twice);
}

static void render_all(const char *target, int64_t smem_bytes, triage_dtype type, int32_t block,
                       triage_layout layout) {
    tri_space *space = NULL;
    tri_space_options options = {.data_dir = TRI_SOURCE_DIR};
    tri_problem problem = tri_bsr_problem_of(
        (tri_bsr_problem){.in_type = type, .out_type = type, .b_layout = layout, .c_layout = layout});
    bsr_of(&problem)->m = bsr_of(&problem)->k = bsr_of(&problem)->n = bsr_of(&problem)->ldb =
        bsr_of(&problem)->ldc = block * INT64_C(64);
    bsr_of(&problem)->block_m = bsr_of(&problem)->block_k = block;
    bsr_of(&problem)->nnzb = 400;
    bsr_of(&problem)->fingerprint = (tri_fingerprint){1000, 10, 1};
    tri_device_info info = device_of(target, smem_bytes);
    tri_configs configs;
    tri_candidate candidate;
    if (tri_space_open(&space, &tri_op_bsr_gemm, &options) != TRIAGE_OK ||
        tri_space_enumerate(&configs, space, &problem, &info) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    for (size_t i = 0; i < configs.count; i++) {
        assert_int_equal(tri_space_candidate(&candidate, space, &problem, &info, configs.text[i]), TRIAGE_OK);
        render_candidate(&candidate, target);
        tri_candidate_free(&candidate);
    }
    assert_int_equal(tri_space_reference(&candidate, space, &problem, &info), TRIAGE_OK);
    render_candidate(&candidate, target);
    tri_candidate_free(&candidate);
    tri_configs_free(&configs);
    tri_space_free(space);
}

/* What --emit prints needs no -I: the CPU's compiler takes it as it is. */
static void flattened_text_compiles_by_itself(void **state) {
    (void)state;
    tri_space *space = NULL;
    tri_space_options options = {.data_dir = TRI_SOURCE_DIR};
    tri_problem problem = tri_bsr_problem_of(
        (tri_bsr_problem){.in_type = TRIAGE_F32, .out_type = TRIAGE_F32, .m = 64, .n = 64, .k = 64});
    bsr_of(&problem)->ldb = bsr_of(&problem)->ldc = 64;
    bsr_of(&problem)->block_m = bsr_of(&problem)->block_k = 16;
    bsr_of(&problem)->nnzb = 4;
    tri_device_info info = device_of("x86_64", 0);
    tri_candidate candidate;
    tri_source source;
    char *flat = NULL, command[400];
    assert_int_equal(tri_space_open(&space, &tri_op_bsr_gemm, &options), TRIAGE_OK);
    assert_int_equal(tri_space_reference(&candidate, space, &problem, &info), TRIAGE_OK);
    assert_int_equal(tri_render(&source, &candidate, TRI_SOURCE_DIR), TRIAGE_OK);
    assert_int_equal(tri_source_flatten(&flat, &source), TRIAGE_OK);
    put("secret.h", flat);
    snprintf(command, sizeof command, "cc -x c -std=gnu17 -fopenmp -fsyntax-only -Werror %s/secret.h",
             folder);
    assert_int_equal(system(command), 0);
    free(flat);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    tri_space_free(space);
}

static void renders_every_candidate_that_ships(void **state) {
    (void)state;
    for (int32_t block = 16; block <= 128; block *= 2) {
        render_all("sm_90a", 232448, TRIAGE_F16, block, TRIAGE_ROW_MAJOR);
        render_all("sm_90a", 232448, TRIAGE_BF16, block, TRIAGE_COL_MAJOR);
        render_all("sm_86", 101376, TRIAGE_F16, block, TRIAGE_ROW_MAJOR);
        render_all("x86_64-avx2", 0, TRIAGE_F32, block, TRIAGE_ROW_MAJOR);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_every_placeholder),
        cmocka_unit_test(keeps_and_leaves_out_sections),
        cmocka_unit_test(names_file_and_line_of_a_fault),
        cmocka_unit_test(refuses_a_parameter_given_twice),
        cmocka_unit_test(refuses_a_missing_template),
        cmocka_unit_test(replaces_once_only),
        cmocka_unit_test(gathers_headers_once_and_in_order_of_name),
        cmocka_unit_test(keeps_includes_below_templates),
        cmocka_unit_test(flattens_headers_before_their_users),
        cmocka_unit_test(leaves_headers_further_down_in_their_places),
        cmocka_unit_test(hash_covers_all_that_is_compiled),
        cmocka_unit_test(hash_keeps_headers_and_options_apart),
        cmocka_unit_test(flattened_text_compiles_by_itself),
        cmocka_unit_test(renders_every_candidate_that_ships),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
