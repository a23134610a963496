/* A pack: one file with the compiled kernels of a list of problems, and which of them answers which problem, so that an
 * application needs no compiler and makes no pause at its first call. `triage_db pack` writes it.
 *
 *     TRIPACK 1 HASH BYTES KEY SIGNATURE\n    of the index; key and signature "-" where it is not signed
 *     the index, BYTES of JSON: target, compiler, what there is of images (each with its own hash), answers
 *     the images, one behind the other
 *
 * An image is code that will be run. It is taken only where its bytes have the hash of the index, and the index that of
 * the first line; who wants more than a guard against damage asks for a key's signature. An answer is one for one problem
 * on one device, and counts only while its configuration still renders to the text that was compiled. */
#ifndef TRIAGE_DEVICE_PACK_H
#define TRIAGE_DEVICE_PACK_H

#include "base/sign.h"
#include "device/device.h"

typedef struct tri_pack_answer {
    char *problem, *device; /* keys */
    char *config;
    char *kernel; /* tri_source_hash of what it renders to */
    char *donor,
        *donor_device; /* "", or the problem that it was tuned for, and where that was another device */
    triage_source source;
    double distance, median_ns, expected_loss; /* as in triage_choice */
} tri_pack_answer;

typedef struct tri_pack_image {
    char *kernel;
    char hash[TRI_HASH_SIZE]; /* of the bytes */
    int64_t offset, size;     /* behind the index */
    int32_t registers, spill_bytes, static_smem_bytes;
} tri_pack_image;

typedef struct tri_pack {
    char *path;
    int fd;
    int64_t images_at; /* bytes from the file's beginning */
    char *target, *compiler;
    tri_pack_answer *answers;
    size_t answer_count, answer_capacity;
    tri_pack_image *images;
    size_t image_count, image_capacity;
    tri_text bytes; /* while it is put together: the images' */
} tri_pack;

/* Reads the index; images are read when they are asked for. Any number of threads may ask. trust: the public key that must
 * have signed it; NULL: none. Whatever is wrong with it is TRIAGE_E_DATA or _IO, in one line: also a pack of another
 * target, or by a newer CUDA than the driver's, and a file that all may write to. */
triage_status tri_pack_open(tri_pack **out, const char *path, const char *trust, const tri_device_info *info);
void tri_pack_close(tri_pack *pack);

/* Borrowed; NULL: it has no answer. */
const tri_pack_answer *tri_pack_find(const tri_pack *pack, const char *problem, const char *device);
/* The image of a text. TRIAGE_E_NOT_FOUND without a message: it has none; TRIAGE_E_DATA, _IO: a damaged one. */
triage_status tri_pack_read(tri_image *out, const tri_pack *pack, const char *kernel);

/* ---- making one ---- */

triage_status tri_pack_new(tri_pack **out, const char *target, const char *compiler);
bool tri_pack_has(const tri_pack *pack, const char *kernel);
triage_status tri_pack_add_image(tri_pack *pack, const char *kernel, const tri_image *image);
/* Copies the texts. */
triage_status tri_pack_add_answer(tri_pack *pack, const tri_pack_answer *answer);
/* key NULL: not signed. The file is there whole or not at all. */
triage_status tri_pack_write(const tri_pack *pack, const char *path, const tri_signing_key *key);

#endif
