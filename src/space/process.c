#include "space/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/program.h"
#include "space/model.h"
#include "space/words.h"

#define SOCKET 3            /* the process's end there */
#define EXIT_CANNOT_RUN 127 /* posix_spawn's, where exec fails late */
#define CPU_SECONDS 30      /* of one call: more than the sandbox's own limit */
#define WALL_NS (INT64_C(600) * 1000000000)
#define GRACE_NS (INT64_C(15) * 1000000000) /* for the end of one that was killed */
#define SPARE_BYTES (INT64_C(1) << 30)      /* of address space beside the sandbox's memory */

struct tri_process {
    pid_t pid;   /* 0 when reaped */
    pid_t owner; /* a fork of us does not talk to it */
    int socket_fd;
    char *file;
    char *end; /* what became of it; NULL: it lives */
    tri_frame answer;
};

/* ---- frames ---- */

triage_status tri_frame_send(int socket_fd, tri_frame_kind kind, const char *data, size_t size) {
    const uint32_t head[2] = {(uint32_t)kind, (uint32_t)size};
    struct iovec pieces[2] = {{(void *)(uintptr_t)head, sizeof head}, {(void *)(uintptr_t)data, size}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    if (size > TRI_FRAME_MAX)
        return tri_fail(TRIAGE_E_DATA, "%zu bytes for the process of a Lua file: at most %zu", size,
                        TRI_FRAME_MAX);
    while (pieces[0].iov_len + pieces[1].iov_len > 0) {
        ssize_t sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return tri_fail(TRIAGE_E_IO, "cannot write to the other process: %s", strerror(errno));
        for (size_t i = 0; i < 2; i++) {
            const size_t part = (size_t)sent < pieces[i].iov_len ? (size_t)sent : pieces[i].iov_len;
            pieces[i].iov_base = (char *)pieces[i].iov_base + part;
            pieces[i].iov_len -= part;
            sent -= (ssize_t)part;
        }
    }
    return TRIAGE_OK;
}

/* Waits for something to read. */
static triage_status await(int socket_fd, int64_t deadline_ns) {
    if (deadline_ns == 0)
        return TRIAGE_OK;
    for (;;) {
        const int64_t left = deadline_ns - tri_now_ns();
        struct pollfd waited = {.fd = socket_fd, .events = POLLIN};
        const int ready = left > 0 ? poll(&waited, 1, (int)(left / 1000000) + 1) : 0;
        if (ready > 0)
            return TRIAGE_OK;
        if (ready < 0 && errno != EINTR)
            return tri_fail(TRIAGE_E_IO, "waiting for the other process: %s", strerror(errno));
        if (left <= 0)
            return tri_fail(TRIAGE_E_TIMEOUT, "no answer");
    }
}

static triage_status receive_all(int socket_fd, char *to, size_t size, int64_t deadline_ns) {
    triage_status status = TRIAGE_OK;
    while (size > 0 && status == TRIAGE_OK) {
        status = await(socket_fd, deadline_ns);
        if (status != TRIAGE_OK)
            break;
        ssize_t got = recv(socket_fd, to, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return tri_fail(TRIAGE_E_IO, "the other process is gone");
        to += got;
        size -= (size_t)got;
    }
    return status;
}

triage_status tri_frame_receive(tri_frame *out, int socket_fd, size_t limit, int64_t deadline_ns) {
    triage_status status = TRIAGE_OK;
    uint32_t head[2];
    char *data = NULL;
    *out = (tri_frame){0};
    TRI_TRY(receive_all(socket_fd, (char *)head, sizeof head, deadline_ns));
    if (head[1] > limit)
        return tri_fail(TRIAGE_E_DATA, "an answer of %u bytes: at most %zu", head[1], limit);
    TRI_TRY(tri_calloc(&data, (size_t)head[1] + 1, 1));
    TRI_TRY(receive_all(socket_fd, data, head[1], deadline_ns));
    *out = (tri_frame){(tri_frame_kind)head[0], data, head[1]};
    data = NULL;
done:
    free(data);
    return status;
}

/* ---- builds ---- */

static const char build_text[] = "triage space protocol 1";

void tri_pack_build(tri_packer *to) {
    tri_pack_text(to, build_text, strlen(build_text));
    tri_pack_integer(to, (int64_t)sizeof(tri_launch));
}

triage_status tri_unpack_build(tri_unpacker *from) {
    char *text = NULL;
    tri_unpack_text(from, &text, NULL);
    const int64_t size = tri_unpack_integer(from, 0, INT64_MAX);
    const bool same = text && !strcmp(text, build_text) && size == (int64_t)sizeof(tri_launch);
    free(text);
    return same ? from->status
                : tri_fail(TRIAGE_E_UNSUPPORTED, "this triage_worker is of another version of triage");
}

/* ---- starting ---- */

/* Its own process group: Ctrl-C is for us. No signal handler or mask of ours, no file but the socket. */
static int set_up(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int socket_fd) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int error = 0;
    for (int fd = 0; fd < SOCKET && !error; fd++)
        error = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, socket_fd, SOCKET);
    if (!error)
        error = posix_spawn_file_actions_addclosefrom_np(actions, SOCKET + 1);
    if (!error)
        error = posix_spawnattr_setsigmask(attributes, &none);
    if (!error)
        error = posix_spawnattr_setsigdefault(attributes, &all);
    if (!error)
        error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                         POSIX_SPAWN_SETSIGDEF);
    return error;
}

