/* The plain CUDA kernel of attention, and the one that selects blocks, where there is no GPU: their text, compiled as C++
 * and run thread by thread (tests/emulate), on the fixed cases; every row against float64. */
#include "support/attention_case.h"
#include "attention/select.h"
#include "support/emulated.h"
#include "support/select_case.h"

#include "emulate/map.h"

typedef struct tri_attention_case_view {
    const void *base;
    int element;
    int64_t dims[4];
    tri_attention_stride stride;
} tri_attention_case_view;

static char folder[64];
static tri_space *space;
static tri_device_info info;

static int open_all(void **state) {
    (void)state;
    scratch_make(folder);
    return tri_device_info_of_target(&info, "sm_90a") == TRIAGE_OK &&
                   tri_space_open(&space, &tri_op_attention, &(tri_space_options){0}) == TRIAGE_OK
               ? 0
               : -1;
}

/* Kernels by what they are compiled for: sizes are not of it. */
#define KERNELS 70
static struct {
    char *text;
    emulated kernel;
} known[KERNELS];

static int close_all(void **state) {
    (void)state;
    for (int at = 0; at < KERNELS && known[at].text; at++) {
        emulated_close(&known[at].kernel);
        free(known[at].text);
    }
    tri_space_free(space);
    scratch_remove(folder);
    return 0;
}

static emulated *kernel_for(const tri_source *source) {
    int at = 0;
    while (at < KERNELS && known[at].text && strcmp(known[at].text, source->text) != 0)
        at++;
    assert_true(at < KERNELS);
    if (!known[at].text) {
        known[at].text = strdup(source->text);
        known[at].kernel = emulated_open(folder, source);
    }
    return &known[at].kernel;
}

/* Of as many CTAs as the space says, and of three, which then take several tiles each. */
static void run_case(attention_case *c, int which, const char *key) {
    tri_problem problem = tri_attention_problem_of(&c->problem);
    tri_attention_args args = tri_attention_case_args(&c->inputs, which);
    tri_candidate plain = {0};
    tri_source source = {0};
    if (tri_space_reference(&plain, space, &problem, &info) != TRIAGE_OK ||
        tri_render(&source, &plain, TRI_SOURCE_DIR) != TRIAGE_OK)
        fail_msg("%s: %s", key, triage_last_error());
    const unsigned ctas[] = {plain.launch.grid[0], 3};
    args.o = c->o;
    args.lse = c->problem.lse ? c->lse : NULL;
    for (int i = 0; i < 2; i++) {
        memset(c->o, 0xff, c->o_count * tri_dtype_size(c->problem.out_type));
        memset(c->lse, 0xff, c->lse_count * sizeof(float));
        emulated_launch(kernel_for(&source), &args, ctas[i], 1, plain.launch.block[0],
                        plain.launch.smem_bytes);
        attention_verify(c, which, key);
    }
    tri_source_free(&source);
    tri_candidate_free(&plain);
}

static void run(const char *key) {
    attention_case c;
    attention_make(&c, key);
    for (int which = 0; which < tri_attention_cases(&c.problem); which++)
        run_case(&c, which, key);
    attention_free(&c);
}

/* Keyless rows are among them: O = 0 and LSE = -inf. */
static void causal_in_both_alignments(void **state) {
    (void)state;
    run("attention f32 f32 causal m=1 n=64 k=64 v=64 heads=2/2 batch=1 lse");
    run("attention f32 f32 causal m=64 n=1 k=64 v=64 heads=2/2 batch=1 lse");
    run("attention f32 f32 causal m=63 n=129 k=64 v=64 heads=2/2 batch=1 lse");
    run("attention f32 f32 causal m=130 n=64 k=64 v=64 heads=2/2 batch=1 lse");
    run("attention f32 f32 causal-top-left m=63 n=129 k=64 v=64 heads=2/2 batch=1 lse");
    run("attention f32 f32 causal-top-left m=130 n=64 k=64 v=64 heads=2/2 batch=1 lse");
}

