/* Registers the operators with torch. */
#include "operators.h"

#include <stddef.h>
#include <triage.h>

#define MATRIX "Tensor row_ptr, Tensor col_idx, Tensor values, int cols"

#define QKV "Tensor q, Tensor k, Tensor v"
#define MASK "str mask='full', int left=-1, int right=-1"
#define OPTIONS                                                                                              \
    MASK ", float scale=0.0, float softcap=0.0, bool lse=False, Tensor? q_scale=None, "                      \
         "Tensor? k_scale=None, Tensor? v_scale=None"

static const struct {
    const char *name, *schema;
    torch_kernel *kernel;
} operators[] = {
    {"bsr_linear",
     "bsr_linear(Tensor x, " MATRIX ", Tensor? bias=None, str activation='none', Tensor? w_scale=None, "
     "Tensor? x_scale=None, ScalarType? out_dtype=None) -> Tensor",
     op_bsr_linear},
    {"bsr_mm",
     "bsr_mm(" MATRIX ", Tensor b, Tensor? bias=None, str activation='none', Tensor? a_scale=None, "
     "Tensor? b_scale=None, ScalarType? out_dtype=None) -> Tensor",
     op_bsr_mm},
    {"bsr_mm_out",
     "bsr_mm_out(" MATRIX
     ", Tensor b, Tensor? bias, str activation, Tensor? a_scale, Tensor? b_scale, float alpha, "
     "float beta, Tensor(a!) out) -> ()",
     op_bsr_mm_out},
    {"bsr_linear_transposed", "bsr_linear_transposed(Tensor grad, " MATRIX ") -> Tensor",
     op_bsr_linear_transposed},
    {"bsr_sddmm", "bsr_sddmm(Tensor grad, Tensor x, " MATRIX ") -> Tensor", op_bsr_sddmm},
    {"attention", "attention(" QKV ", " OPTIONS ") -> (Tensor, Tensor)", op_attention},
    {"attention_varlen",
     "attention_varlen(" QKV ", Tensor cu_q, Tensor cu_k, int max_q, int max_k, " OPTIONS
     ") -> (Tensor, Tensor)",
     op_attention_varlen},
    {"attention_kvcache",
     "attention_kvcache(" QKV ", Tensor len_k, Tensor? pages=None, int splits=0, " OPTIONS
     ") -> (Tensor, Tensor)",
     op_attention_kvcache},
    {"sparse_attention",
     "sparse_attention(" QKV
     ", Tensor? full_count, Tensor? full_cols, Tensor? partial_count, Tensor? partial_cols, "
     "Tensor? partial_bits, int block_q, int block_k, float density=0.1, " OPTIONS ") -> (Tensor, Tensor)",
     op_sparse_attention},
    {"select_blocks",
     "select_blocks(Tensor q, Tensor k, int block_q, int block_k, int top, bool per_kv_head=False, " MASK
     ") -> (Tensor, Tensor)",
     op_select_blocks},
    {"bsr_mm_choice",
     "bsr_mm_choice(" MATRIX
     ", Tensor b, Tensor? bias, str activation, Tensor? a_scale, Tensor? b_scale, Tensor out) "
     "-> str",
     op_bsr_mm_choice},
};

/* The libraries that hold the registrations stay for as long as the process: torch calls what is registered. */
static bool implement_on(const char *key) {
    torch_library library = NULL;
    if (torch.implement_library("triage", key, __FILE__, __LINE__, &library))
        return false;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (torch.implement(library, operators[i].name, operators[i].kernel, TORCH_ABI_VERSION))
            return false;
    return true;
}

TRIAGE_API const char *triage_torch_register(void);

/* Once, after torch is loaded. What went wrong, or NULL. */
const char *triage_torch_register(void) {
    torch_library library = NULL;
    const char *missing = torch_abi_load();
    if (missing)
        return missing;
    if (torch.define_library("triage", __FILE__, __LINE__, &library))
        return "a library named triage";
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (torch.define(library, operators[i].schema))
            return operators[i].name;
    return implement_on("CPU") && implement_on("CUDA") ? NULL : "an operator's registration";
}
