/* Compiled images on disk: <cache>/kernels/ab/ab...ef.bin, disposable and local to this user.
 *
 * An entry is code that will be run, so it is believed only from folders that nobody else can write, and only when
 * its digest matches, which takes <cache>/secret to make: 32 random bytes, made once, that only this user can read.
 * Whatever is damaged, or came from sisters, counts as missing and is made again.
 */
#include "device/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct entry_header {
    char magic[8];
    uint32_t version;
    int32_t registers, spill_bytes, static_smem_bytes;
    uint64_t data_size, log_size; /* the data follows, then the log without its NUL */
    char digest[40];              /* of secret, key, header with an empty digest, data and log */
} entry_header;

static const char magic[8] = "TRICACHE";
enum { kEntryVersion = 2, kSecretBytes = 32 };

/* ---- folders ---- */

/* Of the cache itself a link may lead elsewhere, not of what is below: a locked-in process could not follow it. */
static triage_status check_folder(const char *path, int (*look)(const char *, struct stat *)) {
    struct stat info;
    if (look(path, &info) != 0)
        return tri_fail(TRIAGE_E_IO, "kernel cache %s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return tri_fail(TRIAGE_E_IO, "kernel cache %s is not a folder; it is not used", path);
    if (info.st_uid != geteuid())
        return tri_fail(TRIAGE_E_IO, "kernel cache %s belongs to user %lu, not to you (%lu); it is not used",
                        path, (unsigned long)info.st_uid, (unsigned long)geteuid());
    if (info.st_mode & (S_IWGRP | S_IWOTH))
        return tri_fail(TRIAGE_E_IO,
                        "kernel cache %s has mode %03o: others may write to it (allowed 700 to 755); "
                        "it is not used",
                        path, (unsigned)(info.st_mode & 0777));
    return TRIAGE_OK;
}

/* Whatever stands in the place of an entry or of its folder, in a folder that is ours alone, makes way. */
static void put_aside(const char *path, mode_t wanted) {
    struct stat info;
    char *aside = NULL;
    if (lstat(path, &info) == 0 && (info.st_mode & S_IFMT) != wanted &&
        tri_format(&aside, "%s.%ld.aside", path, (long)getpid()) == TRIAGE_OK)
        (void)!rename(path, aside);
    free(aside);
}

/* Makes and checks the folder of key's entry and every folder of ours above it. *out: the entry's path. */
static triage_status entry_path(char **out, const char *cache_dir, const char *key) {
    triage_status status = TRIAGE_OK;
    char *kernels = NULL, *folder = NULL;
    *out = NULL;
    TRI_TRY(tri_path_join(&kernels, cache_dir, "kernels"));
    TRI_TRY(tri_format(&folder, "%s/%.2s", kernels, key));
    TRI_TRY(tri_make_dirs(kernels));
    TRI_TRY(check_folder(cache_dir, stat));
    TRI_TRY(check_folder(kernels, lstat));
    put_aside(folder, S_IFDIR);
    TRI_TRY(tri_make_dirs(folder));
    TRI_TRY(check_folder(folder, lstat));
    TRI_TRY(tri_format(out, "%s/%s.bin", folder, key));
done:
    free(kernels);
    free(folder);
    return status;
}

/* ---- the secret ---- */

/* Ours, and nobody else's to read; false: there is none, or none that can be believed. */
static bool read_secret(unsigned char out[kSecretBytes], const char *path) {
    struct stat info;
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    const bool good = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
                      (info.st_mode & 077) == 0 && info.st_size == kSecretBytes &&
                      read(fd, out, kSecretBytes) == kSecretBytes;
    close(fd);
    return good;
}

/* Whoever comes first makes it: it appears whole, under its name, or not at all. */
static void make_secret(const char *path) {
    unsigned char bytes[kSecretBytes];
    char *partial = NULL;
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes ||
        tri_format(&partial, "%s.XXXXXX", path) != TRIAGE_OK)
        return;
    const int fd = mkostemp(partial, O_CLOEXEC); /* 0600 */
    if (fd >= 0) {
        if (write(fd, bytes, sizeof bytes) == sizeof bytes && fsync(fd) == 0)
            (void)!link(partial, path);
        (void)unlink(partial);
        close(fd);
    }
    free(partial);
}

static triage_status find_secret(unsigned char out[kSecretBytes], const char *cache_dir) {
    char *path = NULL;
    triage_status status = tri_path_join(&path, cache_dir, "secret");
    if (status != TRIAGE_OK)
        return status;
    if (access(path, F_OK) != 0)
        make_secret(path);
    if (!read_secret(out, path))
        status = tri_fail(
            TRIAGE_E_IO,
            "kernel cache: %s is not a file of %d bytes that only you can read; the cache is not used", path,
            kSecretBytes);
    free(path);
    return status;
}

/* ---- entries ---- */

