#include "cli/db/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* <cache>/kernels/ab/ab...ef.bin, beginning with these bytes (src/device/cache.c). */
#define ENTRY_SUFFIX ".bin"
static const char magic[8] = "TRICACHE";

/* A temporary lives for a moment, unless its writer was killed. */
#define TEMPORARY_MAX_AGE_S 3600.0

typedef struct entry {
    char *path;
    double age_s;
    int64_t bytes;
    bool temporary;
} entry;

typedef struct listing {
    entry *entries;
    size_t count, capacity;
} listing;

static void free_listing(listing *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->entries[i].path);
    free(list->entries);
}

static bool is_hex(const char *text, size_t size) {
    return strspn(text, "0123456789abcdef") >= size;
}

/* "<32 hex>.bin", or with something after it: a temporary of it. */
static bool is_entry_name(bool *temporary, const char *name) {
    const size_t hash = TRI_HASH_SIZE - 1, suffix = strlen(ENTRY_SUFFIX);
    if (!is_hex(name, hash) || strncmp(name + hash, ENTRY_SUFFIX, suffix) != 0)
        return false;
    *temporary = name[hash + suffix] != '\0';
    return true;
}

/* Looking must not count as using: O_NOATIME, which the owner may. */
static bool has_magic(int folder, const char *name) {
    char bytes[sizeof magic];
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOATIME);
    bool same = fd >= 0 && read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes &&
                memcmp(bytes, magic, sizeof magic) == 0;
    if (fd >= 0)
        close(fd);
    return same;
}

/* Seconds since the file was last read or written. Most systems note a reading once a day: fine enough. */
static double age_of(const struct stat *info) {
    time_t used = info->st_atime > info->st_mtime ? info->st_atime : info->st_mtime;
    return difftime(time(NULL), used);
}

static triage_status add_entry(listing *list, const char *folder, const char *name, entry found) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_grow(&list->entries, &list->capacity, list->count, sizeof *list->entries, "cache entries"));
    TRI_TRY(tri_path_join(&found.path, folder, name));
    list->entries[list->count++] = found;
done:
    return status;
}

static triage_status list_folder(listing *list, const char *path) {
    triage_status status = TRIAGE_OK;
    DIR *folder = opendir(path);
    if (!folder)
        return tri_fail(TRIAGE_E_IO, "%s: %s", path, strerror(errno));
    for (struct dirent *item; status == TRIAGE_OK && (item = readdir(folder));) {
        struct stat info;
        bool temporary;
        if (!is_entry_name(&temporary, item->d_name) ||
            fstatat(dirfd(folder), item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode))
            continue;
        if (!temporary && !has_magic(dirfd(folder), item->d_name))
            continue;
        status = add_entry(list, path, item->d_name,
                           (entry){.age_s = age_of(&info), .bytes = info.st_size, .temporary = temporary});
    }
    closedir(folder);
    return status;
}

static triage_status list_cache(listing *list, const char *kernels) {
    triage_status status = TRIAGE_OK;
    DIR *top = opendir(kernels);
    if (!top)
        return errno == ENOENT ? TRIAGE_OK : tri_fail(TRIAGE_E_IO, "%s: %s", kernels, strerror(errno));
    for (struct dirent *item; status == TRIAGE_OK && (item = readdir(top));) {
        struct stat info;
        char *path = NULL;
        if (strlen(item->d_name) != 2 || !is_hex(item->d_name, 2) ||
            fstatat(dirfd(top), item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(info.st_mode))
            continue;
        status = tri_path_join(&path, kernels, item->d_name);
        if (status == TRIAGE_OK)
            status = list_folder(list, path);
        free(path);
    }
    closedir(top);
    return status;
}

static int by_age(const void *left, const void *right) {
    const entry *a = left, *b = right;
    return a->age_s != b->age_s ? (a->age_s < b->age_s ? -1 : 1) : strcmp(a->path, b->path);
}

static triage_status remove_entry(tri_cli_cache_result *out, const entry *stale, bool dry_run) {
    if (!dry_run && unlink(stale->path) != 0 && errno != ENOENT)
        return tri_fail(TRIAGE_E_IO, "%s: %s", stale->path, strerror(errno));
    out->removed++;
    out->freed_bytes += stale->bytes;
    return TRIAGE_OK;
}

triage_status tri_cli_cache_collect(tri_cli_cache_result *out, const char *cache_dir,
                                    const tri_cli_cache_limits *limits) {
    triage_status status = TRIAGE_OK;
    listing list = {0};
    char *kernels = NULL;
    int64_t kept = 0;
    *out = (tri_cli_cache_result){0};
    TRI_TRY(tri_path_join(&kernels, cache_dir, "kernels"));
    TRI_TRY(list_cache(&list, kernels));
    if (list.count)
        qsort(list.entries, list.count, sizeof *list.entries, by_age);
    for (size_t i = 0; i < list.count; i++) { /* the most recently used first */
        const entry *e = &list.entries[i];
        out->entries++;
        out->bytes += e->bytes;
        bool stale = e->age_s > (e->temporary ? TEMPORARY_MAX_AGE_S : limits->max_age_s);
        if (stale || (!e->temporary && kept + e->bytes > limits->max_bytes))
            TRI_TRY(remove_entry(out, e, limits->dry_run));
        else
            kept += e->bytes;
    }
done:
    free_listing(&list);
    free(kernels);
    return status;
}
