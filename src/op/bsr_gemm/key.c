/* The canonical text of a problem, and back. */
#include "op/bsr_gemm/bsr_gemm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LIMIT 512

#define E4M3_BLOCK "e4m3-block" /* in_type's word where each block of A has a scale */
#define TRANSPOSED "transposed"

triage_status tri_bsr_key(char **out, const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    *out = NULL;
    triage_status status = tri_bsr_check_identity(of);
    if (status != TRIAGE_OK)
        return status;
    return tri_format(out,
                      "bsr_gemm %s %s %s %s %s %s%s m=%" PRId64 " n=%" PRId64 " k=%" PRId64 " block=%" PRId32
                      "x%" PRId32 " density=%" PRId32 " imbalance=%" PRId32 " overlap=%" PRId32,
                      problem->scale_per_block ? E4M3_BLOCK : tri_dtype_name(problem->in_type),
                      tri_dtype_name(problem->out_type), tri_layout_name(problem->b_layout),
                      tri_layout_name(problem->c_layout), tri_activation_name(problem->activation),
                      problem->bias ? "bias" : "nobias", problem->a_transposed ? " " TRANSPOSED : "",
                      problem->m, problem->n, problem->k, problem->block_m, problem->block_k,
                      problem->fingerprint.density_e4, problem->fingerprint.imbalance_e1,
                      problem->fingerprint.overlap_e1);
}

/* Cuts the next word off *rest, up to the separator or the end. */
static const char *next_word(char **rest, char separator) {
    char *word = *rest, *end = strchr(word, separator);
    if (end)
        *end = '\0';
    *rest = end ? end + 1 : word + strlen(word);
    return word;
}

static triage_status expect(const char *word, const char *expected) {
    if (strcmp(word, expected) == 0)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DATA, "problem key: '%s' where '%s' belongs", word, expected);
}

static triage_status parse_in_type(tri_bsr_problem *problem, const char *word) {
    problem->scale_per_block = strcmp(word, E4M3_BLOCK) == 0;
    return tri_dtype_parse(&problem->in_type, problem->scale_per_block ? "e4m3" : word);
}

static triage_status parse_layout(triage_layout *out, const char *word) {
    *out = strcmp(word, "col") == 0 ? TRIAGE_COL_MAJOR : TRIAGE_ROW_MAJOR;
    return expect(word, tri_layout_name(*out));
}

static triage_status parse_activation(triage_activation *out, const char *word) {
    return tri_activation_find(out, word)
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_DATA, "problem key: '%s' is not an activation", word);
}

static triage_status parse_field(int64_t *out, char **rest, const char *name) {
    triage_status status = expect(next_word(rest, '='), name);
    return status == TRIAGE_OK ? tri_parse_int64(out, next_word(rest, ' '), 0, INT32_MAX, name) : status;
}

static triage_status parse_words(tri_bsr_problem *problem, char **rest) {
    triage_status status;
    TRI_TRY(expect(next_word(rest, ' '), "bsr_gemm"));
    TRI_TRY(parse_in_type(problem, next_word(rest, ' ')));
    TRI_TRY(tri_dtype_parse(&problem->out_type, next_word(rest, ' ')));
    TRI_TRY(parse_layout(&problem->b_layout, next_word(rest, ' ')));
    TRI_TRY(parse_layout(&problem->c_layout, next_word(rest, ' ')));
    TRI_TRY(parse_activation(&problem->activation, next_word(rest, ' ')));
    problem->bias = strncmp(*rest, "bias", 4) == 0;
    TRI_TRY(expect(next_word(rest, ' '), problem->bias ? "bias" : "nobias"));
    problem->a_transposed = strncmp(*rest, TRANSPOSED " ", sizeof TRANSPOSED) == 0;
    if (problem->a_transposed)
        next_word(rest, ' ');
done:
    return status;
}

static triage_status parse_numbers(tri_bsr_problem *problem, char **rest) {
    triage_status status;
    int64_t block_m, block_k, density, imbalance, overlap;
    TRI_TRY(parse_field(&problem->m, rest, "m"));
    TRI_TRY(parse_field(&problem->n, rest, "n"));
    TRI_TRY(parse_field(&problem->k, rest, "k"));
    TRI_TRY(expect(next_word(rest, '='), "block"));
    TRI_TRY(tri_parse_int64(&block_m, next_word(rest, 'x'), 1, 1024, "block"));
    TRI_TRY(tri_parse_int64(&block_k, next_word(rest, ' '), 1, 1024, "block"));
    TRI_TRY(parse_field(&density, rest, "density"));
    TRI_TRY(parse_field(&imbalance, rest, "imbalance"));
    TRI_TRY(parse_field(&overlap, rest, "overlap"));
    problem->block_m = (int32_t)block_m;
    problem->block_k = (int32_t)block_k;
    problem->fingerprint = (tri_fingerprint){(int32_t)density, (int32_t)imbalance, (int32_t)overlap};
done:
    return status;
}

/* The key holds no leading dimensions and no count: packed, and the count that the density stands for. */
static void complete(tri_bsr_problem *problem) {
    problem->ldb = tri_bsr_packed_ldb(problem);
    problem->ldc = tri_bsr_packed_ldc(problem);
    double nnzb = (double)tri_bsr_blocks(problem) * problem->fingerprint.density_e4 / 1e4;
    problem->nnzb = nnzb < INT32_MAX ? (int64_t)(nnzb + 0.5) : INT32_MAX;
}

/* The one check that catches every other spelling (leading zeros, more blanks, a tail): write it again. */
static triage_status check_canonical(const tri_problem *problem, const char *key) {
    char *again;
    triage_status status = tri_bsr_key(&again, problem);
    if (status == TRIAGE_OK && strcmp(again, key) != 0)
        status = tri_fail(TRIAGE_E_DATA, "problem key: '%s' is not written as '%s'", key, again);
    free(again);
    return status;
}

triage_status tri_bsr_parse(tri_problem *out, const char *key) {
    char text[KEY_LIMIT], *rest = text;
    triage_status status;
    tri_problem problem = {.op = &tri_op_bsr_gemm};
    tri_bsr_problem *own = tri_bsr_edit(&problem);
    size_t size = strlen(key);
    if (size >= sizeof text)
        return tri_fail(TRIAGE_E_DATA, "problem key: longer than %d bytes", KEY_LIMIT - 1);
    memcpy(text, key, size + 1);
    TRI_TRY(parse_words(own, &rest));
    TRI_TRY(parse_numbers(own, &rest));
    TRI_TRY(check_canonical(&problem, key));
    if (!tri_fingerprint_is_quantised(&own->fingerprint))
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "problem key: '%s' has a fingerprint that no pattern gives", key));
    complete(own);
    *out = problem;
done:
    return status;
}
