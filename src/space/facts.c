#include "space/facts.h"

static void add(tri_facts *to, tri_fact fact) {
    if (to->count < TRI_FACTS_MAX)
        to->items[to->count++] = fact;
}

static void add_integer(tri_facts *to, const char *name, int64_t value) {
    add(to, (tri_fact){.name = name, .kind = TRI_FACT_INTEGER, .integer = value});
}

static void add_number(tri_facts *to, const char *name, double value) {
    add(to, (tri_fact){.name = name, .kind = TRI_FACT_NUMBER, .number = value});
}

static void add_text(tri_facts *to, const char *name, const char *value) {
    add(to, (tri_fact){.name = name, .kind = TRI_FACT_TEXT, .text = value});
}

static void add_bool(tri_facts *to, const char *name, bool value) {
    add(to, (tri_fact){.name = name, .kind = TRI_FACT_BOOL, .integer = value});
}

static void add_sizes(tri_facts *to, const tri_problem *problem) {
    int64_t block_rows = problem->m / problem->block_m, block_cols = problem->k / problem->block_k;
    add_integer(to, "m", problem->m);
    add_integer(to, "n", problem->n);
    add_integer(to, "k", problem->k);
    add_integer(to, "ldb", problem->ldb);
    add_integer(to, "ldc", problem->ldc);
    add_integer(to, "block_m", problem->block_m);
    add_integer(to, "block_k", problem->block_k);
    add_integer(to, "nnzb", problem->nnzb);
    add_integer(to, "block_rows", block_rows);
    add_integer(to, "block_cols", block_cols);
    add_number(to, "density", (double)problem->nnzb / ((double)block_rows * (double)block_cols));
    add_number(to, "imbalance", problem->fingerprint.imbalance_e1 / 10.0);
    add_number(to, "overlap", problem->fingerprint.overlap_e1 / 10.0);
}

static const char *scale_name(const tri_problem *problem) {
    return problem->in_type != TRIAGE_E4M3 ? "none" : problem->scale_per_block ? "block" : "tensor";
}

void tri_facts_of_problem(tri_facts *out, const tri_problem *problem) {
    out->count = 0;
    add_sizes(out, problem);
    add_text(out, "in_type", tri_dtype_name(problem->in_type));
    add_text(out, "out_type", tri_dtype_name(problem->out_type));
    add_integer(out, "in_size", (int64_t)tri_dtype_size(problem->in_type));
    add_integer(out, "out_size", (int64_t)tri_dtype_size(problem->out_type));
    add_text(out, "scale", scale_name(problem));
    add_text(out, "b_layout", tri_layout_name(problem->b_layout));
    add_text(out, "c_layout", tri_layout_name(problem->c_layout));
    add_text(out, "activation", tri_activation_name(problem->activation));
    add_bool(out, "bias", problem->bias);
}

void tri_facts_of_device(tri_facts *out, const tri_device_info *info) {
    out->count = 0;
    add_text(out, "backend", info->backend);
    add_text(out, "target", info->target);
    add_integer(out, "cc", info->cc);
    add_integer(out, "sm_count", info->sm_count);
    add_integer(out, "clock_khz", info->clock_khz);
    add_integer(out, "smem_bytes_max", info->smem_bytes_max);
    add_integer(out, "l2_bytes", info->l2_bytes);
    add_integer(out, "memory_bytes", info->memory_bytes);
}
