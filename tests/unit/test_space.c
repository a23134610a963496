#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/bsr_of.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "space/space.h"
#include "space/words.h"

#define SPACES TRI_SOURCE_DIR "/tests/data/spaces/"

/* ---- helpers ---- */

static tri_space_options options_for(const char *path) {
    return (tri_space_options){.data_dir = TRI_SOURCE_DIR, .path = path};
}

static tri_space *open_space(const char *path) {
    tri_space *space = NULL;
    tri_space_options options = options_for(path);
    if (tri_space_open(&space, &tri_op_bsr_gemm, &options) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    return space;
}

static void assert_message(const char *part) {
    if (!strstr(triage_last_error(), part))
        fail_msg("the message is: %s\nand lacks:      %s", triage_last_error(), part);
    assert_null(strchr(triage_last_error(), '\n'));
}

/* Opening must fail as TRIAGE_E_DATA with this part in the message. */
static void assert_refused(const char *path, const char *part) {
    tri_space *space = NULL;
    tri_space_options options = options_for(path);
    assert_int_equal(tri_space_open(&space, &tri_op_bsr_gemm, &options), TRIAGE_E_DATA);
    assert_null(space);
    assert_message(part);
}

static tri_device_info device_of(const char *target) {
    tri_device_info info = {.sm_count = 132, .smem_bytes_max = 232448, .l2_bytes = 50 << 20};
    strcpy(info.backend, strncmp(target, "sm_", 3) ? "host" : "cuda");
    strcpy(info.target, target);
    info.cc = atoi(target + 3);
    return info;
}

static tri_problem problem_of(triage_dtype type, int32_t block, int64_t n) {
    tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){
        .in_type = type, .out_type = type, .m = 8192, .n = n, .k = 8192, .ldb = n, .ldc = n});
    bsr_of(&problem)->block_m = bsr_of(&problem)->block_k = block;
    bsr_of(&problem)->nnzb = (8192 / block) * (8192 / block) / 10;
    bsr_of(&problem)->fingerprint = (tri_fingerprint){1000, 10, 1};
    return problem;
}

/* ---- a space that is right ---- */

static void enumerates_in_the_order_of_the_file(void **state) {
    (void)state;
    static const char *const expected[] = {"first tile=16 mode=slow", "first tile=32 mode=slow",
                                           "first tile=32 mode=fast", "second"};
    static const int32_t coordinates[] = {0, 0, 0, 0, 1, 0, 0, 1, 1, 1, -1, -1};
    tri_space *space = open_space(SPACES "small.lua");
    tri_problem problem = problem_of(TRIAGE_F16, 32, 100);
    tri_device_info info = device_of("sm_90a");
    tri_configs configs;
    assert_string_equal(tri_space_name(space), "small");
    assert_int_equal(tri_space_enumerate(&configs, space, &problem, &info), TRIAGE_OK);
    assert_int_equal(configs.count, 4);
    assert_int_equal(configs.axes, 3);
    for (size_t i = 0; i < configs.count; i++)
        assert_string_equal(configs.text[i], expected[i]);
    assert_memory_equal(configs.coordinates, coordinates, sizeof coordinates);
    assert_int_equal(configs.default_index, 2); /* tile=64 does not divide, the next default does */
    tri_configs_free(&configs);
    tri_space_free(space);
}

/* 10000 points; what a constraint answered is not asked again, and its order protects it. */
static void asks_constraints_seldom(void **state) {
    (void)state;
    tri_space *space = open_space(SPACES "guarded.lua");
    tri_problem problem = problem_of(TRIAGE_F16, 64, 100);
    tri_device_info info = device_of("sm_90a");
    tri_configs configs;
    char *first = NULL;
    assert_int_equal(tri_space_enumerate(&configs, space, &problem, &info), TRIAGE_OK);
    assert_int_equal(configs.count, 26); /* divisors of 1 to 10, up to 9 */
    assert_string_equal(configs.text[25], "guarded a=10 b=5 c=10 d=0");
    assert_in_range(configs.asked, 26, 400);
    assert_int_equal(tri_space_default(&first, space, &problem, &info), TRIAGE_OK);
    assert_string_equal(first, "guarded a=2 b=1 c=2 d=0");
    assert_string_equal(first, configs.text[configs.default_index]);
    free(first);
    tri_configs_free(&configs);
    problem = problem_of(TRIAGE_F16, 32, 100);
    assert_int_equal(tri_space_enumerate(&configs, space, &problem, &info), TRIAGE_E_DATA);
    assert_message("constraint 'd is 0, or breaks where blocks have 32 rows' answers nil");
    tri_space_free(space);
}

static void keeps_kernels_to_their_targets(void **state) {
    (void)state;
    static const struct {
        const char *target;
        size_t count; /* at block 64: 5 of first, 1 of second; 0: unsupported */
    } cases[] = {{"sm_90a", 6}, {"sm_80", 1}, {"sm_86", 1}, {"sm_100a", 1},       {"sm_120a", 1},
                 {"sm_75", 0},  {"sm_90", 1}, {"host", 1},  {"x86_64-avx512", 1}, {"aarch64", 1}};
    tri_space *space = open_space(SPACES "small.lua");
    tri_problem problem = problem_of(TRIAGE_F16, 64, 100);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tri_device_info info = device_of(cases[i].target);
        tri_configs configs;
        triage_status status = tri_space_enumerate(&configs, space, &problem, &info);
        assert_int_equal(status, cases[i].count ? TRIAGE_OK : TRIAGE_E_UNSUPPORTED);
        assert_int_equal(configs.count, cases[i].count);
        tri_configs_free(&configs);
    }
    assert_true(tri_space_knows(space, "second") == TRIAGE_OK);
    tri_space_free(space);
}

