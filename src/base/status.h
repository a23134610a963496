/* The one error idiom: a status plus a thread-local one-line message.
 *
 * The message is set where the failure is first understood, by tri_fail(), and passed up unchanged:
 *
 *     TRI_TRY(tri_file_read(&text, &size, path));   // jumps to done: with status set
 */
#ifndef TRIAGE_BASE_STATUS_H
#define TRIAGE_BASE_STATUS_H

#include "triage.h"

/* Sets this thread's message (one line; control characters become spaces) and returns status. */
triage_status tri_fail(triage_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Expects `triage_status status` and a label `done` in the function. */
#define TRI_TRY(expr)                                                                                        \
    do {                                                                                                     \
        status = (expr);                                                                                     \
        if (status != TRIAGE_OK)                                                                             \
            goto done;                                                                                       \
    } while (0)

#endif
