/* What operators make on their first call and need on the next: found by the bytes of a key, counted while in use, the
 * longest unused dropped when there are too many. Thread-safe. */
#ifndef TRIAGE_TORCH_KEPT_H
#define TRIAGE_TORCH_KEPT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEPT_BUCKETS 256
#define KEPT_KEY_BYTES 512
#define KEPT_MOST 1024 /* of a table */

typedef struct kept {
    struct kept *next;
    void *value;
    uint64_t used_at;
    uint32_t users;
    bool is_doomed; /* dropped while in use: its last user frees it */
    size_t key_size;
    unsigned char key[KEPT_KEY_BYTES];
} kept;

typedef struct kept_table {
    void (*free_value)(void *);
    pthread_mutex_t lock;
    uint64_t clock, count;
    kept *buckets[KEPT_BUCKETS];
} kept_table;

/* The one of that key, for its user until kept_give_back; NULL: none. */
kept *kept_take(kept_table *table, const void *key, size_t size);
/* Puts a value in and takes it; of two threads that bring one key, the second's value is freed and the first's given.
 * NULL: no memory, and the value is freed. */
kept *kept_put(kept_table *table, const void *key, size_t size, void *value);
void kept_give_back(kept_table *table, kept *of);
/* Drops those that match; NULL: all. */
void kept_drop(kept_table *table, bool (*matches)(const kept *, const void *), const void *with);
uint64_t kept_count(kept_table *table);

#endif
