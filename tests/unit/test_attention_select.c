/* Sparse top-k on the host device, against float64 and by hand; what is refused; and that its CUDA kernel compiles for
 * every target. */
#include "support/select_cases.h"
#include "support/scratch.h"

static triage_context *context;

static int open_context(void **state) {
    (void)state;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    options.data_dir = TRI_SOURCE_DIR;
    return triage_context_open(&context, &options) == TRIAGE_OK ? 0 : -1;
}

static int close_context(void **state) {
    (void)state;
    triage_context_free(context);
    return 0;
}

static void every_kind_of_selection(void **state) {
    (void)state;
    select_all_cases(context);
}

static void every_size_of_block(void **state) {
    (void)state;
    select_all_blocks(context);
}

#define SMALL "attention f32 f32 causal blocks=16x16 m=64 n=64 k=4 v=4 heads=1/1 batch=1" SELECT_Q

/* All keys are alike: the lower blocks win, and the diagonal. A block of NaN is taken last. */
static void ties_and_nan_by_hand(void **state) {
    (void)state;
    static const int32_t of_ties[4][3] = {{0, -1, -1}, {0, 1, -1}, {0, 2, -1}, {0, 3, -1}};
    static const int32_t of_nan[4][3] = {{0, -1, -1}, {0, 1, -1}, {1, 2, -1}, {1, 3, -1}};
    tri_attention_problem p = select_problem(SMALL);
    select_case c;
    select_make(&c, &p, 2, true);
    for (int i = 0; i < 64 * 4; i++)
        ((float *)c.q)[i] = ((float *)c.k)[i] = 1;
    select_run(context, &c);
    for (int row = 0; row < 4; row++)
        assert_memory_equal(c.cols + row * c.capacity, of_ties[row], (size_t)c.count[row] * sizeof(int32_t));
    assert_int_equal(c.count[3], 2);
    ((float *)c.k)[5] = NAN;
    select_run(context, &c);
    for (int row = 0; row < 4; row++)
        assert_memory_equal(c.cols + row * c.capacity, of_nan[row], (size_t)c.count[row] * sizeof(int32_t));
    select_free(&c);
}

/* ---- with the attention behind it ---- */

typedef struct rig {
    attention_case c;
    triage_attention *attention;
    triage_attention_call call;
    triage_selection selection;
    int32_t count[64], cols[64 * 8];
    float workspace[8192];
} rig;

static void open_rig(rig *r, const char *key, int top) {
    size_t bytes;
    attention_make(&r->c, key);
    triage_attention_desc desc = select_desc(&r->c.problem);
    select_ok(triage_attention_create(&r->attention, context, &desc));
    tri_attention_args args = tri_attention_case_args(&r->c.inputs, 0);
    const tri_attention_stride *q = &args.q_stride, *k = &args.k_stride, *v = &args.v_stride,
                               *o = &args.o_stride;
    r->call = (triage_attention_call)TRIAGE_ATTENTION_CALL_INIT;
    r->call.q = (triage_tensor){(void *)(uintptr_t)args.q, q->batch, q->head, q->row};
    r->call.k = (triage_tensor){(void *)(uintptr_t)args.k, k->batch, k->head, k->row};
    r->call.v = (triage_tensor){(void *)(uintptr_t)args.v, v->batch, v->head, v->row};
    r->call.o = (triage_tensor){r->c.o, o->batch, o->head, o->row};
    r->call.lse = (triage_tensor){r->c.lse, args.lse_stride.batch, args.lse_stride.head, args.lse_stride.row};
    r->selection = (triage_selection){TRIAGE_SELECTION_VERSION, top, r->count, r->cols, 8, r->workspace};
    select_ok(triage_attention_select_bytes(&bytes, r->attention));
    assert_true(bytes <= sizeof r->workspace);
    r->c.inputs.args.full = (tri_attention_blocks){NULL, r->count, r->cols, 8};
}

