#include "emulate/modules.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct emulated_module {
    void *library;
    const char *(*launch)(const void *args, const unsigned *grid, unsigned threads, const unsigned *cluster,
                          unsigned smem_bytes, const void *const *memory, const size_t *memory_bytes,
                          size_t memory_count);
    size_t args_bytes;
};

static void *open_image(const void *image) {
    const Elf64_Ehdr *header = image;
    const size_t size =
        header->e_shoff + (size_t)header->e_shnum * header->e_shentsize; /* the table comes last */
    char path[64];
    const int file = memfd_create("kernel", MFD_CLOEXEC);
    if (file < 0 || write(file, image, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fprintf(stderr, "emulated: %s\n", dlerror());
    close(file);
    return library;
}

emulated_module *emulated_module_load(const void *image) {
    if (memcmp(image, ELFMAG, SELFMAG) != 0)
        return NULL;
    void *library = open_image(image);
    size_t (*args_bytes)(void);
    if (!library)
        return NULL;
    emulated_module *made = calloc(1, sizeof *made);
    made->library = library;
    *(void **)&made->launch = dlsym(library, "cta_launch_watched");
    *(void **)&args_bytes = dlsym(library, "cta_args_bytes");
    made->args_bytes = args_bytes();
    return made;
}

void emulated_module_unload(emulated_module *module) {
    if (!module)
        return;
    dlclose(module->library);
    free(module);
}

size_t emulated_module_args(const emulated_module *module) {
    return module->args_bytes;
}

bool emulated_module_launch(const emulated_module *module, const void *args, const unsigned grid[3],
                            unsigned threads, const unsigned cluster[3], unsigned smem_bytes,
                            const emulated_memory *memory) {
    const char *log = getenv("EMULATE_LOG");
    const char *found =
        module->launch(args, grid, threads, cluster, smem_bytes, memory->at, memory->bytes, memory->count);
    FILE *file = found && log ? fopen(log, "a") : NULL;
    if (found)
        fprintf(stderr, "emulated: %s\n", found);
    if (file) {
        fprintf(file, "%s\n", found);
        fclose(file);
    }
    return !found;
}
