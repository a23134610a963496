/* Kernels that libnvrtc.c has compiled for the CPU, as the stand-in for the driver loads and launches them. */
#ifndef TRIAGE_EMULATE_MODULES_H
#define TRIAGE_EMULATE_MODULES_H

#include <stdbool.h>
#include <stddef.h>

/* Global memory that there is. */
typedef struct emulated_memory {
    const void *at[4096];
    size_t bytes[4096], count;
} emulated_memory;

typedef struct emulated_module emulated_module;
/* NULL: the image is none of them. */
emulated_module *emulated_module_load(const void *image);
void emulated_module_unload(emulated_module *module);
size_t emulated_module_args(const emulated_module *module); /* bytes of the kernel's argument */
/* False: something was found, which stderr has, and the file EMULATE_LOG, if that is set. */
bool emulated_module_launch(const emulated_module *module, const void *args, const unsigned grid[3],
                            unsigned threads, const unsigned cluster[3], unsigned smem_bytes,
                            const emulated_memory *memory);

#endif
