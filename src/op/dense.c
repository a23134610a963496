#include "op/dense.h"

#include "base/dtype.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "dense_gemm "
#define WORD 16

triage_status tri_dense_key(char **out, const tri_gemm *problem) {
    return tri_format(out, PREFIX "%s %s %s %s m=%" PRId64 " n=%" PRId64 " k=%" PRId64,
                      tri_dtype_name(problem->in_type), tri_dtype_name(problem->out_type),
                      tri_layout_name(problem->b_layout), tri_layout_name(problem->c_layout), problem->m,
                      problem->n, problem->k);
}

bool tri_dense_is_key(const char *key) {
    return strncmp(key, PREFIX, strlen(PREFIX)) == 0;
}

static triage_layout layout_of(const char *word) {
    return strcmp(word, "col") == 0 ? TRIAGE_COL_MAJOR : TRIAGE_ROW_MAJOR;
}

void tri_dense_least_work(tri_least_work *out, const tri_gemm *gemm) {
    const double in = (double)tri_dtype_size(gemm->in_type), n = (double)gemm->n;
    *out = (tri_least_work){.dtype = gemm->in_type,
                            .flops = 2 * (double)gemm->m * (double)gemm->k * n,
                            .input_bytes = (double)gemm->m * (double)gemm->k * in + (double)gemm->k * n * in,
                            .output_bytes = (double)gemm->m * n * (double)tri_dtype_size(gemm->out_type)};
}

triage_status tri_dense_key_of(char **out, const tri_problem *problem) {
    tri_gemm gemm;
    *out = NULL;
    if (!problem->op->dense_twin)
        return TRIAGE_OK;
    const triage_status status =
        problem->op->dense_twin(&gemm, problem); /* filled in also where it is refused */
    return status == TRIAGE_OK || status == TRIAGE_E_UNSUPPORTED ? tri_dense_key(out, &gemm) : status;
}

triage_status tri_dense_parse(tri_gemm *out, const char *key) {
    char in[WORD], to[WORD], b[WORD], c[WORD], *again = NULL;
    tri_gemm problem = {0};
    triage_status status = TRIAGE_OK;
    if (sscanf(key, PREFIX "%15s %15s %15s %15s m=%" SCNd64 " n=%" SCNd64 " k=%" SCNd64, in, to, b, c,
               &problem.m, &problem.n, &problem.k) != 7 ||
        problem.m < 1 || problem.n < 1 || problem.k < 1 || problem.m > INT32_MAX || problem.n > INT32_MAX ||
        problem.k > INT32_MAX)
        return tri_fail(TRIAGE_E_DATA, "problem key: '%.200s' is no dense product", key);
    TRI_TRY(tri_dtype_parse(&problem.in_type, in));
    TRI_TRY(tri_dtype_parse(&problem.out_type, to));
    problem.b_layout = layout_of(b);
    problem.c_layout = layout_of(c);
    TRI_TRY(tri_dense_key(&again, &problem)); /* catches every other spelling */
    if (strcmp(again, key) != 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "problem key: '%.200s' is not written as '%s'", key, again));
    *out = problem;
done:
    free(again);
    return status == TRIAGE_E_INVALID ? TRIAGE_E_DATA : status; /* the fault is in what was imported */
}

const char *tri_dense_kernel(const char *backend) {
    return strncmp(backend, "cuda", 4) == 0 ? "cublas" : "openblas";
}

void tri_dense_source_hash(char out[TRI_HASH_SIZE], const char *kernel) {
    const char *call =
        strcmp(kernel, "cublas") == 0 ? "cublasGemmEx, CUBLAS_COMPUTE_32F, default algorithm" : "cblas_sgemm";
    const tri_piece pieces[] = {{"dense", 5}, {call, strlen(call)}};
    tri_hash_pieces(out, pieces, 2);
}
