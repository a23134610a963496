/* Signatures (Ed25519, libsodium). Keys and signatures are lower-case hex. */
#ifndef TRIAGE_BASE_SIGN_H
#define TRIAGE_BASE_SIGN_H

#include "base/base.h"

#define TRI_PUBLIC_KEY_SIZE 65 /* with the NUL */
#define TRI_SIGNATURE_SIZE 129

/* A secret key in memory; wipe it with tri_signing_key_wipe. */
typedef struct tri_signing_key {
    unsigned char secret[64];
    char public_key[TRI_PUBLIC_KEY_SIZE];
} tri_signing_key;

/* Makes a key in a new file, 0600. TRIAGE_E_IO if there is a file of that name, or it cannot be written. */
triage_status tri_signing_key_make(const char *path);
/* TRIAGE_E_DATA: not such a file, or others may read it; TRIAGE_E_NOT_FOUND. */
triage_status tri_signing_key_read(tri_signing_key *out, const char *path);
void tri_signing_key_wipe(tri_signing_key *key);

void tri_sign(char out[TRI_SIGNATURE_SIZE], const tri_signing_key *key, const void *data, size_t size);
bool tri_is_public_key(const char *text);
/* False too for what is no key or no signature. */
bool tri_is_signed(const char *public_key, const char *signature, const void *data, size_t size);

#endif