/* The thread that starts it is told of: where that is the main thread, the kernel ends it with us. Of another thread it
 * cannot be said that it lives as long as the space does. */
static triage_status spawn(tri_process *process, const char *program, int socket_fd) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char parent[16];
    char *argv[] = {(char *)(uintptr_t) "triage_worker", (char *)(uintptr_t) "space", parent, NULL};
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return tri_fail(TRIAGE_E_MEMORY, "starting %s: %s", program, strerror(error));
    snprintf(parent, sizeof parent, "%d", gettid() == getpid() ? (int)getpid() : 0);
    error = posix_spawnattr_init(&attributes);
    if (!error) {
        error = set_up(&actions, &attributes, socket_fd);
        if (!error)
            error = posix_spawn(&process->pid, program, &actions, &attributes, argv, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    if (error)
        process->pid = 0;
    return error ? tri_fail(TRIAGE_E_IO, "starting %s: %s", program, strerror(error)) : TRIAGE_OK;
}

/* Address space cannot be limited where a sanitizer keeps its shadow there. */
static void limit_memory(const tri_process *process, int64_t memory) {
#if !defined(__SANITIZE_ADDRESS__)
    const rlim_t most = (rlim_t)(2 * memory + SPARE_BYTES);
    prlimit(process->pid, RLIMIT_AS, &(struct rlimit){most, most}, NULL);
#else
    (void)process, (void)memory;
#endif
}

static triage_status find_program(char **out, const char *file) {
    char *looked = NULL;
    const triage_status status = tri_program_find(out, &looked, "triage_worker");
    if (status != TRIAGE_E_NOT_FOUND)
        return status;
    const triage_status missing =
        tri_fail(TRIAGE_E_IO,
                 "%s: a Lua file of one's own runs in a process of its own, and its program "
                 "triage_worker is not in %s",
                 file, looked ? looked : "any place");
    free(looked);
    return missing;
}

triage_status tri_process_start(tri_process **out, const char *file, int64_t memory) {
    triage_status status = TRIAGE_OK;
    tri_process *process = NULL;
    char *program = NULL;
    int pair[2] = {-1, -1};
    TRI_TRY(find_program(&program, file));
    TRI_TRY(tri_calloc(&process, 1, sizeof *process));
    process->socket_fd = -1;
    process->owner = getpid();
    TRI_TRY(tri_strdup(&process->file, file));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        status = tri_fail(TRIAGE_E_IO, "%s: a socket for its process: %s", file, strerror(errno));
        goto done;
    }
    process->socket_fd = pair[0];
    TRI_TRY(spawn(process, program, pair[1]));
    limit_memory(process, memory);
    *out = process;
    process = NULL;
done:
    if (pair[1] >= 0)
        close(pair[1]);
    tri_process_free(process);
    free(program);
    return status;
}

