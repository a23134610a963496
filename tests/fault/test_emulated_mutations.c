/* The gate and the watch can fail for attention's CUDA kernels, too, where there is no GPU: the CPU plays the device (tests/emulate), and
 * every way that we know to break a kernel's text, or its headers', is refused. */
#include "support/gate_world.h"

#include <unistd.h>

#include "measure/bench_private.h"
#include "op/attention/attention.h"
#include "support/fake_cuda/fake_cuda.h"

#define EMULATED TRI_BINARY_DIR "/emulated"

static const mutation of_decode[] = {
    {"none", NULL, NULL},
    {"zeros", "sum.l > 0.0f ? __fdividef(1.0f, sum.l) : 0.0f;", "0.0f;"},
    {"no scale", "const float scale = args.scale_log2 *", "const float scale = 1.44269504f *"},
    {"wrong head", "int head = p.unit / q_tiles_of(args);",
     "int head = (p.unit / q_tiles_of(args) + 1) % args.heads_kv;"},
    {"mask off by one", "i + key_offset(sq, sk) + 1, args.right", "i + key_offset(sq, sk) + 2, args.right"},
    {"last tile dropped", "(end + kTileKeys - 1) / kTileKeys - s.first_tile",
     "end / kTileKeys - s.first_tile"},
    {"no rescale", "st.o[t][n][e] *= factor, st.o[t][n][e + 2] *= factor;", ";"},
    {"wrong combine", "factor = exp2_fast(part[e].m - from);", "factor = 1.0f;"},
    {"one part for all", "slot_of(of, min(first + e, of.count - 1))", "slot_of(of, 0)"},
    {"wrong page", "table[key / kPageRows] : 0;", "table[0] : 0;"},
    {"keys are not waited for", "cp_async_wait<kStages - 1>();", ""},
    {"no barrier before the sums", "join() { __syncthreads(); }", "join() {}"},
};

static const mutation of_wgmma[] = {
    {"none", NULL, NULL},
    {"zeros", "pack2<out_t>(o[j] * inverse[r], o[j + 1] * inverse[r])", "pack2<out_t>(0.0f, 0.0f)"},
    {"no scale", ": args.scale_log2;", ": 1.44269504f;"},
    {"wrong head", "{0, tile.head / group, tile.batch}", "{0, tile.head % args.heads_kv, tile.batch}"},
    {"mask off by one", "row + r * 8 + keys_ahead(args.right) + 1)", "row + r * 8 + keys_ahead(args.right))"},
    {"last tile dropped", "max(tile.first - begin / kTileN + 1, 1);", "max(tile.first - begin / kTileN, 1);"},
    {"no rescale", "o[i] *= rescale[i / 2 % 2];", ";"},
    {"no rescale of the sums", "rows.sum[r] *= rescale[r];", ";"},
    {"V given away before it is read",
     "wgmma_wait<0>();\n        wgmma_fence_registers(o);\n        wgmma_keep_registers(a);\n"
     "        arrive(&sync().v_empty[v_ring.slot]);",
     "arrive(&sync().v_empty[v_ring.slot]);\n        wgmma_wait<0>();"},
    {"K is not waited for", "mbarrier_wait(&sync().k_full[k_ring.slot], k_ring.parity);", ""},
    {"barriers nobody has seen made", "    __syncthreads();\n    if (wg == kConsumers) {",
     "    if (wg == kConsumers) {"},
    {"a slot is never given back", "arrive(&sync().k_empty[k_ring.slot]);", ""},
};

static int take_the_device(void **state) {
    (void)state;
    return fake_cuda_load(EMULATED "/libcuda.so.1") && tri_device_set_tools("cuda", EMULATED) == TRIAGE_OK
               ? 0
               : -1;
}

/* In the text and in its headers: a mutation that applies nowhere tests nothing. */
static void break_source(tri_source *out, const tri_source *source, const mutation *how) {
    bool applied = !how->find;
    *out = *source;
    out->known_as = NULL;
    out->includes = calloc(source->include_count + 1, sizeof *out->includes);
    memcpy(out->includes, source->includes, source->include_count * sizeof *out->includes);
    for (size_t i = 0; how->find && i < source->include_count; i++) {
        char *text = mutate(source->includes[i].text, how);
        applied |= text != NULL;
        out->includes[i].text = text ? text : strdup(source->includes[i].text);
    }
    char *text = mutate(source->text, how);
    applied |= text != NULL;
    out->text = text ? text : strdup(source->text);
    if (!applied)
        fail_msg("%s: the template no longer has: %s", how->name, how->find);
}

static void free_broken(tri_source *broken, bool headers) {
    for (size_t i = 0; headers && i < broken->include_count; i++)
        free((char *)broken->includes[i].text);
    free(broken->includes);
    free(broken->text);
}

/* On all cases, untimed. */
static bool is_right(world *w, const mutation *how, tri_report *report) {
    tri_source broken;
    tri_mounted mounted;
    break_source(&broken, &w->source, how);
    bool right = tri_bench_mount(&mounted, w->bench,
                                 &(tri_trial){.source = &broken, .launch = &w->candidate.launch}, report);
    if (right) {
        for (size_t i = 0; i < w->problem.op->case_count(&w->problem) && right; i++)
            right = tri_bench_run_case(w->bench, &mounted, i, report);
        tri_bench_unmount(w->bench, &mounted);
    }
    free_broken(&broken, how->find != NULL);
    return right;
}

static void check(const char *key, const char *kernel, const char *with, const mutation *table,
                  size_t count) {
    world w = {0};
    must(tri_problem_parse(&w.problem, key));
    open_gate(&w, "cuda", kernel, with);
    for (size_t i = 0; i < count; i++) {
        tri_report report = {0};
        const bool right = is_right(&w, &table[i], &report);
        if (right != !table[i].find)
            fail_msg("%s %s: the gate said %s (%s)", kernel, table[i].name, right ? "right" : "wrong",
                     report.reason);
        if (!right)
            printf("%s, %s: %s\n", kernel, table[i].name, report.reason);
    }
    close_world(&w);
}
#define CHECK(key, kernel, with, table) check(key, kernel, with, table, sizeof(table) / sizeof((table)[0]))

static void decoding(void **state) {
    (void)state;
    CHECK("attention bf16 bf16 causal paged m=2 n=600 k=64 v=64 heads=4/2 batch=2 page=16 splits=2 lse",
          "decode", "cluster=1", of_decode);
}

static void tiles(void **state) {
    (void)state;
    CHECK("attention bf16 bf16 causal m=70 n=400 k=64 v=64 heads=4/2 batch=1 lse", "wgmma",
          "skip=0 store_tma=0", of_wgmma);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(decoding), cmocka_unit_test(tiles)};
    if (access(EMULATED "/libemulated_core.a", R_OK) != 0) {
        printf("skipped: no C++ compiler\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, take_the_device, NULL);
}
