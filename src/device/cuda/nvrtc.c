/* NVRTC: CUDA text to a cubin, for any architecture, with or without a GPU. */
#include "device/cuda/driver.h"
#include "device/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATIC_SMEM_MAX 49152 /* bytes, of every architecture */

typedef struct nvrtc {
#define TRI_SYMBOL(field, prototype, symbol) __typeof__(prototype) *field;
#include "device/cuda/nvrtc.def"
#undef TRI_SYMBOL
} nvrtc;

static const tri_cuda_symbol symbols[] = {
#define TRI_SYMBOL(field, prototype, symbol) {#symbol, offsetof(nvrtc, field)},
#include "device/cuda/nvrtc.def"
#undef TRI_SYMBOL
};

/* ---- finding it ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char chosen[PATH_MAX]; /* a toolkit's folder, by tri_nvrtc_set_tools; "" searches */
static void *library;
static nvrtc table;
static char headers[PATH_MAX]; /* the folder of cuda_fp16.h */

static const char *const files[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", NULL};

static void *open_in(const char *folder) {
    static const char *const below[] = {"", "lib64/", "lib/", "targets/x86_64-linux/lib/",
                                        "targets/sbsa-linux/lib/"};
    char path[PATH_MAX];
    for (size_t i = 0; files[i]; i++) {
        for (size_t j = 0; j < sizeof below / sizeof *below; j++) {
            const int size = snprintf(path, sizeof path, "%s/%s%s", folder, below[j], files[i]);
            void *found = size < (int)sizeof path && access(path, R_OK) == 0
                              ? dlopen(path, RTLD_NOW | RTLD_LOCAL)
                              : NULL;
            if (found)
                return found;
        }
    }
    return NULL;
}

static void *open_by_loader(void) {
    void *found = NULL;
    for (size_t i = 0; files[i] && !found; i++)
        found = dlopen(files[i], RTLD_NOW | RTLD_LOCAL);
    return found;
}

/* The chosen toolkit only; else the loader's own search, the usual link, the newest versioned folder, pip's folders. */
static void *search(void) {
    glob_t versions = {0};
    if (chosen[0])
        return open_in(chosen);
    void *found = open_by_loader();
    if (!found)
        found = open_in("/usr/local/cuda");
    if (!found && glob("/usr/local/cuda-*", 0, NULL, &versions) == 0) {
        for (size_t i = versions.gl_pathc; i > 0 && !found; i--)
            found = open_in(versions.gl_pathv[i - 1]);
    }
    globfree(&versions);
    if (!found)
        (void)tri_library_open(&found, files, NULL);
    return found;
}

/* The folder of the library that was loaded, without links. */
static bool find_folder(char real[PATH_MAX]) {
    Dl_info info;
    if (!dladdr((void *)(uintptr_t)table.version, &info) || !info.dli_fname ||
        !realpath(info.dli_fname, real))
        return false;
    *strrchr(real, '/') = '\0';
    return true;
}

/* NVRTC asks the loader for its second library by name, and the loader does not look beside the first one. A library
 * that is loaded already answers to its name. */
static void load_builtins(const char *folder) {
    char pattern[PATH_MAX + 64];
    glob_t found = {0};
    snprintf(pattern, sizeof pattern, "%s/libnvrtc-builtins.so.*", folder);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            (void)dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
    }
    globfree(&found);
}

static bool take_headers(const char *folder, const char *below) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s%s/cuda_fp16.h", folder, below);
    if (access(path, R_OK) != 0)
        return false;
    snprintf(headers, sizeof headers, "%.*s", (int)(strlen(path) - strlen("/cuda_fp16.h")), path);
    return true;
}

/* The headers of the same toolkit: beside the library in its several layouts (a toolkit, a toolkit's
 * targets folder, Debian's, pip's), so that compiler and headers never come from two releases. */
static bool find_headers(const char *folder) {
    static const char *const below[] = {"/../include", "/../../include", "/../../cuda_runtime/include",
                                        "/../../../include"};
    if (chosen[0] && take_headers(chosen, "/include"))
        return true;
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        if (take_headers(folder, below[i]))
            return true;
    }
    return take_headers("/usr/local/cuda", "/include") || take_headers("/usr", "/include");
}

static triage_status load(void) {
    char folder[PATH_MAX] = "";
    if (library)
        return TRIAGE_OK;
    void *found = search();
    if (!found)
        return tri_fail(TRIAGE_E_NO_DEVICE, "no NVRTC: libnvrtc.so is not in %s",
                        chosen[0] ? chosen
                                  : "the loader's path, /usr/local/cuda, /usr/local/cuda-* or pip's nvidia "
                                    "folders (pip install nvidia-cuda-nvrtc)");
    const char *missing = tri_cuda_resolve(&table, found, symbols, sizeof symbols / sizeof *symbols);
    if (missing) {
        dlclose(found);
        return tri_fail(TRIAGE_E_NO_DEVICE, "this NVRTC has no %s: CUDA 12.0 or later is needed", missing);
    }
    if (!find_folder(folder) || !find_headers(folder)) {
        dlclose(found);
        return tri_fail(TRIAGE_E_NO_DEVICE,
                        "no CUDA headers (cuda_fp16.h) beside the NVRTC in %.400s (pip install "
                        "nvidia-cuda-runtime)",
                        folder);
    }
    load_builtins(folder);
    library = found;
    return TRIAGE_OK;
}

