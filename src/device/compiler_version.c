/* Which compiler there is, without starting it: <cache>/compiler-cuda and compiler-host remember the version of the
 * file that was one. Loading NVRTC only to hear its version costs an application more than all else at its start.
 *
 * What is remembered counts while that file is the same (device, inode, size, time of change). It only decides
 * under which name an image is looked for: whatever is not found is compiled by the compiler that is there. */
#include "device/backend.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static triage_status memo_path(char **out, const char *cache_dir, const char *backend) {
    return tri_format(out, "%s/compiler-%s", cache_dir, backend);
}

/* The remembered text for a file as it is now; NULL: it is not there. */
static char *memo_of(const char *file, const char *version) {
    struct stat info;
    char *text = NULL;
    if (stat(file, &info) != 0 ||
        tri_format(&text, "%s\n%s\n%ju %ju %jd %jd.%09ld\n", version, file, (uintmax_t)info.st_dev,
                   (uintmax_t)info.st_ino, (intmax_t)info.st_size, (intmax_t)info.st_mtim.tv_sec,
                   info.st_mtim.tv_nsec) != TRIAGE_OK)
        return NULL;
    return text;
}

bool tri_compiler_version_read(char *version, size_t size, const char *cache_dir, const char *backend) {
    char *path = NULL, *text = NULL, *now = NULL;
    bool good = false;
    if (memo_path(&path, cache_dir, backend) != TRIAGE_OK)
        return false;
    if (tri_file_read(&text, NULL, path, 2 * PATH_MAX) == TRIAGE_OK) {
        char *end = strchr(text, '\n'), *file_end = end ? strchr(end + 1, '\n') : NULL;
        if (file_end && (size_t)(end - text) < size) {
            char *file = strndup(end + 1, (size_t)(file_end - end - 1));
            snprintf(version, size, "%.*s", (int)(end - text), text);
            now = file ? memo_of(file, version) : NULL;
            good = now && strcmp(now, text) == 0;
            free(file);
        }
    }
    free(now);
    free(text);
    free(path);
    return good;
}

void tri_compiler_version_write(const char *cache_dir, const char *backend, const char *file,
                                const char *version) {
    char *path = NULL, *text = NULL, *there = NULL, real[PATH_MAX];
    if (realpath(file, real) && memo_path(&path, cache_dir, backend) == TRIAGE_OK)
        text = memo_of(real, version);
    const bool known =
        text && tri_file_read(&there, NULL, path, 2 * PATH_MAX) == TRIAGE_OK && strcmp(there, text) == 0;
    if (text && !known)
        (void)tri_file_write_atomic(path, text, strlen(text), 0600);
    free(there);
    free(text);
    free(path);
}

/* What goes into evidence, its JSON and a memo's line: no quotes, and nothing that a terminal would obey. */
static void add_words(char *version, size_t size, const char *says) {
    size_t used = strlen(version);
    for (; *says && used + 1 < size; says++)
        version[used++] = *says >= ' ' && *says <= '~' && *says != '"' && *says != '\\' ? *says : '?';
    version[used] = '\0';
}

void tri_compiler_identify(char *version, size_t size, const char *says, const char *file) {
    enum { kTail = sizeof ") #0123456789abcdef" };
    char hash[TRI_HASH_SIZE], tail[kTail];
    if (says[0]) {
        add_words(version, size - kTail, " (");
        add_words(version, size - kTail, says);
        add_words(version, size, ")");
    }
    if (!tri_hash_file(hash, file))
        return;
    snprintf(tail, sizeof tail, " #%.16s", hash);
    add_words(version, size, tail);
}
