/* What the stand-in for NVRTC (libnvrtc.c) counts, and what a test may set. */
#ifndef TRIAGE_TESTS_FAKE_NVRTC_H
#define TRIAGE_TESTS_FAKE_NVRTC_H

#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>

typedef struct fake_nvrtc {
    atomic_long compiles;
    /* Called by each compile, in its thread; name is "fake cubin of " and the template's. May wait. Not 0: an nvrtcResult that
     * the compile fails with, 6 for an error in the text. */
    int (*on_compile)(void *user, const char *name, const char *text);
    void *user;
} fake_nvrtc;

__attribute__((
    visibility("default"))) extern fake_nvrtc fake_nvrtc_state; /* the library's; a test asks dlsym */

static inline fake_nvrtc *fake_nvrtc_load(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return library ? dlsym(library, "fake_nvrtc_state") : NULL;
}

#endif