static void sizes_heads_and_types(void **state) {
    (void)state;
    run("attention bf16 bf16 full m=1 n=1 k=64 v=64 heads=1/1 batch=2 lse");
    run("attention bf16 bf16 full m=33 n=65 k=64 v=64 heads=6/3 batch=2 lse");
    run("attention f32 f32 full m=3 n=0 k=64 v=64 heads=1/1 batch=2 lse");
    run("attention f32 f32 full m=20 n=33 k=40 v=72 heads=2/1 batch=1 lse");
    run("attention f32 f32 full m=20 n=33 k=100 v=1 heads=2/1 batch=1 lse");
    run("attention bf16 bf16 full m=20 n=33 k=192 v=128 heads=2/1 batch=1 lse");
    run("attention bf16 bf16 full softcap m=20 n=33 k=256 v=256 heads=2/1 batch=1 lse");
}

static void windows_and_lengths(void **state) {
    (void)state;
    run("attention f32 f32 window m=16 n=16 k=64 v=64 heads=2/1 batch=1 window=3,0 lse");
    run("attention f32 f32 window m=80 n=65 k=64 v=64 heads=2/1 batch=1 window=0,3 lse");
    run("attention f32 f32 window m=80 n=65 k=64 v=64 heads=2/1 batch=1 window=20,500 lse");
    run("attention f32 f32 window m=65 n=80 k=64 v=64 heads=2/1 batch=1 window=open,3 lse");
    run("attention f32 f32 causal varlen m=37 n=37 k=64 v=64 heads=2/1 batch=9 lse");
    run("attention bf16 bf16 causal cache m=2 n=90 k=64 v=64 heads=4/2 batch=5 lse");
    run("attention bf16 bf16 causal paged m=1 n=90 k=64 v=64 heads=4/2 batch=5 page=1 lse");
    run("attention bf16 bf16 causal paged m=1 n=90 k=64 v=64 heads=4/2 batch=5 page=48 lse");
}

/* ---- decoding ---- */

/* A map as the stand-in for the copy engine reads it. */
static void make_map(tri_tensor_map *out, const tri_tensor_box *box, const tri_attention_case_view *view) {
    emulated_map map = {.base = view->base,
                        .element = (unsigned char)view->element,
                        .swizzle = (unsigned char)box->swizzle,
                        .rank = 4};
    const tri_attention_stride *stride = &view->stride;
    const int64_t strides[4] = {1, stride->row, stride->head, stride->batch};
    for (int i = 0; i < 4; i++) {
        map.box[i] = (unsigned short)box->box[i];
        map.dims[i] = (unsigned)view->dims[i];
        map.strides[i] = strides[i] * view->element;
    }
    memcpy(out, &map, sizeof map);
}

static void make_maps(tri_attention_args *args, const tri_attention_problem *p, const tri_launch *launch) {
    const int element = (int)tri_dtype_size(p->in_type), page = p->page_size;
    const int64_t rows = page ? page : p->sk, batch = page ? INT32_MAX : p->batch;
    make_map(&args->map_k, &launch->maps[1],
             &(tri_attention_case_view){args->k, element, {p->d, rows, p->heads_kv, batch}, args->k_stride});
    make_map(&args->map_v, &launch->maps[2],
             &(tri_attention_case_view){args->v, element, {p->dv, rows, p->heads_kv, batch}, args->v_stride});
}