/* ---- ending ---- */

/* Whether it has ended, within the time; *state as waitpid tells it. */
static bool await_end(pid_t pid, int *state, int64_t time_ns) {
    for (const int64_t until = tri_now_ns() + time_ns;;) {
        const pid_t got = waitpid(pid, state, WNOHANG);
        if (got != 0) {
            *state = got > 0 ? *state : 0; /* somebody else has waited for it */
            return true;
        }
        if (tri_now_ns() > until)
            return false;
        usleep(1000);
    }
}

static void describe_end(char *out, size_t size, int state, bool late) {
    if (late)
        snprintf(out, size, "was ended, for it gave no answer");
    else if (WIFSIGNALED(state) && WTERMSIG(state) == SIGXCPU)
        snprintf(out, size, "was ended, for it took more than %d s", CPU_SECONDS);
    else if (WIFSIGNALED(state))
        snprintf(out, size, "was ended by SIG%s (%s)", sigabbrev_np(WTERMSIG(state)),
                 sigdescr_np(WTERMSIG(state)));
    else if (WIFEXITED(state) && WEXITSTATUS(state) == EXIT_CANNOT_RUN)
        snprintf(out, size, "could not be started");
    else
        snprintf(out, size, "ended with status %d", WIFEXITED(state) ? WEXITSTATUS(state) : -1);
}

/* Its last word is its status, unless it has to be ended. */
static void bury(tri_process *process, bool late) {
    int state = 0;
    char how[160];
    if (!process->pid)
        return;
    if (late || !await_end(process->pid, &state, GRACE_NS)) {
        kill(process->pid, SIGKILL);
        late = true;
        await_end(process->pid, &state, GRACE_NS);
    }
    process->pid = 0;
    describe_end(how, sizeof how, state, late);
    free(process->end);
    process->end = NULL;
    (void)tri_strdup(&process->end, how);
}

void tri_process_free(tri_process *process) {
    if (!process)
        return;
    if (process->socket_fd >= 0)
        close(process->socket_fd);
    if (process->pid && process->owner == getpid()) {
        kill(process->pid, SIGKILL);
        await_end(process->pid, &(int){0}, GRACE_NS);
    }
    free(process->answer.data);
    free(process->file);
    free(process->end);
    free(process);
}

/* ---- calls ---- */

/* So much more CPU time than it has had. */
static void limit_time(const tri_process *process) {
    clockid_t clock;
    struct timespec used = {0};
    if (clock_getcpuclockid(process->pid, &clock) == 0)
        clock_gettime(clock, &used);
    prlimit(process->pid, RLIMIT_CPU, &(struct rlimit){(rlim_t)used.tv_sec + 1 + CPU_SECONDS, RLIM_INFINITY},
            NULL);
}

static triage_status give_part(tri_packer *out, const tri_frame *asked, const tri_files *files) {
    tri_unpacker from = {asked->data, asked->size, TRIAGE_OK};
    triage_status status = TRIAGE_OK;
    char *part = NULL, *text = NULL, *name = NULL;
    size_t size = 0;
    tri_unpack_text(&from, &part, NULL);
    TRI_TRY(tri_unpack_end(&from));
    TRI_TRY(tri_is_part(part) ? TRIAGE_OK : tri_fail(TRIAGE_E_DATA, "'%.60s' is no part", part));
    TRI_TRY(files->part(files->user, &text, &size, &name, part));
    tri_pack_text(out, name, strlen(name));
    tri_pack_text(out, text, size);
    status = out->status;
done:
    free(part);
    free(text);
    free(name);
    return status;
}

static triage_status tell_template(tri_packer *out, const tri_frame *asked, const tri_files *files) {
    tri_unpacker from = {asked->data, asked->size, TRIAGE_OK};
    triage_status status = TRIAGE_OK;
    char *name = NULL;
    bool exists = false;
    tri_unpack_text(&from, &name, NULL);
    TRI_TRY(tri_unpack_end(&from));
    TRI_TRY(files->has_template(files->user, &exists, name));
    tri_pack_integer(out, exists);
    status = out->status;
done:
    free(name);
    return status;
}