static const char *param_of(const tri_candidate *candidate, const char *name) {
    for (size_t i = 0; i < candidate->param_count; i++)
        if (!strcmp(candidate->params[i].name, name))
            return candidate->params[i].value;
    return "(none)";
}

static void makes_a_candidate(void **state) {
    (void)state;
    tri_space *space = open_space(SPACES "small.lua");
    tri_problem problem = problem_of(TRIAGE_F16, 32, 100);
    tri_device_info info = device_of("sm_90a");
    tri_candidate made;
    if (tri_space_candidate(&made, space, &problem, &info, "first tile=32 mode=fast") != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    assert_string_equal(made.kernel, "first");
    assert_string_equal(made.config, "first tile=32 mode=fast");
    assert_string_equal(made.template_name, "templates/bsr_gemm/reference.cu");
    assert_int_equal(made.param_count, 4);
    assert_string_equal(param_of(&made, "tile"), "32");
    assert_string_equal(param_of(&made, "mode"), "fast");
    assert_string_equal(param_of(&made, "n"), "100");
    assert_string_equal(param_of(&made, "sms"), "132");
    assert_int_equal(made.option_count, 1);
    assert_string_equal(made.options[0], "-DTILE=32");
    assert_int_equal(made.spill_limit, 8);
    tri_candidate_free(&made);
    tri_space_free(space);
}

static void reads_the_launch_geometry(void **state) {
    (void)state;
    tri_space *space = open_space(SPACES "small.lua");
    tri_problem problem = problem_of(TRIAGE_F16, 32, 100);
    tri_device_info info = device_of("sm_90a");
    tri_candidate made;
    const tri_launch *launch = &made.launch;
    if (tri_space_candidate(&made, space, &problem, &info, "first tile=32 mode=fast") != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    assert_memory_equal(launch->grid, ((uint32_t[3]){256, 3, 1}), sizeof launch->grid);
    assert_memory_equal(launch->block, ((uint32_t[3]){128, 1, 1}), sizeof launch->block);
    assert_memory_equal(launch->cluster, ((uint32_t[3]){2, 1, 1}), sizeof launch->cluster);
    assert_int_equal(launch->smem_bytes, 32768);
    assert_int_equal(launch->workspace_bytes, 12);
    assert_int_equal(launch->maps[TRI_BSR_MAP_A].rank, 0);
    assert_int_equal(launch->maps[TRI_BSR_MAP_B].rank, 3);
    assert_memory_equal(launch->maps[TRI_BSR_MAP_B].box, ((int32_t[TRI_MAP_RANK]){64, 32, 2}),
                        sizeof launch->maps[TRI_BSR_MAP_B].box);
    assert_int_equal(launch->maps[TRI_BSR_MAP_B].inner_split, 64);
    assert_int_equal(launch->maps[TRI_BSR_MAP_B].swizzle, 128);
    assert_int_equal(launch->maps[TRI_BSR_MAP_B].l2_promotion, 256);
    assert_int_equal(bsr_launch_of(launch)->panel_rows, 8);
    assert_int_equal(bsr_launch_of(launch)->panel_group, 4);
    assert_true(bsr_launch_of(launch)->reorder);
    tri_candidate_free(&made);
    tri_space_free(space);
}

/* A grid has at most 65535 tiles in its second and in its third dimension: 2,097,120 columns are not the end. */
static void many_columns_have_a_plain_kernel(void **state) {
    (void)state;
    tri_space *space = NULL;
    tri_device_info info = device_of("sm_90a");
    assert_int_equal(tri_space_open(&space, &tri_op_bsr_gemm, &(tri_space_options){0}), TRIAGE_OK);
    static const int64_t columns[] = {31, 2097120, 2097121, 100000001, INT32_MAX - 7};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        for (int layout = 0; layout < 2; layout++) {
            tri_problem problem = problem_of(TRIAGE_F16, 32, columns[i]);
            tri_candidate made;
            tri_configs configs;
            bsr_of(&problem)->c_layout = layout ? TRIAGE_COL_MAJOR : TRIAGE_ROW_MAJOR;
            bsr_of(&problem)->ldb = (columns[i] + 7) / 8 * 8;
            bsr_of(&problem)->ldc = layout ? 8192 : bsr_of(&problem)->ldb;
            if (tri_space_reference(&made, space, &problem, &info) != TRIAGE_OK)
                fail_msg("%lld columns: %s", (long long)columns[i], triage_last_error());
            const uint32_t *grid = made.launch.grid;
            const int64_t tiles = (int64_t)grid[1] * grid[2], width = layout ? 8 : 32;
            assert_true(grid[1] <= 65535 && grid[2] <= 65535);
            assert_true(tiles * width >= columns[i] &&
                        tiles * width < INT64_C(1) << 32); /* unsigned in the kernel */
            tri_candidate_free(&made);
            if (tri_space_enumerate(&configs, space, &problem, &info) != TRIAGE_OK)
                fail_msg("%lld columns: %s", (long long)columns[i], triage_last_error());
            assert_true(configs.count > 0);
            tri_configs_free(&configs);
        }
    tri_space_free(space);
}

static void makes_the_reference(void **state) {
    (void)state;
    tri_space *space = open_space(SPACES "small.lua");
    tri_problem problem = problem_of(TRIAGE_F16, 32, 100);
    tri_device_info cuda = device_of("sm_80"), host = device_of("aarch64");
    tri_candidate made;
    assert_int_equal(tri_space_reference(&made, space, &problem, &cuda), TRIAGE_OK);
    assert_string_equal(made.template_name, "templates/bsr_gemm/reference.cu");
    assert_string_equal(param_of(&made, "block_m"), "32");
    assert_int_equal(made.launch.grid[0], 7);
    tri_candidate_free(&made);
    assert_int_equal(tri_space_reference(&made, space, &problem, &host), TRIAGE_E_UNSUPPORTED);
    assert_message("no reference kernel for host");
    tri_space_free(space);
}

static void refuses_other_configurations(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "third",
        "first",
        "first tile=32",
        "first tile=32 mode=fast ",
        "first tile=32 mode=fast extra=1",
        "first tile=32  mode=fast",
        " first tile=32 mode=fast",
        "first mode=fast tile=32",
        "first tile=33 mode=fast",
        "first tile=3 mode=fast",
        "first tile=032 mode=fast",
        "first tile=32 mode=fas",
        "first tile= mode=fast",
        "first tile=32 mode=fast\n",
        "second ",
    };
    tri_space *space = open_space(SPACES "small.lua");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (tri_space_knows(space, bad[i]) != TRIAGE_E_DATA)
            fail_msg("'%s' is taken for a configuration", bad[i]);
        assert_message("is not a configuration of");
    }
    assert_int_equal(tri_space_knows(space, "first tile=64 mode=fast"), TRIAGE_OK);
    char *long_text = malloc(2000);
    memset(long_text, 'x', 1999);
    long_text[1999] = '\0';
    assert_int_equal(tri_space_knows(space, long_text), TRIAGE_E_DATA);
    free(long_text);
    tri_space_free(space);
}

