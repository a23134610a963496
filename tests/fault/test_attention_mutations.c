/* The gate can fail, for attention: every way that we know to break a kernel's text is refused, and the unbroken text
 * passes. */
#include "support/gate_world.h"
#include "op/attention/attention.h"

#define STORE "store_float(o + x, from->o[r][x] * factor);"
#define LSE "(from->most[r] * scale + log2f(sum)) * 0.693147181f"

static const mutation of_any[] = {
    {"none", NULL, NULL},
    {"zeros", STORE, "store_float(o + x, 0.0f);"},
    {"no scale", "t.scale = args->scale_log2 *", "t.scale = 1.44269504f *"},
    {"scale by d, not its root", "t.scale = args->scale_log2 *", "t.scale = args->scale_log2 * 0.125f *"},
    {"another head's keys", ".kv = of * group / (args->heads_q / args->heads_kv)",
     ".kv = of * group % args->heads_kv"},
    {"last step dropped", "j < runs.run.end; j += kTileN",
     "j + kTileN < runs.run.end || j == runs.run.begin; j += kTileN"},
    {"no rescale of O", "to->o[r][x] *= shrink;", "to->o[r][x] *= 1.0f;"},
    {"no rescale of the sum", "to->sum[r] *= shrink;", "to->sum[r] *= 1.0f;"},
    {"the last key of a step left out of the sum", "to->sum[r] += sum;",
     "to->sum[r] += sum - s[kTileN - 1];"},
    {"NaN in one element", STORE,
     "store_float(o + x, query_of(t, r) == 40 && x == 5 ? NAN : from->o[r][x] * factor);"},
    {"one row 5 % off", STORE,
     "store_float(o + x, from->o[r][x] * factor * (query_of(t, r) == 40 ? 1.05f : 1.0f));"},
    {"last column unwritten", "for (int x = 0; x < kDv; x++)\n            store_float",
     "for (int x = 0; x < kDv - 1; x++)\n            store_float"},
    {"last row unwritten", "static void store(const tiles *from, const task *t)\n{",
     "static void store(const tiles *from, const task *t)\n{\n    if (t->rows < kTileM) ((task "
     "*)t)->rows--;"},
};

static const mutation of_causal[] = {
    {"none", NULL, NULL},
    {"mask off by one, more", "kRight ? args->right : -1", "kRight ? args->right + 1 : -1"},
    {"mask off by one, less", "kRight ? args->right : -1", "kRight ? args->right - 1 : -1"},
    {"the other alignment", "kRight ? args->right : -1, kTopLeft", "kRight ? args->right : -1, !kTopLeft"},
    {"LSE in bits", LSE, "(from->most[r] * scale + log2f(sum))"},
    {"LSE without the maximum", LSE, "log2f(sum) * 0.693147181f"},
    {"LSE of one row a little off", LSE, LSE " + (query_of(t, r) == 40 ? 0.01f : 0.0f)"},
    {"LSE of a keyless row 0", ": -INFINITY;\n    }\n}", ": 0.0f;\n    }\n}"},
    {"keyless rows divide by 0", "sum > 0.0f ? scale_v / sum : 0.0f", "scale_v / sum"},
};

static const mutation of_window[] = {
    {"none", NULL, NULL},
    {"left side ignored", "kLeft ? args->left : -1", "-1"},
    {"left side off by one", "kLeft ? args->left : -1", "kLeft ? args->left - 1 : -1"},
    {"right side off by one", "kRight ? args->right : -1", "kRight ? args->right + 1 : -1"},
    {"cap ignored", "if (kSoftcap)\n            cap_scores", "if (0)\n            cap_scores"},
};

static const mutation of_pages[] = {
    {"none", NULL, NULL},
    {"wrong page", "t->kv, first + j);", "t->kv, (first + j) % t->args->page_size);"},
    {"keys behind the end seen",
     "seen.end = seen.end > end ? end : seen.end < seen.begin ? seen.begin : seen.end;",
     "seen.end = first + kTileN;"},
};

static const mutation of_cache[] = {
    {"none", NULL, NULL},
    {"the first sequence's length for all", "tri_attention_sequence_of(args, b)",
     "tri_attention_sequence_of(args, 0)"},
};

