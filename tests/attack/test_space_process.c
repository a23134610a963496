/* The process of a stranger's Lua: it cannot leave its jail, its end is an error with its reason, it ends with who started it,
 * and what it says is not believed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/program.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "space/jail.h"
#include "space/local.h"
#include "space/transfer.h"
#include "space/words.h"

#define SMALL TRI_SOURCE_DIR "/tests/data/spaces/small.lua"
#define DAMAGED 3000

static const tri_device_info device = {.backend = "cuda", .target = "sm_90a", .cc = 90, .sm_count = 132};

static tri_problem a_problem(void) {
    return tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                .out_type = TRIAGE_F16,
                                                .m = 512,
                                                .n = 100,
                                                .k = 512,
                                                .ldb = 100,
                                                .ldc = 100,
                                                .block_m = 32,
                                                .block_k = 32,
                                                .nnzb = 100,
                                                .fingerprint = {1000, 10, 1}});
}

static tri_space *open_small(void) {
    tri_space *space = NULL;
    if (tri_space_open(&space, &tri_op_bsr_gemm, &(tri_space_options){.path = SMALL}) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    return space;
}

/* The only child of this process. */
static pid_t child_of(pid_t parent) {
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *file = fopen(path, "r");
    if (!file)
        skip();
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    return pid;
}

/* ---- the jail ---- */

/* Ten ways out, by bare system calls as code that has taken over the process would make them. */
static int count_escapes(void) {
    struct clone_args clone3 = {.exit_signal = SIGCHLD};
    char *const argv[] = {(char *)(uintptr_t) "/bin/true", NULL};
    const long tries[] = {
        syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY),                         /* a secret */
        syscall(SYS_openat, AT_FDCWD, "/tmp/triage-escaped", O_WRONLY | O_CREAT, 0600), /* a file */
        syscall(SYS_execve, "/bin/true", argv, NULL),                                   /* a program */
        syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0),                                        /* a process */
        syscall(SYS_clone3, &clone3, sizeof clone3),
        syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), /* the network */
        syscall(SYS_kill, getppid(), SIGCONT),        /* who started it */
        syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), 0, 0),
        syscall(SYS_prlimit64, 0, RLIMIT_CPU, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY},
                NULL),                     /* its limits */
        syscall(SYS_memfd_create, "x", 0), /* code of its own */
    };
    int escapes = 0;
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        if (tries[i] == 0 && (i == 3 || i == 4)) /* we are the new process */
            syscall(SYS_exit_group, 0);
        escapes += tries[i] >= 0;
    }
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return escapes + (code != MAP_FAILED);
}

static void nobody_leaves_the_jail(void **state) {
    (void)state;
    int status = 0, open_here = open("/etc/passwd", O_RDONLY), socket_here = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(open_here >= 0 && socket_here >= 0); /* here it can be done */
    close(open_here);
    close(socket_here);
    const pid_t child = fork();
    if (child == 0) {
        tri_jail_enter();
        syscall(SYS_exit_group, count_escapes());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(access("/tmp/triage-escaped", F_OK), -1);
}

/* ---- its end ---- */

static void its_end_is_an_error_with_a_reason(void **state) {
    (void)state;
    tri_space *space = open_small();
    const tri_problem problem = a_problem();
    tri_candidate made;
    tri_configs configs;
    assert_int_equal(tri_space_candidate(&made, space, &problem, &device, "first tile=32 mode=fast"),
                     TRIAGE_OK);
    tri_candidate_free(&made);
    assert_int_equal(kill(child_of(getpid()), SIGSEGV), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tri_space_candidate(&made, space, &problem, &device, "first tile=32 mode=fast"),
                         TRIAGE_E_DATA);
        assert_non_null(
            strstr(triage_last_error(), "small.lua: the process that runs it was ended by SIGSEGV"));
        assert_int_equal(tri_space_enumerate(&configs, space, &problem, &device), TRIAGE_E_DATA);
    }
    assert_int_equal(tri_space_knows(space, "first tile=64 mode=fast"), TRIAGE_OK);
    tri_space_free(space);
}