static void names_the_violated_constraint(void **state) {
    (void)state;
    tri_space *space = open_space(SPACES "small.lua");
    tri_problem problem = problem_of(TRIAGE_F16, 32, 100);
    tri_device_info info = device_of("sm_90a"), other = device_of("sm_80");
    tri_candidate made;
    assert_int_equal(tri_space_candidate(&made, space, &problem, &info, "first tile=64 mode=fast"),
                     TRIAGE_E_UNSUPPORTED);
    assert_message("'the tile divides the block'");
    assert_null(made.config);
    assert_int_equal(tri_space_candidate(&made, space, &problem, &info, "first tile=16 mode=fast"),
                     TRIAGE_E_UNSUPPORTED);
    assert_message("'fast needs a tile of 32'");
    assert_int_equal(tri_space_candidate(&made, space, &problem, &other, "first tile=32 mode=fast"),
                     TRIAGE_E_UNSUPPORTED);
    assert_message("does not run on sm_80");
    tri_space_free(space);
}

/* ---- spaces that misbehave ---- */

static void contains_what_misbehaves(void **state) {
    (void)state;
    static const struct {
        const char *path, *part;
    } cases[] = {
        {SPACES "endless.lua", "endless.lua:1: ran more than 50000000 instructions"},
        {SPACES "swallows.lua", "swallows.lua:2: 'pcall' is not known here"},
        {SPACES "finaliser.lua", "finaliser.lua:1: 'setmetatable' is not known here"},
        {SPACES "greedy.lua", "greedy.lua: needs more memory than the 65536 KiB"},
        {SPACES "greedy_text.lua", "greedy_text.lua: needs more memory"},
        {SPACES "repeats.lua", "repeats.lua:1: bad argument #2 to 'rep' (more than 1000000 repeats)"},
        {SPACES "sorts.lua", "sorts.lua:6: ran more than"},
        {SPACES "executes.lua", "executes.lua:2: 'os' is not known here"},
        {SPACES "loads.lua", "loads.lua:1: 'load' is not known here"},
        {SPACES "reads.lua", "reads.lua:1: 'io' is not known here"},
        {SPACES "patterns.lua", "patterns.lua:1: attempt to call a nil value (method 'find')"},
        {SPACES "syntax.lua", "syntax.lua:2: unexpected symbol near '='"},
        {SPACES "not_a_space.lua", "not_a_space.lua: a space file ends with: return triage.space{...}"},
        {SPACES "raises_table.lua", "raises_table.lua: raised an error that is a table"},
        {SPACES "parts_missing.lua",
         "parts_missing.lua:1: require: there is no parts/nowhere.lua beside this "
         "file, nor among tuner/spaces/"},
        {SPACES "parts_outside.lua",
         "parts_outside.lua:1: bad argument #1 to 'require' (a part is named by words"},
        {SPACES "parts_cycle.lua", "parts/egg.lua:1: require: parts.hen is needed to load itself"},
        {SPACES "parts_fault.lua", "parts/fault.lua:2: attempt to perform arithmetic on a nil value"},
        {SPACES "parts_silent.lua", "parts/silent.lua returns nothing"},
        {SPACES "later_missing.lua", "require: there is no parts/nowhere.lua beside this file"},
        {SPACES "later_fault.lua", "parts/fault.lua:2: attempt to perform arithmetic on a nil value"},
        {SPACES "later_other.lua", "later_other.lua:4: kernel k must come from triage.kernel{...}, not nil"},
        {SPACES "later_twice.lua", "later_twice.lua:4: kernel k is there twice"},
        {SPACES "later_nameless.lua", "later_nameless.lua:4: triage.later's name must be a name of a-z"},
        {SPACES "later_number.lua", "later_number.lua:4: triage.later's part must be a string, not 7"},
        {SPACES "other_op.lua", "other_op.lua: this space is for the operation attention, not bsr_gemm"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(cases[i].path, cases[i].part);
}

static void a_space_of_later_kernels(void **state) {
    (void)state;
    tri_space *space = open_space(SPACES "later.lua");
    assert_int_equal(tri_space_knows(space, "of_parts late=1"), TRIAGE_OK);
    assert_int_equal(tri_space_knows(space, "host_fp8 tile_n=16 tile_m=1"), TRIAGE_OK);
    assert_int_equal(tri_space_knows(space, "later late=1"), TRIAGE_E_DATA);
    tri_space_free(space);
}

/* Its own parts and built-in ones; none any more once it is loaded. */
static void a_space_of_parts(void **state) {
    (void)state;
    tri_space *space = open_space(SPACES "parts.lua");
    tri_problem problem = problem_of(TRIAGE_F16, 64, 512);
    tri_device_info info = device_of("sm_90a");
    tri_candidate made = {0};
    assert_int_equal(tri_space_candidate(&made, space, &problem, &info, "of_parts late=0"), TRIAGE_OK);
    tri_candidate_free(&made);
    assert_int_equal(tri_space_candidate(&made, space, &problem, &info, "of_parts late=1"), TRIAGE_E_DATA);
    assert_message("parts/kernel.lua:7: 'require' is not known here");
    tri_space_free(space);
}

static void stops_an_endless_constraint_each_time(void **state) {
    (void)state;
    tri_space *space = NULL;
    tri_space_options options = options_for(SPACES "endless_constraint.lua");
    options.instruction_limit = 1000000;
    assert_int_equal(tri_space_open(&space, &tri_op_bsr_gemm, &options), TRIAGE_OK);
    tri_problem problem = problem_of(TRIAGE_F16, 32, 100);
    tri_device_info info = device_of("sm_90a");
    tri_candidate made;
    tri_configs configs;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tri_space_enumerate(&configs, space, &problem, &info), TRIAGE_E_DATA);
        assert_message("endless_constraint.lua:7: ran more than 1000000 instructions");
        assert_int_equal(tri_space_candidate(&made, space, &problem, &info, "k tile=16"), TRIAGE_E_DATA);
    }
    tri_space_free(space);
}

