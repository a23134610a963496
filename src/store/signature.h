/* Which rows a key has signed. A file of evidence, F.jsonl, has its signature beside it, F.jsonl.sig, so that it stays
 * what it was for those who do not ask:
 *
 *     triage signature 1
 *     key <64 hex digits>
 *     signature <128 hex digits>
 *     <id>                        a line for each row
 *
 * What is signed is the text of those ids. An id is the hash of its row, so a row that has one of them is the row
 * that was signed, in whatever file it lies. Private to src/store. */
#ifndef TRIAGE_STORE_SIGNATURE_H
#define TRIAGE_STORE_SIGNATURE_H

#include "base/sign.h"

/* Zero-initialise. */
typedef struct tri_signed_ids {
    char *text;       /* of the file */
    const char **ids; /* sorted; each of TRI_HASH_SIZE - 1 digits */
    size_t count;
} tri_signed_ids;
void tri_signed_ids_free(tri_signed_ids *ids);

/* ids: lines "id\n". Writes evidence_path.sig whole. */
triage_status tri_signature_write(const char *evidence_path, const tri_signing_key *key, const tri_text *ids);
/* TRIAGE_E_DATA: there is no signature, it is damaged, or of another key than this. */
triage_status tri_signature_read(tri_signed_ids *out, const char *evidence_path, const char *public_key);
bool tri_signed_ids_have(const tri_signed_ids *ids, const char *id);

#endif
