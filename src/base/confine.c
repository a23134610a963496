#include "base/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- files ---- */

#define READ_FILE (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE)
#define READ (READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define TRUNCATE (UINT64_C(1) << 14) /* Landlock 3; headers may be older */
#define REFER (UINT64_C(1) << 13)    /* Landlock 2 */
#define FIRST_ALL ((UINT64_C(1) << 13) - 1)
#define FILE_RIGHTS (READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | TRUNCATE)

#define ALLOWED_MAX 64
static char *allowed[ALLOWED_MAX];
static size_t allowed_count;

void tri_confine_allow_read(const char *path) {
    if (path[0] == '/' && allowed_count < ALLOWED_MAX &&
        tri_strdup(&allowed[allowed_count], path) == TRIAGE_OK)
        allowed_count++;
}

static void allow(int rules, const char *path, uint64_t rights) {
    struct stat info;
    const int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &info) == 0) {
        struct landlock_path_beneath_attr rule = {
            .allowed_access = S_ISDIR(info.st_mode) ? rights : rights & FILE_RIGHTS, .parent_fd = fd};
        (void)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    close(fd);
}

static void allow_all(int rules, const char *const *paths, uint64_t rights) {
    for (; paths && *paths; paths++)
        allow(rules, *paths, rights);
}

void tri_confine_files(const char *const *also, const char *const *writable) {
    static const char *const readable[] = {"/usr",
                                           "/lib",
                                           "/lib64",
                                           "/lib32",
                                           "/bin",
                                           "/sbin",
                                           "/opt",
                                           "/etc/ld.so.cache",
                                           "/etc/alternatives",
                                           "/proc/self",
                                           "/proc/cpuinfo",
                                           "/proc/loadavg",
                                           "/proc/meminfo",
                                           "/proc/stat",
                                           "/proc/sys/vm",
                                           "/sys/devices/system",
                                           "/sys/kernel/mm",
                                           "/dev/urandom",
                                           NULL};
    static const char *const devices[] = {"/dev/null", "/dev/zero", NULL};
    const long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return;
    const uint64_t handled = FIRST_ALL | (version >= 2 ? REFER : 0) | (version >= 3 ? TRUNCATE : 0);
    const struct landlock_ruleset_attr attributes = {.handled_access_fs = handled};
    const int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (rules < 0)
        return;
    allow_all(rules, readable, READ);
    allow_all(rules, also, READ);
    for (size_t i = 0; i < allowed_count; i++)
        allow(rules, allowed[i], READ);
    allow_all(rules, devices, handled & FILE_RIGHTS);
    allow_all(rules, writable, handled);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)syscall(SYS_landlock_restrict_self, rules, 0);
    close(rules);
}

/* ---- calls ---- */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

#define STATEMENT(code, value) ((struct sock_filter)BPF_STMT(code, value))
#define JUMP(code, value, yes, no) ((struct sock_filter)BPF_JUMP(code, value, yes, no))
#define LOAD(field) STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(action) STATEMENT(BPF_RET | BPF_K, action)
#define REFUSE(error) ANSWER(SECCOMP_RET_ERRNO | (error))
#define IS(number, yes, no) JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(number), yes, no)

/* Other processes' memory, the network, the system itself; and what would leave the process group. */
static const int refused[] = {SYS_socket,
                              SYS_connect,
                              SYS_bind,
                              SYS_ptrace,
                              SYS_process_vm_readv,
                              SYS_process_vm_writev,
                              SYS_pidfd_open,
                              SYS_bpf,
                              SYS_io_uring_setup,
                              SYS_mount,
                              SYS_umount2,
                              SYS_unshare,
                              SYS_setns,
                              SYS_keyctl,
                              SYS_add_key,
                              SYS_request_key,
                              SYS_setsid,
                              SYS_setpgid};
static const int refused_computing[] = {SYS_execve, SYS_execveat,
#ifdef SYS_fork
                                        SYS_fork, SYS_vfork
#endif
};
static const int signals[] = {SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo};

enum { PROGRAM_MAX = 128 };

typedef struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short size;
} program;

static void add(program *to, struct sock_filter statement) {
    to->code[to->size++] = statement;
}

static void refuse_all(program *to, const int *calls, size_t count) {
    for (size_t i = 0; i < count; i++) {
        add(to, IS(calls[i], 0, 1));
        add(to, REFUSE(EPERM));
    }
}

/* clone makes threads only; clone3, whose flags are in memory, is not there, and glibc then takes clone. */
static void threads_only(program *to) {
    add(to, IS(SYS_clone3, 0, 1));
    add(to, REFUSE(ENOSYS));
    add(to, IS(SYS_clone, 0, 4));
    add(to, LOAD(args[0]));
    add(to, JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1));
    add(to, ANSWER(SECCOMP_RET_ALLOW));
    add(to, REFUSE(EPERM));
}

/* The call's first argument, a process, must be this one: its number, or 0. */
static void only_itself(program *to, int call, uint32_t number) {
    add(to, IS(call, 0, 4));
    add(to, LOAD(args[0]));
    add(to, IS(number, 0, 1));
    add(to, ANSWER(SECCOMP_RET_ALLOW));
    add(to, REFUSE(EPERM));
}

void tri_confine_calls(tri_confine_kind kind) {
    program filter = {.size = 0};
    add(&filter, LOAD(arch));
    add(&filter, IS(ARCHITECTURE, 1, 0));
    add(&filter, ANSWER(SECCOMP_RET_KILL_PROCESS));
    add(&filter, LOAD(nr));
    refuse_all(&filter, refused, sizeof refused / sizeof *refused);
    if (kind == TRI_CONFINE_COMPUTING) {
        refuse_all(&filter, refused_computing, sizeof refused_computing / sizeof *refused_computing);
        threads_only(&filter);
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
            only_itself(&filter, signals[i], (uint32_t)getpid());
    }
    only_itself(&filter, SYS_prlimit64, 0);
    add(&filter, ANSWER(SECCOMP_RET_ALLOW));
    struct sock_fprog whole = {.len = filter.size, .filter = filter.code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole);
}

#else
void tri_confine_calls(tri_confine_kind kind) {
    (void)kind;
}
#endif

/* ---- environment and memory ---- */

static bool is_harmless(const char *entry) {
    static const char *const kept[] = {"OMP_", "GOMP_", "KMP_",  "OPENBLAS_", "LC_",
                                       "LANG", "LD_",   "ASAN_", "UBSAN_"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (!strncmp(entry, kept[i], strlen(kept[i])))
            return true;
    return false;
}

void tri_confine_environment(void) {
    char **to = environ;
    for (char **entry = environ; entry && *entry; entry++) {
        if (is_harmless(*entry))
            *to++ = *entry;
        else
            memset(*entry, 0, strlen(*entry));
    }
    if (to)
        *to = NULL;
}

void tri_confine_memory(int64_t more_bytes) {
#if !defined(__SANITIZE_ADDRESS__)
    char *text = NULL;
    if (tri_file_read(&text, NULL, "/proc/self/statm", 4096) != TRIAGE_OK)
        return;
    const rlim_t most = (rlim_t)strtoull(text, NULL, 10) * (rlim_t)sysconf(_SC_PAGESIZE) + (rlim_t)more_bytes;
    free(text);
    setrlimit(RLIMIT_AS, &(struct rlimit){most, most});
#else
    (void)more_bytes;
#endif
}