/* Twice in a row: a launch leaves the workspace as the next one needs it. */
static void run_decode_case(attention_case *c, const tri_candidate *candidate, const tri_source *source,
                            int which) {
    tri_attention_args args = tri_attention_case_args(&c->inputs, which);
    const tri_launch *launch = &candidate->launch;
    const bool maps = launch->maps[1].rank > 0;
    char *workspace = aligned_alloc(256, (launch->workspace_bytes + 511) / 256 * 256);
    memset(workspace, 0xff, launch->workspace_bytes);
    memset(workspace, 0, launch->workspace_zero_bytes);
    args.workspace = workspace;
    if (args.splits == 0)
        args.splits = tri_attention_launch_of(launch)->splits;
    args.o = c->o;
    args.lse = c->problem.lse ? c->lse : NULL;
    if (maps)
        make_maps(&args, &c->problem, launch);
    for (int turn = 0; turn < 2; turn++) {
        memset(c->o, 0xff, c->o_count * tri_dtype_size(c->problem.out_type));
        memset(c->lse, 0xff, c->lse_count * sizeof(float));
        emulated_launch(kernel_for(source), &args, launch->grid[0], 1, launch->block[0], launch->smem_bytes);
        attention_verify(c, which, candidate->config);
    }
    free(workspace);
}

static void run_decode(const char *key, const char *config) {
    attention_case c;
    tri_candidate candidate = {0};
    tri_source source = {0};
    attention_make(&c, key);
    const tri_problem problem = tri_attention_problem_of(&c.problem);
    if (tri_space_candidate(&candidate, space, &problem, &info, config) != TRIAGE_OK ||
        tri_render(&source, &candidate, TRI_SOURCE_DIR) != TRIAGE_OK)
        fail_msg("%s: %s", key, triage_last_error());
    for (int which = 0; which < tri_attention_cases(&c.problem); which++)
        run_decode_case(&c, &candidate, &source, which);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    attention_free(&c);
}

#define TILES "decode_tma rows=8 keys=16 warps=4 stages=2 cluster=1"
static void decode_by_tma(void **state) {
    (void)state;
    run_decode("attention bf16 bf16 full m=1 n=300 k=64 v=64 heads=8/2 batch=3 lse", TILES);
    run_decode("attention bf16 bf16 full m=1 n=1000 k=128 v=64 heads=8/1 batch=1 lse", TILES);
    run_decode("attention bf16 bf16 full m=1 n=500 k=64 v=64 heads=5/5 batch=27 lse", TILES);
    run_decode("attention bf16 bf16 causal m=3 n=200 k=64 v=128 heads=4/2 batch=2 lse", TILES);
    run_decode("attention bf16 bf16 window m=2 n=500 k=64 v=64 heads=4/2 batch=2 window=100,0 lse", TILES);
    run_decode("attention bf16 bf16 causal cache m=2 n=290 k=64 v=64 heads=8/2 batch=5 lse", TILES);
    run_decode("attention bf16 bf16 causal paged m=1 n=290 k=64 v=64 heads=8/2 batch=5 page=16 lse", TILES);
    run_decode("attention bf16 bf16 full paged m=1 n=290 k=64 v=64 heads=8/2 batch=5 page=128 lse", TILES);
}

#define COPIES "decode rows=8 keys=16 warps=4 stages=2 cluster=1 waves=1"
static void decode_by_copies(void **state) {
    (void)state;
    run_decode("attention bf16 bf16 full m=1 n=300 k=64 v=64 heads=8/2 batch=3 lse", COPIES);
    run_decode("attention bf16 bf16 causal m=3 n=200 k=40 v=72 heads=4/2 batch=2 lse", COPIES);
    run_decode("attention bf16 bf16 causal varlen m=2 n=290 k=64 v=64 heads=8/2 batch=5 lse", COPIES);
    run_decode("attention bf16 bf16 causal cache m=2 n=290 k=64 v=64 heads=8/2 batch=5 lse", COPIES);
    run_decode("attention bf16 bf16 causal paged m=1 n=290 k=64 v=64 heads=8/2 batch=5 page=1 lse", COPIES);
    run_decode("attention bf16 bf16 full paged m=1 n=290 k=64 v=64 heads=8/2 batch=5 page=48 lse", COPIES);
    run_decode("attention bf16 bf16 full m=1 n=300 k=64 v=64 heads=8/2 batch=3 splits=3 lse",
               "decode rows=8 keys=16 warps=8 stages=2 cluster=1 waves=1");
}

