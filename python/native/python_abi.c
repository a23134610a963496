#include "python_abi.h"

#include <dlfcn.h>
#include <string.h>

python_abi python;

static const struct {
    const char *name;
    size_t at;
} symbols[] = {
#define TRI_PYTHON(field, prototype, symbol) {#symbol, __builtin_offsetof(python_abi, field)},
#include "python_abi.def"
#undef TRI_PYTHON
    {"_Py_NoneStruct", __builtin_offsetof(python_abi, none)},
    {"_Py_FalseStruct", __builtin_offsetof(python_abi, no)},
    {"_Py_TrueStruct", __builtin_offsetof(python_abi, yes)},
    {"_Py_NotImplementedStruct", __builtin_offsetof(python_abi, not_implemented)},
};

bool python_abi_load(void) {
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(RTLD_DEFAULT, symbols[i].name);
        if (!found)
            return false;
        memcpy((char *)&python + symbols[i].at, &found,
               sizeof found); /* a function's address: by its bytes */
    }
    return true;
}
