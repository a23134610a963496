/* The process in which a stranger's Lua runs: triage_worker, started for one file and locked in (jail.h). One request
 * at a time goes out and one answer comes back; in between it may ask for files. It ends when this side is gone, when it
 * takes too long, or when it is freed. Not thread-safe, as a sandbox is not. */
#ifndef TRIAGE_SPACE_PROCESS_H
#define TRIAGE_SPACE_PROCESS_H

#include "space/files.h"
#include "space/pack.h"

/* What is said on the socket: a frame is kind and size (32 bits each), then the bytes. */
typedef enum tri_frame_kind {
    TRI_FRAME_OPEN_SPACE = 1,
    TRI_FRAME_JUDGE,
    TRI_FRAME_FILL,
    TRI_FRAME_FILL_REFERENCE,
    TRI_FRAME_OPEN_STRATEGY,
    TRI_FRAME_NEXT,
    TRI_FRAME_TELL,
    TRI_FRAME_DONE,        /* the answer to one of those */
    TRI_FRAME_FAILED,      /* or this: status, message */
    TRI_FRAME_GET_PART,    /* before an answer: a question to this side, */
    TRI_FRAME_GET_TEMPLATE /* which answers DONE or FAILED */
} tri_frame_kind;

typedef struct tri_frame {
    tri_frame_kind kind;
    char *data; /* owned: free */
    size_t size;
} tri_frame;

#define TRI_FRAME_MAX ((size_t)256 << 20) /* to the process: the coordinates of a million configurations */
#define TRI_ANSWER_MAX ((size_t)16 << 20) /* from it */

triage_status tri_frame_send(int socket_fd, tri_frame_kind kind, const char *data, size_t size);
/* Waits until deadline_ns (0: for ever). TRIAGE_E_IO: the other side is gone; TRIAGE_E_TIMEOUT. */
triage_status tri_frame_receive(tri_frame *out, int socket_fd, size_t limit, int64_t deadline_ns);

/* This thread's message with its status, and back: the status is the result. */
void tri_pack_failure(tri_packer *to, triage_status status);
triage_status tri_unpack_failure(const tri_frame *frame);

/* Both sides must be of one build. */
void tri_pack_build(tri_packer *to);
triage_status tri_unpack_build(tri_unpacker *from);

/* ---- this side ---- */

typedef struct tri_process tri_process;

/* file: whose Lua it is, for messages. memory: bytes that its sandbox may take. TRIAGE_E_NOT_FOUND when there is no
 * such program as triage_worker. */
triage_status tri_process_start(tri_process **out, const char *file, int64_t memory);
void tri_process_free(tri_process *process);

/* Sends the request and waits for its answer, whose bytes belong to the process until the next call. files: who answers its
 * questions; NULL: nobody. The answer's failure is passed on as it is; a process that dies is TRIAGE_E_DATA with the
 * reason, then and ever after. */
triage_status tri_process_call(tri_unpacker *answer, tri_process *process, tri_frame_kind request,
                               const tri_packer *payload, const tri_files *files);

/* ---- the other side ---- */

/* The process's whole life: answers until the other side is gone. Returns the exit code. */
int tri_space_serve(int socket_fd);

#endif