/* Without clusters; the shadow is a warp like the others. */
static void decode_at_once(void **state) {
    (void)state;
    run_decode("attention bf16 bf16 full m=1 n=100 k=128 v=128 heads=8/2 batch=3 lse",
               "decode_once keys=16 warps=8 cluster=1 shadow=0");
    run_decode("attention bf16 bf16 full m=1 n=250 k=64 v=128 heads=8/1 batch=1 lse",
               "decode_once keys=32 warps=8 cluster=1 shadow=1");
    run_decode("attention bf16 bf16 causal softcap m=3 n=30 k=192 v=128 heads=20/4 batch=2 lse",
               "decode_once keys=16 warps=2 cluster=1 shadow=1");
    run_decode("attention bf16 bf16 window m=2 n=120 k=64 v=64 heads=4/2 batch=2 window=20,0 lse",
               "decode_once keys=16 warps=8 cluster=1 shadow=0");
    run_decode("attention bf16 bf16 causal cache m=2 n=110 k=64 v=64 heads=8/2 batch=5 lse",
               "decode_once keys=16 warps=8 cluster=1 shadow=1");
    run_decode("attention bf16 bf16 causal paged m=1 n=60 k=64 v=256 heads=8/2 batch=5 page=16 lse",
               "decode_once keys=16 warps=4 cluster=1 shadow=0");
    run_decode("attention bf16 bf16 full paged m=1 n=60 k=64 v=64 heads=8/2 batch=5 page=64 lse",
               "decode_once keys=32 warps=2 cluster=1 shadow=0");
}

#define LISTS " density=5000 imbalance=10 overlap=5"
static void block_masks(void **state) {
    (void)state;
    run("attention f32 f32 full blocks=16x16 m=90 n=100 k=64 v=64 heads=4/2 batch=2 lists=all" LISTS " lse");
    run("attention f32 f32 causal blocks=64x32 m=100 n=130 k=64 v=64 heads=4/2 batch=2 lists=batch" LISTS
        " lse");
    run("attention f32 f32 causal blocks=32x64 m=100 n=130 k=64 v=64 heads=4/2 batch=2 lists=batch-q" LISTS
        " bits lse");
    run("attention f32 f32 window blocks=128x16 m=200 n=130 k=64 v=64 heads=2/1 batch=1 window=60,5 "
        "lists=batch-kv" LISTS " bits lse");
}

/* ---- long queries by mma.sync ---- */

/* Rows of Q whose scores rise or fall from the first key to the last: element 1 of a key says how far along it is (inputs.c).
 * Kernels that do not look for maxima meet growth of less than they allow, of more, and of so much that 2^x overflows. */
static void make_jumps(attention_case *c) {
    static const float rises[] = {0, 14, -14, 60, -60, 3000, -3000, 0};
    const tri_attention_problem *p = &c->problem;
    for (int64_t row = 0; row < p->queries * p->heads_q; row++) {
        const size_t at = (size_t)(row * p->d);
        for (size_t x = 0; x < (size_t)p->d; x++)
            tri_from_float(c->inputs.q, p->in_type, at + x,
                           tri_to_float(c->inputs.q, p->in_type, at + x) / 4);
        tri_from_float(c->inputs.q, p->in_type, at, 0);
        tri_from_float(c->inputs.q, p->in_type, at + 1, rises[row / p->heads_q % 8] * sqrtf((float)p->d));
    }
}

