#include "store/signature.h"

#include <stdlib.h>
#include <string.h>

#define TITLE "triage signature 1\n"
enum { ID = TRI_HASH_SIZE - 1, KEY = TRI_PUBLIC_KEY_SIZE - 1, SIGNATURE = TRI_SIGNATURE_SIZE - 1 };

void tri_signed_ids_free(tri_signed_ids *ids) {
    free(ids->ids);
    free(ids->text);
    *ids = (tri_signed_ids){0};
}

/* The title is signed too: it says what the rest is. */
static triage_status text_to_sign(tri_text *out, const char *ids, size_t size) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_text_append(out, TITLE, strlen(TITLE)));
    TRI_TRY(tri_text_append(out, ids, size));
done:
    return status;
}

triage_status tri_signature_write(const char *evidence_path, const tri_signing_key *key,
                                  const tri_text *ids) {
    triage_status status = TRIAGE_OK;
    char *path = NULL, signature[TRI_SIGNATURE_SIZE];
    tri_text signed_text = TRI_TEXT_INIT, file = TRI_TEXT_INIT;
    TRI_TRY(text_to_sign(&signed_text, ids->data ? ids->data : "", ids->size));
    tri_sign(signature, key, signed_text.data, signed_text.size);
    TRI_TRY(tri_text_format(&file, TITLE "key %s\nsignature %s\n", key->public_key, signature));
    TRI_TRY(tri_text_append(&file, ids->data ? ids->data : "", ids->size));
    TRI_TRY(tri_format(&path, "%s.sig", evidence_path));
    TRI_TRY(tri_file_write_atomic(path, file.data, file.size, 0644));
done:
    tri_text_free(&signed_text);
    tri_text_free(&file);
    free(path);
    return status;
}

/* ---- reading ---- */

/* "WORD value\n" with a value of that size, which becomes a text of its own; NULL: it is not there. */
static const char *take_line(char **at, const char *word, size_t size) {
    char *value = *at + strlen(word);
    if (strncmp(*at, word, strlen(word)) != 0 || strnlen(value, size + 1) <= size || value[size] != '\n')
        return NULL;
    value[size] = '\0';
    *at = value + size + 1;
    return value;
}

static int compare_ids(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Each line becomes a text of its own. */
static triage_status list_ids(tri_signed_ids *out, char *lines, size_t size) {
    triage_status status = TRIAGE_OK;
    if (size % (ID + 1) != 0)
        return tri_fail(TRIAGE_E_DATA, "its ids are not lines of %d digits", ID);
    TRI_TRY(tri_calloc(&out->ids, size / (ID + 1) + 1, sizeof *out->ids));
    for (char *at = lines; at < lines + size; at += ID + 1) {
        if (at[ID] != '\n' || strspn(at, "0123456789abcdef") != ID)
            TRI_TRY(tri_fail(TRIAGE_E_DATA, "its ids are not lines of %d digits", ID));
        at[ID] = '\0';
        out->ids[out->count++] = at;
    }
    qsort(out->ids, out->count, sizeof *out->ids, compare_ids);
done:
    return status;
}

static triage_status read_signature(tri_signed_ids *out, size_t size, const char *public_key) {
    triage_status status = TRIAGE_OK;
    char *at = out->text;
    tri_text signed_text = TRI_TEXT_INIT;
    if (strlen(out->text) != size || strncmp(at, TITLE, strlen(TITLE)) != 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "not a signature of triage"));
    at += strlen(TITLE);
    const char *key = take_line(&at, "key ", KEY);
    const char *signature = key ? take_line(&at, "signature ", SIGNATURE) : NULL;
    if (!signature)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "not a signature of triage"));
    if (strcmp(key, public_key) != 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "signed by the key %.64s, not by the one that is trusted", key));
    size = (size_t)(out->text + size - at);
    TRI_TRY(text_to_sign(&signed_text, at, size));
    if (!tri_is_signed(public_key, signature, signed_text.data, signed_text.size))
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "the signature is not that of these ids"));
    TRI_TRY(list_ids(out, at, size));
done:
    tri_text_free(&signed_text);
    return status;
}

triage_status tri_signature_read(tri_signed_ids *out, const char *evidence_path, const char *public_key) {
    triage_status status = TRIAGE_OK;
    char *path = NULL, why[200];
    size_t size = 0;
    tri_signed_ids made = {0};
    if (!tri_is_public_key(public_key))
        return tri_fail(TRIAGE_E_INVALID, "\"%.80s\" is no key: 64 hex digits, as triage_db key prints them",
                        public_key);
    TRI_TRY(tri_format(&path, "%s.sig", evidence_path));
    TRI_TRY(tri_file_read(&made.text, &size, path, 0));
    status = read_signature(&made, size, public_key);
    if (status == TRIAGE_E_DATA) {
        snprintf(why, sizeof why, "%s", triage_last_error());
        status = tri_fail(TRIAGE_E_DATA, "%s: %s", path, why);
    }
    TRI_TRY(status);
    *out = made;
    made = (tri_signed_ids){0};
done:
    tri_signed_ids_free(&made);
    free(path);
    return status;
}

bool tri_signed_ids_have(const tri_signed_ids *ids, const char *id) {
    return ids->count && bsearch(&id, ids->ids, ids->count, sizeof *ids->ids, compare_ids);
}
