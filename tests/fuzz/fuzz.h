/* What the fuzzing targets share. Each fuzz_NAME.c has one LLVMFuzzerTestOneInput, which libFuzzer calls with inputs of its own
 * (tests/fuzz.sh), and replay.c with those of a corpus. A target aborts on whatever must not be. */
#ifndef TRIAGE_TESTS_FUZZ_FUZZ_H
#define TRIAGE_TESTS_FUZZ_FUZZ_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not so: %s (last message: %s)\n", __FILE__, __LINE__, #condition,        \
                    triage_last_error());                                                                    \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* A refusal of bad input: its status is one of these, and its message is one line. */
static inline void must_refuse(triage_status status) {
    MUST(status == TRIAGE_E_DATA || status == TRIAGE_E_UNSUPPORTED);
    MUST(triage_last_error()[0] && !strchr(triage_last_error(), '\n'));
}

/* The path of a file in memory that holds the input; one for the whole process. *fd may be NULL. */
static inline const char *file_of(int *fd, const uint8_t *data, size_t size) {
    static int file = -1;
    static char path[64];
    if (file < 0)
        file = memfd_create("triage-fuzz", MFD_CLOEXEC);
    MUST(file >= 0 && ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (fd)
        *fd = file;
    return path;
}

/* The end of a socket from which the whole input can be read, and then its end. */
static inline int socket_of(const uint8_t *data, size_t size) {
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    const ssize_t sent = send(pair[0], data, size, MSG_NOSIGNAL); /* what does not fit is cut off */
    MUST(sent >= 0 || size == 0);
    close(pair[0]);
    MUST(fcntl(pair[1], F_SETFL, 0) == 0);
    return pair[1];
}

/* A text without NUL, owned by the caller. */
static inline char *text_of(const uint8_t *data, size_t size) {
    char *text = strndup(size ? (const char *)data : "", size);
    MUST(text);
    return text;
}

#endif
