#include "measure/ahead.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NICENESS 10 /* what the measured problem still lacks comes first */

_Noreturn static void work(const tri_ahead *ahead, pid_t parent, tri_ahead_fn fn, void *user) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    (void)!setpriority(PRIO_PROCESS, 0, NICENESS);
    for (size_t i = 0; i < ahead->count; i++) {
        volatile const int *begun = &ahead->begun[i];
        if (!*begun)
            fn(user, i, begun);
    }
    _exit(0);
}

void tri_ahead_begin(tri_ahead *ahead, size_t i) {
    if (ahead->begun)
        ((volatile int *)ahead->begun)[i] = 1;
}

triage_status tri_ahead_start(tri_ahead *ahead, size_t count, tri_ahead_fn fn, void *user) {
    const pid_t parent = getpid();
    void *shared = mmap(NULL, count * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return tri_fail(TRIAGE_E_MEMORY, "no memory to share with the compiling process: %s",
                        strerror(errno));
    *ahead = (tri_ahead){.begun = shared, .count = count};
    tri_ahead_begin(ahead, 0);
    fflush(NULL); /* what is in a buffer would be written twice */
    ahead->pid = fork();
    if (ahead->pid == 0)
        work(ahead, parent, fn, user);
    if (ahead->pid > 0)
        return TRIAGE_OK;
    const triage_status status =
        tri_fail(TRIAGE_E_MEMORY, "cannot start the compiling process: %s", strerror(errno));
    ahead->pid = 0;
    tri_ahead_end(ahead);
    return status;
}

void tri_ahead_end(tri_ahead *ahead) {
    if (ahead->pid > 0) {
        kill(ahead->pid, SIGTERM);
        while (waitpid(ahead->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (ahead->begun)
        munmap(ahead->begun, ahead->count * sizeof(int));
    *ahead = (tri_ahead){0};
}
