/* How the programs' options describe a problem of bsr_gemm. */
#include <stdlib.h>
#include <string.h>

#include "cli/common/common.h"
#include "cli/common/problem.h"
#include "op/bsr_gemm/bsr_gemm.h"

#define EXTENT_MAX 2147483647
#define BLOCK_MAX 1024

static const struct argp_option own_options[] =
    {/* what a problem needs comes first in --help */
     {"shape", 0, "M,N,K", 0, "Rows and columns, each 1 to 2147483647; the block divides M and K", 1},
     {"sparsity", 0, "S", 0, "Random pattern from a seed: the share of A's blocks that are zero, 0 to 1", 1},
     {"pattern", 0, "FILE", 0,
      "Pattern from a .smtx, .mtx or scipy's .npz file instead of --shape and --sparsity: each nonzero is "
      "one block",
      1},
     {"n", 0, "N", 0, "With --pattern: columns of B and C, 1 to 2147483647", 1},
     {"block", 0, "B|BMxBK", 0, "Size of a block, B x B or BM x BK elements, each 1 to 1024 (default 64)", 2},
     {"dtype", 0, "f16|bf16|f32|e4m3", 0, "Type of A and B (default f16 on cuda, f32 on host)", 2},
     {"out-dtype", 0, "f32|f16|bf16", 0, "Type of C (default that of A and B; bf16 for e4m3)", 2},
     {"scale", 0, "tensor|block", 0,
      "With e4m3: A has one scale (default), or one for each stored block; B has one", 2},
     {"layout", 0, "row|col", 0, "Layout of B and C (default row); col is the linear layer Y = X W^T", 2},
     {"transposed", 0, "yes|no", OPTION_ARG_OPTIONAL,
      "Multiply by the transpose, C (K x N) = A^T B (M x N), from the blocks of A as stored: with --layout "
      "col the gradient of X (default no)",
      2},
     {"bias", 0, "yes|no", OPTION_ARG_OPTIONAL, "Add a bias, one number for each row of C (default no)", 2},
     {"activation", 0, "none|relu|gelu|silu", 0, "Activation applied to C before it is stored (default none)",
      2},
     {0}};

/* ---- parsing ---------------------------------------------------------------------------------------- */

static triage_status parse_shape(tri_bsr_problem *out, const char *text) {
    static const char *const names[] = {"--shape's M", "--shape's N", "--shape's K"};
    int64_t v[3] = {0};
    size_t found = 0;
    triage_status status = tri_cli_parse_list(v, 3, &found, text, tri_cli_separator(text), EXTENT_MAX, names);
    if (status == TRIAGE_OK && found != 3)
        status = tri_cli_usage(
            "--shape %.64s has %zu numbers: M,N,K are expected, each 1 to %d (of another operation: "
            "--op)",
            text, found, EXTENT_MAX);
    out->m = v[0];
    out->n = v[1];
    out->k = v[2];
    return status;
}

