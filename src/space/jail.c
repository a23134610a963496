#include "space/jail.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LAST_FD 3 /* the socket */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* Secrets are passed in environments. */
static void forget_environment(void) {
    for (char **entry = environ; entry && *entry; entry++)
        memset(*entry, 0, strlen(*entry));
    clearenv();
}

static void set_limits(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){0, 0});
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){LAST_FD + 1, LAST_FD + 1});
}

#ifdef ARCHITECTURE

/* What computing, allocating and talking on an open socket need. */
static const int allowed[] = {SYS_read,
                              SYS_write,
                              SYS_recvfrom,
                              SYS_sendto,
                              SYS_recvmsg,
                              SYS_sendmsg,
                              SYS_brk,
                              SYS_munmap,
                              SYS_mremap,
                              SYS_madvise,
                              SYS_futex,
                              SYS_clock_gettime,
                              SYS_clock_getres,
                              SYS_gettimeofday,
                              SYS_rt_sigreturn,
                              SYS_rt_sigprocmask,
                              SYS_restart_syscall,
                              SYS_getrandom,
                              SYS_sched_yield,
                              SYS_getpid,
                              SYS_gettid,
                              SYS_sigaltstack,
                              SYS_exit,
                              SYS_exit_group};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, action)
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)

enum { PROGRAM_MAX = 64 };

/* Every call that is not in the list is refused; memory may be mapped, but not as code. */
static unsigned short write_filter(struct sock_filter out[PROGRAM_MAX]) {
    unsigned short n = 0;
    out[n++] = (struct sock_filter)LOAD(arch);
    out[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    out[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_KILL_PROCESS);
    out[n++] = (struct sock_filter)LOAD(nr);
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        out[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], 0, 1);
        out[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    }
    out[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 2, 0);
    out[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 1, 0);
    out[n++] = (struct sock_filter)ANSWER(REFUSE);
    out[n++] = (struct sock_filter)LOAD(args[2]); /* prot: its low half, on a little-endian machine */
    out[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1);
    out[n++] = (struct sock_filter)ANSWER(REFUSE);
    out[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    return n;
}

static void filter_calls(void) {
    struct sock_filter filter[PROGRAM_MAX];
    struct sock_fprog program = {.len = write_filter(filter), .filter = filter};
    (void)prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

#else
static void filter_calls(void) {}
#endif

void tri_jail_enter(void) {
    forget_environment();
    set_limits();
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    filter_calls();
}
