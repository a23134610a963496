/* Whose fault is it that a compiler failed? The source's, where a line of the log names a place in the text, or the
 * assembler says what it does not take. All else (a full disk, no memory, a killed part of the compiler, a compiler that
 * does not know an option) is the machine's. When in doubt it is the machine's: that costs another try, and the
 * opposite a candidate for ever. */
#include "device/backend.h"

#include <ctype.h>
#include <string.h>

/* What the system says of itself (strerror), and compilers of what they met there. */
static const char *const machine_words[] = {
    "No space left on device",
    "Disk quota exceeded",
    "Cannot allocate memory",
    "out of memory",
    "memory exhausted",
    "Memory allocation failure",
    "Input/output error",
    "Read-only file system",
    "Too many open files",
    "Resource temporarily",
    "File too large",
    "Stale file handle",
    "No such file or directory",
    "internal compiler error",
    "internal error",
    "error writing",
    "error closing",
    "Killed",
};

static bool names_machine(const char *text) {
    for (size_t i = 0; i < sizeof machine_words / sizeof *machine_words; i++)
        if (strcasestr(text, machine_words[i]))
            return true;
    return false;
}

/* "kernel.c:12:3: " or "kernel.cu(12): " before `end`. */
static bool names_place(const char *line, const char *end) {
    for (const char *c = line + 1; c + 1 < end; c++)
        if ((*c == ':' || *c == '(') && !isspace((unsigned char)c[-1]) && isdigit((unsigned char)c[1]))
            return true;
    return false;
}

static bool is_error_in_text(const char *line) {
    const char *error = strcasestr(line, "error");
    if (strstr(line, "undefined reference to") || strstr(line, "ptxas fatal"))
        return true;
    return error && (names_place(line, error) || strstr(line, "ptxas") || strstr(line, "nvlink"));
}

bool tri_log_blames_source(char *line, size_t size, const char *log) {
    line[0] = '\0';
    if (names_machine(log))
        return false;
    for (const char *at = log; *at; at += *at == '\n') {
        const size_t length = strcspn(at, "\n");
        snprintf(line, size, "%.*s", (int)length, at);
        if (is_error_in_text(line))
            return true;
        at += length;
    }
    line[0] = '\0';
    return false;
}

/* A warning that counts as an error (nvrtc.c) is ptxas's, and has no such word. */
bool tri_compile_reason_blames_source(const char *reason) {
    return !names_machine(reason) &&
           (is_error_in_text(reason) || strstr(reason, "ptxas") || strstr(reason, "of static shared memory"));
}
