/* A CUDA kernel of the project's as a function of the CPU: its rendered text, compiled as C++ with tests/emulate. */
#ifndef TRIAGE_TESTS_SUPPORT_EMULATED_H
#define TRIAGE_TESTS_SUPPORT_EMULATED_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "render/render.h"
#include "support/scratch.h"

typedef struct emulated {
    void *library;
    void (*launch)(const void *args, unsigned ctas, unsigned block, unsigned smem_bytes);
    void (*launch_2d)(const void *args, unsigned columns, unsigned rows, unsigned block, unsigned smem_bytes);
} emulated;

static inline bool emulated_compiler(void) {
    return system("c++ --version >/dev/null 2>&1") == 0;
}

/* folder: a scratch one. args: the C type of the argument. Aborts the test program where it does not compile. */
static inline emulated emulated_open(const char *folder, const tri_source *source, const char *args) {
    static int made = 0;
    char name[32], command[2048];
    emulated e = {0};
    char *text = strdup(source->text), *shared;
    while ((shared = strstr(text, "extern __shared__"))) /* here it is an array like any other */
        memcpy(shared, "extern           ", 17);
    snprintf(name, sizeof name, "kernel%d.cu", made++);
    scratch_write(folder, name, text, 0600);
    free(text);
    snprintf(command, sizeof command,
             "c++ -std=c++17 -O1 -w -Wno-psabi -fPIC -shared -D_FORTIFY_SOURCE=0 -DKERNEL='\"%s/%s\"' "
             "-DARGS=%s -I%s/tests/emulate "
             "-I%s/templates %s/tests/emulate/cta.cpp -o %s/%s.so",
             folder, name, args, TRI_SOURCE_DIR, TRI_SOURCE_DIR, TRI_SOURCE_DIR, folder, name);
    if (system(command) != 0)
        abort();
    snprintf(command, sizeof command, "%s/%s.so", folder, name);
    e.library = dlopen(command, RTLD_NOW | RTLD_LOCAL);
    if (e.library)
        *(void **)&e.launch = dlsym(e.library, "cta_launch");
    if (e.launch)
        *(void **)&e.launch_2d = dlsym(e.library, "cta_launch_2d");
    if (!e.launch_2d) {
        fprintf(stderr, "%s\n", dlerror());
        abort();
    }
    return e;
}

static inline void emulated_close(emulated *e) {
    dlclose(e->library);
}

#endif
