/* CPython's stable ABI, declared here and found in the process: no header of Python is needed to build, and one library serves
 * every Python from 3.10 on. */
#ifndef TRIAGE_TORCH_PYTHON_ABI_H
#define TRIAGE_TORCH_PYTHON_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct _object py_object;
typedef struct _ts py_thread;
typedef ptrdiff_t py_size;

typedef py_object *py_function(py_object *self, py_object *const *arguments, py_size count);

/* PyMethodDef; the function of flags PY_FAST. */
typedef struct py_method {
    const char *name;
    py_function *function;
    int flags;
    const char *documentation;
} py_method;

#define PY_FAST 0x0080 /* METH_FASTCALL */

typedef struct python_abi {
#define TRI_PYTHON(field, prototype, symbol) __typeof__(prototype) *field;
#include "python_abi.def"
#undef TRI_PYTHON
    py_object *none, *no, *yes, *not_implemented; /* the objects None, False, True, NotImplemented */
} python_abi;

extern python_abi python;

/* Fills `python`. False: something is missing. */
bool python_abi_load(void);

#endif
