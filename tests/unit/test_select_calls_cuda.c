// links: triage counted
/* What selections of blocks do on the cuda device, counted on a driver and a compiler that are not there
 * (support/fake_cuda): the first, later ones, captured ones, and what is launched. */
#include "support/fake_cuda/subject.h"

enum { kRows = 300, kBlock = 64, kBlocks = (kRows + kBlock - 1) / kBlock, kHeads = 4, kTop = 3 };

typedef struct rig {
    triage_context *context;
    triage_attention *attention;
    triage_attention_call call;
    triage_selection selection;
    void *memory;
} rig;

static rig make_rig(void) {
    rig r = {.context = open_fake(NULL, NULL, NULL)};
    triage_attention_desc desc = TRIAGE_ATTENTION_DESC_INIT;
    const int64_t head = 64 * kRows, bytes = 2 * kHeads * head;
    size_t workspace = 0;
    char *at;
    desc.heads_q = desc.heads_kv = kHeads, desc.max_q = desc.max_k = kRows;
    desc.head_dim = desc.head_dim_v = 64;
    desc.mask = TRIAGE_MASK_CAUSAL;
    desc.mask_rows = desc.mask_cols = kBlock;
    desc.lists = TRIAGE_LISTS_Q_HEADS, desc.lists_memory = TRIAGE_MEMORY_DEVICE;
    must(triage_attention_create(&r.attention, r.context, &desc));
    must(triage_attention_select_bytes(&workspace, r.attention));
    assert_int_equal(workspace, 2 * kHeads * kBlocks * 64 * sizeof(float));
    must(triage_device_alloc(&r.memory, r.context, (size_t)(4 * bytes) + workspace + 4096));
    at = r.memory;
    r.call = (triage_attention_call)TRIAGE_ATTENTION_CALL_INIT;
    triage_tensor *const tensors[] = {&r.call.q, &r.call.k, &r.call.v, &r.call.o};
    for (int i = 0; i < 4; i++, at += bytes)
        *tensors[i] = (triage_tensor){at, 0, head, 64};
    r.selection = (triage_selection)TRIAGE_SELECTION_INIT;
    r.selection.top = kTop, r.selection.capacity = kTop;
    r.selection.count = (int32_t *)at, r.selection.cols = (int32_t *)(at + 1024);
    r.selection.workspace = at + 4096;
    return r;
}

static void free_rig(rig *r) {
    triage_device_release(r->context, r->memory);
    triage_attention_free(r->attention);
    triage_context_free(r->context);
}

/* ---- what is launched ---- */

typedef struct seen {
    fake_launch launches[8];
    size_t count;
} seen;

static void keep(void *user, const fake_launch *launch) {
    seen *of = user;
    assert_true(of->count < 8);
    of->launches[of->count++] = *launch;
}

static void two_launches_and_the_attention(void **state) {
    (void)state;
    rig r = make_rig();
    seen all = {.count = 0};
    cuda->on_launch = keep, cuda->user = &all;
    must(triage_attention_select_run(r.attention, &r.call, &r.selection, NULL));
    cuda->on_launch = NULL;
    assert_int_equal(all.count, 3);
    assert_string_equal(all.launches[0].kernel, "templates/attention/select.cu");
    assert_int_equal(all.launches[0].grid[0], 2 * kHeads * kBlocks);
    assert_string_equal(all.launches[1].kernel, "templates/attention/select.cu");
    assert_int_equal(all.launches[1].grid[0], kHeads * kBlocks);
    assert_int_equal(all.launches[1].smem_bytes, kBlocks * sizeof(float));
    assert_string_not_equal(all.launches[2].kernel, "templates/attention/select.cu");
    free_rig(&r);
}

static void a_later_selection_is_two_launches(void **state) {
    (void)state;
    rig r = make_rig();
    tally before = now();
    must(triage_attention_select(r.attention, &r.call, &r.selection, NULL));
    tally first = since(&before);
    assert_int_equal(first.compiles, 1);
    assert_true(first.mutexes > 0 && first.allocations > 0); /* the counts can fail */
    before = now();
    must(triage_attention_select(r.attention, &r.call, &r.selection, NULL));
    tally later = since(&before);
    assert_int_equal(later.launches, 2);
    assert_int_equal(later.driver[FAKE_launch], 2);
    assert_int_equal(all_driver_calls(&later), 2 * 4); /* the context is looked for, pushed and popped */
    assert_int_equal(later.compiles + later.mutexes + later.allocations + later.database_steps, 0);
    assert_int_equal(since(&before).mistakes, 0);
    free_rig(&r);
}

/* ---- in a graph ---- */

typedef struct capture {
    CUstream stream;
    CUgraph graph;
    CUresult (*begin)(CUstream, CUstreamCaptureMode), (*end)(CUstream, CUgraph *);
} capture;

static void *symbol(const char *name) {
    void *library = dlopen(FAKE_CUDA "/libcuda.so.1", RTLD_NOW), *found = dlsym(library, name);
    assert_non_null(found);
    return found;
}

static void selections_in_a_graph(void **state) {
    (void)state;
    rig r = make_rig();
    capture c = {0};
    CUresult (*create)(CUstream *, unsigned);
    CUresult (*retain)(CUcontext *, CUdevice), (*push)(CUcontext);
    CUcontext context;
    *(void **)&create = symbol("cuStreamCreate");
    *(void **)&retain = symbol("cuDevicePrimaryCtxRetain");
    *(void **)&push = symbol("cuCtxPushCurrent_v2");
    *(void **)&c.begin = symbol("cuStreamBeginCapture_v2");
    *(void **)&c.end = symbol("cuStreamEndCapture");
    assert_int_equal(retain(&context, 0) + push(context) + create(&c.stream, 0), 0);
    /* a first one is refused, and the capture goes on */
    assert_int_equal(c.begin(c.stream, (CUstreamCaptureMode)0), 0);
    assert_int_equal(triage_attention_select(r.attention, &r.call, &r.selection, c.stream), TRIAGE_E_CAPTURE);
    assert_non_null(strstr(triage_last_error(), "triage_attention_select_prepare"));
    assert_int_equal(triage_attention_select_run(r.attention, &r.call, &r.selection, c.stream),
                     TRIAGE_E_CAPTURE);
    assert_int_equal(c.end(c.stream, &c.graph), 0);
    /* a prepared one is captured */
    tally before = now();
    must(triage_attention_select_prepare(r.attention, &r.call, &r.selection, c.stream));
    assert_int_equal(since(&before).launches, 0);
    assert_int_equal(c.begin(c.stream, (CUstreamCaptureMode)0), 0);
    must(triage_attention_select_run(r.attention, &r.call, &r.selection, c.stream));
    assert_int_equal(c.end(c.stream, &c.graph), 0);
    assert_non_null(c.graph);
    assert_int_equal(since(&before).driver[FAKE_launch], 3);
    assert_int_equal(since(&before).launches, 0);
    assert_int_equal(since(&before).mistakes, 0);
    free_rig(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_launches_and_the_attention),
        cmocka_unit_test(a_later_selection_is_two_launches),
        cmocka_unit_test(selections_in_a_graph),
    };
    return cmocka_run_group_tests_name("selections on a fake CUDA", tests, take_the_fakes, NULL);
}
