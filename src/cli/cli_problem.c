#include "cli/cli_problem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_common.h"

#define EXTENT_MAX 2147483647
#define BLOCK_MAX 1024

/* ---- the command line --------------------------------------------------------------------------------- */

enum {
    KEY_SHAPE = 1,
    KEY_SPARSITY,
    KEY_BLOCK,
    KEY_DTYPE,
    KEY_OUT_DTYPE,
    KEY_SCALE,
    KEY_OP,
    KEY_PATTERN,
    KEY_N,
    KEY_LAYOUT,
    KEY_END
};

static const struct argp_option argp_options[] = {
    {"shape", KEY_SHAPE, "M,N,K", 0, "Rows and columns, each 1 to 2147483647; the block divides M and K", 0},
    {"sparsity", KEY_SPARSITY, "S", 0,
     "Share of A's blocks that are not stored, 0 to 1: a seeded random pattern", 0},
    {"block", KEY_BLOCK, "B|BMxBK", 0, "Elements of a block, B x B or BM x BK, each 1 to 1024 (default 64)",
     0},
    {"dtype", KEY_DTYPE, "TYPE", 0,
     "Type of A and B: f16, bf16, f32, e4m3 (default f16 on cuda, f32 on host)", 0},
    {"out-dtype", KEY_OUT_DTYPE, "TYPE", 0,
     "Type of C: f16, bf16, f32 (default that of A and B; bf16 for e4m3)", 0},
    {"scale", KEY_SCALE, "tensor|block", 0,
     "With e4m3: A has one scale (default), or one for each stored block; B has one", 0},
    {"op", KEY_OP, "OP", 0, "Operation: bsr_gemm (default)", 0},
    {"pattern", KEY_PATTERN, "FILE", 0,
     "A .smtx or .mtx file instead of --shape and --sparsity: each nonzero is one block", 0},
    {"n", KEY_N, "N", 0, "With --pattern: columns of B and C, 1 to 2147483647", 0},
    {"layout", KEY_LAYOUT, "row|col", 0, "Of B and C (default row); col is the linear layer Y = X W^T", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state) {
    tri_cli_problem_options *o = state->input;
    if (key < KEY_SHAPE || key >= KEY_END)
        return ARGP_ERR_UNKNOWN;
    const char **const texts[] = {&o->shape, &o->sparsity, &o->block,   &o->dtype, &o->out_dtype,
                                  &o->scale, &o->op,       &o->pattern, &o->n,     &o->layout};
    *texts[key - KEY_SHAPE] = argument;
    if (!o->given && key != KEY_OP)
        o->given = argp_options[key - KEY_SHAPE].name;
    return 0;
}

const struct argp tri_cli_problem_argp = {.options = argp_options, .parser = parse_option};

/* ---- parsing ---------------------------------------------------------------------------------------- */

/* Splits text at the separator into count integers; *found tells how many there were. */
static triage_status parse_list(int64_t *out, size_t count, size_t *found, const char *text, char separator,
                                int64_t high, const char *const *names) {
    char *copy = NULL;
    triage_status status = TRIAGE_OK;
    *found = 0;
    TRI_TRY(tri_strdup(&copy, text));
    for (char *at = copy, *end; at; at = end) {
        end = strchr(at, separator);
        if (end)
            *end++ = '\0';
        if (*found < count)
            TRI_TRY(tri_parse_int64(&out[*found], at, 1, high, names[*found]));
        (*found)++;
    }
done:
    free(copy);
    return status;
}

static triage_status parse_shape(tri_bsr_problem *out, const char *text) {
    static const char *const names[] = {"--shape's M", "--shape's N", "--shape's K"};
    int64_t v[3] = {0};
    size_t found = 0;
    triage_status status = parse_list(v, 3, &found, text, ',', EXTENT_MAX, names);
    if (status == TRIAGE_OK && found != 3)
        status = tri_cli_usage("--shape %.64s has %zu numbers: M,N,K are wanted, each 1 to %d", text, found,
                               EXTENT_MAX);
    out->m = v[0];
    out->n = v[1];
    out->k = v[2];
    return status;
}

static triage_status parse_block(tri_bsr_problem *out, const char *text) {
    static const char *const names[] = {"--block's rows", "--block's columns"};
    int64_t v[2] = {0};
    size_t found = 0;
    triage_status status = parse_list(v, 2, &found, text ? text : "64", 'x', BLOCK_MAX, names);
    if (status == TRIAGE_OK && found > 2)
        status = tri_cli_usage("--block %.64s: one number or ROWSxCOLUMNS is wanted, each 1 to %d", text,
                               BLOCK_MAX);
    out->block_m = (int32_t)v[0];
    out->block_k = (int32_t)(found == 2 ? v[1] : v[0]);
    return status;
}

static triage_status parse_out_type(tri_bsr_problem *out, const char *text) {
    triage_status status = tri_dtype_parse(&out->out_type, text);
    return status == TRIAGE_OK && out->out_type == TRIAGE_E4M3
               ? tri_cli_usage("--out-dtype e4m3 is not one of f32, f16, bf16")
               : status;
}

static triage_status parse_scale(tri_bsr_problem *out, const char *text) {
    out->scale_per_block = text && strcmp(text, "block") == 0;
    if (text && out->in_type != TRIAGE_E4M3)
        return tri_cli_usage("--scale %.32s goes with --dtype e4m3; %s has no scales", text,
                             tri_dtype_name(out->in_type));
    return !text || out->scale_per_block || strcmp(text, "tensor") == 0
               ? TRIAGE_OK
               : tri_cli_usage("--scale %.32s is not one of tensor, block", text);
}

static triage_status parse_types(tri_cli_problem *out, const tri_cli_problem_options *options) {
    tri_bsr_problem *problem = tri_bsr_edit(&out->problem);
    triage_status status = TRIAGE_OK;
    out->dtype_given = options->dtype;
    problem->in_type = TRIAGE_F16;
    if (options->dtype)
        TRI_TRY(tri_dtype_parse(&problem->in_type, options->dtype));
    problem->out_type = problem->in_type;
    if (options->out_dtype && !options->dtype)
        status = tri_cli_usage("--out-dtype %.32s needs --dtype beside it", options->out_dtype);
    else if (options->out_dtype)
        TRI_TRY(parse_out_type(problem, options->out_dtype));
    TRI_TRY(status);
    if (problem->in_type == TRIAGE_E4M3 && !options->out_dtype)
        problem->out_type = TRIAGE_BF16;
    status = parse_scale(problem, options->scale);
done:
    return status;
}

static triage_status parse_layout(tri_bsr_problem *out, const char *text) {
    bool col = text && strcmp(text, "col") == 0;
    out->b_layout = out->c_layout = col ? TRIAGE_COL_MAJOR : TRIAGE_ROW_MAJOR;
    return !text || col || strcmp(text, "row") == 0
               ? TRIAGE_OK
               : tri_cli_usage("--layout %.32s is not one of row, col", text);
}

static triage_status check_combination(const tri_cli_problem_options *options) {
    if (options->op && strcmp(options->op, "bsr_gemm") != 0)
        return tri_cli_usage("--op %.32s is not one of bsr_gemm", options->op);
    if (options->pattern && (options->shape || options->sparsity))
        return tri_cli_usage("--pattern already gives M, K and the blocks: leave out %s",
                             options->shape ? "--shape" : "--sparsity");
    if (options->pattern)
        return options->n ? TRIAGE_OK : tri_cli_usage("--pattern needs --n, the columns of B");
    if (options->n)
        return tri_cli_usage("--n goes with --pattern; --shape M,N,K has its own N");
    if (!options->shape)
        return tri_cli_usage("a problem is wanted: --shape M,N,K --sparsity S, or --pattern FILE --n N");
    return options->sparsity ? TRIAGE_OK : tri_cli_usage("--shape needs --sparsity, 0 to 1");
}

/* ---- the pattern -------------------------------------------------------------------------------------- */

/* Linux overcommits: an allocation beyond the machine would succeed and the process die later. */
static triage_status check_memory(double bytes, const char *what) {
    double have = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    char need[TRI_CLI_NUMBER], there[TRI_CLI_NUMBER];
    if (bytes <= have)
        return TRIAGE_OK;
    tri_cli_bytes(need, bytes < 9e18 ? (int64_t)bytes : INT64_MAX);
    tri_cli_bytes(there, (int64_t)have);
    return tri_cli_usage("%s needs about %s of memory: this machine has %s", what, need, there);
}

static triage_status check_divides(int64_t extent, int32_t block, const char *name) {
    if (extent % block == 0)
        return TRIAGE_OK;
    return tri_cli_usage("%s = %lld is no multiple of the block's %d: allowed are multiples from %d on", name,
                         (long long)extent, block, block);
}

static triage_status make_random(tri_cli_problem *out, const tri_cli_problem_options *options) {
    tri_bsr_problem *problem = tri_bsr_edit(&out->problem);
    double sparsity = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(parse_shape(problem, options->shape));
    TRI_TRY(tri_parse_double(&sparsity, options->sparsity, 0, 1, "--sparsity"));
    TRI_TRY(check_divides(problem->m, problem->block_m, "--shape's M"));
    TRI_TRY(check_divides(problem->k, problem->block_k, "--shape's K"));
    int64_t rows = problem->m / problem->block_m, cols = problem->k / problem->block_k;
    double blocks = (1 - sparsity) * (double)rows * (double)cols;
    if (blocks > EXTENT_MAX) {
        status = tri_cli_usage("--shape %.64s at --sparsity %.32s has %.3g blocks: at most %d",
                               options->shape, options->sparsity, blocks, EXTENT_MAX);
        goto done;
    }
    TRI_TRY(check_memory(8 * (double)(rows + cols) + 8 * blocks, "the pattern of --shape"));
    TRI_TRY(tri_pattern_random(&out->pattern, rows, cols, sparsity, options->seed));
done:
    return status;
}

static triage_status read_pattern(tri_cli_problem *out, const tri_cli_problem_options *options) {
    tri_bsr_problem *problem = tri_bsr_edit(&out->problem);
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_parse_int64(&problem->n, options->n, 1, EXTENT_MAX, "--n"));
    status = tri_pattern_read(&out->pattern, options->pattern);
    if (status == TRIAGE_E_IO || status == TRIAGE_E_NOT_FOUND)
        status = TRIAGE_E_DATA; /* a file that cannot be read is bad input, not a failure of ours */
    if (status != TRIAGE_OK)
        goto done;
    problem->m = out->pattern.block_rows * problem->block_m;
    problem->k = out->pattern.block_cols * problem->block_k;
    if (problem->m > EXTENT_MAX || problem->k > EXTENT_MAX)
        status = tri_cli_usage("--pattern %s with --block %dx%d is %lld x %lld: each at most %d",
                               options->pattern, problem->block_m, problem->block_k, (long long)problem->m,
                               (long long)problem->k, EXTENT_MAX);
done:
    return status;
}

