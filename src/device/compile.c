/* From a rendered source to an image: through the cache when there is one, else the target's compiler. */
#include "device/backend.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *const host_targets[] = {"x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64"};

/* "sm_" and a number, perhaps with the suffix of an architecture- or family-specific target. */
static bool is_cuda_target(const char *target) {
    if (strncmp(target, "sm_", 3) != 0 || !isdigit((unsigned char)target[3]))
        return false;
    size_t digits = strspn(target + 3, "0123456789");
    const char *suffix = target + 3 + digits;
    return digits <= 4 && (!*suffix || strcmp(suffix, "a") == 0 || strcmp(suffix, "f") == 0);
}

static triage_status backend_of_target(const tri_device_backend **out, const char *target) {
    if (is_cuda_target(target)) {
        *out = &tri_cuda_backend;
        return TRIAGE_OK;
    }
    *out = &tri_host_backend;
    for (size_t i = 0; i < sizeof host_targets / sizeof *host_targets; i++) {
        if (strcmp(target, host_targets[i]) == 0)
            return TRIAGE_OK;
    }
    return tri_fail(TRIAGE_E_INVALID,
                    "target '%.40s' is not sm_<number>, x86_64, x86_64-avx2, x86_64-avx512 or aarch64",
                    target);
}

triage_status tri_compiler_version(char *out, size_t size, const char *target) {
    const tri_device_backend *backend = NULL;
    triage_status status = backend_of_target(&backend, target);
    return status == TRIAGE_OK ? backend->compiler_version(out, size) : status;
}

/* Everything that can change the image. */
static triage_status image_key(char out[TRI_HASH_SIZE], const char *target, const char *compiler,
                               const tri_source *source) {
    triage_status status = TRIAGE_OK;
    size_t count = 5 + source->option_count + 2 * source->include_count, at = 0;
    tri_piece *pieces = NULL;
    TRI_TRY(tri_calloc(&pieces, count, sizeof *pieces));
    const char *fixed[] = {"image", target, compiler, source->name, source->text};
    for (size_t i = 0; i < 5; i++)
        pieces[at++] = (tri_piece){fixed[i], strlen(fixed[i])};
    for (size_t i = 0; i < source->option_count; i++)
        pieces[at++] = (tri_piece){source->options[i], strlen(source->options[i])};
    for (size_t i = 0; i < source->include_count; i++) {
        pieces[at++] = (tri_piece){source->includes[i].name, strlen(source->includes[i].name)};
        pieces[at++] = (tri_piece){source->includes[i].text, strlen(source->includes[i].text)};
    }
    tri_hash_pieces(out, pieces, count);
done:
    free(pieces);
    return status;
}

/* The image that the compiler made which is remembered; TRIAGE_E_NOT_FOUND: ask the compiler itself. */
static triage_status read_remembered(tri_image *out, const tri_device_backend *backend, const char *target,
                                     const tri_source *source, const char *cache_dir) {
    char file[4096], compiler[TRI_COMPILER_SIZE], key[TRI_HASH_SIZE];
    bool chosen = false;
    backend->compiler_file(file, sizeof file, &chosen);
    if (chosen || file[0] || !tri_compiler_version_read(compiler, sizeof compiler, cache_dir, backend->name))
        return TRIAGE_E_NOT_FOUND;
    triage_status status = image_key(key, target, compiler, source);
    return status == TRIAGE_OK ? tri_cache_read(out, cache_dir, key) : status;
}

static void remember_compiler(const tri_device_backend *backend, const char *compiler,
                              const char *cache_dir) {
    char file[4096];
    bool chosen = false;
    backend->compiler_file(file, sizeof file, &chosen);
    if (file[0] && !chosen)
        tri_compiler_version_write(cache_dir, backend->name, file, compiler);
}

triage_status tri_compile(tri_image *out, const char *target, const tri_source *source,
                          const char *cache_dir) {
    triage_status status = TRIAGE_OK;
    const tri_device_backend *backend = NULL;
    char compiler[TRI_COMPILER_SIZE], key[TRI_HASH_SIZE];
    *out = (tri_image){0};
    TRI_TRY(backend_of_target(&backend, target));
    if (cache_dir) {
        status = read_remembered(out, backend, target, source, cache_dir);
        if (status == TRIAGE_OK)
            goto done;
    }
    TRI_TRY(backend->compiler_version(compiler, sizeof compiler));
    TRI_TRY(image_key(key, target, compiler, source));
    if (cache_dir) {
        status = tri_cache_read(out, cache_dir, key);
        if (status == TRIAGE_OK || status == TRIAGE_E_NOT_FOUND) /* the folder is there, and safe */
            remember_compiler(backend, compiler, cache_dir);
        if (status == TRIAGE_OK)
            goto done;
    } /* whatever is wrong with the cache: it is not used */
    TRI_TRY(backend->compile(out, target, source));
    if (cache_dir)
        (void)tri_cache_write(out, cache_dir, key); /* a full disk costs a compile next time, no more */
done:
    if (status != TRIAGE_OK)
        tri_image_free(out);
    return status;
}

void tri_image_free(tri_image *image) {
    if (!image)
        return;
    free(image->data);
    free(image->log);
    *image = (tri_image){0};
}

void tri_source_free(tri_source *source) {
    if (!source)
        return;
    free(source->name);
    free(source->text);
    for (size_t i = 0; i < source->include_count; i++) {
        free((char *)source->includes[i].name);
        free((char *)source->includes[i].text);
    }
    free(source->includes);
    for (size_t i = 0; i < source->option_count; i++)
        free(source->options[i]);
    free(source->options);
    tri_source_free(source->known_as);
    free(source->known_as);
    *source = (tri_source){0};
}

void tri_log_first_line(char *out, size_t size, const char *log, const char *needle) {
    const char *hit = strstr(log, needle), *start = hit;
    out[0] = '\0';
    if (!hit)
        return;
    while (start > log && start[-1] != '\n')
        start--;
    snprintf(out, size, "%.*s", (int)strcspn(start, "\n"), start);
}
