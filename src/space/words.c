#include "space/words.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define VALUE_MAX 64
#define TEMPLATE_ROOT "templates/"

bool tri_is_word(const char *text, size_t size) {
    return size > 0 && size < TRI_WORD_SIZE && strspn(text, LOWER DIGITS "_") == size;
}

bool tri_is_name(const char *text, size_t size) {
    return tri_is_word(text, size) && islower((unsigned char)text[0]);
}

/* ---- targets and templates ---- */

int tri_sm_of(const char *target, const char **suffix) {
    if (strncmp(target, "sm_", 3) != 0 || !isdigit((unsigned char)target[3]))
        return 0;
    char *end = NULL;
    long number = strtol(target + 3, &end, 10);
    *suffix = end;
    return number >= 10 && number <= 999 ? (int)number : 0;
}

bool tri_is_target(const char *text) {
    const char *suffix = "?";
    bool sm = tri_sm_of(text, &suffix) &&
              (!*suffix || !strcmp(suffix, "a") || !strcmp(suffix, "f") || !strcmp(suffix, "+"));
    return sm || !strcmp(text, "host");
}

bool tri_is_template(const char *text) {
    const size_t size = strlen(text);
    if (size > 200 || strncmp(text, TEMPLATE_ROOT, strlen(TEMPLATE_ROOT)) != 0 ||
        strspn(text, LOWER UPPER DIGITS "_-./") != size)
        return false;
    for (size_t i = strlen(TEMPLATE_ROOT); i <= size; i++)
        if (text[i - 1] == '/' && (text[i] == '.' || text[i] == '/' || text[i] == '\0'))
            return false;
    return true;
}

bool tri_is_part(const char *text) {
    const size_t size = strlen(text);
    if (size < 5 || size > 200 || strcmp(text + size - 4, ".lua") != 0 || text[0] == '/')
        return false;
    return strspn(text, LOWER DIGITS "_/") == size - 4 && !strstr(text, "//") && text[size - 5] != '/';
}

/* ---- values ---- */

/* How much of text is a C name. */
static size_t name_span(const char *text) {
    return isdigit((unsigned char)text[0]) ? 0 : strspn(text, LOWER UPPER DIGITS "_");
}

/* The end of ".5e-3f" after the first digits; NULL: it is none. */
static const char *skip_fraction(const char *at) {
    size_t digits = strspn(at + 1, DIGITS);
    if (digits == 0)
        return NULL;
    at += 1 + digits;
    if (*at == 'e' || *at == 'E') {
        at += at[1] == '+' || at[1] == '-' ? 2 : 1;
        digits = strspn(at, DIGITS);
        if (digits == 0)
            return NULL;
        at += digits;
    }
    return at + (*at == 'f' || *at == 'F');
}

static bool is_number(const char *text) {
    const bool hex = text[0] == '0' && text[1] == 'x';
    const char *at = text + (hex ? 2 : text[0] == '-');
    const size_t digits = strspn(at, hex ? DIGITS "abcdefABCDEF" : DIGITS);
    if (digits == 0)
        return false;
    at += digits;
    if (*at == '.' && !hex) {
        at = skip_fraction(at);
        return at && !*at;
    }
    return strspn(at, "uUlL") == strlen(at);
}

bool tri_is_value(const char *text) {
    const size_t size = strlen(text);
    return size > 0 && size <= VALUE_MAX && (name_span(text) == size || is_number(text));
}

/* ---- compiler options ---- */

/* Nothing here names a file or a program, or changes what a product is compared with. */
static const char *const host_options[] = {"-O1",
                                           "-O2",
                                           "-O3",
                                           "-ffast-math",
                                           "-fno-math-errno",
                                           "-funroll-loops",
                                           "-fno-tree-vectorize",
                                           "-mprefer-vector-width=128",
                                           "-mprefer-vector-width=256",
                                           "-mprefer-vector-width=512",
                                           NULL};
static const char *const cuda_options[] = {"--use_fast_math",
                                           "--fmad=true",
                                           "--fmad=false",
                                           "--ftz=true",
                                           "--ftz=false",
                                           "--prec-div=true",
                                           "--prec-div=false",
                                           "--prec-sqrt=true",
                                           "--prec-sqrt=false",
                                           "--extra-device-vectorization",
                                           NULL};

static bool is_define(const char *text) {
    if (strncmp(text, "-D", 2) != 0)
        return false;
    const size_t name = name_span(text + 2);
    const char *rest = text + 2 + name;
    return name > 0 && name <= VALUE_MAX && (!*rest || (*rest == '=' && tri_is_value(rest + 1)));
}

static bool is_register_limit(const char *text) {
    static const char head[] = "--maxrregcount=";
    if (strncmp(text, head, sizeof head - 1) != 0)
        return false;
    const char *number = text + sizeof head - 1;
    const size_t size = strlen(number);
    return size >= 1 && size <= 3 && strspn(number, DIGITS) == size;
}

bool tri_is_option(const char *backend, const char *text) {
    const bool host = !strcmp(backend, "host");
    if (is_define(text) || (!host && is_register_limit(text)))
        return true;
    for (const char *const *option = host ? host_options : cuda_options; *option; option++)
        if (!strcmp(*option, text))
            return true;
    return false;
}

const char *tri_option_rule(const char *backend) {
    return strcmp(backend, "host") == 0
               ? "-DNAME, -DNAME=value, -O1 to -O3, -ffast-math, -fno-math-errno, -funroll-loops, "
                 "-fno-tree-vectorize, -mprefer-vector-width=128|256|512"
               : "-DNAME, -DNAME=value, --maxrregcount=N, --use_fast_math, --fmad=, --ftz=, --prec-div= and "
                 "--prec-sqrt=true|false, --extra-device-vectorization";
}
