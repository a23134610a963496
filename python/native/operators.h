/* The operators, and the two ways to call one: by torch's dispatcher (operators.c), and by Python itself where nothing of
 * torch has a say (direct.c). */
#ifndef TRIAGE_TORCH_OPERATORS_H
#define TRIAGE_TORCH_OPERATORS_H

#include "operand.h"

#define MOST_ARGUMENTS 24
#define MOST_RESULTS 2

typedef enum argument_kind {
    TENSOR,
    OPTIONAL_TENSOR,
    INTEGER,
    NUMBER,
    TRUTH,
    TEXT,
    OPTIONAL_TYPE
} argument_kind;

typedef struct parameter {
    argument_kind kind;
    char name[20];
} parameter;

typedef struct argument {
    operand tensor;  /* is_given: there is one */
    int64_t integer; /* TRUTH, too; OPTIONAL_TYPE: torch's number, or -1 */
    double number;
    const char *text;
} argument;

typedef struct call {
    argument in[MOST_ARGUMENTS];
    torch_tensor results
        [MOST_RESULTS]; /* the caller's once the operator is done; directly: NULL for what is not asked */
    torch_string text;  /* the result where that is a text */
    bool is_direct;     /* Python's: the tensors have no handles */
    bool wants_torch;   /* failed for want of one: to be called by torch */
} call;

/* False: failed, and the failure says why. */
typedef bool operator_body(call *of);

typedef struct operator_entry {
    const char *name, *schema;
    operator_body *body;
    torch_kernel *kernel;
    int count, results; /* how many parameters and tensors that it gives */
    parameter parameters[MOST_ARGUMENTS];
} operator_entry;

/* The one of that name, after it is registered; NULL: none. */
const operator_entry *operator_named(const char *name);

#define TRI_OPERATOR(name, schema) operator_body op_##name;
#include "operators.def"
#undef TRI_OPERATOR

#endif
