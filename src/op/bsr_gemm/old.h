#define TRI_OLD_PROBLEM                                                                                      \
    struct {                                                                                                 \
        triage_dtype in_type, out_type;                                                                      \
        bool scale_per_block;                                                                                \
        triage_layout b_layout, c_layout;                                                                    \
        triage_activation activation;                                                                        \
        bool bias;                                                                                           \
        int64_t m, n, k, ldb, ldc;                                                                           \
        int32_t block_m, block_k;                                                                            \
        int64_t nnzb;                                                                                        \
        tri_fingerprint fingerprint;                                                                         \
    };
#include "pattern/pattern.h"
extern const struct tri_operation tri_op_bsr_gemm;
#define TRI_OP_BSR_GEMM (&tri_op_bsr_gemm)
