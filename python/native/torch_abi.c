#include "torch_abi.h"

#include <dlfcn.h>
#include <string.h>

torch_abi torch;

static const struct {
    const char *name;
    size_t at;
} symbols[] = {
#define TRI_TORCH(field, prototype, symbol) {#symbol, __builtin_offsetof(torch_abi, field)},
#include "torch_abi.def"
#undef TRI_TORCH
};

/* POSIX lets a function's address pass through a void *, ISO C does not: so by its bytes. */
static bool resolve(void *to, void *library, const char *name) {
    void *found = dlsym(library, name);
    memcpy(to, &found, sizeof found);
    return found != NULL;
}

const char *torch_abi_load(void) {
    void *library = dlopen("libtorch_cpu.so", RTLD_NOW | RTLD_NOLOAD);
    void *cuda = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD);
    if (!library)
        return "libtorch_cpu.so, which `import torch` loads,";
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        if (!resolve((char *)&torch + symbols[i].at, library, symbols[i].name))
            return symbols[i].name;
    if (!resolve(&torch.delete_cell, library, "_ZdlPv"))
        return "operator delete";
    if (cuda)
        (void)resolve(&torch.cuda_stream, cuda, "aoti_torch_get_current_cuda_stream");
    return NULL;
}