/* A fork of the program must not talk into its parent's conversation. */
static void a_fork_is_refused(void **state) {
    (void)state;
    tri_space *space = open_small();
    const tri_problem problem = a_problem();
    tri_candidate made;
    int status = 0;
    const pid_t child = fork();
    if (child == 0)
        _exit(tri_space_candidate(&made, space, &problem, &device, "second") == TRIAGE_E_UNSUPPORTED ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(tri_space_candidate(&made, space, &problem, &device, "second"), TRIAGE_OK);
    tri_candidate_free(&made);
    tri_space_free(space);
}

/* Killed, with no time to say so. */
static void it_ends_with_who_started_it(void **state) {
    (void)state;
    int ready[2], status = 0;
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const pid_t parent = fork();
    if (parent == 0) {
        (void)open_small();
        _exit(write(ready[1], "x", 1) == 1 && pause() ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    const pid_t process = child_of(parent);
    assert_int_equal(kill(parent, SIGKILL), 0);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(waitpid(process, &status, 0), process); /* it is ours now, and hangs us if it lives */
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    close(ready[0]);
    close(ready[1]);
}

/* ---- what it says ---- */

static void damage(char *data, size_t size, tri_random *random) {
    for (uint64_t n = 1 + tri_random_below(random, 4); n > 0; n--) {
        char *at = data + tri_random_below(random, size);
        if (tri_random_below(random, 2))
            *at = (char)tri_random_next(random);
        else
            memset(at, (int)tri_random_below(random, 2) * 0xff, (size_t)(data + size - at) < 8 ? 1 : 8);
    }
}

static void damaged_models_are_refused_or_right(void **state) {
    (void)state;
    tri_space *space = NULL;
    tri_packer whole = {0};
    tri_random random;
    size_t refused = 0;
    assert_int_equal(tri_space_open_here(&space, &tri_op_bsr_gemm, &(tri_space_options){.path = SMALL}),
                     TRIAGE_OK);
    tri_pack_model(&whole, space);
    assert_int_equal(whole.status, TRIAGE_OK);
    tri_random_seed(&random, 1);
    for (int i = 0; i < DAMAGED; i++) {
        char *data = malloc(whole.bytes.size); /* its end is watched */
        memcpy(data, whole.bytes.data, whole.bytes.size);
        damage(data, whole.bytes.size, &random);
        tri_unpacker from = {data, whole.bytes.size - tri_random_below(&random, 3), TRIAGE_OK};
        tri_space copy = {.file = (char *)(uintptr_t) "copy.lua"};
        const triage_status status = tri_unpack_model(&from, &copy);
        assert_true(status == TRIAGE_OK || status == TRIAGE_E_DATA || status == TRIAGE_E_MEMORY);
        refused += status != TRIAGE_OK;
        tri_model_free(&copy);
        free(data);
    }
    print_message("%d damaged models: %zu refused\n", DAMAGED, refused);
    assert_in_range(refused, DAMAGED / 2, DAMAGED - 1);
    tri_packer_free(&whole);
    tri_space_free(space);
}

static void damaged_candidates_are_refused_or_right(void **state) {
    (void)state;
    tri_space *space = open_small();
    const tri_problem problem = a_problem();
    tri_candidate made;
    tri_packer whole = {0};
    tri_random random;
    size_t refused = 0;
    assert_int_equal(tri_space_candidate(&made, space, &problem, &device, "first tile=32 mode=fast"),
                     TRIAGE_OK);
    tri_pack_candidate(&whole, &made);
    tri_candidate_free(&made);
    tri_random_seed(&random, 2);
    for (int i = 0; i < DAMAGED; i++) {
        char *data = malloc(whole.bytes.size);
        memcpy(data, whole.bytes.data, whole.bytes.size);
        damage(data, whole.bytes.size, &random);
        tri_unpacker from = {data, whole.bytes.size, TRIAGE_OK};
        tri_candidate copy = {0};
        const triage_status status = tri_unpack_candidate(&from, &copy, &tri_op_bsr_gemm, "cuda");
        refused += status != TRIAGE_OK;
        for (size_t p = 0; status == TRIAGE_OK && p < copy.param_count; p++)
            assert_true(tri_is_value(copy.params[p].value));
        for (size_t o = 0; status == TRIAGE_OK && o < copy.option_count; o++)
            assert_true(tri_is_option("cuda", copy.options[o]));
        tri_candidate_free(&copy);
        free(data);
    }
    print_message("%d damaged candidates: %zu refused\n", DAMAGED, refused);
    assert_in_range(refused, DAMAGED / 2, DAMAGED - 1);
    tri_packer_free(&whole);
    tri_space_free(space);
}

static void a_missing_program_is_told(void **state) {
    (void)state;
    char *path = NULL, *looked = NULL;
    assert_int_equal(tri_program_find(&path, &looked, "triage_nobody"), TRIAGE_E_NOT_FOUND);
    assert_null(path);
    assert_non_null(strstr(looked, TRI_BINARY_DIR "/bin, "));
    free(looked);
    assert_int_equal(tri_program_find(&path, &looked, "triage_worker"), TRIAGE_OK);
    assert_string_equal(path, TRI_BINARY_DIR "/bin/triage_worker");
    free(path);
    free(looked);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_leaves_the_jail),
        cmocka_unit_test(its_end_is_an_error_with_a_reason),
        cmocka_unit_test(a_fork_is_refused),
        cmocka_unit_test(it_ends_with_who_started_it),
        cmocka_unit_test(damaged_models_are_refused_or_right),
        cmocka_unit_test(damaged_candidates_are_refused_or_right),
        cmocka_unit_test(a_missing_program_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
