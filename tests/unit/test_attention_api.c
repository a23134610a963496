/* attention as applications call it, on the host device, whose memory is plain memory: every row against float64; what
 * is refused, and how; and that a repeated call finds what the first one left. */
#include "triage.h"

#include "api/attention/attention.h"
#include "support/attention_case.h"

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

static void ok(triage_status status) {
    if (status != TRIAGE_OK)
        fail_msg("%s: %s", triage_status_name(status), triage_last_error());
}

static triage_attention_desc desc_of(const tri_attention_problem *p, const tri_attention_args *args) {
    triage_attention_desc desc = TRIAGE_ATTENTION_DESC_INIT;
    desc.in_type = p->in_type, desc.out_type = p->out_type;
    desc.batch = p->batch, desc.heads_q = p->heads_q, desc.heads_kv = p->heads_kv;
    desc.max_q = p->sq, desc.max_k = p->sk;
    desc.head_dim = p->d, desc.head_dim_v = p->dv;
    desc.mask = (triage_mask)p->band, desc.left = p->left, desc.right = p->right;
    desc.softcap = p->softcap ? args->softcap : 0;
    desc.lse = p->lse;
    desc.lengths = (triage_lengths)p->lengths, desc.page_size = p->page_size, desc.splits = p->splits;
    desc.mask_rows = p->mask.rows, desc.mask_cols = p->mask.cols;
    desc.lists_per_sequence = p->mask.per_batch, desc.lists = (triage_lists)p->mask.heads;
    desc.full = (triage_block_lists){args->full.ptr, args->full.cols};
    desc.partial = (triage_block_lists){args->partial.ptr, args->partial.cols};
    desc.partial_bits = args->partial_bits;
    return desc;
}

static triage_tensor tensor(const void *data, tri_attention_stride stride) {
    return (triage_tensor){(void *)(uintptr_t)data, stride.batch, stride.head, stride.row};
}

static triage_attention_call call_of(attention_case *c, int which) {
    tri_attention_args args = tri_attention_case_args(&c->inputs, which);
    const tri_attention_problem *p = &c->problem;
    triage_attention_call call = TRIAGE_ATTENTION_CALL_INIT;
    call.q = tensor(args.q, args.q_stride), call.k = tensor(args.k, args.k_stride);
    call.v = tensor(args.v, args.v_stride), call.o = tensor(c->o, args.o_stride);
    call.lse = tensor(c->lse, args.lse_stride);
    call.scale_q = args.scale_q, call.scale_k = args.scale_k, call.scale_v = args.scale_v;
    call.cu_q = args.cu_q, call.cu_k = args.cu_k, call.len_k = args.len_k;
    call.rows_q = p->queries, call.rows_k = p->keys;
    call.page_table = args.page_table, call.page_stride = args.page_stride;
    call.pages = p->page_size ? p->batch * ((p->sk + p->page_size - 1) / p->page_size) : 0;
    return call;
}

static void clear(attention_case *c) {
    memset(c->o, 0xff, c->o_count * tri_dtype_size(c->problem.out_type));
    memset(c->lse, 0xff, c->lse_count * sizeof(float));
}

/* ---- what is computed ---- */

static void check(const char *key) {
    attention_case c;
    triage_attention *attention;
    attention_make(&c, key);
    triage_attention_desc desc = desc_of(&c.problem, &c.inputs.args);
    ok(triage_attention_create(&attention, context, &desc));
    for (int which = 0; which < tri_attention_cases(&c.problem); which++)
        for (int repeat = 0; repeat < 2; repeat++) { /* a first call, and one that is known */
            triage_attention_call call = call_of(&c, which);
            clear(&c);
            ok(triage_attention_run(attention, &call, NULL));
            attention_verify(&c, which, key);
        }
    triage_attention_free(attention);
    attention_free(&c);
}

static void every_kind_of_problem(void **state) {
    (void)state;
    check("attention f32 f32 causal m=63 n=129 k=64 v=64 heads=4/2 batch=2 lse");
    check("attention f32 f32 window softcap m=63 n=129 k=64 v=64 heads=4/2 batch=2 window=20,5");
    check("attention f32 f32 full m=33 n=65 k=100 v=72 heads=28/4 batch=1 lse");
    check("attention f32 f32 causal varlen m=37 n=37 k=64 v=64 heads=2/1 batch=9 lse");
    check("attention f32 f32 causal cache m=2 n=100 k=64 v=64 heads=8/2 batch=5 lse");
    check("attention f32 f32 causal paged m=1 n=100 k=64 v=64 heads=8/2 batch=5 page=16 splits=4 lse");
    check("attention e4m3 bf16 causal m=63 n=129 k=64 v=64 heads=4/2 batch=2 lse");
    check("attention f32 f32 causal blocks=64x32 m=200 n=230 k=64 v=64 heads=4/2 batch=2 lists=batch-q "
          "density=5000 "
          "imbalance=10 overlap=5 bits lse");
    check("attention f32 f32 full m=3 n=0 k=64 v=64 heads=1/1 batch=2 lse");
}

