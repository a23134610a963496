#include "kept.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a over words: keys are structs without padding, zeroed before they are filled. */
static size_t bucket_of(const void *key, size_t size) {
    const unsigned char *at = key;
    uint64_t hash = UINT64_C(0xcbf29ce484222325), word;
    for (; size >= sizeof word; at += sizeof word, size -= sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x100000001b3);
    }
    return (hash ^ hash >> 32) % KEPT_BUCKETS;
}

static kept *find(kept_table *table, const void *key, size_t size) {
    kept *at = table->buckets[bucket_of(key, size)];
    while (at && (at->key_size != size || memcmp(at->key, key, size) != 0))
        at = at->next;
    if (at) {
        at->users++;
        at->used_at = ++table->clock;
    }
    return at;
}

static void destroy(kept_table *table, kept *of) {
    table->free_value(of->value);
    free(of);
}

/* Out of its list; freed at once unless somebody uses it. */
static void drop(kept_table *table, kept **link) {
    kept *of = *link;
    *link = of->next;
    table->count--;
    of->is_doomed = true;
    if (of->users == 0)
        destroy(table, of);
}

static void drop_oldest(kept_table *table) {
    kept **oldest = NULL;
    for (size_t i = 0; i < KEPT_BUCKETS; i++)
        for (kept **link = &table->buckets[i]; *link; link = &(*link)->next)
            if ((*link)->users == 0 && (!oldest || (*link)->used_at < (*oldest)->used_at))
                oldest = link;
    if (oldest)
        drop(table, oldest);
}

kept *kept_take(kept_table *table, const void *key, size_t size) {
    pthread_mutex_lock(&table->lock);
    kept *found = find(table, key, size);
    pthread_mutex_unlock(&table->lock);
    return found;
}

kept *kept_put(kept_table *table, const void *key, size_t size, void *value) {
    kept *made = calloc(1, sizeof *made);
    pthread_mutex_lock(&table->lock);
    kept *found = find(table, key, size);
    if (found || !made || size > sizeof made->key) {
        table->free_value(value);
        free(made);
    } else {
        kept **bucket = &table->buckets[bucket_of(key, size)];
        if (table->count >= KEPT_MOST)
            drop_oldest(table);
        *made =
            (kept){.next = *bucket, .value = value, .used_at = ++table->clock, .users = 1, .key_size = size};
        memcpy(made->key, key, size);
        *bucket = found = made;
        table->count++;
    }
    pthread_mutex_unlock(&table->lock);
    return found;
}

void kept_give_back(kept_table *table, kept *of) {
    if (!of)
        return;
    pthread_mutex_lock(&table->lock);
    if (--of->users == 0 && of->is_doomed)
        destroy(table, of);
    pthread_mutex_unlock(&table->lock);
}

void kept_drop(kept_table *table, bool (*matches)(const kept *, const void *), const void *with) {
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < KEPT_BUCKETS; i++)
        for (kept **link = &table->buckets[i]; *link;) {
            if (!matches || matches(*link, with))
                drop(table, link);
            else
                link = &(*link)->next;
        }
    pthread_mutex_unlock(&table->lock);
}

uint64_t kept_count(kept_table *table) {
    pthread_mutex_lock(&table->lock);
    uint64_t count = table->count;
    pthread_mutex_unlock(&table->lock);
    return count;
}
