/* The table: what each entry is, in the order of op.h. */
#include "op/attention/attention.h"
#include "attention/mask.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- identity ---- */

static triage_status check(const tri_problem *problem) {
    return tri_attention_check(tri_attention(problem));
}

static triage_status key(char **out, const tri_problem *problem) {
    return tri_attention_key(out, tri_attention(problem));
}

static triage_status parse(tri_problem *out, const char *text) {
    tri_attention_problem problem;
    triage_status status = tri_attention_parse(&problem, text);
    if (status == TRIAGE_OK)
        *out = tri_attention_problem_of(&problem);
    return status;
}

static void sizes(int64_t out[3], const tri_problem *of) {
    const tri_attention_problem *problem = tri_attention(of);
    out[0] = problem->sq;
    out[1] = problem->sk;
    out[2] = problem->d;
}

static const tri_number numbers[] = {{"pairs", offsetof(tri_attention_problem, pairs)}, {0}};

static bool distance_squares(double out[TRI_DISTANCE_PARTS], const tri_problem *a, const tri_problem *b) {
    return tri_attention_distance_squares(out, tri_attention(a), tri_attention(b));
}

/* ---- cost ---- */

static double flops(const tri_problem *problem) {
    return tri_attention_flops(tri_attention(problem));
}

static double dense_flops(const tri_problem *problem) {
    return tri_attention_dense_flops(tri_attention(problem));
}

static double bytes(const tri_problem *problem) {
    return tri_attention_bytes(tri_attention(problem));
}

/* ---- what a space sees ---- */

static const char *lengths_name(const tri_attention_problem *p) {
    static const char *const names[] = {"dense", "varlen", "cache"};
    return names[p->lengths];
}

static const char *mask_heads_name(const tri_attention_problem *p) {
    static const char *const names[] = {"all", "kv", "q"};
    return names[p->mask.heads];
}

static void size_fields(const tri_attention_problem *p, tri_property_fn fn, void *user) {
    tri_property_integer(fn, user, "batch", p->batch);
    tri_property_integer(fn, user, "heads_q", p->heads_q);
    tri_property_integer(fn, user, "heads_kv", p->heads_kv);
    tri_property_integer(fn, user, "group", p->heads_q / p->heads_kv);
    tri_property_integer(fn, user, "sq", p->sq);
    tri_property_integer(fn, user, "sk", p->sk);
    tri_property_integer(fn, user, "d", p->d);
    tri_property_integer(fn, user, "dv", p->dv);
    tri_property_integer(fn, user, "page_size", p->page_size);
    tri_property_integer(fn, user, "splits", p->splits);
    tri_property_integer(fn, user, "alignment", p->alignment);
    tri_property_integer(fn, user, "pairs", p->pairs);
    tri_property_flag(fn, user, "expanded", p->expanded);
}

static void mask_fields(const tri_attention_problem *p, tri_property_fn fn, void *user) {
    int64_t left, right;
    tri_attention_band_of(&left, &right, p);
    tri_property_text(fn, user, "band", tri_attention_band_name(p->band));
    tri_property_integer(fn, user, "left", left);
    tri_property_integer(fn, user, "right", right);
    tri_property_integer(fn, user, "mask_m", p->mask.rows);
    tri_property_integer(fn, user, "mask_n", p->mask.cols);
    tri_property_text(fn, user, "mask_heads", mask_heads_name(p));
    tri_property_flag(fn, user, "mask_per_batch", p->mask.per_batch);
    tri_property_flag(fn, user, "mask_bits", p->mask.bits);
    tri_property_number(fn, user, "density", p->mask.rows ? p->mask.fingerprint.density_e4 / 1e4 : 1);
    tri_property_number(fn, user, "imbalance", p->mask.rows ? p->mask.fingerprint.imbalance_e1 / 10.0 : 1);
    tri_property_number(fn, user, "overlap", p->mask.rows ? p->mask.fingerprint.overlap_e1 / 10.0 : 1);
}

static void fields(const tri_problem *of, tri_property_fn fn, void *user) {
    const tri_attention_problem *p = tri_attention(of);
    size_fields(p, fn, user);
    mask_fields(p, fn, user);
    tri_property_text(fn, user, "in_type", tri_dtype_name(p->in_type));
    tri_property_text(fn, user, "out_type", tri_dtype_name(p->out_type));
    tri_property_integer(fn, user, "in_size", (int64_t)tri_dtype_size(p->in_type));
    tri_property_integer(fn, user, "out_size", (int64_t)tri_dtype_size(p->out_type));
    tri_property_text(fn, user, "lengths", lengths_name(p));
    tri_property_flag(fn, user, "softcap", p->softcap);
    tri_property_flag(fn, user, "lse", p->lse);
}

static bool has_pattern(const tri_problem *problem) {
    return tri_attention(problem)->mask.rows > 0;
}

/* ---- the table ---- */

static const tri_launch_field launch_fields[] = {
    {"splits", offsetof(tri_attention_launch, splits), TRI_ATTENTION_SPLITS_MAX}, {0}};

const tri_operation tri_op_attention = {
    .name = "attention",
    .summary = "O = softmax(scale Q K^T + mask) V",
    .check = check,
    .key = key,
    .parse = parse,
    .sizes = sizes,
    .numbers = numbers,
    .distance_parts = {"shape", "sparsity", "pattern", "kind"},
    .distance_squares = distance_squares,
    .kin = tri_attention_kin,
    .flops = flops,
    .dense_flops = dense_flops,
    .bytes = bytes,
    .least_work = tri_attention_least_work,
    .host_bytes = tri_attention_host_bytes,
    .fields = fields,
    .launch_fields = launch_fields,
    .maps = {{"map_q", 3, 4}, {"map_k", 3, 4}, {"map_v", 3, 4}, {"map_o", 3, 4}},
    .keeps_workspace = true,
    .has_pattern = has_pattern,
    .args_bytes = sizeof(tri_attention_args),
    .case_count = tri_attention_case_count,
    .case_text = tri_attention_case_text,
    .draw = tri_attention_draw,
    .views = tri_attention_views,
    .before = tri_attention_before,
    .telling_rows = tri_attention_telling_rows,
    .reference_row = tri_attention_reference,
    .arguments = tri_attention_arguments,
};