/* The same handle, the same call, other lists in the same memory: as a graph that is replayed. */
static void lists_on_the_device_may_change(void **state) {
    (void)state;
    enum { kRows = 2 * 4 * 4, kCapacity = 3 };
    attention_case c;
    triage_attention *attention;
    int32_t count[kRows], cols[kRows * kCapacity];
    attention_make(
        &c, "attention f32 f32 causal blocks=64x64 m=200 n=200 k=64 v=64 heads=4/2 batch=2 lists=batch-q "
            "density=5000 imbalance=10 overlap=5 lse");
    triage_attention_desc desc = desc_of(&c.problem, &c.inputs.args);
    desc.lists_memory = TRIAGE_MEMORY_DEVICE;
    desc.density = 0.5;
    ok(triage_attention_create(&attention, context, &desc));
    triage_attention_call call = call_of(&c, 0);
    call.full = (triage_device_lists){count, cols, kCapacity};
    c.inputs.args.full = (tri_attention_blocks){NULL, count, cols, kCapacity};
    for (int draw = 0; draw < 3; draw++) {
        for (int row = 0; row < kRows; row++) {
            count[row] = (row + draw) % (kCapacity + 1);
            for (int i = 0; i < kCapacity; i++) /* what is behind the count is garbage */
                cols[row * kCapacity + i] = i < count[row] ? i + (row + draw) % 2 : -7;
        }
        clear(&c);
        ok(triage_attention_run(attention, &call, NULL));
        attention_verify(&c, 0, "lists on the device");
    }
    triage_attention_free(attention);
    attention_free(&c);
}

static void strides_of_0_and_odd_addresses(void **state) {
    (void)state;
    attention_case c;
    triage_attention *attention;
    attention_make(&c, "attention f32 f32 causal m=20 n=20 k=64 v=64 heads=4/4 batch=2 lse");
    triage_attention_desc desc = desc_of(&c.problem, &c.inputs.args);
    ok(triage_attention_create(&attention, context, &desc));
    ok(tri_fill_normal(c.inputs.q, TRIAGE_F32, c.inputs.q_bytes / 4,
                       1)); /* rows begin elsewhere: none is special */
    ok(tri_fill_normal(c.inputs.k, TRIAGE_F32, c.inputs.k_bytes / 4, 2));
    c.inputs.args.k_stride.head = c.inputs.args.v_stride.head = 0;
    c.inputs.args.q = (const float *)c.inputs.args.q + 1;
    c.inputs.args.q_stride.row -= 4; /* rows overlap: what is only read may */
    triage_attention_call call = call_of(&c, 0);
    clear(&c);
    ok(triage_attention_run(attention, &call, NULL));
    attention_verify(&c, 0, "strides");
    triage_attention_free(attention);
    attention_free(&c);
}

/* A sequence by itself leaves the bits that it has among 64, with fixed splits. */
static void alone_as_in_a_batch(void **state) {
    (void)state;
    attention_case c;
    triage_attention *together, *alone;
    attention_make(&c,
                   "attention f32 f32 causal paged m=1 n=300 k=64 v=64 heads=8/2 batch=64 page=16 splits=4");
    triage_attention_desc desc = desc_of(&c.problem, &c.inputs.args);
    ok(triage_attention_create(&together, context, &desc));
    desc.batch = 1;
    ok(triage_attention_create(&alone, context, &desc));
    triage_attention_call call = call_of(&c, 1);
    clear(&c);
    ok(triage_attention_run(together, &call, NULL));
    for (int b = 0; b < 64; b++) {
        triage_attention_call one = call;
        float o[8 * 64];
        one.q.data = (float *)call.q.data + b * call.q.batch;
        one.o.data = o;
        one.len_k = call.len_k + b;
        one.page_table = call.page_table + b * call.page_stride;
        ok(triage_attention_run(alone, &one, NULL));
        assert_memory_equal(o, (float *)c.o + b * call.o.batch, sizeof o);
    }
    triage_attention_free(together);
    triage_attention_free(alone);
    attention_free(&c);
}