static void limits_memory_as_asked(void **state) {
    (void)state;
    tri_space *space = NULL;
    tri_space_options options = options_for(SPACES "small.lua");
    for (int64_t limit = 1024; limit < 400 * 1024; limit += 4096) { /* fails wherever it may, leaks nowhere */
        options.memory_limit = limit;
        triage_status status = tri_space_open(&space, &tri_op_bsr_gemm, &options);
        assert_true(status == TRIAGE_OK || status == TRIAGE_E_DATA || status == TRIAGE_E_MEMORY);
        assert_true(limit > 20000 || status != TRIAGE_OK);
        tri_space_free(space);
        space = NULL;
    }
}

static void says_when_there_is_no_file(void **state) {
    (void)state;
    tri_space *space = NULL;
    tri_space_options options = options_for("/nonexistent/space.lua");
    assert_int_not_equal(tri_space_open(&space, &tri_op_bsr_gemm, &options), TRIAGE_OK);
    assert_message("/nonexistent/space.lua");
    assert_null(space);
}

/* ---- spaces with one thing wrong ---- */

/* Line 3 is where triage.kernel is called. */
static const char right_space[] =
    "local function none() return {} end\n"
    "local reference = { template = \"templates/bsr_gemm/reference.cu\", params = none, launch = none }\n"
    "local k = triage.kernel {\n"
    "   name = \"k\",\n"
    "   template = \"templates/bsr_gemm/wmma.cu\",\n"
    "   targets = { \"sm_80+\" },\n"
    "   checked_against = \"cuda\",\n"
    "   axes = { { \"tile\", { 1, 2 } }, { \"mode\", { \"x\" } } },\n"
    "   constraints = { { \"positive\", function(p, c) return c.tile > 0 end } },\n"
    "   params = function(p, c) return { { \"tile\", c.tile } } end,\n"
    "   launch = function() return { grid = { 1 } } end,\n"
    "   default = { tile = 1, mode = \"x\" },\n"
    "   spill_limit = 0,\n"
    "}\n"
    "return triage.space { op = \"bsr_gemm\", reference = { cuda = reference }, kernels = { k } }\n";

