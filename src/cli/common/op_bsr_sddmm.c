/* How the programs' options describe a problem of bsr_sddmm: as those of the product whose gradient it is. */
#include "cli/common/common.h"
#include "cli/common/problem.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "op/bsr_sddmm/bsr_sddmm.h"

extern const tri_cli_op tri_cli_op_bsr_gemm;

static const struct argp_option own_options[] = {
    {"shape", 0, "M,N,K", 0, "Rows and columns, each 1 to 2147483647; the block divides M and K", 1},
    {"sparsity", 0, "S", 0, "Random pattern from a seed: the share of the blocks that are zero, 0 to 1", 1},
    {"pattern", 0, "FILE", 0,
     "Pattern from a .smtx, .mtx or scipy's .npz file instead of --shape and --sparsity: each nonzero is one "
     "block",
     1},
    {"n", 0, "N", 0, "With --pattern: columns of Y and X, 1 to 2147483647", 1},
    {"block", 0, "B|BMxBK", 0, "Size of a block, B x B or BM x BK elements, each 1 to 1024 (default 64)", 2},
    {"dtype", 0, "f16|bf16|f32", 0, "Type of Y and X (default f16 on cuda, f32 on host)", 2},
    {"out-dtype", 0, "f32|f16|bf16", 0, "Type of D (default that of Y and X)", 2},
    {"layout", 0, "row|col", 0,
     "Layout of Y and X (default row); col is the gradient of the linear layer Y = X W^T", 2},
    {0}};

static triage_status refuse_others(const tri_cli_problem_options *options) {
    static const char *const others[] = {"scale", "bias", "activation", "transposed"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (tri_cli_given(options, others[i]))
            return tri_cli_usage("--%s does not apply to %s", others[i], tri_op_bsr_sddmm.name);
    return TRIAGE_OK;
}

static tri_sddmm_problem problem_of(const tri_bsr_problem *product) {
    tri_sddmm_problem p = {.in_type = product->in_type,
                           .out_type = product->out_type,
                           .y_layout = product->c_layout,
                           .x_layout = product->b_layout,
                           .m = product->m,
                           .n = product->n,
                           .k = product->k,
                           .block_m = product->block_m,
                           .block_k = product->block_k,
                           .nnzb = product->nnzb,
                           .fingerprint = product->fingerprint};
    p.ldy = tri_sddmm_packed_ldy(&p);
    p.ldx = tri_sddmm_packed_ldx(&p);
    return p;
}

static triage_status make(tri_cli_problem *out, const tri_cli_problem_options *options) {
    tri_cli_problem product = {.problem = {.op = &tri_op_bsr_gemm}};
    triage_status status = refuse_others(options);
    if (status == TRIAGE_OK)
        status = tri_cli_op_bsr_gemm.make(&product, options);
    out->pattern = product.pattern;
    out->dtype_given = product.dtype_given;
    *tri_sddmm_edit(&out->problem) = problem_of(tri_bsr(&product.problem));
    if (status == TRIAGE_OK && tri_sddmm(&out->problem)->in_type == TRIAGE_E4M3)
        status = tri_cli_usage("--dtype e4m3 is not one of f16, bf16, f32");
    if (status == TRIAGE_OK && tri_sddmm(&out->problem)->nnzb == 0)
        status = tri_cli_usage("a pattern without blocks: there is nothing to compute");
    return status;
}

static void for_host(tri_cli_problem *problem) {
    tri_sddmm_problem *own = tri_sddmm_edit(&problem->problem);
    own->in_type = own->out_type = TRIAGE_F32;
}

static void json(json_t *object, const tri_problem *problem) {
    json_object_set_new(object, "nnzb", json_integer(tri_sddmm(problem)->nnzb));
}

static triage_status key_words(tri_text *out, const tri_cli_problem_options *options) {
    triage_status status = refuse_others(options);
    return status == TRIAGE_OK ? tri_cli_op_bsr_gemm.key_words(out, options) : status;
}

static triage_status describe(tri_text *out, const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    return tri_text_format(out,
                           "D = Y X^T, Y %lld x %lld, X %lld x %lld, on the stored blocks alone: %.3g %% of "
                           "those of %d x %d, the "
                           "fullest block row has %.3g times the mean, and neighbouring rows share %.3g of "
                           "their columns; %s in, "
                           "%s out, Y %s-major, X %s-major",
                           (long long)p->m, (long long)p->n, (long long)p->k, (long long)p->n,
                           p->fingerprint.density_e4 / 100.0, p->block_m, p->block_k,
                           p->fingerprint.imbalance_e1 / 10.0, p->fingerprint.overlap_e1 / 10.0,
                           tri_dtype_name(p->in_type), tri_dtype_name(p->out_type),
                           tri_layout_name(p->y_layout), tri_layout_name(p->x_layout));
}

static triage_status find_pattern(tri_cli_problem *out, const char *file, uint64_t seed) {
    tri_sddmm_problem *p = tri_sddmm_edit(&out->problem);
    (void)seed;
    triage_status status =
        tri_cli_pattern_of_key(&out->pattern, file, p->m / p->block_m, p->k / p->block_k, &p->fingerprint);
    p->nnzb = out->pattern.nnzb;
    return status;
}

const tri_cli_op tri_cli_op_bsr_sddmm = {.op = &tri_op_bsr_sddmm,
                                         .heading =
                                             "bsr_sddmm: D = Y (M x N) * X^T (N x K) on the stored blocks",
                                         .options = own_options,
                                         .make = make,
                                         .for_host = for_host,
                                         .json = json,
                                         .key_words = key_words,
                                         .describe = describe,
                                         .find_pattern = find_pattern};
