/* A libnvrtc.so.13 that compiles kernels for the CPU (cta.cpp): its cubins are shared objects, which the stand-in for the driver
 * runs. With LD_LIBRARY_PATH=<build>/emulated any program of the house finds a CUDA device that the CPU plays. */
#include "device/cuda/abi.h"
#include "emulate/translate.h"

#include <sys/stat.h>
#include <unistd.h>

typedef struct program {
    char folder[64];
    char *log, *image;
    size_t image_bytes;
} program;

static nvrtcResult f_version(int *major, int *minor) {
    *major = 13;
    *minor = 99;
    return NVRTC_SUCCESS;
}

static const char *f_error_string(nvrtcResult result) {
    return result == NVRTC_ERROR_COMPILATION ? "compilation error" : "another failure";
}

static char *read_whole(const char *folder, const char *name, size_t *bytes) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    char *data = NULL;
    if (!file)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        *bytes = (size_t)ftell(file);
        rewind(file);
        data = calloc(1, *bytes + 1);
        if (data && fread(data, 1, *bytes, file) != *bytes)
            *bytes = 0;
    }
    fclose(file);
    return data;
}

/* name may have folders. */
static void write_whole(const char *folder, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0700);
    }
    FILE *file = fopen(path, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
}

/* Headers, too, have shared memory. */
static void write_translated(const char *folder, const char *name, const char *text) {
    char *translated = emulate_translate(text);
    write_whole(folder, name, translated);
    free(translated);
}

static nvrtcResult f_create(nvrtcProgram *out, const char *text, const char *name, int header_count,
                            const char *const *headers, const char *const *header_names) {
    (void)name;
    program *made = calloc(1, sizeof *made);
    char given[80];
    if (!made)
        return NVRTC_ERROR_OUT_OF_MEMORY;
    strcpy(made->folder, "/tmp/emulated.XXXXXX");
    if (!mkdtemp(made->folder))
        abort();
    write_translated(made->folder, "kernel.cu", text);
    snprintf(given, sizeof given, "%s/given", made->folder);
    mkdir(given, 0700);
    for (int i = 0; i < header_count; i++)
        write_translated(given, header_names[i], headers[i]);
    *out = (nvrtcProgram)(void *)made;
    return NVRTC_SUCCESS;
}

static nvrtcResult f_destroy(nvrtcProgram *out) {
    program *made = (void *)*out;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", made->folder);
    if (!getenv("EMULATE_KEEP")) /* for addr2line on what was found */
        (void)!system(command);
    free(made->log);
    free(made->image);
    free(made);
    *out = NULL;
    return NVRTC_SUCCESS;
}

static nvrtcResult f_compile(nvrtcProgram compiled, int option_count, const char *const *options) {
    program *made = (void *)compiled;
    char given[80];
    size_t size;
    (void)option_count, (void)options;
    snprintf(given, sizeof given, "%s/given", made->folder);
    const int failed = emulate_compile(made->folder, "kernel", given);
    made->log = read_whole(made->folder, "kernel.log", &size);
    if (failed)
        return NVRTC_ERROR_COMPILATION;
    made->image = read_whole(made->folder, "kernel.so", &made->image_bytes);
    return made->image ? NVRTC_SUCCESS : NVRTC_ERROR_OUT_OF_MEMORY;
}

static nvrtcResult f_log_size(nvrtcProgram compiled, size_t *size) {
    const program *made = (const void *)compiled;
    *size = (made->log ? strlen(made->log) : 0) + 1;
    return NVRTC_SUCCESS;
}

static nvrtcResult f_log(nvrtcProgram compiled, char *log) {
    const program *made = (const void *)compiled;
    strcpy(log, made->log ? made->log : "");
    return NVRTC_SUCCESS;
}

static nvrtcResult f_cubin_size(nvrtcProgram compiled, size_t *size) {
    *size = ((const program *)(const void *)compiled)->image_bytes;
    return NVRTC_SUCCESS;
}

static nvrtcResult f_cubin(nvrtcProgram compiled, char *cubin) {
    const program *made = (const void *)compiled;
    memcpy(cubin, made->image, made->image_bytes);
    return NVRTC_SUCCESS;
}

#define TRI_SYMBOL(field, prototype, symbol)                                                                 \
    extern __typeof__(f_##field) exported_##field __asm__(#symbol)                                           \
        __attribute__((alias("f_" #field), visibility("default")));
#include "device/cuda/nvrtc.def"
#undef TRI_SYMBOL
