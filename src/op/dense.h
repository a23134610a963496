/* The dense product of a problem's shape, types and layouts, by the device's own library: what a user of a
 * sparse kernel should know the time of. It is evidence like any other, under a key of its own, since it
 * depends on no block, pattern or epilogue:
 *
 *     dense_gemm f16 f16 row row m=8192 n=8192 k=8192
 *
 * No kernel of a space has that key, so a dense row can win no ranking of another problem, and versions
 * that do not know it take it for a problem nobody asks for. */
#ifndef TRIAGE_OP_DENSE_H
#define TRIAGE_OP_DENSE_H

#include "op/op.h"

/* *out owned by the caller. */
triage_status tri_dense_key(char **out, const tri_gemm *gemm);
bool tri_dense_is_key(const char *key);
/* The inverse; refuses anything that tri_dense_key would not write (TRIAGE_E_DATA). */
triage_status tri_dense_parse(tri_gemm *out, const char *key);
void tri_dense_least_work(tri_least_work *out, const tri_gemm *gemm);
/* The key of the product that does the same as a problem, its epilogue apart; *out is NULL where there is none. */
triage_status tri_dense_key_of(char **out, const tri_problem *problem);

/* "cublas" on a cuda device, "openblas" on the host: kernel and configuration of such a row. backend: as in
 * tri_device_info, or the beginning of a device's key. */
const char *tri_dense_kernel(const char *backend);
/* Stands for the source: which function is called and how. Another way of calling gets another text. */
void tri_dense_source_hash(char out[TRI_HASH_SIZE], const char *kernel);

#endif
