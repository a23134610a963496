/* attention's fixed cases on a device: every candidate of the space, or the first of each kernel, through the house's gate,
 * untimed (poisoned results, red zones, float64, all cases); scores whose maximum comes late; then V = 1 at 65537 keys, 20
 * launches bit for bit the same, and with fixed splits a sequence alone as in a batch of 64. What compute-sanitizer may
 * watch, too.
 *
 *   run_attention [--device cuda|host] [--all] [--kernel NAME] [--part I/N] [--keys TEXT] [--cache DIR] [--verbose]
 *                 [--compile TARGET] [--small] [--cover] [--log FILE]
 *   --all: every candidate, else the first of each kernel. --keys: only problems whose key has that text.
 *   --part: of the problems, dealt in turn: several processes fill one cache.
 *   --small: the ragged problems that sanitizers watch, and no others. --cover: the first of each kernel, and what has a value of
 *   an axis that was not there before. --log: results, a line of JSON each; what is there already is not run again.
 *   With LD_LIBRARY_PATH=<build>/emulated the CPU plays the device (tests/emulate), and watches.
 *   --compile: no device; the candidates are compiled for TARGET (sm_90a) into the cache, and nothing is run.
 *
 * The last line is for scripts. Exit codes: 0 all is right, 1 not, 64 usage, 77 no device. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/attention_keys.h"
#include "gpu/gate_keys.h"
#include "measure/bench_private.h"
#include "op/attention/attention.h"
#include "render/render.h"
#include "support/ones_bound.h"

/* ---- by hand: a kernel with its inputs on the device ---- */

typedef struct rig {
    tri_inputs inputs;
    tri_address o;
    size_t o_bytes;
    tri_kernel *kernel;
    tri_attention_args args;
    unsigned char *got;
} rig;

static tri_address put(tri_device *device, const void *data, size_t bytes) {
    tri_address address = 0;
    gate_must(tri_device_alloc(device, &address, bytes ? bytes : 4));
    if (data && bytes)
        gate_must(tri_device_upload(device, address, data, bytes));
    return address;
}

typedef void (*edit_fn)(tri_inputs *inputs, const tri_attention_problem *p);

/* V is 1, and its scales. */
static void make_ones(tri_inputs *inputs, const tri_attention_problem *p) {
    tri_input *v = &inputs->at[TRI_ATTENTION_V], *scale = &inputs->at[TRI_ATTENTION_SCALE_V];
    for (size_t i = 0; i < v->bytes / tri_dtype_size(p->in_type); i++)
        tri_from_float(v->data, p->in_type, i, 1);
    for (size_t i = 0; i < scale->bytes / sizeof(float); i++)
        ((float *)scale->data)[i] = 1;
}

/* By how much the scores of a query rise from the first key to the last. Kernels that let a maximum lag behind meet growth
 * of less than they allow, of more, and of so much within one step that 2^x overflows, from either end. */
static double rise_of(int64_t query) {
    static const double rises[] = {0, 14, -14, 60, -60, 3000, -3000, 0};
    return rises[query % 8];
}

/* Element 1 of a key says how far along it is (inputs.c). e4m3 ends at 448: there the scales make up for it, but for the largest
 * rise, which becomes a fifth. */
static void make_jumps(tri_inputs *inputs, const tri_attention_problem *p) {
    void *q = inputs->at[TRI_ATTENTION_Q].data;
    const float scale = p->in_type == TRIAGE_E4M3 ? 16 : 1;
    const size_t scales[] = {TRI_ATTENTION_SCALE_Q, TRI_ATTENTION_SCALE_K, TRI_ATTENTION_SCALE_V};
    for (int i = 0; i < 3; i++)
        for (size_t x = 0; x < inputs->at[scales[i]].bytes / sizeof(float); x++)
            ((float *)inputs->at[scales[i]].data)[x] = i == 0 ? scale : 1;
    for (int64_t row = 0; row < p->queries * p->heads_q; row++) {
        size_t at = (size_t)(row * p->d);
        for (size_t x = 0; x < (size_t)p->d; x++)
            tri_from_float(q, p->in_type, at + x, tri_to_float(q, p->in_type, at + x) / (4 * scale));
        tri_from_float(q, p->in_type, at, 0);
        tri_from_float(q, p->in_type, at + 1, (float)(rise_of(row / p->heads_q) * sqrt(p->d)) / scale);
    }
}