static triage_status parse_block(tri_bsr_problem *out, const char *text) {
    static const char *const names[] = {"--block's rows", "--block's columns"};
    int64_t v[2] = {0};
    size_t found = 0;
    triage_status status = tri_cli_parse_list(v, 2, &found, text ? text : "64", 'x', BLOCK_MAX, names);
    if (status == TRIAGE_OK && found > 2)
        status = tri_cli_usage("--block %.64s: one number or ROWSxCOLUMNS is expected, each 1 to %d", text,
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
    out->dtype_given = tri_cli_given(options, "dtype") != NULL;
    problem->in_type = TRIAGE_F16;
    if (tri_cli_given(options, "dtype"))
        TRI_TRY(tri_dtype_parse(&problem->in_type, tri_cli_given(options, "dtype")));
    problem->out_type = problem->in_type;
    if (tri_cli_given(options, "out-dtype") && !tri_cli_given(options, "dtype"))
        status =
            tri_cli_usage("--out-dtype %.32s needs --dtype beside it", tri_cli_given(options, "out-dtype"));
    else if (tri_cli_given(options, "out-dtype"))
        TRI_TRY(parse_out_type(problem, tri_cli_given(options, "out-dtype")));
    TRI_TRY(status);
    if (problem->in_type == TRIAGE_E4M3 && !tri_cli_given(options, "out-dtype"))
        problem->out_type = TRIAGE_BF16;
    status = parse_scale(problem, tri_cli_given(options, "scale"));
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

/* act(A B + bias): one kernel does it all. */
static triage_status parse_epilogue(tri_bsr_problem *out, const tri_cli_problem_options *options) {
    const char *bias = tri_cli_given(options, "bias"), *activation = tri_cli_given(options, "activation");
    out->bias = bias && strcmp(bias, "yes") == 0;
    if (bias && !out->bias && strcmp(bias, "no") != 0)
        return tri_cli_usage("--bias %.32s is not one of yes, no", bias);
    return !activation || tri_activation_find(&out->activation, activation)
               ? TRIAGE_OK
               : tri_cli_usage("--activation %.32s is not one of none, relu, gelu, silu", activation);
}

static triage_status check_combination(const tri_cli_problem_options *options) {
    if (tri_cli_given(options, "pattern") &&
        (tri_cli_given(options, "shape") || tri_cli_given(options, "sparsity")))
        return tri_cli_usage("--pattern already gives M, K and the blocks: leave out %s",
                             tri_cli_given(options, "shape") ? "--shape" : "--sparsity");
    if (tri_cli_given(options, "pattern"))
        return tri_cli_given(options, "n") ? TRIAGE_OK
                                           : tri_cli_usage("--pattern needs --n, the columns of B");
    if (tri_cli_given(options, "n"))
        return tri_cli_usage("--n goes with --pattern; --shape M,N,K has its own N");
    if (!tri_cli_given(options, "shape"))
        return tri_cli_usage("no problem is given: --shape M,N,K --sparsity S, or --pattern FILE --n N");
    if (tri_cli_given(options, "sparsity"))
        return TRIAGE_OK;
    tri_bsr_problem any; /* that of another operation is told first */
    const triage_status status = parse_shape(&any, tri_cli_given(options, "shape"));
    return status == TRIAGE_OK ? tri_cli_usage("--shape needs --sparsity, 0 to 1") : status;
}

/* ---- the pattern -------------------------------------------------------------------------------------- */

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
    TRI_TRY(parse_shape(problem, tri_cli_given(options, "shape")));
    TRI_TRY(tri_parse_double(&sparsity, tri_cli_given(options, "sparsity"), 0, 1, "--sparsity"));
    TRI_TRY(check_divides(problem->m, problem->block_m, "--shape's M"));
    TRI_TRY(check_divides(problem->k, problem->block_k, "--shape's K"));
    int64_t rows = problem->m / problem->block_m, cols = problem->k / problem->block_k;
    double blocks = (1 - sparsity) * (double)rows * (double)cols;
    if (blocks > EXTENT_MAX) {
        status = tri_cli_usage("--shape %.64s at --sparsity %.32s has %.3g blocks: at most %d",
                               tri_cli_given(options, "shape"), tri_cli_given(options, "sparsity"), blocks,
                               EXTENT_MAX);
        goto done;
    }
    TRI_TRY(tri_cli_check_memory(8 * (double)(rows + cols) + 8 * blocks, "the pattern of --shape"));
    TRI_TRY(tri_pattern_random(&out->pattern, rows, cols, sparsity, options->seed));
done:
    return status;
}

/* A file of BSR has blocks of its own: they are meant where --block is not given, and nothing else may be. */
static triage_status take_file_block(tri_bsr_problem *problem, const tri_pattern *pattern,
                                     const tri_cli_problem_options *options) {
    const char *block = tri_cli_given(options, "block");
    if (!pattern->file_block_rows)
        return TRIAGE_OK;
    if (!block && pattern->file_block_rows <= BLOCK_MAX && pattern->file_block_cols <= BLOCK_MAX) {
        problem->block_m = (int32_t)pattern->file_block_rows;
        problem->block_k = (int32_t)pattern->file_block_cols;
        return TRIAGE_OK;
    }
    if (problem->block_m == pattern->file_block_rows && problem->block_k == pattern->file_block_cols)
        return TRIAGE_OK;
    return tri_cli_usage(
        "--pattern %.200s has blocks of %lldx%lld, --block is %dx%d (at most %d): leave it out, or give "
        "the file's",
        tri_cli_given(options, "pattern"), (long long)pattern->file_block_rows,
        (long long)pattern->file_block_cols, problem->block_m, problem->block_k, BLOCK_MAX);
}

static triage_status read_pattern(tri_cli_problem *out, const tri_cli_problem_options *options) {
    tri_bsr_problem *problem = tri_bsr_edit(&out->problem);
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_parse_int64(&problem->n, tri_cli_given(options, "n"), 1, EXTENT_MAX, "--n"));
    status = tri_cli_read_pattern(&out->pattern, tri_cli_given(options, "pattern"));
    if (status != TRIAGE_OK)
        goto done;
    TRI_TRY(take_file_block(problem, &out->pattern, options));
    problem->m = out->pattern.block_rows * problem->block_m;
    problem->k = out->pattern.block_cols * problem->block_k;
    if (problem->m > EXTENT_MAX || problem->k > EXTENT_MAX)
        status = tri_cli_usage("--pattern %s with --block %dx%d is %lld x %lld: each at most %d",
                               tri_cli_given(options, "pattern"), problem->block_m, problem->block_k,
                               (long long)problem->m, (long long)problem->k, EXTENT_MAX);
done:
    return status;
}

