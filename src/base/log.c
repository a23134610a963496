/* One line to the caller's callback. */
#include "base/base.h"

#include <stdarg.h>

void tri_log_line(const tri_log *log, triage_log_level level, const char *format, ...) {
    if (!log || !log->fn)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (unsigned char *c = (unsigned char *)line; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            *c = ' ';
    log->fn(log->user, level, line);
}
