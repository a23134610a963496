/* What a pure move must not change, of bsr_gemm: keys, legal configurations with their launches, schedules and rendered
 * texts, over the problems of the grid, the patterns of tests/data/dlmc and the shipped evidence. tests/data/baseline
 * has what they were; TRI_BASELINE_RECORD=1 in the environment writes it anew (after a change of templates or spaces
 * that is meant). One line a problem: a hash that differs names it. */
#include "support/bsr_of.h"
#include "support/check.h"

#include <stdlib.h>
#include <string.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "render/render.h"

#define FOLDER TRI_SOURCE_DIR "/tests/data/baseline/"
#define WHOLE_EACH                                                                                           \
    6 /* problems: of one of so many all legal configurations are listed (0.2 s), of the others some tried */
#define RENDER_EACH                                                                                          \
    16 /* of a problem's configurations: each of so many is rendered, from another one on each time */
#define SCHEDULE_WORK                                                                                        \
    40000 /* blocks that are scheduled for a problem, in the shapes that come first; one is always */

/* ---- a hash that grows ---- */

typedef struct tri_sum {
    char text[TRI_HASH_SIZE];
} tri_sum;

static void add(tri_sum *sum, const void *data, size_t size) {
    const tri_piece pieces[] = {{sum->text, strlen(sum->text)}, {data, size}};
    char next[TRI_HASH_SIZE];
    tri_hash_pieces(next, pieces, 2);
    memcpy(sum->text, next, sizeof next);
}

static void add_text(tri_sum *sum, const char *text) {
    add(sum, text, strlen(text) + 1);
}

static void add_number(tri_sum *sum, int64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    add_text(sum, text);
}

/* ---- launches and schedules ---- */

static void add_box(tri_sum *sum, const tri_tensor_box *box) {
    add_number(sum, box->rank);
    for (int i = 0; i < box->rank; i++)
        add_number(sum, box->box[i]);
    add_number(sum, box->inner_split);
    add_number(sum, box->swizzle);
    add_number(sum, box->l2_promotion);
}

static void add_shape(tri_sum *sum, const tri_panel_shape *s) {
    const int32_t numbers[] = {s->rows,    s->group,   s->cluster, s->gather,     s->reorder,
                               s->columns, s->workers, s->warps,   s->busy_warps, s->least_blocks};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        add_number(sum, numbers[i]);
}

static void add_launch(tri_sum *sum, const tri_launch *l) {
    const tri_panel_shape shape = tri_launch_panels(l, false);
    for (int i = 0; i < 3; i++) {
        add_number(sum, l->grid[i]);
        add_number(sum, l->block[i]);
        add_number(sum, l->cluster[i]);
    }
    add_number(sum, l->smem_bytes);
    add_number(sum, l->workspace_bytes);
    add_box(sum, &l->maps[TRI_BSR_MAP_A]);
    add_box(sum, &l->maps[TRI_BSR_MAP_B]);
    add_box(sum, &l->maps[TRI_BSR_MAP_C]);
    add_shape(sum, &shape);
}

static void add_schedule(tri_sum *sum, const tri_schedule *s) {
    add(sum, s->row_order, (size_t)s->slots * sizeof *s->row_order);
    add_number(sum, s->panels);
    if (s->panel_starts)
        add(sum, s->steps, (size_t)s->step_count * sizeof(int32_t) * 2);
    if (s->deal)
        add(sum, s->deal, (size_t)s->deal_count * sizeof *s->deal);
}

/* ---- one problem ---- */

typedef struct tri_case {
    tri_problem problem;
    tri_pattern pattern; /* without rows: not known */
    bool seen_shape;
    tri_panel_shape shapes[256];
    size_t shape_count;
} tri_case;

static tri_space *space;
static size_t rendered, scheduled, configurations;

