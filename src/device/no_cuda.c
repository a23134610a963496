/* The cuda device of a library that was built without the CUDA Toolkit's headers. */
#include "device/backend.h"

#ifndef TRI_HAVE_CUDA

static triage_status refuse(void) {
    return tri_fail(TRIAGE_E_NO_DEVICE, "cuda: this library was built without CUDA");
}

static triage_status set_tools(const char *path) {
    (void)path;
    return refuse();
}

static triage_status compiler_version(char *out, size_t size) {
    (void)out, (void)size;
    return refuse();
}

static void compiler_file(char *out, size_t size, bool *chosen) {
    *chosen = false;
    snprintf(out, size, "%s", "");
}

static triage_status compile(tri_image *out, const char *target, const tri_source *source) {
    (void)out, (void)target, (void)source;
    return refuse();
}

static triage_status count(int *out) {
    (void)out;
    return refuse();
}

static triage_status open_device(tri_device **out, int ordinal, bool use_current) {
    (void)out, (void)ordinal, (void)use_current;
    return refuse();
}

/* No device opens, so the rest is never called. */
const tri_backend tri_cuda_backend = {
    .name = "cuda",
    .set_tools = set_tools,
    .compiler_version = compiler_version,
    .compiler_file = compiler_file,
    .compile = compile,
    .count = count,
    .open = open_device,
};

#endif