static void close_rig(rig *r) {
    triage_attention_free(r->attention);
    attention_free(&r->c);
}

static void clear_results(rig *r) {
    memset(r->c.o, 0xff, r->c.o_count * sizeof(float));
    memset(r->c.lse, 0xff, r->c.lse_count * sizeof(float));
    memset(r->count, 0xff, sizeof r->count);
}

/* The same handle, with other keys in the same memory: other lists. */
static void attention_over_the_best_blocks(void **state) {
    (void)state;
    static rig r;
    open_rig(&r,
             "attention f32 f32 causal blocks=32x32 m=200 n=230 k=64 v=64 heads=4/2 batch=1 lists=batch-q "
             "density=5000 imbalance=10 overlap=5 lse",
             3);
    select_ok(triage_attention_select_prepare(r.attention, &r.call, &r.selection, NULL));
    int32_t before[64 * 8];
    for (int draw = 0; draw < 3; draw++) {
        if (draw)
            select_ok(tri_fill_normal(r.c.inputs.k, TRIAGE_F32, r.c.inputs.k_bytes / 4 - 64 * 2 * 64,
                                      (uint64_t)draw));
        clear_results(&r);
        select_ok(triage_attention_select_run(r.attention, &r.call, &r.selection, NULL));
        attention_verify(&r.c, 0, "over the best blocks");
        assert_true(draw == 0 || memcmp(before, r.cols, sizeof before) != 0);
        memcpy(before, r.cols, sizeof before);
    }
    close_rig(&r);
}

/* Launches nothing. */
static void a_prepared_selection(void **state) {
    (void)state;
    static rig r;
    open_rig(&r,
             "attention f32 f32 full blocks=64x64 m=100 n=100 k=64 v=64 heads=2/1 batch=1 lists=batch-kv "
             "density=5000 imbalance=10 overlap=5 lse",
             1);
    clear_results(&r);
    select_ok(triage_attention_select_prepare(r.attention, &r.call, &r.selection, NULL));
    assert_true(isnan(r.c.lse[0]) && r.count[0] == -1);
    select_ok(triage_attention_select_run(r.attention, &r.call, &r.selection, NULL));
    attention_verify(&r.c, 0, "prepared");
    close_rig(&r);
}

/* ---- what is refused ---- */

static void refused(rig *r, const char *line) {
    assert_int_equal(triage_attention_select(r->attention, &r->call, &r->selection, NULL), TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), line);
    assert_int_equal(triage_attention_select_run(r->attention, &r->call, &r->selection, NULL),
                     TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), line);
    assert_int_equal(r->count[0], -1);
}

static void selections_that_are_refused(void **state) {
    (void)state;
    static rig r;
    open_rig(&r,
             "attention f32 f32 causal blocks=64x32 m=64 n=70 k=64 v=64 heads=2/2 batch=1 lists=batch-q "
             "density=5000 imbalance=10 overlap=5 lse",
             3);
    const triage_selection good = r.selection;
    clear_results(&r);
    r.selection.version = 7;
    refused(&r, "selection.version is 7; must be 1 (TRIAGE_SELECTION_INIT)");
    r.selection = good, r.selection.top = 0;
    refused(&r, "selection.top is 0; must be 1 .. 8, the capacity");
    r.selection = good, r.selection.top = 9;
    refused(&r, "selection.top is 9; must be 1 .. 8, the capacity");
    r.selection = good, r.selection.top = 2; /* keys 6 .. 69 are the queries' own */
    refused(&r, "selection.top is 2; must be 3 or more, the blocks of a row's diagonal");
    r.selection = good, r.selection.capacity = 0;
    refused(&r, "selection.capacity is 0; must be 1 .. 2147483647");
    r.selection = good, r.selection.cols = NULL;
    refused(&r, "selection.cols is NULL");
    r.selection = good, r.selection.workspace = (char *)r.workspace + 1;
    assert_int_equal(triage_attention_select(r.attention, &r.call, &r.selection, NULL), TRIAGE_E_INVALID);
    r.selection = good, r.call.k.data = NULL;
    refused(&r, "call.k.data is NULL");
    assert_int_equal(triage_attention_select(NULL, &r.call, &good, NULL), TRIAGE_E_INVALID);
    assert_int_equal(triage_attention_select(r.attention, NULL, &good, NULL), TRIAGE_E_INVALID);
    assert_int_equal(triage_attention_select_run(r.attention, &r.call, NULL, NULL), TRIAGE_E_INVALID);
    assert_int_equal(triage_attention_select_bytes(NULL, r.attention), TRIAGE_E_INVALID);
    close_rig(&r);
}