/* Field by field: what lies between the fields is nobody's. */
static bool is_same_shape(const tri_panel_shape *a, const tri_panel_shape *b) {
    return a->rows == b->rows && a->group == b->group && a->cluster == b->cluster && a->gather == b->gather &&
           a->reorder == b->reorder && a->columns == b->columns && a->workers == b->workers &&
           a->warps == b->warps && a->busy_warps == b->busy_warps && a->least_blocks == b->least_blocks;
}

static bool is_new_shape(tri_case *c, const tri_panel_shape *shape) {
    for (size_t i = 0; i < c->shape_count; i++)
        if (is_same_shape(&c->shapes[i], shape))
            return false;
    const size_t most = 1 + (size_t)(SCHEDULE_WORK / (c->pattern.nnzb + 1));
    if (c->shape_count == 256 || c->shape_count >= most)
        return false;
    c->shapes[c->shape_count++] = *shape;
    return true;
}

static void add_candidate(tri_sum *sum, tri_case *c, const tri_device_info *info, const char *config,
                          bool render) {
    tri_candidate candidate;
    tri_source source;
    tri_schedule schedule = {0};
    char *text = NULL;
    must(tri_space_candidate(&candidate, space, &c->problem, info, config));
    add_text(sum, config);
    add_launch(sum, &candidate.launch);
    if (render) {
        must(tri_render(&source, &candidate, NULL));
        must(tri_source_flatten(&text, &source));
        add_text(sum, text);
        for (size_t i = 0; i < source.option_count; i++)
            add_text(sum, source.options[i]);
        free(text);
        tri_source_free(&source);
        rendered++;
    }
    const tri_panel_shape shape = tri_launch_panels(&candidate.launch, false);
    if (c->pattern.row_ptr && is_new_shape(c, &shape)) {
        must(tri_schedule_build(&schedule, &c->pattern, &shape));
        add_schedule(sum, &schedule);
        tri_schedule_free(&schedule);
        scheduled++;
    }
    tri_candidate_free(&candidate);
}

static void add_configurations(tri_sum *sum, tri_case *c, const tri_device_info *info, size_t from) {
    tri_configs configs = {0};
    tri_candidate plain;
    triage_status status = tri_space_enumerate(&configs, space, &c->problem, info);
    add_number(sum, status);
    if (status != TRIAGE_OK)
        return;
    add_number(sum, (int64_t)configs.default_index);
    for (size_t i = 0; i < configs.count; i++)
        if ((i + from) % RENDER_EACH == 0 || i == configs.default_index)
            add_candidate(sum, c, info, configs.text[i], true);
        else
            add_text(sum, configs.text[i]);
    configurations += configs.count;
    tri_configs_free(&configs);
    must(tri_space_reference(&plain, space, &c->problem, info));
    add_launch(sum, &plain.launch);
    tri_candidate_free(&plain);
}

/* One of each kernel and block, from the shipped evidence; many are not legal for a problem. */
static const char *const some[] = {
    "wgmma tile_n=256 wg_n=1 step_k=64 stages=4 c_slabs=2 cluster_n=2 ctas_per_sm=1 raster=1 share=1 order=1 "
    "promote=0",
    "wgmma tile_n=128 wg_n=2 step_k=64 stages=4 c_slabs=1 cluster_n=1 ctas_per_sm=2 raster=2 share=1 order=0 "
    "promote=0",
    "panel warps=8 tile_n=128 group=8 stages=5 ahead=4 cluster=1 gather=0 order=0",
    "panel warps=16 tile_n=64 group=8 stages=5 ahead=2 cluster=2 gather=1 order=0",
    "strip tile_m=64 tile_n=128 warps_m=4 warps_n=1 wgmma=1 group=1 stages=2 ctas_per_sm=4 order=1",
    "strip tile_m=32 tile_n=128 warps_m=1 warps_n=2 wgmma=0 group=1 stages=2 ctas_per_sm=8 order=0",
    "strip tile_m=16 tile_n=128 warps_m=1 warps_n=1 wgmma=0 group=1 stages=2 ctas_per_sm=16 order=1",
    "row tile_n=512 warps_n=8 group=1 stages=6 ctas_per_sm=1",
    "skinny tile_m=32 warps_m=1 warps_k=8 cluster_k=1 run=0 stages=4 stages_b=2",
    "skinny tile_m=16 warps_m=1 warps_k=12 cluster_k=1 run=1 stages=2 stages_b=2"};