/* ---- the problem -------------------------------------------------------------------------------------- */

triage_status tri_cli_problem_make(tri_cli_problem *out, const tri_cli_problem_options *options) {
    tri_bsr_problem *problem = tri_bsr_edit(&out->problem);
    triage_status status = TRIAGE_OK;
    *out = (tri_cli_problem){0};
    TRI_TRY(check_combination(options));
    TRI_TRY(parse_types(out, options));
    TRI_TRY(parse_layout(problem, options->layout));
    TRI_TRY(parse_block(problem, options->block));
    if (options->pattern)
        TRI_TRY(read_pattern(out, options));
    else
        TRI_TRY(make_random(out, options));
    out->problem.op = &tri_op_bsr_gemm;
    problem->ldb = problem->b_layout == TRIAGE_ROW_MAJOR ? problem->n : problem->k;
    problem->ldc = problem->c_layout == TRIAGE_ROW_MAJOR ? problem->n : problem->m;
    problem->nnzb = out->pattern.nnzb;
    tri_fingerprint_of(&problem->fingerprint, &out->pattern);
    TRI_TRY(tri_problem_check(&out->problem));
done:
    if (status != TRIAGE_OK)
        tri_cli_problem_free(out);
    return status;
}

void tri_cli_problem_for_host(tri_cli_problem *problem) {
    if (!problem->dtype_given)
        tri_bsr_edit(&problem->problem)->in_type = tri_bsr_edit(&problem->problem)->out_type = TRIAGE_F32;
}

triage_status tri_cli_problem_fits(const tri_problem *problem) {
    return check_memory(problem->op->host_bytes(problem), "measuring this shape");
}

void tri_cli_problem_free(tri_cli_problem *problem) {
    tri_pattern_free(&problem->pattern);
    *problem = (tri_cli_problem){0};
}
