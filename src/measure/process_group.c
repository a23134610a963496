#include "measure/process_group.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_CANNOT_RUN 127
#define OUTPUT_MAX (1 << 20)

typedef struct hand {
    pid_t pid; /* 0: has ended, or was never started */
    int output;
} hand;

/* Between fork and exec: only async-signal-safe calls. */
static void become(const char *program, char *const *argv, int output, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXIT_CANNOT_RUN);
    dup2(output, STDOUT_FILENO);
    execv(program, argv);
    _exit(EXIT_CANNOT_RUN);
}

static triage_status start(hand *out, const char *program, char *const *argv) {
    const pid_t parent = getpid();
    out->output = memfd_create("triage group", MFD_CLOEXEC);
    if (out->output < 0)
        return tri_fail(TRIAGE_E_IO, "no memory for the output of %s: %s", program, strerror(errno));
    const pid_t pid = fork();
    if (pid == 0)
        become(program, argv, out->output, parent);
    if (pid < 0)
        return tri_fail(TRIAGE_E_IO, "cannot start %s: %s", program, strerror(errno));
    out->pid = pid;
    return TRIAGE_OK;
}

static void stop_all(const hand *hands, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (hands[i].pid > 0)
            kill(hands[i].pid, SIGTERM);
}

/* True while one of them runs. */
static bool look(tri_group_member *members, hand *hands, size_t count) {
    bool running = false;
    for (size_t i = 0; i < count; i++) {
        int state = 0;
        if (hands[i].pid <= 0)
            continue;
        const pid_t got = waitpid(hands[i].pid, &state, WNOHANG);
        if (got == 0 || (got < 0 && errno == EINTR)) {
            running = true;
            continue;
        }
        hands[i].pid = 0;
        members[i].code = got < 0              ? EXIT_CANNOT_RUN
                          : WIFSIGNALED(state) ? 128 + WTERMSIG(state)
                                               : WEXITSTATUS(state);
    }
    return running;
}

static triage_status read_output(char **out, int fd) {
    triage_status status = tri_calloc(out, OUTPUT_MAX + 1, 1);
    if (status != TRIAGE_OK)
        return status;
    const ssize_t size = pread(fd, *out, OUTPUT_MAX, 0);
    (*out)[size > 0 ? size : 0] = '\0';
    return TRIAGE_OK;
}

triage_status tri_process_group_run(tri_group_member *members, size_t count, const char *program,
                                    volatile const int *interrupted) {
    triage_status status = TRIAGE_OK;
    hand *hands = NULL;
    bool told = false;
    TRI_TRY(tri_calloc(&hands, count, sizeof *hands));
    for (size_t i = 0; i < count; i++)
        hands[i].output = -1;
    for (size_t i = 0; i < count && status == TRIAGE_OK; i++)
        status = start(&hands[i], program, members[i].argv);
    while (look(members, hands, count)) {
        if (!told && (status != TRIAGE_OK || (interrupted && *interrupted))) {
            stop_all(hands, count);
            told = true;
        }
        usleep(20000);
    }
    for (size_t i = 0; i < count && status == TRIAGE_OK; i++)
        status = read_output(&members[i].output, hands[i].output);
done:
    for (size_t i = 0; i < count && hands; i++)
        if (hands[i].output >= 0)
            close(hands[i].output);
    free(hands);
    return status;
}

void tri_process_group_clear(tri_group_member *members, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(members[i].output);
        members[i].output = NULL;
    }
}
