/* Statuses and this thread's message. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_SIZE 1024

static _Thread_local char message[MESSAGE_SIZE];

void tri_set_error(const char *format, ...) {
    char text[MESSAGE_SIZE]; /* apart from message, which may be among the arguments */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tri_text_tame(text); /* a value echoed from a file may hold anything */
    memcpy(message, text, strlen(text) + 1);
}

const char *triage_last_error(void) {
    return message;
}

const char *triage_status_name(triage_status status) {
    switch (status) {
    case TRIAGE_OK:
        return "ok";
    case TRIAGE_E_INVALID:
        return "invalid argument";
    case TRIAGE_E_DATA:
        return "malformed data";
    case TRIAGE_E_NO_DEVICE:
        return "no usable device";
    case TRIAGE_E_NOT_FOUND:
        return "not found";
    case TRIAGE_E_UNSUPPORTED:
        return "unsupported problem";
    case TRIAGE_E_COMPILE:
        return "compile error";
    case TRIAGE_E_WRONG:
        return "wrong result";
    case TRIAGE_E_DEVICE:
        return "device failure";
    case TRIAGE_E_IO:
        return "input/output error";
    case TRIAGE_E_DB:
        return "database error";
    case TRIAGE_E_MEMORY:
        return "out of memory";
    case TRIAGE_E_TIMEOUT:
        return "time limit passed";
    case TRIAGE_E_INTERRUPTED:
        return "interrupted";
    case TRIAGE_E_CAPTURE:
        return "a first call inside a graph capture";
    }
    return "unknown status";
}