void tri_pack_failure(tri_packer *to, triage_status status) {
    const char *message = triage_last_error();
    tri_pack_integer(to, (int64_t)status);
    tri_pack_text(to, message, strlen(message));
}

/* Answers a question of the process. */
static triage_status serve_files(const tri_process *process, const tri_files *files) {
    const tri_frame *asked = &process->answer;
    tri_packer out = {0};
    triage_status status =
        asked->kind == TRI_FRAME_GET_PART ? give_part(&out, asked, files) : tell_template(&out, asked, files);
    const bool failed = status != TRIAGE_OK;
    if (failed) {
        tri_packer_free(&out);
        out = (tri_packer){0};
        tri_pack_failure(&out, status);
    }
    status = out.status;
    if (status == TRIAGE_OK)
        status = tri_frame_send(process->socket_fd, failed ? TRI_FRAME_FAILED : TRI_FRAME_DONE,
                                out.bytes.data, out.bytes.size);
    tri_packer_free(&out);
    return status;
}

triage_status tri_unpack_failure(const tri_frame *frame) {
    tri_unpacker from = {frame->data, frame->size, TRIAGE_OK};
    char *message = NULL;
    const triage_status told =
        (triage_status)tri_unpack_integer(&from, TRIAGE_E_INVALID, TRIAGE_E_INTERRUPTED);
    tri_unpack_text(&from, &message, NULL);
    triage_status status = tri_unpack_end(&from);
    if (status == TRIAGE_OK)
        status = tri_fail(told, "%s", message);
    free(message);
    return status;
}

/* Sends the request and takes what comes until it is an answer. */
static triage_status converse(tri_process *process, tri_frame_kind request, const tri_packer *payload,
                              const tri_files *files) {
    const int64_t deadline_ns = tri_now_ns() + WALL_NS;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_frame_send(process->socket_fd, request, payload->bytes.data, payload->bytes.size));
    for (;;) {
        free(process->answer.data);
        process->answer.data = NULL;
        TRI_TRY(tri_frame_receive(&process->answer, process->socket_fd, TRI_ANSWER_MAX, deadline_ns));
        const tri_frame_kind kind = process->answer.kind;
        const bool asks = kind == TRI_FRAME_GET_PART || kind == TRI_FRAME_GET_TEMPLATE;
        if (!asks || !files)
            return asks ? tri_fail(TRIAGE_E_DATA, "asks for a file") : TRIAGE_OK;
        TRI_TRY(serve_files(process, files));
    }
done:
    return status;
}

static triage_status fail_ended(const tri_process *process) {
    return tri_fail(TRIAGE_E_DATA, "%s: the process that runs it %s", process->file,
                    process->end ? process->end : "has ended");
}

triage_status tri_process_call(tri_unpacker *answer, tri_process *process, tri_frame_kind request,
                               const tri_packer *payload, const tri_files *files) {
    if (payload->status != TRIAGE_OK)
        return payload->status;
    if (process->owner != getpid())
        return tri_fail(TRIAGE_E_UNSUPPORTED, "%s: its process does not answer a fork of the program",
                        process->file);
    if (!process->pid)
        return fail_ended(process);
    limit_time(process);
    const triage_status status = converse(process, request, payload, files);
    if (status == TRIAGE_E_MEMORY)
        return status;
    if (status != TRIAGE_OK) { /* it is gone, silent, or out of its mind */
        bury(process, status != TRIAGE_E_IO);
        return fail_ended(process);
    }
    if (process->answer.kind == TRI_FRAME_FAILED)
        return tri_unpack_failure(&process->answer);
    if (process->answer.kind != TRI_FRAME_DONE) {
        bury(process, true);
        return fail_ended(process);
    }
    *answer = (tri_unpacker){process->answer.data, process->answer.size, TRIAGE_OK};
    return TRIAGE_OK;
}
