/* A tensor argument of an operator, by the name that its caller knows: what it is, and whether that is allowed. */
#ifndef TRIAGE_TORCH_OPERAND_H
#define TRIAGE_TORCH_OPERAND_H

#include <stddef.h>
#include <triage.h>

#include "torch_abi.h"

typedef struct operand {
    const char *name;
    bool is_given;
    torch_tensor handle; /* owned; NULL: not given, or Python's own tensor (direct.c) */
    void *data;
    int64_t dim;
    const int64_t *sizes, *strides; /* the tensor's own */
    int32_t type, device_type, device_index;
} operand;

/* One line for the error that the operator ends with: kept for this thread, the first one stays. Returns false. */
bool fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with triage_last_error(), if status is one. */
bool succeeded(triage_status status);
const char *failure_text(void);
/* Clears it; to call when an operator begins. */
void forget_failure(void);
/* Throws it as torch's error: the last thing that a kernel does. */
_Noreturn void throw_failure(void);

/* Takes over a handle. False: torch has failed. */
bool operand_take(operand *out, const char *name, torch_tensor handle);
void operand_release(operand *of);

/* Makes a tensor and takes it as an operand. type: torch's number. */
bool operand_make(operand *out, const char *name, const operand *device_of, int32_t type, int64_t dim,
                  const int64_t *sizes, const int64_t *strides);

int64_t operand_count(const operand *of); /* of elements */
bool operand_is_contiguous(const operand *of);

/* triage's number for its type. False: it is none of those, and the failure says so. */
bool operand_dtype(triage_dtype *out, const operand *of);

/* Each says what is there and what is allowed if it does not hold. An operand that is not given passes. */
bool require_type(const operand *of, int32_t type, const char *why);
bool require_dim(const operand *of, int64_t least, int64_t most);
bool require_size(const operand *of, int64_t at, int64_t size, const char *why);
bool require_contiguous(const operand *of);
bool require_device(const operand *of, const operand *like);
bool require_aligned(const operand *of);

/* Which of the words a text is. allowed: all of them, for the failure. */
bool require_word(int *out, const char *name, const char *text, const char *const words[4],
                  const char *allowed);

const char *type_name(int32_t type);

#endif