static void cannot_select(triage_attention_desc desc, const char *line) {
    triage_attention *attention;
    size_t bytes;
    select_ok(triage_attention_create(&attention, context, &desc));
    assert_int_equal(triage_attention_select_bytes(&bytes, attention), TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), line);
    triage_attention_free(attention);
}

static void attentions_that_select_nothing(void **state) {
    (void)state;
    tri_attention_problem p =
        select_problem("attention f32 f32 full blocks=64x64 m=64 n=64 k=64 v=64 heads=2/1 batch=2" SELECT_Q);
    triage_attention_desc desc = select_desc(&p);
    desc.lists = TRIAGE_LISTS_ALL;
    cannot_select(desc, "desc.lists is TRIAGE_LISTS_ALL; must be those of q or KV heads to select blocks");
    desc = select_desc(&p), desc.lists_per_sequence = 0;
    cannot_select(desc, "desc.lists_per_sequence is 0; must be 1 to select blocks of 2 sequences");
    desc = select_desc(&p), desc.lengths = TRIAGE_LENGTHS_CACHE;
    cannot_select(desc, "desc.lengths is 2; must be TRIAGE_LENGTHS_DENSE to select blocks");
    desc = select_desc(&p), desc.mask_rows = desc.mask_cols = 0;
    cannot_select(
        desc, "this attention was made without a block mask; must have lists on the device (desc.mask_rows, "
              "mask_cols, lists_memory)");
}

/* ---- its CUDA kernel ---- */

static void compiles_for_every_target(void **state) {
    (void)state;
    static const char *const targets[] = {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"};
    static const char *const types[] = {"float", "__half", "__nv_bfloat16", "__nv_fp8_e4m3"};
    char version[64];
    for (size_t i = 0; i < 24; i++) {
        tri_attention_problem p = select_problem(
            i % 4 % 2
                ? "attention f32 f32 causal blocks=64x64 m=64 n=64 k=128 v=128 heads=1/1 batch=1" SELECT_Q
                : "attention f32 f32 window blocks=128x16 m=64 n=64 k=256 v=256 heads=1/1 batch=1 "
                  "window=9,2" SELECT_Q);
        tri_source source;
        tri_image image;
        if (tri_compiler_version(version, sizeof version, targets[i / 4]) != TRIAGE_OK) {
            print_message("skipped: %s\n", triage_last_error());
            skip();
        }
        select_render(&source, &p, types[i % 4]);
        select_ok(tri_compile(&image, targets[i / 4], &source, TEST_KERNELS));
        if (image.spill_bytes >
            128) /* around divisions of 64 bits, which are calls: the limit of the plain kernel */
            fail_msg("%s, %s: spills %d bytes: %s", targets[i / 4], types[i % 4], image.spill_bytes,
                     image.log);
        tri_image_free(&image);
        tri_source_free(&source);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_selection),        cmocka_unit_test(every_size_of_block),
        cmocka_unit_test(ties_and_nan_by_hand),           cmocka_unit_test(attention_over_the_best_blocks),
        cmocka_unit_test(a_prepared_selection),           cmocka_unit_test(selections_that_are_refused),
        cmocka_unit_test(attentions_that_select_nothing), cmocka_unit_test(compiles_for_every_target),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