static void add_some(tri_sum *sum, tri_case *c, const tri_device_info *info) {
    tri_candidate candidate;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        const triage_status status = tri_space_candidate(&candidate, space, &c->problem, info, some[i]);
        add_text(sum, status == TRIAGE_OK ? some[i] : triage_last_error());
        if (status != TRIAGE_OK)
            continue;
        tri_candidate_free(&candidate);
        add_candidate(sum, c, info, some[i], true);
    }
}

/* ---- the lists ---- */

static triage_activation activation_of(const char *name) {
    for (int i = TRIAGE_ACT_NONE; i <= TRIAGE_ACT_SILU; i++)
        if (strcmp(tri_activation_name((triage_activation)i), name) == 0)
            return (triage_activation)i;
    fail_msg("%s is no activation", name);
    return TRIAGE_ACT_NONE;
}

static void read_case(tri_case *out, const char *line) {
    char in[8], to[8], layout[8], activation[8], pattern[80], path[256];
    int bias;
    double sparsity;
    tri_problem p = tri_bsr_problem_of((tri_bsr_problem){0});
    long long m, n, k;
    assert_int_equal(sscanf(line, "%7s %7s %7s %7s %d %lld %lld %lld %d %d %lf %79s", in, to, layout,
                            activation, &bias, &m, &n, &k, &bsr_of(&p)->block_m, &bsr_of(&p)->block_k,
                            &sparsity, pattern),
                     12);
    memset(out, 0, sizeof *out);
    must(tri_dtype_parse(&bsr_of(&p)->in_type, in));
    must(tri_dtype_parse(&bsr_of(&p)->out_type, to));
    bsr_of(&p)->b_layout = bsr_of(&p)->c_layout =
        strcmp(layout, "col") == 0 ? TRIAGE_COL_MAJOR : TRIAGE_ROW_MAJOR;
    bsr_of(&p)->activation = activation_of(activation);
    bsr_of(&p)->bias = bias != 0;
    bsr_of(&p)->m = m, bsr_of(&p)->n = n, bsr_of(&p)->k = k;
    if (strcmp(pattern, "-") != 0) {
        snprintf(path, sizeof path, "%s/tests/data/dlmc/%s", TRI_SOURCE_DIR, pattern);
        must(tri_pattern_read(&out->pattern, path));
    } else {
        must(
            tri_pattern_random(&out->pattern, m / bsr_of(&p)->block_m, k / bsr_of(&p)->block_k, sparsity, 1));
    }
    bsr_of(&p)->ldb = bsr_of(&p)->b_layout == TRIAGE_ROW_MAJOR ? n : k;
    bsr_of(&p)->ldc = bsr_of(&p)->c_layout == TRIAGE_ROW_MAJOR ? n : m;
    bsr_of(&p)->nnzb = out->pattern.nnzb;
    tri_fingerprint_of(&bsr_of(&p)->fingerprint, &out->pattern);
    must(tri_problem_check(&p));
    out->problem = p;
}

static const char *const devices[] = {
    "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448",
    "cuda sm_80 sms=108 clock=1410000 memclock=1215000 bus=5120 l2=41943040 smem=166912",
    "host x86_64-avx2 sms=2 clock=0 memclock=0 bus=0 l2=33554432 smem=0"};

