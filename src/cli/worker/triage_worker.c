/* The program that triage_tune starts to compile and to measure in, and in which whoever opens a space file of a
 * stranger's has its Lua run. Not for hands: it talks over a socket that it inherits. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/common/common.h"
#include "cli/common/libraries.h"
#include "cli/common/options.h"
#include "base/confine.h"
#include "measure/guard.h"
#include "measure/worker.h"
#include "space/process.h"

static bool is_socket(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

/* A candidate that crashes us must be seen to: no handler in between (a sanitizer's turns a signal into an
 * exit code), and no core file of gigabytes. */
static void die_plainly(void) {
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        signal(numbers[i], SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

static const tri_cli_program program = {
    .name = "triage_worker",
    .about = "the process in which triage_tune compiles and measures",
    .doc = "The process in which triage_tune compiles and measures, so that a candidate that crashes or "
           "hangs ends only that process.\nIt has no options and is not for use by hand: see "
           "triage_tune --help."};

/* "triage_worker space PID": PID is that of the process whose main thread started us, else 0; then the end of the socket
 * is what tells us that it is gone. */
static int serve_space(const char *parent) {
    const long pid = strtol(parent, NULL, 10);
    if (pid > 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != pid)
            return TRI_EXIT_OK;
    }
    prctl(PR_SET_NAME, "triage_space");
    die_plainly();
    return tri_space_serve(TRI_WORKER_SOCKET);
}

/* Libraries that the loader finds there are to be found when we are confined, too. */
static void keep_libraries_readable(void) {
    const char *folders = getenv("LD_LIBRARY_PATH");
    for (const char *at = folders; at && *at;) {
        char folder[4096];
        const size_t size = strcspn(at, ":");
        snprintf(folder, sizeof folder, "%.*s", (int)size, at);
        tri_confine_allow_read(folder);
        at += size + (at[size] == ':');
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && strncmp(argv[1], "--", 2) == 0) {
        tri_cli_shared none = {0};
        tri_cli_parse(&program, argc, argv, &none);
    }
    if (argc >= 4 && strcmp(argv[1], "guard") == 0)
        return tri_guard_run(argv + 2);
    if (argc == 3 && strcmp(argv[1], "space") == 0 && is_socket(TRI_WORKER_SOCKET))
        return serve_space(argv[2]);
    if (argc != 2 || !is_socket(TRI_WORKER_SOCKET)) {
        fprintf(stderr, "triage_worker: started by triage_tune, not by hand (--help says more)\n");
        return TRI_EXIT_USAGE;
    }
    prctl(PR_SET_NAME, argv[1][0] == 'c' ? "triage_compile" : "triage_measure");
    die_plainly();
    signal(SIGPIPE, SIG_IGN);
    fcntl(TRI_WORKER_SOCKET, F_SETFD, FD_CLOEXEC);
    fcntl(TRI_WORKER_PATTERN, F_SETFD, FD_CLOEXEC);
    tri_cli_look_below_pythons(); /* for the dense product */
    keep_libraries_readable();
    tri_cli_honour_environment();
    return tri_worker_serve(TRI_WORKER_SOCKET, TRI_WORKER_PATTERN);
}
