/* Growing texts, formatted copies, and numbers read from text. */
#include "base/base.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- what misleads ---- */

size_t tri_control_size(const char *text) {
    const unsigned char *c = (const unsigned char *)text;
    if (c[0] < 0x20 || c[0] == 0x7F)
        return 1;
    if (c[0] == 0xC2 && c[1] >= 0x80 && c[1] <= 0x9F)
        return 2;
    if (c[0] == 0xE2 &&
        ((c[1] == 0x80 && c[2] >= 0xAA && c[2] <= 0xAE) || (c[1] == 0x81 && c[2] >= 0xA6 && c[2] <= 0xA9)))
        return 3;
    return 0;
}

void tri_text_tame(char *text) {
    for (size_t size; *text; text += size ? size : 1) {
        size = tri_control_size(text);
        memset(text, ' ', size);
    }
}

/* Room for `more` bytes and the NUL. */
static triage_status reserve(tri_text *text, size_t more) {
    if (more >= SIZE_MAX / 2 - text->size)
        return tri_fail(TRIAGE_E_MEMORY, "a text of more than %zu bytes", SIZE_MAX / 2);
    size_t need = text->size + more + 1;
    if (need <= text->capacity)
        return TRIAGE_OK;
    size_t capacity = text->capacity < 64 ? 64 : text->capacity;
    while (capacity < need)
        capacity *= 2;
    char *data = realloc(text->data, capacity);
    if (!data)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory: a text of %zu bytes", capacity);
    text->data = data;
    text->capacity = capacity;
    return TRIAGE_OK;
}

triage_status tri_text_append(tri_text *text, const char *bytes, size_t size) {
    triage_status status = reserve(text, size);
    if (status != TRIAGE_OK)
        return status;
    if (size)
        memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = '\0';
    return TRIAGE_OK;
}

static triage_status format_to(char **out, const char *format, va_list args) {
    if (vasprintf(out, format, args) < 0) {
        *out = NULL;
        return tri_fail(TRIAGE_E_MEMORY, "out of memory while formatting a text");
    }
    return TRIAGE_OK;
}

triage_status tri_text_format(tri_text *text, const char *format, ...) {
    char *piece;
    va_list args;
    va_start(args, format);
    triage_status status = format_to(&piece, format, args);
    va_end(args);
    if (status == TRIAGE_OK)
        status = tri_text_append(text, piece, strlen(piece));
    free(piece);
    return status;
}

void tri_text_free(tri_text *text) {
    if (!text)
        return;
    free(text->data);
    *text = (tri_text)TRI_TEXT_INIT;
}

triage_status tri_format(char **out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    triage_status status = format_to(out, format, args);
    va_end(args);
    return status;
}

triage_status tri_strdup(char **out, const char *text) {
    *out = strdup(text);
    return *out ? TRIAGE_OK : tri_fail(TRIAGE_E_MEMORY, "out of memory: a text of %zu bytes", strlen(text));
}

/* strtoll and strtod skip blanks and take "+", "0x", "inf" and "nan": none of these is a plain number. */
static bool starts_plainly(const char *text) {
    if (*text == '-')
        text++;
    return isdigit((unsigned char)*text) || (*text == '.' && isdigit((unsigned char)text[1]));
}

triage_status tri_parse_int64(int64_t *out, const char *text, int64_t low, int64_t high, const char *what) {
    char *end = NULL;
    errno = 0;
    long long value = starts_plainly(text) ? strtoll(text, &end, 10) : 0;
    if (!end || end == text || *end)
        return tri_fail(TRIAGE_E_INVALID, "%s: '%s' is not a whole number; allowed %" PRId64 " .. %" PRId64,
                        what, text, low, high);
    if (errno == ERANGE || value < low || value > high)
        return tri_fail(TRIAGE_E_INVALID, "%s: %s is out of range; allowed %" PRId64 " .. %" PRId64, what,
                        text, low, high);
    *out = value;
    return TRIAGE_OK;
}

/* A point is a point, whatever locale the application has set. */
static triage_status c_strtod(double *out, char **end, const char *text) {
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory while reading a number");
    *out = strtod_l(text, end, c);
    freelocale(c);
    return TRIAGE_OK;
}

triage_status tri_parse_double(double *out, const char *text, double low, double high, const char *what) {
    char *end = NULL;
    double value = 0;
    if (starts_plainly(text) && !strpbrk(text, "xX")) {
        triage_status status = c_strtod(&value, &end, text);
        if (status != TRIAGE_OK)
            return status;
    }
    if (!end || end == text || *end)
        return tri_fail(TRIAGE_E_INVALID, "%s: '%s' is not a number; allowed %g .. %g", what, text, low,
                        high);
    if (!isfinite(value) || value < low || value > high)
        return tri_fail(TRIAGE_E_INVALID, "%s: %s is out of range; allowed %g .. %g", what, text, low, high);
    *out = value;
    return TRIAGE_OK;
}