static const mutation of_lists[] = {
    {"none", NULL, NULL},
    {"one block of a list dropped", "runs.list[0] = tri_attention_list_of(&t->args->full, row);",
     "runs.list[0] = tri_attention_list_of(&t->args->full, row); runs.list[0].end -= row == 1;"},
    {"partial blocks dropped", "runs.list[1] = tri_attention_list_of(&t->args->partial, row);", ""},
    {"bits ignored", "if (kMaskN)\n            mask_bits", "if (0)\n            mask_bits"},
    {"the first head's lists for all", "t->b, t->head, query_of(t, 0));", "t->b, 0, query_of(t, 0));"},
};

static const mutation of_scales[] = {
    {"none", NULL, NULL},
    {"scale_v ignored", "scale_of(args->scale_v, args, t->b, t->kv)", "1.0f"},
    {"scale_k ignored", "* scale_of(args->scale_k, args, b, t.kv);", ";"},
    {"the first head's scale for all", "scale_of(args->scale_v, args, t->b, t->kv)",
     "scale_of(args->scale_v, args, t->b, 0)"},
};

static const mutation of_plain[] = {
    {"none", NULL, NULL},
    {"zeros", "store_float(to + x, o[x] * factor);", "store_float(to + x, 0.0f);"},
    {"no maximum", "most = largest_score(of)", "most = 0.0f"},
    {"another head's keys", "kv = head / (args->heads_q / args->heads_kv)", "kv = head % args->heads_kv"},
    {"last key dropped", "j < runs.run.end; j++) {", "j < runs.run.end - (of->i == 40); j++) {"},
};

static void open_world_of(world *w, const char *key) {
    *w = (world){0};
    must(tri_problem_parse(&w->problem, key));
    if (tri_attention(&w->problem)->mask.rows)
        must(tri_attention_mask_random(&w->pattern, tri_attention(&w->problem), 0.5, 3));
    open_gate(w, "host", NULL, NULL);
}

static void check(const char *key, const mutation *table, size_t count, bool plain) {
    world w;
    open_world_of(&w, key);
    if (plain)
        check_table(&w, &w.reference_source, &w.reference.launch, table, count);
    else
        check_table(&w, &w.source, &w.candidate.launch, table, count);
    close_world(&w);
}
#define CHECK(key, table) check(key, table, sizeof(table) / sizeof((table)[0]), false)

static void test_causal(void **state) {
    (void)state;
    CHECK("attention f32 f32 causal m=150 n=130 k=64 v=64 heads=4/2 batch=2 lse", of_any);
    CHECK("attention f32 f32 causal m=150 n=130 k=64 v=64 heads=4/2 batch=2 lse", of_causal);
    CHECK("attention bf16 bf16 causal m=150 n=130 k=64 v=64 heads=4/2 batch=2 lse", of_any);
    check("attention bf16 bf16 causal m=150 n=130 k=64 v=64 heads=4/2 batch=2 lse", of_plain,
          sizeof of_plain / sizeof of_plain[0], true);
}

static void test_window(void **state) {
    (void)state;
    CHECK("attention f16 f16 window softcap m=100 n=130 k=64 v=64 heads=4/2 batch=2 window=20,5 lse",
          of_window);
}

static void test_pages(void **state) {
    (void)state;
    CHECK("attention f32 f32 causal paged m=2 n=130 k=64 v=64 heads=4/2 batch=9 page=16 lse", of_pages);
    CHECK("attention f32 f32 causal cache m=2 n=130 k=64 v=64 heads=4/2 batch=9 lse", of_cache);
}

static void test_lists(void **state) {
    (void)state;
    CHECK("attention f32 f32 causal blocks=32x32 m=150 n=150 k=64 v=64 heads=4/2 batch=2 lists=batch-q "
          "density=5000 "
          "imbalance=10 overlap=5 bits lse",
          of_lists);
}

static void test_scales(void **state) {
    (void)state;
    CHECK("attention e4m3 bf16 causal m=100 n=100 k=64 v=64 heads=4/2 batch=2 lse", of_scales);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_causal), cmocka_unit_test(test_window),
                                       cmocka_unit_test(test_pages), cmocka_unit_test(test_lists),
                                       cmocka_unit_test(test_scales)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