static void digest_of(char out[TRI_HASH_SIZE], const unsigned char secret[kSecretBytes], const char *key,
                      const entry_header *header, const void *data, const char *log) {
    entry_header blank = *header;
    memset(blank.digest, 0, sizeof blank.digest);
    tri_piece pieces[] = {{secret, kSecretBytes},
                          {key, strlen(key)},
                          {&blank, sizeof blank},
                          {data, header->data_size},
                          {log, header->log_size}};
    tri_hash_pieces(out, pieces, sizeof pieces / sizeof *pieces);
}

static bool entry_is_good(const char *bytes, size_t size, const unsigned char secret[kSecretBytes],
                          const char *key) {
    entry_header header;
    char digest[TRI_HASH_SIZE];
    if (size < sizeof header)
        return false;
    memcpy(&header, bytes, sizeof header);
    if (memcmp(header.magic, magic, sizeof magic) != 0 || header.version != kEntryVersion)
        return false;
    if (header.data_size == 0 || header.data_size > size || header.log_size > size ||
        sizeof header + header.data_size + header.log_size != size)
        return false;
    const char *data = bytes + sizeof header;
    digest_of(digest, secret, key, &header, data, data + header.data_size);
    return memcmp(digest, header.digest, sizeof digest) == 0;
}

static triage_status image_of_entry(tri_image *out, const char *bytes) {
    triage_status status = TRIAGE_OK;
    entry_header header;
    memcpy(&header, bytes, sizeof header);
    const char *data = bytes + sizeof header;
    TRI_TRY(tri_calloc(&out->data, header.data_size, 1));
    TRI_TRY(tri_calloc(&out->log, header.log_size + 1, 1));
    memcpy(out->data, data, header.data_size);
    memcpy(out->log, data + header.data_size, header.log_size);
    out->size = header.data_size;
    out->registers = header.registers;
    out->spill_bytes = header.spill_bytes;
    out->static_smem_bytes = header.static_smem_bytes;
    out->from_cache = true;
done:
    return status;
}

enum { kProbeBytes = 1 << 16 }; /* as much as a kernel has */

triage_status tri_cache_check(const char *cache_dir) {
    static const char key[] = "00000000000000000000000000000000";
    triage_status status = TRIAGE_OK;
    char *path = NULL, *probe = NULL, *bytes = NULL;
    unsigned char secret[kSecretBytes];
    TRI_TRY(entry_path(&path, cache_dir, key));
    TRI_TRY(find_secret(secret, cache_dir));
    TRI_TRY(tri_format(&probe, "%s.%ld", path, (long)getpid()));
    TRI_TRY(tri_calloc(&bytes, kProbeBytes, 1));
    status = tri_file_write_atomic(probe, bytes, kProbeBytes, 0600);
    (void)unlink(probe);
done:
    free(bytes);
    free(probe);
    free(path);
    return status;
}

triage_status tri_cache_read(tri_image *out, const char *cache_dir, const char *key) {
    triage_status status = TRIAGE_OK;
    char *path = NULL, *bytes = NULL;
    unsigned char secret[kSecretBytes];
    size_t size = 0;
    TRI_TRY(entry_path(&path, cache_dir, key));
    if (access(path, F_OK) != 0 || find_secret(secret, cache_dir) != TRIAGE_OK ||
        tri_file_read(&bytes, &size, path, 0) != TRIAGE_OK || !entry_is_good(bytes, size, secret, key)) {
        status = TRIAGE_E_NOT_FOUND; /* the caller compiles: nothing to report */
        goto done;
    }
    status = image_of_entry(out, bytes);
done:
    free(bytes);
    free(path);
    return status;
}

triage_status tri_cache_write(const tri_image *image, const char *cache_dir, const char *key) {
    triage_status status = TRIAGE_OK;
    char *path = NULL, *bytes = NULL, digest[TRI_HASH_SIZE];
    size_t log_size = strlen(image->log), size = sizeof(entry_header) + image->size + log_size;
    entry_header header = {.version = kEntryVersion,
                           .registers = image->registers,
                           .spill_bytes = image->spill_bytes,
                           .static_smem_bytes = image->static_smem_bytes,
                           .data_size = image->size,
                           .log_size = log_size};
    unsigned char secret[kSecretBytes];
    TRI_TRY(entry_path(&path, cache_dir, key));
    TRI_TRY(find_secret(secret, cache_dir));
    memcpy(header.magic, magic, sizeof magic);
    digest_of(digest, secret, key, &header, image->data, image->log);
    memcpy(header.digest, digest, sizeof digest);
    TRI_TRY(tri_calloc(&bytes, size, 1));
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, image->data, image->size);
    memcpy(bytes + sizeof header + image->size, image->log, log_size);
    put_aside(path, S_IFREG);
    TRI_TRY(tri_file_write_atomic(path, bytes, size, 0600));
done:
    free(bytes);
    free(path);
    return status;
}
