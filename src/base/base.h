/* What every room needs: memory, text, files, hashes, time. */
#ifndef TRIAGE_BASE_BASE_H
#define TRIAGE_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

/* ---- text ---- */

/* A growing text. Zero-initialise: TRI_TEXT_INIT. data is NULL or NUL-terminated. */
typedef struct tri_text {
    char *data;
    size_t size; /* bytes without the NUL */
    size_t capacity;
} tri_text;
#define TRI_TEXT_INIT                                                                                        \
    { 0 }

triage_status tri_text_append(tri_text *text, const char *bytes, size_t size);
triage_status tri_text_format(tri_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tri_text_free(tri_text *text); /* leaves it empty and usable */

/* Bytes of the character that begins here, if a terminal or a reader is misled by it; else 0. Controls are those of ASCII (1)
 * and U+0080 .. U+009F (2), of which U+009B begins a sequence; U+202A .. U+202E, U+2066 .. U+2069 (3) let a text be read in
 * another order than it is written. */
size_t tri_control_size(const char *text);
/* These become spaces, byte by byte. */
void tri_text_tame(char *text);

/* asprintf with a status. *out is owned by the caller (free). */
triage_status tri_format(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
triage_status tri_strdup(char **out, const char *text);

/* Whole-string decimal integer in [low, high]; what names the value in the message, e.g. "--n". */
triage_status tri_parse_int64(int64_t *out, const char *text, int64_t low, int64_t high, const char *what);
triage_status tri_parse_double(double *out, const char *text, double low, double high, const char *what);

/* Of the functions that a repeated call runs through: the linker puts them together, so that few cache lines and pages
 * must come back after a launch, in which the driver fills the caches with its own. */
#define TRI_HOT __attribute__((hot))

/* ---- memory ---- */

/* count * size zeroed bytes with an overflow check; never returns NULL with TRIAGE_OK. */
triage_status tri_calloc(void *out_pointer, size_t count, size_t size);

/* Makes room for one more of count items of a list that grows: items_pointer is the address of its pointer to items of
 * this size (NULL: none yet), *capacity what it has room for. what: the items, for the message. On failure the list is
 * as it was. */
triage_status tri_grow(void *items_pointer, size_t *capacity, size_t count, size_t size, const char *what);

/* ---- files ---- */

/* Reads a regular file of at most limit bytes (0: 256 MiB). *out is NUL-terminated and owned by the caller. */
triage_status tri_file_read(char **out, size_t *size, const char *path, size_t limit);
/* Writes to a temporary beside path, fsyncs, renames: readers see the old file or the new, whole. What is no regular file is
 * written to. */
triage_status tri_file_write_atomic(const char *path, const void *data, size_t size, unsigned mode);
/* mkdir -p with mode 0700 for what it makes. */
triage_status tri_make_dirs(const char *path);
/* The same for the folder that a file is to be in. */
triage_status tri_make_parent(const char *path);
/* The folder for what is thrown away again: /tmp, unless a program set another (an absolute path of a folder, else it
 * is not taken) before it started threads. */
void tri_set_temporary_folder(const char *path);
const char *tri_temporary_folder(void);
/* a/b; *out owned by the caller. */
triage_status tri_path_join(char **out, const char *a, const char *b);

/* ---- hash ---- */

/* 128-bit BLAKE2b (libsodium) as 32 hex digits: the id of everything here. */
#define TRI_HASH_SIZE 33
void tri_hash(char out[TRI_HASH_SIZE], const void *data, size_t size);
/* Of several pieces, each preceded by its length, so that moving a boundary changes the hash. */
typedef struct tri_piece {
    const void *data;
    size_t size;
} tri_piece;
/* Of a file's bytes. False: it cannot be read. */
bool tri_hash_file(char out[TRI_HASH_SIZE], const char *path);
void tri_hash_pieces(char out[TRI_HASH_SIZE], const tri_piece *pieces, size_t count);
/* The anonymous name of this machine. */
void tri_machine_hash(char out[TRI_HASH_SIZE]);

/* ---- random: xoshiro256**, seeded by splitmix64. Same seed, same numbers, on every machine. ---- */

typedef struct tri_random {
    uint64_t state[4];
} tri_random;
void tri_random_seed(tri_random *random, uint64_t seed);
uint64_t tri_random_next(tri_random *random);
uint64_t tri_random_below(tri_random *random, uint64_t bound); /* unbiased, bound >= 1 */

/* ---- time ---- */
int64_t tri_now_ns(void);       /* monotonic */
int64_t tri_wall_time_ms(void); /* Unix time, milliseconds; 0 where the clock is before 1970 */

/* ---- resources: templates/, tuner/ and db/ files, built in or read from data_dir ---- */

/* Finds e.g. "templates/bsr_gemm/wgmma.cu". With data_dir it is read from there, else from the copy
 * built into the library. *out is NUL-terminated, owned by the caller. TRIAGE_E_NOT_FOUND. */
triage_status tri_resource_read(char **out, size_t *size, const char *data_dir, const char *name);
/* The i-th built-in resource's name, NULL after the last. */
const char *tri_resource_name(size_t i);

/* ---- a log line for the caller's callback ---- */
typedef struct tri_log {
    triage_log_fn fn; /* NULL: silent */
    void *user;
} tri_log;
void tri_log_line(const tri_log *log, triage_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Around what is done under a lock: this thread's lines in between are kept, and told to their callbacks in order when the
 * lock is given back, so that a callback may call anything of ours. Pairs may lie in one another: the outermost tells.
 * Telling leaves the thread's last error as it is. */
void tri_log_keep(void);
void tri_log_tell(void);

#endif