/* edit: of the inputs that were drawn; or NULL. */
static void open_rig(rig *r, const gate_stand *s, const gate_options *o, const char *config, edit_fn edit) {
    const tri_attention_problem *p = tri_attention(&s->problem);
    tri_candidate candidate = {0};
    tri_source source = {0};
    tri_image image = {0};
    *r = (rig){0};
    gate_must(tri_attention_draw(&r->inputs, &s->problem, gate_pattern(s), 11, 0));
    if (edit)
        edit(&r->inputs, p);
    for (size_t i = 0; i < TRI_INPUTS_MAX; i++)
        if (r->inputs.at[i].data)
            r->inputs.at[i].address = put(s->device, r->inputs.at[i].data, r->inputs.at[i].bytes);
    r->o_bytes = (size_t)(p->queries * p->heads_q * p->dv) * tri_dtype_size(p->out_type);
    r->o = put(s->device, NULL, r->o_bytes);
    r->got = malloc(r->o_bytes + 1);
    gate_must(tri_space_candidate(&candidate, s->space, &s->problem, &s->info, config));
    gate_must(tri_render(&source, &candidate, NULL));
    gate_must(tri_compile(&image, s->info.target, &source, o->cache));
    gate_must(tri_kernel_load(&r->kernel, s->device, &image, &candidate.launch));
    const tri_binding binding = {.device = s->device,
                                 .launch = &candidate.launch,
                                 .problem = &s->problem,
                                 .inputs = &r->inputs,
                                 .results = {r->o},
                                 .workspace = tri_kernel_workspace(r->kernel)};
    gate_must(s->problem.op->arguments(&r->args, &binding));
    tri_image_free(&image);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
}

static void close_rig(rig *r, tri_device *device) {
    tri_kernel_unload(r->kernel);
    for (size_t i = 0; i < TRI_INPUTS_MAX; i++)
        tri_device_release(device, r->inputs.at[i].address);
    tri_device_release(device, r->o);
    tri_inputs_free(&r->inputs);
    free(r->got);
}

static void launch_rig(rig *r, tri_device *device) {
    gate_must(tri_device_fill(device, r->o, 0xffffffffu, r->o_bytes / 4, NULL));
    gate_must(tri_kernel_launch(r->kernel, &r->args, NULL));
    gate_must(tri_device_synchronize(device));
    gate_must(tri_device_download(device, r->got, r->o, r->o_bytes));
}

/* The rig's arguments with the inputs' addresses on the host. */
static tri_attention_args on_host(const rig *r) {
    const tri_input *at = r->inputs.at;
    tri_attention_args args = r->args;
    args.q = at[TRI_ATTENTION_Q].data, args.k = at[TRI_ATTENTION_K].data, args.v = at[TRI_ATTENTION_V].data;
    args.scale_q = at[TRI_ATTENTION_SCALE_Q].data, args.scale_k = at[TRI_ATTENTION_SCALE_K].data;
    args.scale_v = at[TRI_ATTENTION_SCALE_V].data;
    args.len_k = at[TRI_ATTENTION_LEN_K].data;
    return args;
}

/* Of one sequence. The bound takes float64 rows of 65537 keys: asked for only where O is not nearly 1. */
static bool is_one(const rig *r, const tri_attention_problem *p, size_t element) {
    double off = fabs((double)tri_to_float(r->got, p->out_type, element) - 1);
    size_t row = element / (size_t)p->dv, heads = (size_t)p->heads_q;
    tri_attention_args args = on_host(r);
    return off <= 0x1p-11 || off <= ones_bound(p, &args, 0, (int)(row % heads), (int64_t)(row / heads));
}

/* O is 1, and 20 launches leave the same bits. */
static void check_ones(gate_stand *s, const gate_options *o, const char *key, const char *config) {
    const tri_attention_problem *p = tri_attention(&s->problem);
    char reason[120] = "";
    rig r;
    open_rig(&r, s, o, config, make_ones);
    launch_rig(&r, s->device);
    unsigned char *first = malloc(r.o_bytes);
    memcpy(first, r.got, r.o_bytes);
    for (size_t i = 0; i < r.o_bytes / tri_dtype_size(p->out_type) && !reason[0]; i++) {
        if (!is_one(&r, p, i))
            snprintf(reason, sizeof reason, "V is 1 and O[%zu] %g", i,
                     (double)tri_to_float(r.got, p->out_type, i));
    }
    for (int repeat = 1; repeat < 20 && !reason[0]; repeat++) {
        launch_rig(&r, s->device);
        if (memcmp(first, r.got, r.o_bytes) != 0)
            snprintf(reason, sizeof reason, "launch %d leaves other bits than the first", repeat + 1);
    }
    if (reason[0])
        gate_wrong(key, config, reason);
    gate_counts.right += !reason[0];
    free(first);
    close_rig(&r, s->device);
}

