/* The canonical text of a problem, and back. */
#include "op/bsr_sddmm/bsr_sddmm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BYTES 16 /* of a key's words, their end included */

triage_status tri_sddmm_key(char **out, const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    *out = NULL;
    triage_status status = tri_sddmm_check_identity(of);
    if (status != TRIAGE_OK)
        return status;
    return tri_format(out,
                      "bsr_sddmm %s %s %s %s m=%" PRId64 " n=%" PRId64 " k=%" PRId64 " block=%" PRId32
                      "x%" PRId32 " density=%" PRId32 " imbalance=%" PRId32 " overlap=%" PRId32,
                      tri_dtype_name(p->in_type), tri_dtype_name(p->out_type), tri_layout_name(p->y_layout),
                      tri_layout_name(p->x_layout), p->m, p->n, p->k, p->block_m, p->block_k,
                      p->fingerprint.density_e4, p->fingerprint.imbalance_e1, p->fingerprint.overlap_e1);
}

static triage_layout layout_of(const char *word) {
    return strcmp(word, "col") == 0 ? TRIAGE_COL_MAJOR : TRIAGE_ROW_MAJOR;
}

/* Numbers of at most ten digits, which no int64_t overflows; what else is wrong, another spelling among it, shows when the
 * key is written again. */
static triage_status read_fields(tri_sddmm_problem *p, const char *key) {
    char in[WORD_BYTES], out[WORD_BYTES], y[WORD_BYTES], x[WORD_BYTES];
    int64_t v[8];
    const int found =
        sscanf(key,
               "bsr_sddmm %15s %15s %15s %15s m=%10" SCNd64 " n=%10" SCNd64 " k=%10" SCNd64 " block=%5" SCNd64
               "x%5" SCNd64 " density=%5" SCNd64 " imbalance=%10" SCNd64 " overlap=%5" SCNd64,
               in, out, y, x, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
    triage_status status = TRIAGE_OK;
    if (found != 12 || v[6] > INT32_MAX)
        return tri_fail(TRIAGE_E_DATA, "problem key: '%.200s' is no bsr_sddmm", key);
    TRI_TRY(tri_dtype_parse(&p->in_type, in));
    TRI_TRY(tri_dtype_parse(&p->out_type, out));
    p->y_layout = layout_of(y);
    p->x_layout = layout_of(x);
    p->m = v[0], p->n = v[1], p->k = v[2];
    p->block_m = (int32_t)v[3], p->block_k = (int32_t)v[4];
    p->fingerprint = (tri_fingerprint){(int32_t)v[5], (int32_t)v[6], (int32_t)v[7]};
done:
    return status;
}

/* The key holds no leading dimensions and no count: packed, and the count that the density stands for. */
static void complete(tri_sddmm_problem *p) {
    const double nnzb = (double)tri_sddmm_blocks(p) * p->fingerprint.density_e4 / 1e4;
    p->ldy = tri_sddmm_packed_ldy(p);
    p->ldx = tri_sddmm_packed_ldx(p);
    p->nnzb = nnzb >= INT32_MAX ? INT32_MAX : nnzb < 1 ? 1 : (int64_t)(nnzb + 0.5);
}

triage_status tri_sddmm_parse(tri_problem *out, const char *key) {
    tri_problem problem = {.op = &tri_op_bsr_sddmm};
    tri_sddmm_problem *own = tri_sddmm_edit(&problem);
    char *again = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(read_fields(own, key));
    TRI_TRY(tri_sddmm_key(&again, &problem));
    if (strcmp(again, key) != 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "problem key: '%.200s' is not written as '%s'", key, again));
    if (!tri_fingerprint_is_quantised(&own->fingerprint))
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "problem key: '%s' has a fingerprint that no pattern gives", key));
    complete(own);
    *out = problem;
done:
    free(again);
    return status;
}