/* Offsets that end at 0: nothing is launched, nothing is written. */
static void no_row_at_all(void **state) {
    (void)state;
    static const int32_t offsets[5] = {0};
    attention_case c;
    triage_attention *attention;
    attention_make(&c, "attention f32 f32 causal varlen m=5 n=5 k=64 v=64 heads=2/1 batch=4 lse");
    triage_attention_desc desc = desc_of(&c.problem, &c.inputs.args);
    ok(triage_attention_create(&attention, context, &desc));
    triage_attention_call call = call_of(&c, 0);
    call.cu_q = call.cu_k = offsets;
    call.rows_q = call.rows_k = 0;
    clear(&c);
    ok(triage_attention_run(attention, &call, NULL));
    assert_true(isnan(((float *)c.o)[0]) && isnan(c.lse[0]));
    triage_attention_free(attention);
    attention_free(&c);
}

/* A batch of 0: no list is read, no tensor needs to be there, nothing is planned or written; all else is checked. */
static void no_sequence_at_all(void **state) {
    (void)state;
    attention_case c;
    triage_attention *attention;
    attention_make(&c, "attention f32 f32 causal m=5 n=5 k=64 v=64 heads=2/1 batch=2 lse");
    triage_attention_desc desc = desc_of(&c.problem, &c.inputs.args);
    desc.batch = 0;
    desc.mask_rows = desc.mask_cols = 16;
    desc.lists_per_sequence = 1;
    desc.full = (triage_block_lists){(const int32_t[1]){0}, (const int32_t[1]){0}};
    ok(triage_attention_create(&attention, context, &desc));
    const triage_attention_call call = TRIAGE_ATTENTION_CALL_INIT;
    ok(triage_attention_prepare(attention, &call, NULL));
    ok(triage_attention_run(attention, &call, NULL));
    triage_attention_free(attention);
    desc = desc_of(&c.problem, &c.inputs.args);
    desc.batch = 0;
    desc.head_dim = 0;
    assert_int_equal(triage_attention_create(&attention, context, &desc), TRIAGE_E_INVALID);
    desc = desc_of(&c.problem, &c.inputs.args);
    desc.batch = -1;
    assert_int_equal(triage_attention_create(&attention, context, &desc), TRIAGE_E_INVALID);
    attention_free(&c);
}

/* ---- what a first call leaves ---- */

static size_t plans_of(const triage_attention *attention) {
    size_t count = 0;
    for (size_t i = 0; i < TRI_PLAN_BUCKETS; i++)
        for (const tri_plan *plan = atomic_load(&attention->caller.plans[i]); plan; plan = plan->next)
            count++;
    return count;
}

static void a_prepared_call_plans_nothing(void **state) {
    (void)state;
    attention_case c;
    triage_attention *attention;
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    attention_make(&c, "attention f32 f32 causal m=20 n=20 k=64 v=64 heads=4/4 batch=2 lse");
    triage_attention_desc desc = desc_of(&c.problem, &c.inputs.args);
    ok(triage_attention_create(&attention, context, &desc));
    triage_attention_call call = call_of(&c, 0);
    clear(&c);
    ok(triage_attention_prepare(attention, &call, NULL));
    assert_int_equal(plans_of(attention), 1);
    assert_true(isnan(((float *)c.o)[0])); /* and launches nothing */
    const tri_loaded *loaded = attention->context->loaded;
    ok(triage_attention_run(attention, &call, NULL));
    call.o.data =
        memcpy(malloc(c.o_count * sizeof(float)), c.o, c.o_count * sizeof(float)); /* sisters, as aligned */
    ok(triage_attention_run(attention, &call, NULL));
    assert_memory_equal(call.o.data, c.o, c.o_count * sizeof(float));
    assert_int_equal(plans_of(attention), 1);
    assert_ptr_equal(attention->context->loaded, loaded);
    ok(triage_attention_choice(&choice, attention, &call));
    assert_int_equal(choice.source, TRIAGE_SOURCE_DEFAULT);
    assert_string_equal(choice.kernel, "host");
    free(call.o.data);
    triage_attention_free(attention);
    attention_free(&c);
}

/* ---- what is refused ---- */

static triage_attention_desc good_desc(void) {
    triage_attention_desc desc = TRIAGE_ATTENTION_DESC_INIT;
    desc.in_type = desc.out_type = TRIAGE_F32;
    desc.heads_q = desc.heads_kv = 2;
    desc.max_q = desc.max_k = 64;
    desc.head_dim = desc.head_dim_v = 64;
    return desc;
}

static void refused_desc(triage_attention_desc desc, triage_status status, const char *line) {
    triage_attention *attention = (triage_attention *)&desc;
    assert_int_equal(triage_attention_create(&attention, context, &desc), status);
    assert_string_equal(triage_last_error(), line);
    assert_null(attention);
}

