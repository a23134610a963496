/* Entries of the cache of compiled kernels, and the memo of the compiler's version: files that somebody else may have damaged.
 * An entry needs a digest that takes this user's secret, so the target also puts the right one in: what is behind it must be
 * sound by itself. */
#include "device/cache.c"

#include "fuzz/fuzz.h"

static const char key[] = "0123456789abcdef0123456789abcdef";
static char folder[] = "/dev/shm/triage-fuzz-XXXXXX";
static char *entry;

static void remove_folder(void) {
    char *command = NULL;
    if (tri_format(&command, "rm -rf %s", folder) == TRIAGE_OK && system(command) != 0)
        fprintf(stderr, "%s is left\n", folder);
    free(command);
}

static void make_folder(void) {
    if (entry)
        return;
    MUST(mkdtemp(folder) && entry_path(&entry, folder, key) == TRIAGE_OK);
    atexit(remove_folder);
}

static void put(const char *path, const void *data, size_t size) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

/* What was believed goes in and comes out again. */
static void check(const tri_image *image) {
    tri_image again = {0};
    MUST(image->size > 0 && image->from_cache);
    MUST(tri_cache_write(image, folder, key) == TRIAGE_OK &&
         tri_cache_read(&again, folder, key) == TRIAGE_OK);
    MUST(again.size == image->size && memcmp(again.data, image->data, image->size) == 0);
    MUST(strcmp(again.log, image->log) == 0 && again.registers == image->registers);
    tri_image_free(&again);
}

static bool read_entry(void) {
    tri_image image = {0};
    const triage_status status = tri_cache_read(&image, folder, key);
    MUST(status == TRIAGE_OK || status == TRIAGE_E_NOT_FOUND);
    if (status == TRIAGE_OK)
        check(&image);
    tri_image_free(&image);
    return status == TRIAGE_OK;
}

/* The digest, where the sizes are those of the file. */
static bool give_right_digest(char *bytes, size_t size) {
    entry_header header;
    char digest[TRI_HASH_SIZE];
    unsigned char secret[kSecretBytes];
    if (size <= sizeof header)
        return false;
    memcpy(&header, bytes, sizeof header);
    const size_t left = size - sizeof header;
    if (header.data_size == 0 || header.data_size > left || header.log_size != left - header.data_size)
        return false;
    MUST(find_secret(secret, folder) == TRIAGE_OK);
    const char *data = bytes + sizeof header;
    digest_of(digest, secret, key, &header, data, data + header.data_size);
    memcpy(bytes + offsetof(entry_header, digest), digest, sizeof digest);
    return true;
}

static void try_memo(const uint8_t *data, size_t size) {
    char *path = NULL, version[64];
    MUST(tri_path_join(&path, folder, "compiler-host") == TRIAGE_OK);
    put(path, data, size);
    if (tri_compiler_version_read(version, sizeof version, folder, "host"))
        MUST(strlen(version) < sizeof version);
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    make_folder();
    put(entry, data, size);
    (void)read_entry();
    char *bytes = malloc(size ? size : 1);
    MUST(bytes);
    memcpy(bytes, data, size);
    if (give_right_digest(bytes, size)) {
        entry_header header;
        memcpy(&header, bytes, sizeof header);
        put(entry, bytes, size);
        const bool sound = memcmp(header.magic, magic, sizeof magic) == 0 && header.version == kEntryVersion;
        MUST(read_entry() == sound);
    }
    free(bytes);
    try_memo(data, size);
    return 0;
}
