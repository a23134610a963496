#include "space/pack.h"

#include <stdlib.h>
#include <string.h>

void tri_pack_bytes(tri_packer *to, const void *data, size_t size) {
    if (to->status == TRIAGE_OK && size > 0)
        to->status = tri_text_append(&to->bytes, data, size);
}

void tri_pack_integer(tri_packer *to, int64_t value) {
    tri_pack_bytes(to, &value, sizeof value);
}

void tri_pack_number(tri_packer *to, double value) {
    tri_pack_bytes(to, &value, sizeof value);
}

void tri_pack_text(tri_packer *to, const char *text, size_t size) {
    tri_pack_integer(to, (int64_t)size);
    tri_pack_bytes(to, text, size);
}

void tri_packer_free(tri_packer *packer) {
    tri_text_free(&packer->bytes);
}

/* ---- reading ---- */

static void spoil(tri_unpacker *from) {
    if (from->status == TRIAGE_OK)
        from->status = tri_fail(TRIAGE_E_DATA, "the process of a Lua file says what it must not");
    from->left = 0;
}

void tri_unpack_bytes(tri_unpacker *from, void *out, size_t size) {
    if (size > from->left)
        spoil(from);
    if (from->status != TRIAGE_OK) {
        memset(out, 0, size);
        return;
    }
    memcpy(out, from->at, size);
    from->at += size;
    from->left -= size;
}

int64_t tri_unpack_integer(tri_unpacker *from, int64_t low, int64_t high) {
    int64_t value = 0;
    tri_unpack_bytes(from, &value, sizeof value);
    if (value >= low && value <= high)
        return value;
    spoil(from);
    return low;
}

double tri_unpack_number(tri_unpacker *from) {
    double value = 0;
    tri_unpack_bytes(from, &value, sizeof value);
    return value;
}

void tri_unpack_text(tri_unpacker *from, char **out, size_t *size) {
    const size_t length = (size_t)tri_unpack_integer(from, 0, INT64_MAX);
    *out = NULL;
    if (length > from->left)
        spoil(from);
    if (from->status == TRIAGE_OK)
        from->status = tri_calloc(out, length + 1, 1);
    if (from->status != TRIAGE_OK)
        return;
    tri_unpack_bytes(from, *out, length);
    if (size)
        *size = length;
    else if (memchr(*out, '\0', length))
        spoil(from);
}

size_t tri_unpack_list(tri_unpacker *from, void *out_pointer, size_t item_size, size_t limit) {
    const size_t count = (size_t)tri_unpack_integer(from, 0, (int64_t)limit);
    if (from->status == TRIAGE_OK)
        from->status = tri_calloc(out_pointer, count + 1, item_size);
    return from->status == TRIAGE_OK ? count : 0;
}

triage_status tri_unpack_end(tri_unpacker *from) {
    if (from->left > 0)
        spoil(from);
    return from->status;
}