/* What O may be off by: weights that err by a share e of themselves move it by 2 e of the largest value. Of e, one unit is that
 * of the type that weights are rounded to; the rest comes from scores: products of up to `rise` are added up d / 16 times by adders
 * that cut off below 2^-23 (of e4m3: below 2^-13), and a score is scaled and subtracted from in float32. */
static double jump_bound(const tri_attention_problem *p, int64_t query, double largest, double expected) {
    double u = p->in_type == TRIAGE_E4M3 ? 0x1p-4 : p->in_type == TRIAGE_BF16 ? 0x1p-8 : 0x1p-11;
    double cut = p->in_type == TRIAGE_E4M3 ? 0x1p-13 : 0x1p-23;
    double e = u + (p->d / 16.0 + 6) * cut * (8 + fabs(rise_of(query)));
    return 2 * e * largest + u * fabs(expected);
}

/* Is a row of the one sequence as float64 has it? */
static bool is_row_right(const rig *r, const tri_attention_problem *p, const tri_attention_args *args,
                         int64_t query, int head, double largest, double *worst) {
    double o[TRI_ATTENTION_D_MAX], lse;
    gate_must(tri_attention_reference_row(o, &lse, p, args, 0, head, query));
    size_t at = (size_t)((query * p->heads_q + head) * p->dv);
    *worst = 0;
    for (int x = 0; x < p->dv; x++) {
        double off = fabs((double)tri_to_float(r->got, p->out_type, at + (size_t)x) - o[x]);
        double of_bound = off / jump_bound(p, query, largest, o[x]);
        *worst = isfinite(of_bound) ? fmax(*worst, of_bound) : INFINITY;
    }
    return *worst <= 1;
}

/* Scores whose maximum is found late: 80 queries in a row, of all kinds, of each head. */
static void check_jumps(gate_stand *s, const gate_options *o, const char *key, const char *config) {
    const tri_attention_problem *p = tri_attention(&s->problem);
    char reason[120] = "";
    double largest = 0, worst;
    rig r;
    open_rig(&r, s, o, config, make_jumps);
    launch_rig(&r, s->device);
    const tri_input *at = r.inputs.at;
    tri_attention_args args = on_host(&r);
    args.full.ptr = at[TRI_ATTENTION_FULL_PTR].data, args.full.cols = at[TRI_ATTENTION_FULL_COLS].data;
    for (size_t i = 0; i < (size_t)(p->keys * p->heads_kv * p->dv); i++)
        largest = fmax(largest, fabs((double)tri_to_float(at[TRI_ATTENTION_V].data, p->in_type, i)));
    for (int64_t i = 0; i < 80 * p->heads_q && !reason[0]; i++) {
        const int64_t query = p->sq / 2 + i / p->heads_q;
        const int head = (int)(i % p->heads_q);
        if (!is_row_right(&r, p, &args, query, head, largest, &worst))
            snprintf(reason, sizeof reason, "scores rise by %g: query %lld of head %d is off by %g bounds",
                     rise_of(query), (long long)query, head, worst);
    }
    if (reason[0])
        gate_wrong(key, config, reason);
    gate_counts.right += !reason[0];
    close_rig(&r, s->device);
}

/* A sequence of 64 by itself, with the same splits: the same bits. */
static void check_alone(gate_stand *s, const gate_options *o, const char *key, const char *config) {
    const tri_attention_problem *p = tri_attention(&s->problem);
    size_t in = tri_dtype_size(p->in_type),
           row = (size_t)(p->sq * p->heads_q * p->dv) * tri_dtype_size(p->out_type);
    rig r;
    size_t differ = 0;
    open_rig(&r, s, o, config, NULL);
    launch_rig(&r, s->device);
    unsigned char *together = malloc(r.o_bytes);
    memcpy(together, r.got, r.o_bytes);
    const tri_attention_args all = r.args;
    for (int b = 0; b < p->batch; b++) {
        r.args.batch = 1;
        r.args.q = (const char *)all.q + (size_t)b * (size_t)all.q_stride.batch * in;
        r.args.k = (const char *)all.k + (size_t)b * (size_t)all.k_stride.batch * in;
        r.args.v = (const char *)all.v + (size_t)b * (size_t)all.v_stride.batch * in;
        r.args.len_k = all.len_k ? all.len_k + b : NULL;
        launch_rig(&r, s->device);
        differ += memcmp(r.got, together + (size_t)b * row, row) != 0;
    }
    if (differ)
        gate_wrong(key, config, "a sequence alone leaves other bits than in its batch");
    gate_counts.right += !differ;
    free(together);
    close_rig(&r, s->device);
}