/* Copies, so that compiles need no lock. headers_path: PATH_MAX bytes or NULL. */
static triage_status get(nvrtc *out, char *headers_path) {
    pthread_mutex_lock(&lock);
    triage_status status = load();
    if (status == TRIAGE_OK) {
        *out = table;
        if (headers_path)
            memcpy(headers_path, headers, sizeof headers);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

triage_status tri_nvrtc_set_tools(const char *path) {
    if (path && (path[0] != '/' || strlen(path) >= sizeof chosen || access(path, R_OK | X_OK) != 0))
        return tri_fail(TRIAGE_E_INVALID, "CUDA toolkit '%.200s' is not an absolute path of a folder", path);
    pthread_mutex_lock(&lock);
    snprintf(chosen, sizeof chosen, "%s", path ? path : "");
    library = NULL; /* stays mapped: a compile in another thread may be inside it */
    pthread_mutex_unlock(&lock);
    return TRIAGE_OK;
}

/* What nvrtcVersion leaves out: in a toolkit the file's name has the patch. Hashed once: it is a hundred megabytes. */
static void add_identity(char *out, size_t size) {
    static char file[PATH_MAX], identity[TRI_COMPILER_SIZE];
    char real[PATH_MAX] = "";
    Dl_info info;
    pthread_mutex_lock(&lock);
    if (dladdr((void *)(uintptr_t)table.version, &info) && info.dli_fname && realpath(info.dli_fname, real) &&
        strcmp(real, file) != 0) {
        snprintf(identity, sizeof identity, "%s", out);
        tri_compiler_identify(identity, sizeof identity, strrchr(real, '/') + 1, real);
        memcpy(file, real, sizeof file);
    }
    if (real[0])
        snprintf(out, size, "%s", identity);
    pthread_mutex_unlock(&lock);
}

triage_status tri_nvrtc_version(char *out, size_t size) {
    nvrtc rtc = {0};
    int major = 0, minor = 0;
    triage_status status = get(&rtc, NULL);
    if (status != TRIAGE_OK)
        return status;
    nvrtcResult result = rtc.version(&major, &minor);
    if (result != NVRTC_SUCCESS)
        return tri_fail(TRIAGE_E_DEVICE, "nvrtcVersion: %s", rtc.error_string(result));
    snprintf(out, size, "nvrtc %d.%d", major, minor);
    add_identity(out, size);
    return TRIAGE_OK;
}

void tri_nvrtc_file(char *out, size_t size, bool *is_chosen) {
    Dl_info info = {0};
    pthread_mutex_lock(&lock);
    *is_chosen = chosen[0] != '\0';
    const bool found = library && dladdr((void *)(uintptr_t)table.version, &info) && info.dli_fname;
    snprintf(out, size, "%s", found ? info.dli_fname : "");
    pthread_mutex_unlock(&lock);
}

/* ---- the log ---- */

/* The number that ends right before `unit` in the line at p; -1 if the line has none. */
static int32_t number_before(const char *p, const char *unit) {
    const char *end = p + strcspn(p, "\n"), *hit = strstr(p, unit);
    if (!hit || hit >= end)
        return -1;
    const char *digit = hit;
    while (digit > p && digit[-1] >= '0' && digit[-1] <= '9')
        digit--;
    return digit < hit ? (int32_t)strtol(digit, NULL, 10) : -1;
}

static void take_max(int32_t *to, int32_t value) {
    if (value > *to)
        *to = value;
}

void tri_nvrtc_read_log(tri_image *image) {
    image->registers = image->spill_bytes = -1;
    image->static_smem_bytes = 0; /* ptxas is silent about none */
    for (const char *line = image->log; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        int32_t stores = number_before(line, " bytes spill stores");
        int32_t loads = number_before(line, " bytes spill loads");
        take_max(&image->registers, number_before(line, " registers"));
        take_max(&image->static_smem_bytes, number_before(line, " bytes smem"));
        if (stores >= 0 && loads >= 0)
            image->spill_bytes = (image->spill_bytes < 0 ? 0 : image->spill_bytes) + stores + loads;
    }
}

/* ptxas: wgmma serialised (C7510 and its reasons), register count capped or ignored. The kernel is right
 * but is not the one that was asked for. */
void tri_nvrtc_bad_warning(char *out, size_t size, const char *log) {
    static const char *const codes[] = {"C7504", "C7508", "C7509", "C7510", "C7511"};
    out[0] = '\0';
    for (size_t i = 0; i < sizeof codes / sizeof *codes && !out[0]; i++)
        tri_log_first_line(out, size, log, codes[i]);
}

/* ---- compile ---- */

static triage_status check(const nvrtc *rtc, nvrtcResult result, const char *call) {
    if (result == NVRTC_SUCCESS)
        return TRIAGE_OK;
    return tri_fail(result == NVRTC_ERROR_OUT_OF_MEMORY ? TRIAGE_E_MEMORY : TRIAGE_E_DEVICE, "%s: %s", call,
                    rtc->error_string(result));
}

static triage_status create(const nvrtc *rtc, nvrtcProgram *program, const tri_source *source) {
    triage_status status = TRIAGE_OK;
    const char **texts = NULL, **names = NULL;
    TRI_TRY(tri_calloc(&texts, source->include_count + 1, sizeof *texts));
    TRI_TRY(tri_calloc(&names, source->include_count + 1, sizeof *names));
    for (size_t i = 0; i < source->include_count; i++) {
        texts[i] = source->includes[i].text;
        names[i] = source->includes[i].name;
    }
    TRI_TRY(check(rtc,
                  rtc->create(program, source->text, source->name, (int)source->include_count, texts, names),
                  "nvrtcCreateProgram"));
done:
    free(texts);
    free(names);
    return status;
}

static triage_status run(const nvrtc *rtc, nvrtcResult *result, nvrtcProgram program, const char *target,
                         const char *headers_path, const tri_source *source) {
    triage_status status = TRIAGE_OK;
    const char **options = NULL;
    char architecture[64], include[PATH_MAX + 2];
    size_t count = 0;
    TRI_TRY(tri_calloc(&options, 5 + source->option_count, sizeof *options));
    snprintf(architecture, sizeof architecture, "--gpu-architecture=%s", target);
    snprintf(include, sizeof include, "-I%s", headers_path);
    options[count++] = architecture;
    options[count++] = "--std=c++17";
    options[count++] = "-default-device";
    options[count++] = "--ptxas-options=-v"; /* registers and spills, into the log */
    if (headers_path[0])
        options[count++] = include;
    for (size_t i = 0; i < source->option_count; i++)
        options[count++] = source->options[i];
    *result = rtc->compile(program, (int)count, options);
done:
    free(options);
    return status;
}

static triage_status read_log(const nvrtc *rtc, tri_image *out, nvrtcProgram program) {
    triage_status status = TRIAGE_OK;
    size_t size = 0;
    TRI_TRY(check(rtc, rtc->log_size(program, &size), "nvrtcGetProgramLogSize"));
    TRI_TRY(tri_calloc(&out->log, size + 1, 1));
    TRI_TRY(check(rtc, rtc->log(program, out->log), "nvrtcGetProgramLog"));
    tri_nvrtc_read_log(out);
done:
    return status;
}

/* Only what compiler and assembler say of the text is the candidate's fault. */
static triage_status judge(const nvrtc *rtc, nvrtcResult result, const tri_image *image, const char *name) {
    char line[400];
    if (result == NVRTC_SUCCESS) {
        tri_nvrtc_bad_warning(line, sizeof line, image->log);
        return line[0] ? tri_fail(TRIAGE_E_COMPILE, "%s: %s", name, line) : TRIAGE_OK;
    }
    if (result == NVRTC_ERROR_COMPILATION && tri_log_blames_source(line, sizeof line, image->log))
        return tri_fail(TRIAGE_E_COMPILE, "%s: %s", name, line);
    tri_log_first_line(line, sizeof line, image->log, "error");
    if (!line[0])
        tri_log_first_line(line, sizeof line, image->log, "fatal");
    if (!line[0] && result == NVRTC_ERROR_COMPILATION && image->static_smem_bytes > STATIC_SMEM_MAX)
        return tri_fail(TRIAGE_E_COMPILE, "%s: %d bytes of static shared memory: at most %d", name,
                        image->static_smem_bytes, STATIC_SMEM_MAX); /* ptxas gives the figure, and no error */
    if (!line[0])
        return check(rtc, result, "nvrtcCompileProgram");
    return tri_fail(TRIAGE_E_DEVICE, "nvrtcCompileProgram: %s: %s", rtc->error_string(result), line);
}

static triage_status read_cubin(const nvrtc *rtc, tri_image *out, nvrtcProgram program) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(check(rtc, rtc->cubin_size(program, &out->size), "nvrtcGetCUBINSize"));
    TRI_TRY(tri_calloc(&out->data, out->size, 1));
    TRI_TRY(check(rtc, rtc->cubin(program, out->data), "nvrtcGetCUBIN"));
done:
    return status;
}

triage_status tri_nvrtc_compile(tri_image *out, const char *target, const tri_source *source) {
    triage_status status = TRIAGE_OK;
    nvrtc rtc = {0};
    nvrtcProgram program = NULL;
    nvrtcResult result = NVRTC_SUCCESS;
    char headers_path[PATH_MAX];
    TRI_TRY(get(&rtc, headers_path));
    TRI_TRY(create(&rtc, &program, source));
    TRI_TRY(run(&rtc, &result, program, target, headers_path, source));
    TRI_TRY(read_log(&rtc, out, program));
    TRI_TRY(judge(&rtc, result, out, source->name));
    TRI_TRY(read_cubin(&rtc, out, program));
done:
    if (program)
        rtc.destroy(&program);
    return status;
}
