/* One line to the caller's callback, at once or when no lock is held any more. */
#include "base/base.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 1024

typedef struct kept_line {
    struct kept_line *next;
    tri_log log;
    triage_log_level level;
    char text[LINE_SIZE];
} kept_line;

static _Thread_local int keeping; /* pairs of keep and tell that are open */
static _Thread_local kept_line *kept, **kept_end;

void tri_log_keep(void) {
    if (keeping++ == 0)
        kept_end = &kept;
}

/* For want of memory a line is lost: whoever holds a lock must not call out. */
static void keep(const tri_log *log, triage_log_level level, const char *text) {
    kept_line *line = calloc(1, sizeof *line);
    if (!line)
        return;
    line->log = *log;
    line->level = level;
    memcpy(line->text, text, strlen(text) + 1);
    *kept_end = line;
    kept_end = &line->next;
}

void tri_log_tell(void) {
    char error[LINE_SIZE];
    kept_line *line = kept;
    if (--keeping > 0 || !line)
        return;
    kept = NULL; /* a callback may make a call that keeps lines of its own */
    snprintf(error, sizeof error, "%s", triage_last_error());
    while (line) {
        kept_line *next = line->next;
        line->log.fn(line->log.user, line->level, line->text);
        free(line);
        line = next;
    }
    tri_set_error("%s", error);
}

void tri_log_line(const tri_log *log, triage_log_level level, const char *format, ...) {
    if (!log || !log->fn)
        return;
    char line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    tri_text_tame(line);
    if (keeping)
        keep(log, level, line);
    else
        log->fn(log->user, level, line);
}