typedef void (*check_fn)(gate_stand *s, const gate_options *o, const char *key, const char *config);

/* without: a kernel whose maps say where a batch begins cannot be moved by its addresses. */
static void run_by_hand(gate_stand *s, const gate_options *o, const char *key, check_fn check,
                        const char *without) {
    tri_configs configs = {0};
    gate_problem(s, key);
    if (tri_space_enumerate(&configs, s->space, &s->problem, &s->info) == TRIAGE_OK)
        for (size_t i = 0; i < configs.count; i++)
            if (gate_wants(o, &configs, i) &&
                !(without && strncmp(configs.text[i], without, strlen(without)) == 0))
                check(s, o, key, configs.text[i]);
    tri_configs_free(&configs);
    tri_pattern_free(&s->pattern);
}

/* ---- all ---- */

static triage_status random_mask(tri_pattern *out, tri_problem *problem) {
    return tri_attention_mask_random(out, tri_attention(problem), 0.5, 3);
}

static void run_all(gate_stand *s, const gate_options *o) {
    static const char *const ones[] = {
        "attention f16 f16 full m=130 n=65537 k=64 v=64 heads=1/1 batch=1",
        "attention bf16 bf16 full m=130 n=65537 k=128 v=128 heads=1/1 batch=1",
        "attention e4m3 bf16 full m=130 n=65537 k=128 v=128 heads=1/1 batch=1",
        "attention bf16 bf16 full cache m=1 n=65537 k=128 v=128 heads=8/1 batch=1"};
    static const char *const jumps[] = {
        "attention bf16 bf16 full m=300 n=2000 k=128 v=128 heads=2/1 batch=1",
        "attention f16 f16 full m=300 n=2000 k=64 v=64 heads=2/1 batch=1",
        "attention f16 f16 causal m=1100 n=1100 k=128 v=128 heads=2/1 batch=1",
        "attention bf16 bf16 full m=300 n=1500 k=256 v=256 heads=2/1 batch=1",
        "attention f16 f16 full blocks=128x128 m=300 n=2000 k=128 v=128 heads=2/1 batch=1 lists=q" LISTS,
        "attention bf16 bf16 full blocks=64x64 m=300 n=2000 k=128 v=128 heads=2/1 batch=1 lists=q" LISTS,
        "attention e4m3 bf16 full m=300 n=2000 k=128 v=128 heads=2/1 batch=1",
        "attention e4m3 f16 causal m=1100 n=1100 k=64 v=64 heads=2/1 batch=1"};
    if (o->small)
        gate_keys(s, o, &tri_op_attention, small_keys, SMALL_KEYS);
    else
        gate_keys(s, o, &tri_op_attention, fixed_keys, FIXED_KEYS);
    if (o->compile || o->small)
        return;
    for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++)
        if (i % o->parts == o->part && (!o->text || strstr(jumps[i], o->text)))
            run_by_hand(s, o, jumps[i], check_jumps, NULL);
    if (o->text || o->part != 0)
        return;
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++)
        run_by_hand(s, o, ones[i], check_ones, NULL);
    run_by_hand(s, o, "attention bf16 bf16 causal cache m=1 n=3000 k=128 v=128 heads=32/8 batch=64 splits=4",
                check_alone, "wgmma");
}

int main(int argc, char **argv) {
    gate_options o;
    gate_stand s = {.pattern_of = random_mask};
    if (!gate_read_options(&o, argc, argv)) {
        fprintf(stderr, "usage: run_attention " GATE_USAGE "\n");
        return 64;
    }
    int code = gate_open(&s, &o);
    if (code != 0)
        return code;
    run_all(&s, &o);
    gate_close(&s);
    return gate_end("run_attention");
}
