/* A candidate that wants out: each kind tries one way, and says 99 if it was one. For tests/attack/test_escapes.c, which puts a
 * folder's path in the place of FOLDER. */
#include "bsr_gemm/args.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { right, writes, runs, reads, includes, talks, forks, leaves, swells, kills, asks, spies };
static const int kKind = {{kind}};

static int write_file(void) {
    return open("FOLDER/escaped", O_WRONLY | O_CREAT, 0600) >= 0;
}

static int run_program(void) {
    return system("touch FOLDER/escaped") == 0;
}

static int read_secret(void) {
    return open("FOLDER/secret.h", O_RDONLY) >= 0 || open("/etc/shadow", O_RDONLY) >= 0;
}

#if {{with_secret}} /* a header's path would not be rendered (unit/test_render) */
__asm__(".pushsection .rodata\nsecret: .incbin \"FOLDER/secret.h\"\n.popsection");
static int include_secret(void) {
    return 1;
}
#else
static int include_secret(void) {
    return 0;
}
#endif

static int use_network(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return fd >= 0 && sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1;
}

/* Every new process makes more. */
static int fork_bomb(void) {
    for (int i = 0; i < 8; i++)
        if (fork() >= 0)
            return 1;
    return 0;
}

/* Out of the process group, to live on. */
static int outlive(void) {
    const pid_t pid = fork();
    if (pid == 0) {
        setsid();
        for (int i = 0; i < 600; i++)
            usleep(100000);
        _exit(0);
    }
    return pid > 0;
}

static int take_memory(void) {
    const size_t size = (size_t)6 << 30;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED;
}

static int kill_parent(void) {
    return kill(getppid(), SIGKILL) == 0;
}

static int ask_environment(void) {
    return getenv("TRIAGE_TEST_SECRET") != NULL;
}

static int spy_on_parent(void) {
    char path[64] = "/proc/", digits[16];
    int at = 15, pid = getppid();
    digits[at] = '\0';
    for (; pid; pid /= 10)
        digits[--at] = (char)('0' + pid % 10);
    strcat(strcat(path, digits + at), "/environ");
    return open(path, O_RDONLY) >= 0;
}

void triage_kernel(const tri_bsr_gemm_args *args) {
    int (*const ways[])(void) = {0,         write_file, run_program, read_secret, include_secret,  use_network,
                                 fork_bomb, outlive,    take_memory, kill_parent, ask_environment, spy_on_parent};
    (void)args;
    if (ways[kKind] && ways[kKind]())
        _exit(99);
}