/* ---- the problem -------------------------------------------------------------------------------------- */

/* The options are of the stored matrix, the problem's sizes of what multiplies B. */
static triage_status transpose(tri_cli_problem *out, const char *text) {
    tri_bsr_problem *problem = tri_bsr_edit(&out->problem);
    const tri_bsr_problem stored = *problem;
    tri_pattern turned;
    if (!text || strcmp(text, "no") == 0)
        return TRIAGE_OK;
    if (strcmp(text, "yes") != 0)
        return tri_cli_usage("--transposed %.32s is not one of yes, no", text);
    if (problem->in_type == TRIAGE_E4M3)
        return tri_cli_usage("--transposed goes with f32, f16 and bf16: e4m3 has no gradients");
    triage_status status = tri_pattern_transpose(&turned, &out->pattern);
    if (status != TRIAGE_OK)
        return status;
    tri_pattern_free(&out->pattern);
    out->pattern = turned;
    problem->a_transposed = true;
    problem->m = stored.k, problem->k = stored.m;
    problem->block_m = stored.block_k, problem->block_k = stored.block_m;
    return TRIAGE_OK;
}

static triage_status make(tri_cli_problem *out, const tri_cli_problem_options *options) {
    tri_bsr_problem *problem = tri_bsr_edit(&out->problem);
    triage_status status = TRIAGE_OK;
    TRI_TRY(check_combination(options));
    TRI_TRY(parse_types(out, options));
    TRI_TRY(parse_layout(problem, tri_cli_given(options, "layout")));
    TRI_TRY(parse_epilogue(problem, options));
    TRI_TRY(parse_block(problem, tri_cli_given(options, "block")));
    if (tri_cli_given(options, "pattern"))
        TRI_TRY(read_pattern(out, options));
    else
        TRI_TRY(make_random(out, options));
    TRI_TRY(transpose(out, tri_cli_given(options, "transposed")));
    problem->ldb = tri_bsr_packed_ldb(problem);
    problem->ldc = tri_bsr_packed_ldc(problem);
    problem->nnzb = out->pattern.nnzb;
    tri_fingerprint_of(&problem->fingerprint, &out->pattern);
done:
    return status;
}

static void for_host(tri_cli_problem *problem) {
    tri_bsr_problem *own = tri_bsr_edit(&problem->problem);
    own->in_type = own->out_type = TRIAGE_F32;
}

static void json(json_t *object, const tri_problem *problem) {
    json_object_set_new(object, "nnzb", json_integer(tri_bsr(problem)->nnzb));
}

/* One that another operation has, in a file of both, must not be passed over. */
static triage_status check_members(json_t *texts) {
    static const char *const known[] = {"op",      "m",        "n",     "k",          "shape",
                                        "pattern", "sparsity", "block", "dtype",      "out_dtype",
                                        "layout",  "seed",     "bias",  "activation", "transposed"};
    const char *member;
    json_t *value;
    json_object_foreach(texts, member, value) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found |= strcmp(member, known[i]) == 0;
        if (!found)
            return tri_fail(TRIAGE_E_DATA, "%.40s does not apply to %s", member, tri_op_bsr_gemm.name);
    }
    return TRIAGE_OK;
}

/* m, n and k are members of their own, or one "shape"; of a pattern's file only n is. */
static triage_status shape_of_job(json_t *texts) {
    const char *m = json_string_value(json_object_get(texts, "m")),
               *n = json_string_value(json_object_get(texts, "n")),
               *k = json_string_value(json_object_get(texts, "k"));
    char *shape = NULL;
    if (json_object_get(texts, "pattern") || json_object_get(texts, "shape"))
        return m || k ? tri_fail(TRIAGE_E_DATA, "m and k are given beside a pattern or a shape") : TRIAGE_OK;
    if (!m || !n || !k)
        return tri_fail(TRIAGE_E_DATA, "m, n or k is missing");
    triage_status status = tri_format(&shape, "%s,%s,%s", m, n, k);
    if (status == TRIAGE_OK) {
        json_object_set_new(texts, "shape", json_string(shape));
        json_object_del(texts, "n");
    }
    free(shape);
    return status;
}