static char folder[] = "/tmp/triage-test-space-XXXXXX";
static char variant_path[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(variant_path, sizeof variant_path, "%s/v.lua", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    (void)unlink(variant_path);
    return rmdir(folder);
}

static void write_file(const char *text, size_t size) {
    FILE *file = fopen(variant_path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* The right space with `from`, which must be in it, replaced by `to`. */
static void write_variant(const char *from, const char *to) {
    const char *at = strstr(right_space, from);
    assert_non_null(at);
    tri_text text = TRI_TEXT_INIT;
    assert_int_equal(tri_text_append(&text, right_space, (size_t)(at - right_space)), TRIAGE_OK);
    assert_int_equal(tri_text_format(&text, "%s%s", to, at + strlen(from)), TRIAGE_OK);
    write_file(text.data, text.size);
    tri_text_free(&text);
}

/* Each loads the next one. */
static void parts_are_counted(void **state) {
    (void)state;
    char part[80], text[64];
    for (int i = 1; i <= 33; i++) {
        snprintf(part, sizeof part, "%s/n%d.lua", folder, i);
        snprintf(text, sizeof text, "return %s", i < 33 ? "require \"n" : "1");
        FILE *file = fopen(part, "wb");
        assert_non_null(file);
        assert_true(fprintf(file, i < 33 ? "%s%d\"\n" : "%s\n", text, i + 1) > 0);
        assert_int_equal(fclose(file), 0);
    }
    write_file("require \"n1\"\n", 13);
    assert_refused(variant_path, "more than 32 parts");
    write_file("require \"n2\"\n", 13);
    assert_refused(variant_path, "v.lua: a space file ends with");
    for (int i = 1; i <= 33; i++) {
        snprintf(part, sizeof part, "%s/n%d.lua", folder, i);
        assert_int_equal(unlink(part), 0);
    }
}

static void names_file_line_and_fault(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *part;
    } cases[] = {
        {"wmma.cu", "wmna.cu", "v.lua:3: kernel k: there is no template 'templates/bsr_gemm/wmna.cu'"},
        {"templates/bsr_gemm/wmma.cu", "src/triage.h", "v.lua:3: kernel k: there is no template"},
        {"templates/bsr_gemm/wmma.cu", "templates/../src/triage.h",
         "v.lua:3: kernel k: there is no template"},
        {"{ 1, 2 }", "{}", "v.lua:3: kernel k: axis tile has nothing in it"},
        {"{ 1, 2 }", "{ 1, 1 }", "v.lua:3: kernel k: axis tile has 1 twice"},
        {"{ 1, 2 }", "{ 1, \"1\" }", "axis tile has '1' twice"},
        {"{ 1, 2 }", "{ 1, 2.5 }", "a value must be an integer or a word of a-z, 0-9 and _, not 2.5"},
        {"{ 1, 2 }", "{ 1, \"A b\" }", "not 'A b'"},
        {"\"mode\"", "\"tile\"", "v.lua:3: kernel k: axis tile is there twice"},
        {"\"mode\"", "\"Mode\"", "an axis's name must be a name"},
        {"tile = 1, mode", "tile = 3, mode", "v.lua:3: kernel k: the default's tile = 3 is not on its axis"},
        {"tile = 1, mode = \"x\"", "tile = 1", "the default's mode = nil is not on its axis"},
        {"mode = \"x\" }", "mode = \"x\", y = 1 }", "the default has an unknown field 'y'"},
        {"{ \"positive\", ", "{ ", "v.lua:3: kernel k: constraint 1 has no name"},
        {"{ \"positive\", ", "{ \"\", ", "constraint 1 has no name"},
        {"function(p, c) return c.tile > 0 end", "1", "constraint 'positive' must be a function, not 1"},
        {"sm_80+", "sm80", "v.lua:3: kernel k: a target is"},
        {"sm_80+", "sm_90a+", "a target is"},
        {"{ \"sm_80+\" }", "{}", "targets has nothing in it"},
        {"spill_limit = 0", "spill_limit = -1", "spill_limit must be 0 .. 65536 bytes, not -1"},
        {"spill_limit", "spil_limit", "v.lua:3: kernel k has an unknown field 'spil_limit'"},
        {"checked_against = \"cuda\"", "checked_against = \"host\"",
         "v.lua:3: kernel k: checked_against 'host' is not under reference"},
        {"   checked_against = \"cuda\",\n", "\n", "checked_against must be a string, not missing"},
        {"kernels = { k }", "kernels = { k, k }", "v.lua:3: kernel k is there twice"},
        {"kernels = { k }", "kernels = {}", "v.lua: kernels has nothing in it"},
        {"kernels = { k }", "kernels = { 7 }", "kernels must be a list of triage.kernel{...}, not 7"},
        {"cuda = reference", "cpu = reference", "v.lua: reference has an unknown field 'cpu'"},
        {"op = \"bsr_gemm\"", "op = 5, name = \"n\"", "op must be a name"},
        {"name = \"k\"", "name = \"a b\"", "a kernel's name must be a name"},
        {"params = function(p, c) return { { \"tile\", c.tile } } end", "params = 1",
         "kernel k: params must be a function, not 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_variant(cases[i].from, cases[i].to);
        assert_refused(variant_path, cases[i].part);
    }
}

/* Faults that show only when the functions are asked. */
static void names_the_function_that_answers_nonsense(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *part;
    } cases[] = {
        {"c.tile > 0", "c.tile",
         "v.lua:9: kernel k: constraint 'positive' answers number, not true or false"},
        {"c.tile > 0", "c.tiel > 0", "v.lua:9: attempt to compare number with nil"},
        {"\"tile\", c.tile", "\"tile\", 1.5",
         "v.lua:10: kernel k: parameter tile must be an integer or text"},
        {"\"tile\", c.tile", "\"tile\", \"a\\nb\"",
         "parameter tile must be a name or a number of at most 64 characters, not 'a b'"},
        {"\"tile\", c.tile", "\"tile\", \"int x; int\"", "tile must be a name or a number"},
        {"\"tile\", c.tile", "\"tile\", \"f(1)\"", "not 'f(1)'"},
        {"\"tile\", c.tile", "\"tile\", \"\"", "not ''"},
        {"\"tile\", c.tile", "\"Tile\", c.tile", "a parameter's name must be a name"},
        {"   spill_limit = 0,", "   options = function() return { \"-o\" } end,",
         "the compiler option '-o' is not among"},
        {"   spill_limit = 0,", "   options = function() return { \"--pre-include=/etc/hostname\" } end,",
         "v.lua:13: kernel k: the compiler option '--pre-include=/etc/hostname' is not among those allowed "
         "for cuda"},
        {"   spill_limit = 0,", "   options = function() return { \"-DX=1 -o\" } end,",
         "'-DX=1 -o' is not among"},
        {"   spill_limit = 0,", "   options = function() return { \"-DX=f(1)\" } end,",
         "'-DX=f(1)' is not among"},
        {"   spill_limit = 0,", "   options = function() return { 7 } end,",
         "a compiler option must be text, not number"},
        {"c.tile > 0", "rawset(c, \"tile\", 2)",
         "bad argument #1 to 'rawset' (table expected, got userdata)"},
        {"return c.tile > 0", "c.tile = 2", "v.lua:9: problem, configuration and device can only be read"},
        {"grid = { 1 }", "gather = 1", "launch: gather must be true or false, not number"},
        {"\"tile\", c.tile", "\"tile\", \"{{x}}\"", "not '{{x}}'"},
        {"return { { \"tile\", c.tile } }", "return 1",
         "v.lua:10: kernel k: params must return a list, not number"},
        {"grid = { 1 }", "grid = { 0 }", "v.lua:11: grid must be an integer 1 .. 2147483647, not 0"},
        {"grid = { 1 }", "grid = { 1, 70000 }", "grid must be an integer 1 .. 65535, not 70000"},
        {"grid = { 1 }", "gird = { 1 }", "v.lua:11: launch has an unknown field gird"},
        {"grid = { 1 }", "smem_bytes = 1.5", "smem_bytes must be an integer 0 .. 1048576, not 1.5"},
        {"grid = { 1 }", "map_b = { rank = 6, box = {} }", "rank must be an integer 2 .. 3, not 6"},
        {"grid = { 1 }", "map_b = { rank = 2, box = { 1, 257 } }",
         "a tensor box must be an integer 1 .. 256"},
    };
    tri_problem problem = problem_of(TRIAGE_F16, 32, 100);
    tri_device_info info = device_of("sm_90a");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tri_candidate made;
        write_variant(cases[i].from, cases[i].to);
        tri_space *space = open_space(variant_path);
        assert_int_equal(tri_space_candidate(&made, space, &problem, &info, "k tile=1 mode=x"),
                         TRIAGE_E_DATA);
        assert_message(cases[i].part);
        assert_null(made.params);
        tri_space_free(space);
    }
}

static void refuses_bytecode(void **state) {
    (void)state;
    write_file("\x1bLua\x54\x00\x19\x93\r\n\x1a\n", 12);
    assert_refused(variant_path, "attempt to load a binary chunk");
}

/* Nine axes of eight values: 134 million points, more than anyone waits for. */
static void refuses_too_many_points(void **state) {
    (void)state;
    tri_text text = TRI_TEXT_INIT;
    assert_int_equal(tri_text_format(&text,
                                     "local axes, default = {}, {}\n"
                                     "for i = 1, 9 do\n"
                                     "   axes[i] = { \"a\" .. i, { 1, 2, 3, 4, 5, 6, 7, 8 } }\n"
                                     "   default[\"a\" .. i] = 1\n"
                                     "end\n"
                                     "local function none() return {} end\n"
                                     "local t = \"templates/bsr_gemm/wmma.cu\"\n"
                                     "local r = { template = t, params = none, launch = none }\n"
                                     "return triage.space { op = \"bsr_gemm\", reference = { cuda = r },\n"
                                     "   kernels = { triage.kernel { name = \"k\", template = t,\n"
                                     "      targets = { \"sm_80\" }, checked_against = \"cuda\",\n"
                                     "      axes = axes, default = default, params = none,\n"
                                     "      launch = none } } }\n"),
                     TRIAGE_OK);
    write_file(text.data, text.size);
    tri_text_free(&text);
    assert_refused(variant_path, "the axes of kernel k span more than 1000000 points");
}

/* ---- what a space may write into a program or onto a command line ---- */

static void values_are_names_and_numbers(void **state) {
    (void)state;
    static const char *const right[] = {"float", "__nv_bfloat16", "X",      "_",       "a1",   "0",
                                        "-1",    "128",           "64u",    "7ULL",    "0x1F", "0xffu",
                                        "1.5",   "-0.125f",       "2.5e-3", "1.0E+10F"};
    static const char *const wrong[] = {
        "",     " ",     "a b",   "f(1)", "a;b",  "1+1",   "--1", "-",    "-a", "1e5", "1.",  ".5",    "0x",
        "1.5e", "1.5e+", "1.5ff", "12ab", "a\nb", "\"x\"", "a,b", "a::b", "{",  "<%",  "a\\", "float*"};
    char text[66];
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        if (!tri_is_value(right[i]))
            fail_msg("%s is refused", right[i]);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (tri_is_value(wrong[i]))
            fail_msg("'%s' is taken", wrong[i]);
    memset(text, 'a', 65);
    text[65] = '\0';
    assert_false(tri_is_value(text));
    text[64] = '\0';
    assert_true(tri_is_value(text));
}

static void options_are_of_a_short_list(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool host, cuda;
    } cases[] = {{"-DX", true, true},
                 {"-DX=1", true, true},
                 {"-DX=a_b", true, true},
                 {"-D", false, false},
                 {"-D=1", false, false},
                 {"-DX=", false, false},
                 {"-DX=1;", false, false},
                 {"-DX(a)=1", false, false},
                 {"-D1", false, false},
                 {"-O2", true, false},
                 {"-O9", false, false},
                 {"-ffast-math", true, false},
                 {"--fmad=false", false, true},
                 {"--maxrregcount=128", false, true},
                 {"--maxrregcount=", false, false},
                 {"--maxrregcount=1000", false, false},
                 {"-wrapper", false, false},
                 {"-o", false, false},
                 {"@file", false, false},
                 {"-I/", false, false},
                 {"-include", false, false},
                 {"-fplugin=x.so", false, false},
                 {"-B.", false, false},
                 {"-Wl,-rpath", false, false},
                 {"kernel2.c", false, false},
                 {"-specs=x", false, false},
                 {"--pre-include=/etc/hostname", false, false},
                 {"-dlto", false, false},
                 {"", false, false},
                 {"--include-path=/", false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (tri_is_option("host", cases[i].text) != cases[i].host ||
            tri_is_option("cuda", cases[i].text) != cases[i].cuda)
            fail_msg("'%s' is taken or refused", cases[i].text);
}

/* Memory addresses help whoever wants to leave the sandbox. */
static void no_address_is_told(void **state) {
    (void)state;
    static const char *const texts[] = {
        "tostring({})", "tostring(ipairs)", "string.format(\"%s\", {})",     "string.format(\"%s\", error)",
        "tostring(c)",  "tostring(string)", "string.format(\"%s %s\", p, c)"};
    tri_problem problem = problem_of(TRIAGE_F16, 32, 100);
    tri_device_info info = device_of("sm_90a");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char change[200];
        tri_candidate made;
        snprintf(change, sizeof change, "error(%s .. \" is told\")", texts[i]);
        write_variant("c.tile > 0", change);
        tri_space *space = open_space(variant_path);
        assert_int_equal(tri_space_candidate(&made, space, &problem, &info, "k tile=1 mode=x"),
                         TRIAGE_E_DATA);
        assert_message(" is told");
        assert_null(strstr(triage_last_error(), "0x"));
        tri_space_free(space);
    }
    write_variant("c.tile > 0", "string.format(\"%-20p\", c) == \"\"");
    tri_space *space = open_space(variant_path);
    tri_candidate made;
    assert_int_equal(tri_space_candidate(&made, space, &problem, &info, "k tile=1 mode=x"), TRIAGE_E_DATA);
    assert_message("v.lua:9: bad argument #1 to 'format' (there is no %p here)");
    tri_space_free(space);
}

/* ---- the space that ships ---- */

static const struct {
    const char *target;
    triage_dtype type;
    int32_t block;
    int64_t n;
} covered[] = {
    {"sm_80", TRIAGE_F16, 16, 8192},     {"sm_86", TRIAGE_BF16, 32, 8192},
    {"sm_89", TRIAGE_F16, 64, 8192},     {"sm_90a", TRIAGE_F16, 16, 8192},
    {"sm_90a", TRIAGE_F16, 32, 8192},    {"sm_90a", TRIAGE_BF16, 64, 8192},
    {"sm_90a", TRIAGE_F16, 128, 8192},   {"sm_100a", TRIAGE_F16, 128, 8192},
    {"sm_120a", TRIAGE_F16, 64, 8192},   {"sm_90a", TRIAGE_F16, 64, 1},
    {"sm_90a", TRIAGE_F16, 32, 1},       {"sm_90a", TRIAGE_F16, 128, 1001},
    {"sm_80", TRIAGE_F16, 48, 77},       {"x86_64-avx512", TRIAGE_F32, 32, 1024},
    {"x86_64-avx2", TRIAGE_BF16, 16, 1}, {"aarch64", TRIAGE_F32, 7, 100},
    {"x86_64", TRIAGE_F16, 1, 100},      {"x86_64-avx2", TRIAGE_F32, 1024, 100},
};

/* The same twice, at most 120 of them (a tune ends within minutes), and a candidate for each. */
static void ships_a_space_of_a_sensible_size(void **state) {
    (void)state;
    tri_space *space = open_space(NULL);
    for (size_t i = 0; i < sizeof covered / sizeof covered[0]; i++) {
        tri_problem problem = problem_of(covered[i].type, covered[i].block, covered[i].n);
        tri_device_info info = device_of(covered[i].target);
        bsr_of(&problem)->m = bsr_of(&problem)->k = covered[i].block * INT64_C(64);
        tri_configs once, twice;
        if (tri_space_enumerate(&once, space, &problem, &info) != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        assert_int_equal(tri_space_enumerate(&twice, space, &problem, &info), TRIAGE_OK);
        assert_in_range(once.count, 1, 120);
        assert_in_range(once.asked, 1, 4000); /* of some 300000 points */
        assert_int_equal(once.count, twice.count);
        for (size_t j = 0; j < once.count; j++) {
            tri_candidate made;
            assert_string_equal(once.text[j], twice.text[j]);
            if (tri_space_candidate(&made, space, &problem, &info, once.text[j]) != TRIAGE_OK)
                fail_msg("%s: %s", once.text[j], triage_last_error());
            assert_true((int64_t)made.launch.smem_bytes <= info.smem_bytes_max);
            assert_true(made.launch.block[0] <= 1024);
            tri_candidate_free(&made);
        }
        tri_candidate reference;
        assert_int_equal(tri_space_reference(&reference, space, &problem, &info), TRIAGE_OK);
        tri_candidate_free(&reference);
        tri_configs_free(&once);
        tri_configs_free(&twice);
    }
    tri_space_free(space);
}

/* Dealt panels may be cut, so that there are more than the space can count: all SMs are launched. */
static void dealt_panels_get_all_sms(void **state) {
    (void)state;
    const char *const configs[] = {"panel warps=16 tile_n=64 group=16 stages=5 ahead=4 "
                                   "cluster=1 gather=1 order=0",
                                   "panel warps=16 tile_n=64 group=16 stages=5 ahead=4 "
                                   "cluster=1 gather=1 order=1"};
    tri_space *space = open_space(NULL);
    tri_problem problem = problem_of(TRIAGE_F16, 16, 512);
    tri_device_info info = device_of("sm_90a");
    bsr_of(&problem)->m = bsr_of(&problem)->k = 8192;
    bsr_of(&problem)->ldb = bsr_of(&problem)->ldc = 512;
    bsr_of(&problem)->nnzb = 78643;
    bsr_of(&problem)->fingerprint =
        (tri_fingerprint){.density_e4 = 3000, .imbalance_e1 = 20, .overlap_e1 = 3};
    for (int order = 0; order < 2; order++) {
        tri_candidate made;
        if (tri_space_candidate(&made, space, &problem, &info, configs[order]) != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        assert_int_equal(made.launch.grid[0], order == 0 ? 16 * 8 : info.sm_count);
        assert_int_equal(bsr_launch_of(&made.launch)->panel_columns, order == 0 ? 0 : 8);
        assert_int_equal(bsr_launch_of(&made.launch)->panel_warps, order == 0 ? 0 : 16);
        assert_int_equal(tri_launch_panels(&made.launch, false).warps, order == 0 ? 0 : 16);
        tri_candidate_free(&made);
    }
    tri_space_free(space);
}

static void says_why_nothing_covers_a_problem(void **state) {
    (void)state;
    tri_space *space = open_space(NULL);
    tri_problem problem = problem_of(TRIAGE_F16, 8, 100);
    tri_device_info info = device_of("sm_80");
    tri_configs configs;
    assert_int_equal(tri_space_enumerate(&configs, space, &problem, &info), TRIAGE_E_UNSUPPORTED);
    assert_message("wmma needs 'blocks are multiples of 16'");
    tri_space_free(space);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enumerates_in_the_order_of_the_file),
        cmocka_unit_test(asks_constraints_seldom),
        cmocka_unit_test(keeps_kernels_to_their_targets),
        cmocka_unit_test(makes_a_candidate),
        cmocka_unit_test(reads_the_launch_geometry),
        cmocka_unit_test(makes_the_reference),
        cmocka_unit_test(many_columns_have_a_plain_kernel),
        cmocka_unit_test(refuses_other_configurations),
        cmocka_unit_test(names_the_violated_constraint),
        cmocka_unit_test(contains_what_misbehaves),
        cmocka_unit_test(a_space_of_parts),
        cmocka_unit_test(a_space_of_later_kernels),
        cmocka_unit_test(stops_an_endless_constraint_each_time),
        cmocka_unit_test(limits_memory_as_asked),
        cmocka_unit_test(says_when_there_is_no_file),
        cmocka_unit_test(parts_are_counted),
        cmocka_unit_test(names_file_line_and_fault),
        cmocka_unit_test(names_the_function_that_answers_nonsense),
        cmocka_unit_test(refuses_bytecode),
        cmocka_unit_test(refuses_too_many_points),
        cmocka_unit_test(values_are_names_and_numbers),
        cmocka_unit_test(options_are_of_a_short_list),
        cmocka_unit_test(no_address_is_told),
        cmocka_unit_test(ships_a_space_of_a_sensible_size),
        cmocka_unit_test(dealt_panels_get_all_sms),
        cmocka_unit_test(says_why_nothing_covers_a_problem),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
