/* Values in a row of bytes, for a process of the same program on the same machine. Reading trusts nothing: what runs past the
 * end, or is out of its range, makes the whole row bad, and what is read from then on is 0 or "". */
#ifndef TRIAGE_SPACE_PACK_H
#define TRIAGE_SPACE_PACK_H

#include "base/base.h"

/* Being written. After a failure nothing is added any more. */
typedef struct tri_packer {
    tri_text bytes;
    triage_status status;
} tri_packer;
void tri_pack_bytes(tri_packer *to, const void *data, size_t size);
void tri_pack_integer(tri_packer *to, int64_t value);
void tri_pack_number(tri_packer *to, double value);
void tri_pack_text(tri_packer *to, const char *text, size_t size);
void tri_packer_free(tri_packer *packer);

/* Being read; data is borrowed. */
typedef struct tri_unpacker {
    const char *at;
    size_t left;
    triage_status status;
} tri_unpacker;
void tri_unpack_bytes(tri_unpacker *from, void *out, size_t size);
int64_t tri_unpack_integer(tri_unpacker *from, int64_t low, int64_t high);
double tri_unpack_number(tri_unpacker *from);
/* A text without NUL, owned by the caller; size may be NULL. */
void tri_unpack_text(tri_unpacker *from, char **out, size_t *size);
/* The number of entries of a list, at most limit, with room made for them. */
size_t tri_unpack_list(tri_unpacker *from, void *out_pointer, size_t item_size, size_t limit);
/* The status, after the last value: something left over is bad, too. */
triage_status tri_unpack_end(tri_unpacker *from);

#endif