/* The line of a problem, '\n' included. */
static void write_problem(FILE *to, const char *line, size_t number) {
    tri_case c;
    tri_sum sums[3] = {0};
    char *key;
    read_case(&c, line);
    must(tri_problem_key(&key, &c.problem));
    for (size_t d = 0; d < 3; d++) {
        tri_device_info info;
        must(tri_device_parse(&info, devices[d]));
        if (number % (d == 0 ? WHOLE_EACH : 4 * WHOLE_EACH) == 0)
            add_configurations(&sums[d], &c, &info, number);
        else if (d == 0)
            add_some(&sums[d], &c, &info);
    }
    fprintf(to, "%s nnzb=%lld | %.12s %.12s %.12s\n", key, (long long)bsr_of(&c.problem)->nnzb, sums[0].text,
            sums[1].text, sums[2].text);
    free(key);
    tri_pattern_free(&c.pattern);
}

/* The value of a member of a JSON line, as it is written. */
static bool member(char *out, size_t size, const char *line, const char *name) {
    char wanted[40];
    snprintf(wanted, sizeof wanted, "\"%s\":\"", name);
    const char *from = strstr(line, wanted);
    if (!from)
        return false;
    from += strlen(wanted);
    snprintf(out, size, "%.*s", (int)strcspn(from, "\""), from);
    return true;
}

static void write_evidence(FILE *to, const char *line) {
    char problem[512], device[256], config[256], id[TRI_HASH_SIZE + 1], flops[40];
    tri_case c = {0};
    tri_sum sum = {0};
    tri_device_info info;
    assert_true(member(problem, sizeof problem, line, "problem") &&
                member(device, sizeof device, line, "device") &&
                member(config, sizeof config, line, "config") && member(id, sizeof id, line, "id"));
    if (strncmp(problem, "bsr_gemm ", 9) != 0)
        return;
    must(tri_problem_parse(&c.problem, problem));
    must(tri_device_parse(&info, device));
    add_candidate(&sum, &c, &info, config, true);
    snprintf(flops, sizeof flops, "%.17g", tri_problem_flops(&c.problem) + tri_problem_bytes(&c.problem));
    add_text(&sum, flops);
    fprintf(to, "%s %s | %.12s\n", id, problem, sum.text);
}

static char *read_file(const char *name) {
    char *text;
    must(tri_file_read(&text, NULL, name, 64 << 20));
    return text;
}

static char *write_all(void) {
    char *text = NULL, *saved = NULL;
    size_t size = 0, number = 0;
    FILE *to = open_memstream(&text, &size);
    char *lists[] = {read_file(FOLDER "problems.txt"),
                     read_file(TRI_SOURCE_DIR "/db/pretuned/nvidia-h200.jsonl")};
    for (char *line = strtok_r(lists[0], "\n", &saved); line; line = strtok_r(NULL, "\n", &saved))
        if (line[0] != '#')
            write_problem(to, line, number++);
    for (char *line = strtok_r(lists[1], "\n", &saved); line; line = strtok_r(NULL, "\n", &saved))
        write_evidence(to, line);
    fclose(to);
    free(lists[0]);
    free(lists[1]);
    return text;
}

static void test_nothing_has_changed(void **state) {
    (void)state;
    tri_space_options options = {0};
    must(tri_space_open(&space, &tri_op_bsr_gemm, &options));
    char *now = write_all();
    tri_space_free(space);
    print_message("%zu configurations, %zu rendered, %zu schedules\n", configurations, rendered, scheduled);
    if (getenv("TRI_BASELINE_RECORD")) {
        must(tri_file_write_atomic(FOLDER "bsr_gemm.txt", now, strlen(now), 0644));
    } else {
        char *before = read_file(FOLDER "bsr_gemm.txt");
        for (char *a = before, *b = now; *a || *b;) {
            const int a_size = (int)strcspn(a, "\n"), b_size = (int)strcspn(b, "\n");
            if (a_size != b_size || memcmp(a, b, (size_t)a_size) != 0)
                fail_msg("was  %.*s\n is  %.*s", a_size, a, b_size, b);
            a += a_size + (a[a_size] == '\n');
            b += b_size + (b[b_size] == '\n');
        }
        free(before);
    }
    free(now);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_has_changed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