/* One sequence. */
static void run_tiles(const char *key, const char *config, bool jumps) {
    attention_case c;
    tri_candidate candidate = {0};
    tri_source source = {0};
    attention_make(&c, key);
    if (jumps)
        make_jumps(&c);
    const tri_problem problem = tri_attention_problem_of(&c.problem);
    if (tri_space_candidate(&candidate, space, &problem, &info, config) != TRIAGE_OK ||
        tri_render(&source, &candidate, TRI_SOURCE_DIR) != TRIAGE_OK)
        fail_msg("%s: %s", key, triage_last_error());
    const tri_launch *launch = &candidate.launch;
    tri_attention_args args = tri_attention_case_args(&c.inputs, 0);
    assert_int_equal(launch->grid[2], 1);
    args.o = c.o;
    args.lse = c.problem.lse ? c.lse : NULL;
    memset(c.o, 0xff, c.o_count * tri_dtype_size(c.problem.out_type));
    memset(c.lse, 0xff, c.lse_count * sizeof(float));
    emulated_launch(kernel_for(&source), &args, launch->grid[0], launch->grid[1], launch->block[0],
                    launch->smem_bytes);
    attention_verify(&c, 0, config);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    attention_free(&c);
}

static void run_all_tiles(const char *config) {
    static const char *const keys[] = {
        "attention bf16 bf16 full m=130 n=300 k=64 v=64 heads=4/2 batch=1 lse",
        "attention bf16 bf16 full m=70 n=65 k=64 v=64 heads=2/1 batch=1 lse",
        "attention bf16 bf16 full m=17 n=1 k=64 v=64 heads=1/1 batch=1 lse",
        "attention bf16 bf16 causal m=150 n=260 k=64 v=64 heads=2/1 batch=1 lse",
        "attention bf16 bf16 causal m=260 n=150 k=64 v=64 heads=2/1 batch=1 lse",
        "attention bf16 bf16 window m=130 n=400 k=64 v=64 heads=1/1 batch=1 window=130,5 lse",
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        for (int jumps = 0; jumps < 2; jumps++)
            run_tiles(keys[i], config, jumps);
}

static void tiles(void **state) {
    (void)state;
    run_all_tiles("mma tile_m=128 tile_n=64 warps=4 stages=1 hold_q=0 ahead=3 late=0 slab=0");
    run_tiles(
        "attention bf16 bf16 causal blocks=64x32 m=100 n=130 k=64 v=64 heads=2/1 batch=1 lists=batch" LISTS
        " lse",
        "mma tile_m=64 tile_n=64 warps=2 stages=2 hold_q=0 ahead=3 late=1 slab=0", false);
}

static void tiles_that_look_late_for_maxima(void **state) {
    (void)state;
    run_all_tiles("mma tile_m=128 tile_n=64 warps=4 stages=2 hold_q=0 ahead=3 late=1 slab=0");
}

static void tiles_of_two_slabs(void **state) {
    (void)state;
    run_all_tiles("mma tile_m=128 tile_n=64 warps=4 stages=2 hold_q=1 ahead=1 late=0 slab=32");
    static const char *const wide =
        "mma tile_m=64 tile_n=32 warps=4 stages=2 hold_q=1 ahead=3 late=0 slab=16";
    for (int jumps = 0; jumps < 2; jumps++) {
        run_tiles("attention bf16 bf16 causal m=70 n=130 k=192 v=136 heads=1/1 batch=1 lse", wide, jumps);
        run_tiles("attention bf16 bf16 full m=64 n=50 k=64 v=136 heads=1/1 batch=1 lse", wide, jumps);
    }
}

/* ---- selections ---- */

static tri_attention_stride packed(int64_t rows, int64_t heads, int64_t d) {
    return (tri_attention_stride){rows * heads * d, d, heads * d};
}

static tri_select_args selection_args(const select_case *c, float *workspace) {
    const tri_attention_problem *p = &c->problem;
    tri_attention_args all;
    tri_attention_layout(&all, p);
    return (tri_select_args){.q = c->q,
                             .k = c->k,
                             .q_stride = packed(p->sq, p->heads_q, p->d),
                             .k_stride = packed(p->sk, p->heads_kv, p->d),
                             .pooled_q = workspace,
                             .pooled_k = workspace + c->rows * (size_t)p->d,
                             .count = c->count,
                             .cols = c->cols,
                             .capacity = c->capacity,
                             .batch = (int)p->batch,
                             .heads_q = (int)p->heads_q,
                             .heads_kv = (int)p->heads_kv,
                             .list_heads = (int)select_heads(p),
                             .sq = (int)p->sq,
                             .sk = (int)p->sk,
                             .left = all.left,
                             .right = all.right,
                             .top = c->top};
}

/* Of five CTAs, which then take several blocks and rows each. */
static void select_by(const char *key, int top, bool whole) {
    tri_attention_problem p;
    select_case c;
    tri_source source;
    assert_int_equal(tri_attention_parse(&p, key), TRIAGE_OK);
    select_make(&c, &p, top, whole);
    select_clear(&c);
    size_t of_k = (size_t)(p.batch * p.heads_kv * select_blocks(p.sk, p.mask.cols) * p.d);
    float *workspace = malloc((c.rows * (size_t)p.d + of_k + 1) * sizeof *workspace);
    tri_select_args args = selection_args(&c, workspace);
    select_render(&source, &p, p.in_type == TRIAGE_F32 ? "float" : "__nv_bfloat16");
    emulated *kernel = kernel_for(&source);
    unsigned smem_bytes = (unsigned)(select_blocks(p.sk, p.mask.cols) * 4);
    emulated_launch(kernel, &args, 5, 1, 256, 0);
    args.phase = 1;
    emulated_launch(kernel, &args, 5, 1, 256, smem_bytes);
    select_verify(&c, whole);
    free(workspace);
    tri_source_free(&source);
    select_free(&c);
}

#define OF_Q " lists=batch-q density=1000 imbalance=10 overlap=1"
#define OF_KV " lists=batch-kv density=1000 imbalance=10 overlap=1"
static void selections(void **state) {
    (void)state;
    select_by("attention f32 f32 full blocks=16x16 m=256 n=256 k=4 v=4 heads=2/1 batch=2" OF_Q, 3, true);
    select_by("attention f32 f32 causal blocks=16x16 m=256 n=256 k=4 v=4 heads=4/2 batch=1" OF_KV, 3, true);
    select_by("attention f32 f32 window blocks=16x16 m=256 n=256 k=4 v=4 heads=1/1 batch=1 window=60,20" OF_Q,
              2, true);
    select_by("attention bf16 bf16 causal blocks=32x16 m=130 n=900 k=100 v=64 heads=2/1 batch=1" OF_Q, 40,
              false);
    select_by("attention bf16 bf16 causal blocks=16x32 m=130 n=64 k=64 v=64 heads=2/1 batch=1" OF_Q, 2,
              false);
    select_by(
        "attention bf16 bf16 causal-top-left blocks=64x128 m=300 n=140 k=256 v=64 heads=6/3 batch=1" OF_KV, 1,
        false);
    select_by("attention bf16 bf16 full blocks=16x16 m=40 n=0 k=64 v=64 heads=2/1 batch=1" OF_Q, 1, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_by_tma),
        cmocka_unit_test(decode_by_copies),
        cmocka_unit_test(decode_at_once),
        cmocka_unit_test(causal_in_both_alignments),
        cmocka_unit_test(sizes_heads_and_types),
        cmocka_unit_test(windows_and_lengths),
        cmocka_unit_test(block_masks),
        cmocka_unit_test(tiles),
        cmocka_unit_test(tiles_that_look_late_for_maxima),
        cmocka_unit_test(tiles_of_two_slabs),
        cmocka_unit_test(selections),
    };
    if (!emulated_runs_here())
        return 77;
    return cmocka_run_group_tests(tests, open_all, close_all);
}
