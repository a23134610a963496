/* libtorch's stable C ABI, declared here and found at run time in the torch that this process has loaded: nothing of
 * torch is needed to build, and one library serves every torch from 2.10 on. */
#ifndef TRIAGE_TORCH_ABI_H
#define TRIAGE_TORCH_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t torch_error; /* 0: done */
typedef struct torch_tensor_object *torch_tensor;
typedef struct torch_library_object *torch_library;
typedef struct torch_string_object *torch_string;
typedef struct torch_guard_object *torch_guard;

/* A cell of a kernel's stack: a number's bits, a handle, or for an optional argument the address of such a cell, which
 * C++'s new made and its reader deletes; 0: not given. */
typedef uint64_t torch_cell;

/* stack: the arguments, whose handles the kernel owns; then its results, which the caller owns. */
typedef void torch_kernel(torch_cell *stack, uint64_t arguments, uint64_t results);

typedef struct torch_abi {
#define TRI_TORCH(field, prototype, symbol) __typeof__(prototype) *field;
#include "torch_abi.def"
#undef TRI_TORCH
    void (*delete_cell)(void *);                  /* C++'s operator delete */
    torch_error (*cuda_stream)(int32_t, void **); /* NULL: this torch has no CUDA */
} torch_abi;

/* The ABI that the declarations are of, torch 2.10.0, for implement(). */
#define TORCH_ABI_VERSION (UINT64_C(2) << 56 | UINT64_C(10) << 48)

extern torch_abi torch;

/* Fills `torch`, once torch is loaded. Returns the name of what is missing, or NULL. */
const char *torch_abi_load(void);

#endif