static void descriptions_that_are_refused(void **state) {
    (void)state;
    static const int32_t ptr[] = {0, 2, 2}, twice[] = {0, 0}, far[] = {0, 2}, fine[] = {0, 1};
    triage_attention_desc desc = good_desc();
    desc.version = 9;
    refused_desc(desc, TRIAGE_E_INVALID, "desc.version is 9; must be 1 (TRIAGE_ATTENTION_DESC_INIT)");
    desc = good_desc(), desc.heads_q = 5;
    refused_desc(desc, TRIAGE_E_INVALID, "5 heads of Q; allowed multiples of those of K and V, 2");
    desc = good_desc(), desc.head_dim = 300;
    refused_desc(desc, TRIAGE_E_INVALID, "head dimension of Q and K is 300; allowed 1 .. 256");
    desc = good_desc(), desc.softcap = -1;
    refused_desc(desc, TRIAGE_E_INVALID, "desc.softcap is -1; must be above 0, or 0 for none");
    desc = good_desc(), desc.mask = (triage_mask)7;
    refused_desc(desc, TRIAGE_E_INVALID, "desc.mask is 7; must be a triage_mask");
    desc = good_desc(), desc.mask_rows = desc.mask_cols = 48;
    refused_desc(desc, TRIAGE_E_INVALID, "mask blocks of 48 x 48; allowed 16, 32, 64 and 128 each");
    desc = good_desc(), desc.mask_rows = desc.mask_cols = 32;
    desc.full = (triage_block_lists){ptr, NULL};
    refused_desc(desc, TRIAGE_E_INVALID, "desc.full.cols is NULL and the other is not; must be both or none");
    desc.full = (triage_block_lists){ptr, twice};
    assert_int_equal(triage_attention_create(&(triage_attention *){NULL}, context, &desc), TRIAGE_E_DATA);
    desc.full = (triage_block_lists){ptr, far};
    assert_int_equal(triage_attention_create(&(triage_attention *){NULL}, context, &desc), TRIAGE_E_DATA);
    desc.full = desc.partial = (triage_block_lists){ptr, fine};
    desc.partial_bits = (const uint32_t[64]){0};
    refused_desc(desc, TRIAGE_E_DATA, "row 0 lists block 0 as full and as partial");
    assert_int_equal(triage_attention_create(NULL, context, &desc), TRIAGE_E_INVALID);
    triage_attention_free(NULL);
}

static void calls_that_are_refused(void **state) {
    (void)state;
    attention_case c;
    triage_attention *attention;
    attention_make(&c, "attention f32 f32 causal paged m=1 n=100 k=64 v=64 heads=8/2 batch=5 page=16 lse");
    triage_attention_desc desc = desc_of(&c.problem, &c.inputs.args);
    ok(triage_attention_create(&attention, context, &desc));
    triage_attention_call good = call_of(&c, 0), call = good;
#define REFUSED(line)                                                                                        \
    do {                                                                                                     \
        assert_int_equal(triage_attention_run(attention, &call, NULL), TRIAGE_E_INVALID);                    \
        assert_string_equal(triage_last_error(), line);                                                      \
        call = good;                                                                                         \
    } while (0)
    call.version = 0;
    REFUSED("call.version is 0; must be 1 (TRIAGE_ATTENTION_CALL_INIT)");
    call.k.data = NULL;
    REFUSED("call.k.data is NULL");
    call.q.row = -1;
    REFUSED("call.q.row is -1; must be 0 .. 2^40 - 1");
    call.o.head = 0;
    REFUSED("call.o.head is 0; must be 1 .. 2^40 - 1");
    call.len_k = NULL;
    REFUSED("call.len_k is NULL");
    call.page_stride = 3;
    REFUSED("call.page_stride is 3; must be 7, the pages of max_k, .. 2147483647");
    call.scale_q = (const float *)c.lse;
    REFUSED("call has scales with f32 tensors; they are for e4m3 only");
    call.full.cols = c.inputs.len_k;
    REFUSED("call has lists of blocks; this attention was made without a block mask");
    call.v.data = (char *)call.v.data + 1;
    assert_int_equal(triage_attention_run(attention, &call, NULL), TRIAGE_E_INVALID);
    assert_int_equal(triage_attention_run(NULL, &good, NULL), TRIAGE_E_INVALID);
    assert_int_equal(triage_attention_run(attention, NULL, NULL), TRIAGE_E_INVALID);
    assert_int_equal(plans_of(attention), 0); /* nothing was made for any of them */
    triage_attention_free(attention);
    attention_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_problem),
        cmocka_unit_test(lists_on_the_device_may_change),
        cmocka_unit_test(alone_as_in_a_batch),
        cmocka_unit_test(no_row_at_all),
        cmocka_unit_test(no_sequence_at_all),
        cmocka_unit_test(strides_of_0_and_odd_addresses),
        cmocka_unit_test(a_prepared_call_plans_nothing),
        cmocka_unit_test(descriptions_that_are_refused),
        cmocka_unit_test(calls_that_are_refused),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
