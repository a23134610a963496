/* A kernel's text as cta.cpp takes it. */
#ifndef TRIAGE_EMULATE_TRANSLATE_H
#define TRIAGE_EMULATE_TRANSLATE_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `extern __shared__ __align__(16) float room[];` becomes a macro: each CTA of a cluster has its own. Returns where to go on. */
static inline const char *emulate_shared(char *out, size_t size, const char *at) {
    const char *end = strstr(at, "[]"), *name = end, *type = at + strlen("extern __shared__");
    if (!end)
        abort();
    while (name > at && (isalnum((unsigned char)name[-1]) || name[-1] == '_'))
        name--;
    while (*type == ' ')
        type++;
    if (strncmp(type, "__align__", 9) == 0)
        type = strchr(type, ')') + 1;
    snprintf(out, size, "\n#define %.*s ((%.*s *)cta::own_room())\n", (int)(end - name), name,
             (int)(name - type), type);
    return strchr(end, ';') + 1;
}

/* The caller's. */
static inline char *emulate_translate(const char *text) {
    const size_t size = strlen(text) + 4096;
    char *out = malloc(size);
    const char *shared;
    size_t length = 0;
    /* their consumers' code is fetched by a step on whatever is there: see decode_tma.cu, decode_once.cu */
    if (strstr(text, "kWarm = true") || strstr(text, "kWarm = 1"))
        length += (size_t)snprintf(out, size, "#define CTA_READS_ANYTHING\n");
    if (strstr(text, "kShadow = true") || strstr(text, "kShadow = 1"))
        length += (size_t)snprintf(out + length, size - length, "#define CTA_HAS_SHADOW\n");
    while ((shared = strstr(text, "extern __shared__"))) {
        length += (size_t)snprintf(out + length, size - length, "%.*s", (int)(shared - text), text);
        text = emulate_shared(out + length, size - length, shared);
        length += strlen(out + length);
    }
    snprintf(out + length, size - length, "%s", text);
    return out;
}

/* Compiles where/name.cu, a translated text, to where/name.so; what is said goes to where/name.log. given: a folder with
 * headers of its own, or that of the templates. 0: done. */
static inline int emulate_compile(const char *where, const char *name, const char *given) {
    char command[4096];
    snprintf(command, sizeof command,
             "cd '%s' && { c++ -std=c++17 -O1 -g1 -w -Wno-psabi -fPIC -fsanitize=thread -D_FORTIFY_SOURCE=0 "
             "-DKERNEL='\"%s/%s.cu\"' -I" TRI_SOURCE_DIR "/tests/emulate -I'%s' -c " TRI_SOURCE_DIR
             "/tests/emulate/cta.cpp -o %s.o && c++ -shared %s.o " TRI_BINARY_DIR
             "/emulated/libemulated_core.a -o %s.so; } >%s.log 2>&1",
             where, where, name, given, name, name, name, name);
    return system(command);
}

#endif
