/* A libnvrtc.so.13 for tests: it compiles nothing and answers with FAKE_NVRTC_RESULT (a number; default 0), and its
 * log is FAKE_NVRTC_LOG. Its cubin names the source. fake_nvrtc_state (fake_nvrtc.h) counts, and may hold a compile. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef BUILTINS /* another build of it is the second library, which has nothing that is asked for */
#include "device/cuda/abi.h"
#include "support/fake_cuda/fake_nvrtc.h"

fake_nvrtc fake_nvrtc_state;

typedef struct fake_program {
    char cubin[160];
    const char *text;
} fake_program;

static const char *log_text(void) {
    const char *text = getenv("FAKE_NVRTC_LOG");
    return text ? text : "";
}

static nvrtcResult f_version(int *major, int *minor) {
    *major = 13;
    *minor = 7;
    return NVRTC_SUCCESS;
}

static const char *f_error_string(nvrtcResult result) {
    return result == NVRTC_ERROR_OUT_OF_MEMORY ? "out of memory" : "another failure";
}

static nvrtcResult f_create(nvrtcProgram *out, const char *text, const char *name, int header_count,
                            const char *const *headers, const char *const *header_names) {
    (void)header_count, (void)headers, (void)header_names;
    fake_program *made = calloc(1, sizeof *made);
    if (!made)
        return NVRTC_ERROR_OUT_OF_MEMORY;
    snprintf(made->cubin, sizeof made->cubin, "fake cubin of %s", name);
    made->text = text; /* the caller's, who keeps it while it compiles */
    *out = (nvrtcProgram)(void *)made;
    return NVRTC_SUCCESS;
}

static nvrtcResult f_destroy(nvrtcProgram *out) {
    free((void *)*out);
    *out = NULL;
    return NVRTC_SUCCESS;
}

static nvrtcResult f_compile(nvrtcProgram compiled, int option_count, const char *const *options) {
    (void)option_count, (void)options;
    const char *result = getenv("FAKE_NVRTC_RESULT");
    const fake_program *program = (const void *)compiled;
    atomic_fetch_add(&fake_nvrtc_state.compiles, 1);
    const int failure =
        fake_nvrtc_state.on_compile
            ? fake_nvrtc_state.on_compile(fake_nvrtc_state.user, program->cubin, program->text)
            : 0;
    if (failure)
        return (nvrtcResult)failure;
    return (nvrtcResult)(result ? atoi(result) : 0);
}

static nvrtcResult f_log_size(nvrtcProgram compiled, size_t *size) {
    (void)compiled;
    *size = strlen(log_text()) + 1;
    return NVRTC_SUCCESS;
}

static nvrtcResult f_log(nvrtcProgram compiled, char *log) {
    (void)compiled;
    strcpy(log, log_text());
    return NVRTC_SUCCESS;
}

static nvrtcResult f_cubin_size(nvrtcProgram compiled, size_t *size) {
    *size = strlen(((const fake_program *)(const void *)compiled)->cubin) + 1;
    return NVRTC_SUCCESS;
}

static nvrtcResult f_cubin(nvrtcProgram compiled, char *cubin) {
    strcpy(cubin, ((const fake_program *)(const void *)compiled)->cubin);
    return NVRTC_SUCCESS;
}

#define TRI_SYMBOL(field, prototype, symbol)                                                                 \
    extern __typeof__(f_##field) exported_##field __asm__(#symbol)                                           \
        __attribute__((alias("f_" #field), visibility("default")));
#include "device/cuda/nvrtc.def"
#undef TRI_SYMBOL
#else
extern const int builtins;
const int builtins = 1;
#endif
