/* The system's C compiler: found in fixed folders, started directly (no shell), in a folder of its own
 * that is removed whatever happens. */
#include "base/program.h"
#include "base/scratch.h"
#include "device/host/host.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUARD_WORDS 3
#define EXIT_CANNOT_RUN 127
#define EXIT_UNHEARD (-1)

/* ---- a child process ---- */

/* The words that put the compiler behind triage_worker's guard (measure/guard.h), which lets it write to the folder
 * alone. An application that has no triage_worker does without: its kernels are of its own templates. */
static triage_status guard_words(char **out, bool *found) {
    char *looked = NULL;
    const triage_status status = tri_program_find(out, &looked, "triage_worker");
    free(looked);
    *found = status == TRIAGE_OK;
    return status == TRIAGE_E_NOT_FOUND ? TRIAGE_OK : status;
}

/* Signals as in a program that was just started, whatever the application has made of them: a compiler waits for its own
 * children, too. */
static int reset_signals(posix_spawnattr_t *attributes) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int error = posix_spawnattr_setsigmask(attributes, &none);
    if (!error)
        error = posix_spawnattr_setsigdefault(attributes, &all);
    if (!error)
        error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return error;
}

static int spawn(pid_t *child, const posix_spawn_file_actions_t *actions, char *const argv[],
                 char *const environment[]) {
    posix_spawnattr_t attributes;
    int error = posix_spawnattr_init(&attributes);
    if (error)
        return error;
    error = reset_signals(&attributes);
    if (!error)
        error = posix_spawn(child, argv[0], actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    return error;
}

/* Why a program could not be started: it is not there, or may not be run; else this machine is in trouble. */
static triage_status start_failure(int error) {
    if (error == EAGAIN || error == ENOMEM)
        return TRIAGE_E_MEMORY;
    return error == ENOENT || error == EACCES || error == ENOEXEC ? TRIAGE_E_NO_DEVICE : TRIAGE_E_IO;
}

/* Runs argv in folder with both outputs to folder/log; *exit_code is its own, or 128 + signal, or EXIT_UNHEARD where the
 * application ignores SIGCHLD, or has waited for all children: it has ended. */
static triage_status run_in(int *exit_code, const char *folder, char *const argv[]) {
    char temp[4200];
    snprintf(temp, sizeof temp, "TMPDIR=%s", folder);
    char *environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", temp, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    int state = 0, error = posix_spawn_file_actions_init(&actions);
    if (error)
        return tri_fail(TRIAGE_E_MEMORY, "starting %s: %s", argv[0], strerror(error));
    error = posix_spawn_file_actions_addchdir_np(&actions, folder);
    if (!error)
        error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_addopen(&actions, 1, "log", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (!error)
        error = spawn(&child, &actions, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    if (error)
        return tri_fail(start_failure(error), "starting %s: %s", argv[0], strerror(error));
    while (waitpid(child, &state, 0) < 0) {
        if (errno == ECHILD) {
            *exit_code = EXIT_UNHEARD;
            return TRIAGE_OK;
        }
        if (errno != EINTR)
            return tri_fail(TRIAGE_E_IO, "waiting for %s: %s", argv[0], strerror(errno));
    }
    *exit_code = WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
    return TRIAGE_OK;
}

/* ---- a folder of its own ---- */

static triage_status read_log(char **out, const char *folder) {
    char *path = NULL;
    triage_status status = tri_path_join(&path, folder, "log");
    if (status == TRIAGE_OK)
        status = tri_file_read(out, NULL, path, 0);
    free(path);
    return status;
}

/* ---- which compiler ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char chosen[512];  /* by tri_host_set_tools; "" searches */
static char program[512]; /* absolute path; "" until found */
static char version[TRI_COMPILER_SIZE];

/* `--version` of gcc and clang: the kind is in the text, the number is the last word of the first line
 * (gcc) or follows "clang version". */
static triage_status read_version(char *out, size_t size, const char *path) {
    triage_status status = TRIAGE_OK;
    tri_scratch scratch = {.fd = -1};
    char *log = NULL, first[256];
    char *argv[] = {(char *)path, "--version", NULL};
    int exit_code = 0;
    TRI_TRY(tri_scratch_open(&scratch));
    TRI_TRY(run_in(&exit_code, scratch.path, argv));
    TRI_TRY(read_log(&log, scratch.path));
    const char *clang = strstr(log, "clang version ");
    tri_log_first_line(first, sizeof first, log, "");
    if (exit_code == EXIT_UNHEARD)
        exit_code = 0;
    if (exit_code > 128 || (exit_code == 0 && !first[0])) { /* ended, or nowhere to write to */
        status = tri_fail(TRIAGE_E_IO, "%s --version ended with %d and no version", path, exit_code);
    } else if (exit_code != 0) {
        status = tri_fail(TRIAGE_E_NO_DEVICE, "%s --version ended with %d and no version", path, exit_code);
    } else if (clang) {
        clang += strlen("clang version ");
        snprintf(out, size, "clang %.*s", (int)strcspn(clang, " \n"), clang);
    } else {
        const char *word = strrchr(first, ' ');
        snprintf(out, size, "gcc %.40s", word ? word + 1 : first);
    }
    if (status == TRIAGE_OK)
        tri_compiler_identify(out, size, first, path);
done:
    free(log);
    tri_scratch_close(&scratch);
    return status;
}

static triage_status find_compiler(void) {
    static const char *const paths[] = {"/usr/bin/cc",       "/usr/bin/gcc",       "/usr/bin/clang",
                                        "/usr/local/bin/cc", "/usr/local/bin/gcc", "/usr/local/bin/clang",
                                        "/bin/cc",           "/bin/gcc",           "/bin/clang"};
    char found[sizeof version];
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const char *path = chosen[0] ? chosen : paths[i];
        if (access(path, X_OK) == 0) {
            triage_status status = read_version(found, sizeof found, path);
            if (status != TRIAGE_OK)
                return status;
            snprintf(program, sizeof program, "%s", path);
            snprintf(version, sizeof version, "%s", found);
            return TRIAGE_OK;
        }
    }
    return tri_fail(TRIAGE_E_NO_DEVICE, "no C compiler: %s",
                    chosen[0] ? chosen : "none of cc, gcc, clang in /usr/bin, /usr/local/bin, /bin");
}

/* Copies of path and version, found once. Either may be NULL. */
static triage_status compiler(char *path_512, char *version_128) {
    pthread_mutex_lock(&lock);
    triage_status status = program[0] ? TRIAGE_OK : find_compiler();
    if (status == TRIAGE_OK && path_512)
        memcpy(path_512, program, sizeof program);
    if (status == TRIAGE_OK && version_128)
        memcpy(version_128, version, sizeof version);
    pthread_mutex_unlock(&lock);
    return status;
}

triage_status tri_host_set_tools(const char *path) {
    if (path && (path[0] != '/' || strlen(path) >= sizeof chosen || access(path, X_OK) != 0))
        return tri_fail(TRIAGE_E_INVALID, "C compiler '%.200s' is not an absolute path of a program", path);
    pthread_mutex_lock(&lock);
    snprintf(chosen, sizeof chosen, "%s", path ? path : "");
    program[0] = '\0';
    pthread_mutex_unlock(&lock);
    return TRIAGE_OK;
}

triage_status tri_host_compiler_version(char *out, size_t size) {
    char found[sizeof version];
    triage_status status = compiler(NULL, found);
    if (status == TRIAGE_OK)
        snprintf(out, size, "%s", found);
    return status;
}

void tri_host_compiler_file(char *out, size_t size, bool *is_chosen) {
    pthread_mutex_lock(&lock);
    *is_chosen = chosen[0] != '\0';
    snprintf(out, size, "%s", program);
    pthread_mutex_unlock(&lock);
}

/* ---- compile ---- */

/* Headers come from templates, but a user's space may name them: they must stay inside the folder. */
static bool is_inside(const char *name) {
    size_t size = strlen(name);
    bool up = strncmp(name, "../", 3) == 0 || strstr(name, "/../") ||
              (size >= 2 && strcmp(name + size - 2, "..") == 0);
    return size > 0 && name[0] != '/' && !up;
}

static triage_status write_below(const char *folder, const char *name, const char *text) {
    triage_status status = TRIAGE_OK;
    char *path = NULL;
    if (!is_inside(name))
        return tri_fail(TRIAGE_E_INVALID, "header name '%.80s' leaves the compiler's folder", name);
    TRI_TRY(tri_path_join(&path, folder, name));
    char *slash = strrchr(path, '/');
    *slash = '\0';
    TRI_TRY(tri_make_dirs(path));
    *slash = '/';
    TRI_TRY(tri_file_write_atomic(path, text, strlen(text), 0600));
done:
    free(path);
    return status;
}

/* The options name the instruction set, not the machine: the target is part of a kernel's identity. */
static const char *march(const char *target) {
    if (strcmp(target, "x86_64-avx512") == 0)
        return "-march=x86-64-v4";
    if (strcmp(target, "x86_64-avx2") == 0)
        return "-march=x86-64-v3";
    return strcmp(target, "aarch64") == 0 ? "-march=armv8-a" : "-march=x86-64";
}

static triage_status run_compiler(int *exit_code, const char *folder, const char *path, const char *target,
                                  const tri_source *source) {
    triage_status status = TRIAGE_OK;
    char *guard = NULL, **argv = NULL;
    bool guarded = false;
    TRI_TRY(guard_words(&guard, &guarded));
    char *fixed[] = {guard,
                     (char *)(uintptr_t) "guard",
                     (char *)(uintptr_t)folder,
                     (char *)path,
                     "-std=gnu17",
                     "-O3",
                     (char *)march(target),
                     "-fopenmp",
                     "-shared",
                     "-fPIC",
                     "-I.",
                     "-o",
                     "kernel.so",
                     "kernel.c",
                     "-lm"};
    size_t fixed_count = sizeof fixed / sizeof *fixed;
    TRI_TRY(tri_calloc(&argv, fixed_count + source->option_count + 1, sizeof *argv));
    memcpy(argv, fixed, sizeof fixed);
    for (size_t i = 0; i < source->option_count; i++)
        argv[fixed_count + i] = source->options[i];
    TRI_TRY(run_in(exit_code, folder, guarded ? argv : argv + GUARD_WORDS));
    if (guarded && *exit_code == EXIT_CANNOT_RUN)
        status = tri_fail(TRIAGE_E_NO_DEVICE, "%s could not be run by %s", path, guard);
done:
    free(argv);
    free(guard);
    return status;
}

/* Only what it says of the text is the candidate's fault. */
static triage_status judge(int exit_code, const char *path, const char *name, const char *log) {
    char line[400];
    if (exit_code == 0)
        return TRIAGE_OK;
    if (exit_code == 128 + SIGINT || exit_code == 128 + SIGTERM)
        return tri_fail(TRIAGE_E_INTERRUPTED, "%s: %s was stopped", name, path);
    if (exit_code > 128)
        return tri_fail(TRIAGE_E_IO, "%s: %s was ended by signal %d", name, path, exit_code - 128);
    if (tri_log_blames_source(line, sizeof line, log))
        return tri_fail(TRIAGE_E_COMPILE, "%s: %s", name, line);
    tri_log_first_line(line, sizeof line, log, "error");
    if (!line[0])
        tri_log_first_line(line, sizeof line, log, "");
    return tri_fail(TRIAGE_E_IO, "%s: %s ended with %d: %s", name, path, exit_code,
                    line[0] ? line : "without a word");
}

/* What the linker writes last is there. */
static bool is_whole(const char *object, size_t size) {
    Elf64_Ehdr head;
    if (size < sizeof head)
        return false;
    memcpy(&head, object, sizeof head);
    return memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && head.e_shoff > 0 && head.e_shoff <= size &&
           (size - head.e_shoff) / sizeof(Elf64_Shdr) >= head.e_shnum;
}

/* Of a compiler whose end nobody has told: it removes what it could not finish. */
static triage_status judge_by_object(const char *path, const char *name, const tri_image *image) {
    return is_whole(image->data, image->size) ? TRIAGE_OK : judge(1, path, name, image->log);
}

triage_status tri_host_compile(tri_image *out, const char *target, const tri_source *source) {
    triage_status status = TRIAGE_OK;
    tri_scratch scratch = {.fd = -1};
    char path[sizeof program], *object = NULL;
    int exit_code = 0;
    out->registers = out->spill_bytes = -1;
    TRI_TRY(compiler(path, NULL));
    TRI_TRY(tri_scratch_open(&scratch));
    TRI_TRY(write_below(scratch.path, "kernel.c", source->text));
    for (size_t i = 0; i < source->include_count; i++)
        TRI_TRY(write_below(scratch.path, source->includes[i].name, source->includes[i].text));
    TRI_TRY(run_compiler(&exit_code, scratch.path, path, target, source));
    TRI_TRY(read_log(&out->log, scratch.path));
    TRI_TRY(tri_path_join(&object, scratch.path, "kernel.so"));
    if (exit_code == EXIT_UNHEARD && access(object, R_OK) != 0)
        exit_code = 1;
    if (exit_code != EXIT_UNHEARD)
        TRI_TRY(judge(exit_code, path, source->name, out->log));
    TRI_TRY(tri_file_read((char **)&out->data, &out->size, object, 0));
    if (exit_code == EXIT_UNHEARD)
        TRI_TRY(judge_by_object(path, source->name, out));
done:
    free(object);
    tri_scratch_close(&scratch);
    return status;
}
