#include "base/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TITLE "triage signing key 1\n" /* the seed follows, as hex */
enum { SEED_BYTES = crypto_sign_SEEDBYTES, FILE_LIMIT = 4096 };

static triage_status start_sodium(void) {
    return sodium_init() < 0 ? tri_fail(TRIAGE_E_UNSUPPORTED, "libsodium does not start") : TRIAGE_OK;
}

/* ---- keys in files ---- */

triage_status tri_signing_key_make(const char *path) {
    unsigned char seed[SEED_BYTES];
    char hex[2 * SEED_BYTES + 1], *text = NULL;
    triage_status status = TRIAGE_OK;
    int fd = -1;
    TRI_TRY(start_sodium());
    randombytes_buf(seed, sizeof seed);
    sodium_bin2hex(hex, sizeof hex, seed, sizeof seed);
    TRI_TRY(tri_format(&text, TITLE "%s\n", hex));
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        TRI_TRY(tri_fail(TRIAGE_E_IO, "%s: %s", path, strerror(errno)));
    const size_t size = strlen(text);
    if (write(fd, text, size) != (ssize_t)size || fsync(fd) != 0) {
        status = tri_fail(TRIAGE_E_IO, "%s: %s", path, strerror(errno));
        unlink(path);
    }
done:
    if (fd >= 0)
        close(fd);
    if (text)
        sodium_memzero(text, strlen(text));
    free(text);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(hex, sizeof hex);
    return status;
}

static triage_status check_private(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0)
        return tri_fail(errno == ENOENT ? TRIAGE_E_NOT_FOUND : TRIAGE_E_IO, "%s: %s", path, strerror(errno));
    if (info.st_uid != geteuid())
        return tri_fail(TRIAGE_E_DATA,
                        "%s: a file of user %u; a signing key is your own, and only you can read it", path,
                        (unsigned)info.st_uid);
    if (!S_ISREG(info.st_mode) || (info.st_mode & 077))
        return tri_fail(TRIAGE_E_DATA, "%s: mode %03o; a signing key is a file that only you can read (0600)",
                        path, (unsigned)(info.st_mode & 0777));
    return TRIAGE_OK;
}

triage_status tri_signing_key_read(tri_signing_key *out, const char *path) {
    unsigned char seed[SEED_BYTES], public_key[crypto_sign_PUBLICKEYBYTES];
    char *text = NULL;
    size_t size = 0, read = 0;
    const size_t title = strlen(TITLE);
    triage_status status = TRIAGE_OK;
    TRI_TRY(start_sodium());
    TRI_TRY(check_private(path));
    TRI_TRY(tri_file_read(&text, &size, path, FILE_LIMIT));
    if (size != title + 2 * SEED_BYTES + 1 || memcmp(text, TITLE, title) != 0 ||
        sodium_hex2bin(seed, sizeof seed, text + title, 2 * SEED_BYTES, NULL, &read, NULL) != 0 ||
        read != sizeof seed)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s: not a signing key of triage", path));
    crypto_sign_seed_keypair(public_key, out->secret, seed);
    sodium_bin2hex(out->public_key, sizeof out->public_key, public_key, sizeof public_key);
done:
    if (text)
        sodium_memzero(text, size);
    free(text);
    sodium_memzero(seed, sizeof seed);
    return status;
}

void tri_signing_key_wipe(tri_signing_key *key) {
    sodium_memzero(key, sizeof *key);
}

/* ---- signatures ---- */

void tri_sign(char out[TRI_SIGNATURE_SIZE], const tri_signing_key *key, const void *data, size_t size) {
    unsigned char signature[crypto_sign_BYTES];
    crypto_sign_detached(signature, NULL, data, size, key->secret);
    sodium_bin2hex(out, TRI_SIGNATURE_SIZE, signature, sizeof signature);
}

static bool from_hex(unsigned char *out, size_t size, const char *hex) {
    size_t read = 0;
    return strlen(hex) == 2 * size && strspn(hex, "0123456789abcdef") == 2 * size &&
           sodium_hex2bin(out, size, hex, 2 * size, NULL, &read, NULL) == 0 && read == size;
}

bool tri_is_public_key(const char *text) {
    unsigned char key[crypto_sign_PUBLICKEYBYTES];
    return from_hex(key, sizeof key, text);
}

bool tri_is_signed(const char *public_key, const char *signature, const void *data, size_t size) {
    unsigned char key[crypto_sign_PUBLICKEYBYTES], bytes[crypto_sign_BYTES];
    return start_sodium() == TRIAGE_OK && from_hex(key, sizeof key, public_key) &&
           from_hex(bytes, sizeof bytes, signature) &&
           crypto_sign_verify_detached(bytes, data, size, key) == 0;
}
