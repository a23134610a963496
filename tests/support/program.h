/* A program of ours from outside: in a folder and a home of its own, what it says and how it ends. */
#ifndef TRIAGE_TESTS_SUPPORT_PROGRAM_H
#define TRIAGE_TESTS_SUPPORT_PROGRAM_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "support/scratch_group.h"

/* A group's setup; remove_scratch is its end. */
static inline int make_home(void **state) {
    (void)state;
    scratch_make(folder);
    mkdir(scratch_path(folder, "home"), 0700);
    setenv("HOME", scratch_path(folder, "home"), 1);
    unsetenv("XDG_DATA_HOME");
    setenv("XDG_CACHE_HOME", TEST_KERNELS, 1);
    setenv("TRIAGE_LOCK_DIR", folder, 1); /* the runs of others are none of ours */
    return 0;
}

typedef struct outcome {
    int code; /* -1: it did not exit */
    char *out, *err;
} outcome;

static inline char *slurp(const char *path) {
    FILE *stream = fopen(path, "r");
    char *text = calloc(1, 1 << 20);
    if (!stream || !text)
        abort();
    text[fread(text, 1, (1 << 20) - 1, stream)] = '\0';
    fclose(stream);
    return text;
}

/* In the folder, with words of the shell. drop() it. */
static inline outcome run_program(const char *program, const char *arguments) {
    char command[4096];
    snprintf(command, sizeof command, "cd '%s' && " TRI_BINARY_DIR "/bin/%s %s >out 2>err </dev/null", folder,
             program, arguments);
    const int state = system(command);
    return (outcome){WIFEXITED(state) ? WEXITSTATUS(state) : -1, slurp(scratch_path(folder, "out")),
                     slurp(scratch_path(folder, "err"))};
}

static inline void drop(outcome *o) {
    free(o->out);
    free(o->err);
    *o = (outcome){0};
}

#endif
