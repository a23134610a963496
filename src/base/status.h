/* The one error idiom: a status plus a thread-local one-line message.
 *
 * The message is set where the failure is first understood, by tri_fail(), and passed up unchanged:
 *
 *     TRI_TRY(tri_file_read(&text, &size, path));   // jumps to done: with status set
 */
#ifndef TRIAGE_BASE_STATUS_H
#define TRIAGE_BASE_STATUS_H

#include "triage.h"

/* Sets this thread's message: one line; control characters become spaces. */
void tri_set_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sets the message and is the status: in the open, so that an analyser sees which status it is. */
#define tri_fail(status, ...) (tri_set_error(__VA_ARGS__), tri_status(status))
static inline triage_status tri_status(triage_status status) {
    return status;
}

/* Expects `triage_status status` and a label `done` in the function. */
#define TRI_TRY(expr)                                                                                        \
    do {                                                                                                     \
        status = (expr);                                                                                     \
        if (status != TRIAGE_OK)                                                                             \
            goto done;                                                                                       \
    } while (0)

#endif
