/* A CUDA kernel of the project's as a function of the CPU: its rendered text, compiled as C++ with tests/emulate. */
#ifndef TRIAGE_TESTS_SUPPORT_EMULATED_H
#define TRIAGE_TESTS_SUPPORT_EMULATED_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emulate/translate.h"
#include "render/render.h"
#include "support/scratch.h"

typedef struct emulated {
    void *library;
    const char *(*launch)(const void *args, const unsigned *grid, unsigned threads, const unsigned *cluster,
                          unsigned smem_bytes, const void *const *memory, const size_t *memory_bytes,
                          size_t memory_count);
} emulated;

/* Is there a C++ compiler, and was the emulation built? */
static inline bool emulated_compiler(void) {
    return system("c++ --version >/dev/null 2>&1") == 0 &&
           access(TRI_BINARY_DIR "/emulated/libemulated_core.a", R_OK) == 0;
}

/* False, and says why: the test is skipped. */
static inline bool emulated_runs_here(void) {
#ifdef __SANITIZE_ADDRESS__
    printf("skipped: a sanitizer does not follow the fibers\n");
    return false;
#endif
    const bool here = emulated_compiler();
    if (!here)
        printf("skipped: no C++ compiler\n");
    return here;
}

/* where: a scratch folder. Aborts the test program where it does not compile. */
static inline emulated emulated_open(const char *where, const tri_source *source) {
    static int made = 0;
    char name[32], file[40], path[512];
    emulated e = {0};
    char *text = emulate_translate(source->text);
    snprintf(name, sizeof name, "kernel%d", made++);
    snprintf(file, sizeof file, "%s.cu", name);
    scratch_write(where, file, text, 0600);
    free(text);
    if (emulate_compile(where, name, TRI_SOURCE_DIR "/templates") != 0) {
        snprintf(path, sizeof path, "cat %s/%s.log", where, name);
        (void)!system(path);
        abort();
    }
    snprintf(path, sizeof path, "%s/%s.so", where, name);
    e.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (e.library)
        *(void **)&e.launch = dlsym(e.library, "cta_launch_watched");
    if (!e.launch) {
        fprintf(stderr, "%s\n", dlerror());
        abort();
    }
    return e;
}

/* NULL, or what the watch found. */
static inline const char *emulated_found(const emulated *e, const void *args, unsigned columns, unsigned rows,
                                         unsigned block, unsigned smem_bytes) {
    const unsigned grid[3] = {columns, rows, 1}, cluster[3] = {1, 1, 1};
    return e->launch(args, grid, block, cluster, smem_bytes, NULL, NULL, 0);
}

static inline void emulated_launch(const emulated *e, const void *args, unsigned columns, unsigned rows,
                                   unsigned block, unsigned smem_bytes) {
    const char *found = emulated_found(e, args, columns, rows, block, smem_bytes);
    if (found)
        fail_msg("%s", found);
}

static inline void emulated_close(emulated *e) {
    dlclose(e->library);
}

#endif
