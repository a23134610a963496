/* 128-bit BLAKE2b as hex. */
#include "base/base.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>

#define HASH_BYTES 16

/* sodium_init picks the fastest code; where it fails the portable code still hashes right. */
static void start_sodium(void) {
    if (sodium_init() < 0)
        return;
}

static void start(crypto_generichash_state *state) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_sodium);
    crypto_generichash_init(state, NULL, 0, HASH_BYTES);
}

static void finish(char out[TRI_HASH_SIZE], crypto_generichash_state *state) {
    unsigned char bytes[HASH_BYTES];
    crypto_generichash_final(state, bytes, sizeof bytes);
    sodium_bin2hex(out, TRI_HASH_SIZE, bytes, sizeof bytes);
}

void tri_hash(char out[TRI_HASH_SIZE], const void *data, size_t size) {
    crypto_generichash_state state;
    start(&state);
    if (size)
        crypto_generichash_update(&state, data, size);
    finish(out, &state);
}

void tri_hash_pieces(char out[TRI_HASH_SIZE], const tri_piece *pieces, size_t count) {
    crypto_generichash_state state;
    start(&state);
    for (size_t i = 0; i < count; i++) {
        unsigned char length[8]; /* little-endian on every machine */
        for (int byte = 0; byte < 8; byte++)
            length[byte] = (unsigned char)((uint64_t)pieces[i].size >> (8 * byte));
        crypto_generichash_update(&state, length, sizeof length);
        if (pieces[i].size)
            crypto_generichash_update(&state, pieces[i].data, pieces[i].size);
    }
    finish(out, &state);
}

bool tri_hash_file(char out[TRI_HASH_SIZE], const char *path) {
    unsigned char part[1 << 16];
    crypto_generichash_state state;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return false;
    start(&state);
    for (size_t size; (size = fread(part, 1, sizeof part, file)) > 0;)
        crypto_generichash_update(&state, part, size);
    const bool whole = !ferror(file);
    fclose(file);
    finish(out, &state);
    return whole;
}