static triage_status from_job(tri_cli_problem_options *out, json_t *texts) {
    static const struct {
        const char *member, *option;
    } members[] = {{"sparsity", "sparsity"},
                   {"block", "block"},
                   {"dtype", "dtype"},
                   {"out_dtype", "out-dtype"},
                   {"layout", "layout"},
                   {"shape", "shape"},
                   {"bias", "bias"},
                   {"activation", "activation"},
                   {"pattern", "pattern"},
                   {"n", "n"},
                   {"transposed", "transposed"}};
    triage_status status = TRIAGE_OK;
    TRI_TRY(check_members(texts));
    TRI_TRY(shape_of_job(texts));
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *text = json_string_value(json_object_get(texts, members[i].member));
        if (text)
            TRI_TRY(tri_cli_give(out, members[i].option, text));
    }
done:
    return status;
}

/* ---- finding, and in words ---- */

static triage_status key_words(tri_text *out, const tri_cli_problem_options *options) {
    static const char *const names[] = {"--shape's M", "--shape's N", "--shape's K"};
    const char *shape = tri_cli_given(options, "shape"), *block = tri_cli_given(options, "block"),
               *layout = tri_cli_given(options, "layout"), *activation = tri_cli_given(options, "activation");
    tri_bsr_problem problem = {0};
    int64_t v[3];
    size_t found = 0;
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < options->count; i++) {
        const char *name = options->texts[i].name;
        char word[40];
        snprintf(word, sizeof word, " %s ", name);
        if (!strstr(" shape block dtype layout activation ", word))
            TRI_TRY(tri_cli_usage("--%s is no filter: --shape, --block, --dtype, --layout, --activation are",
                                  name));
    }
    if (shape) {
        TRI_TRY(tri_cli_parse_list(v, 3, &found, shape, tri_cli_separator(shape), EXTENT_MAX, names));
        if (found != 3)
            TRI_TRY(tri_cli_usage("--shape %.64s has %zu numbers: M,N,K are expected", shape, found));
        TRI_TRY(
            tri_text_format(out, " m=%lld n=%lld k=%lld", (long long)v[0], (long long)v[1], (long long)v[2]));
    }
    if (block) {
        TRI_TRY(parse_block(&problem, block));
        TRI_TRY(tri_text_format(out, " block=%dx%d", problem.block_m, problem.block_k));
    }
    if (layout)
        TRI_TRY(tri_text_format(out, " %s", layout));
    if (activation)
        TRI_TRY(tri_text_format(out, " %s", activation));
done:
    return status;
}

static triage_status describe(tri_text *out, const tri_problem *of) {
    const tri_bsr_problem *p = tri_bsr(of);
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_text_format(
        out,
        "C (%lld x %lld) = A (%lld x %lld) B: A is block-sparse, %.3g %% of its blocks of %d x %d "
        "are stored, the fullest block row has %.3g times the mean, and neighbouring rows share "
        "%.3g of their columns",
        (long long)p->m, (long long)p->n, (long long)p->m, (long long)p->k, p->fingerprint.density_e4 / 100.0,
        p->block_m, p->block_k, p->fingerprint.imbalance_e1 / 10.0, p->fingerprint.overlap_e1 / 10.0));
    TRI_TRY(tri_text_format(out, "; %s in, %s out, B %s-major, C %s-major", tri_dtype_name(p->in_type),
                            tri_dtype_name(p->out_type), tri_layout_name(p->b_layout),
                            tri_layout_name(p->c_layout)));
    if (p->a_transposed)
        TRI_TRY(tri_text_format(out, "; A is stored as its transpose"));
    if (p->scale_per_block)
        TRI_TRY(tri_text_format(out, "; a scale for each block"));
    if (p->bias || p->activation != TRIAGE_ACT_NONE)
        TRI_TRY(tri_text_format(out, "; then%s%s%s", p->bias ? " bias" : "",
                                p->bias && p->activation != TRIAGE_ACT_NONE ? " and" : "",
                                p->activation == TRIAGE_ACT_NONE   ? ""
                                : p->activation == TRIAGE_ACT_RELU ? " relu"
                                : p->activation == TRIAGE_ACT_GELU ? " gelu"
                                                                   : " silu"));
done:
    return status;
}

static triage_status find_pattern(tri_cli_problem *out, const char *file, uint64_t seed) {
    tri_bsr_problem *p = tri_bsr_edit(&out->problem);
    (void)seed;
    triage_status status =
        tri_cli_pattern_of_key(&out->pattern, file, p->m / p->block_m, p->k / p->block_k, &p->fingerprint);
    p->nnzb = out->pattern.nnzb;
    return status;
}

const tri_cli_op tri_cli_op_bsr_gemm = {.op = &tri_op_bsr_gemm,
                                        .heading =
                                            "The problem: C (M x N) = A (M x K, block-sparse) * B (K x N)",
                                        .options = own_options,
                                        .make = make,
                                        .for_host = for_host,
                                        .json = json,
                                        .from_job = from_job,
                                        .key_words = key_words,
                                        .describe = describe,
                                        .find_pattern = find_pattern};
