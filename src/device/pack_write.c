/* Making a pack: device/pack.h has its layout. */
#include "device/pack.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

triage_status tri_pack_new(tri_pack **out, const char *target, const char *compiler) {
    tri_pack *pack = NULL;
    triage_status status = TRIAGE_OK;
    *out = NULL;
    TRI_TRY(tri_calloc(&pack, 1, sizeof *pack));
    pack->fd = -1;
    TRI_TRY(tri_strdup(&pack->target, target));
    TRI_TRY(tri_strdup(&pack->compiler, compiler));
    *out = pack;
    pack = NULL;
done:
    tri_pack_close(pack);
    return status;
}

triage_status tri_pack_add_image(tri_pack *pack, const char *kernel, const tri_image *image) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_grow(&pack->images, &pack->image_capacity, pack->image_count, sizeof *pack->images,
                     "images of a pack"));
    tri_pack_image *added = &pack->images[pack->image_count];
    *added = (tri_pack_image){.offset = (int64_t)pack->bytes.size,
                              .size = (int64_t)image->size,
                              .registers = image->registers,
                              .spill_bytes = image->spill_bytes,
                              .static_smem_bytes = image->static_smem_bytes};
    tri_hash(added->hash, image->data, image->size);
    TRI_TRY(tri_strdup(&added->kernel, kernel));
    pack->image_count++;
    TRI_TRY(tri_text_append(&pack->bytes, image->data, image->size));
done:
    return status;
}

triage_status tri_pack_add_answer(tri_pack *pack, const tri_pack_answer *answer) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_grow(&pack->answers, &pack->answer_capacity, pack->answer_count, sizeof *pack->answers,
                     "answers of a pack"));
    tri_pack_answer *added = &pack->answers[pack->answer_count++];
    *added = *answer;
    added->problem = added->device = added->config = added->kernel = NULL;
    added->donor = added->donor_device = NULL;
    TRI_TRY(tri_strdup(&added->problem, answer->problem));
    TRI_TRY(tri_strdup(&added->device, answer->device));
    TRI_TRY(tri_strdup(&added->config, answer->config));
    TRI_TRY(tri_strdup(&added->kernel, answer->kernel));
    TRI_TRY(tri_strdup(&added->donor, answer->donor ? answer->donor : ""));
    TRI_TRY(tri_strdup(&added->donor_device, answer->donor_device ? answer->donor_device : ""));
done:
    return status;
}

static json_t *images_json(const tri_pack *pack) {
    json_t *list = json_array();
    for (size_t i = 0; i < pack->image_count; i++) {
        const tri_pack_image *image = &pack->images[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:I, s:I, s:i, s:i, s:i}", "kernel", image->kernel,
                                        "hash", image->hash, "offset", (json_int_t)image->offset, "size",
                                        (json_int_t)image->size, "registers", image->registers, "spill_bytes",
                                        image->spill_bytes, "static_smem_bytes", image->static_smem_bytes));
    }
    return list;
}

static json_t *answers_json(const tri_pack *pack) {
    json_t *list = json_array();
    for (size_t i = 0; i < pack->answer_count; i++) {
        const tri_pack_answer *a = &pack->answers[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:f}", "problem",
                                              a->problem, "device", a->device, "config", a->config, "kernel",
                                              a->kernel, "donor", a->donor, "donor_device", a->donor_device,
                                              "source", (int)a->source, "distance", a->distance, "median_ns",
                                              a->median_ns, "expected_loss", a->expected_loss));
    }
    return list;
}

triage_status tri_pack_write(const tri_pack *pack, const char *path, const tri_signing_key *key) {
    triage_status status = TRIAGE_OK;
    char hash[TRI_HASH_SIZE], signature[TRI_SIGNATURE_SIZE] = "-";
    tri_text file = TRI_TEXT_INIT;
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:o, s:o}", "triage", TRIAGE_VERSION, "target", pack->target, "compiler",
                  pack->compiler, "images", images_json(pack), "answers", answers_json(pack));
    char *index = root ? json_dumps(root, JSON_COMPACT) : NULL;
    if (!index)
        TRI_TRY(tri_fail(TRIAGE_E_MEMORY, "out of memory for the index of a pack"));
    if (json_array_size(json_object_get(root, "images")) != pack->image_count ||
        json_array_size(json_object_get(root, "answers")) != pack->answer_count)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "a part of the pack cannot be written as JSON"));
    tri_hash(hash, index, strlen(index));
    if (key)
        tri_sign(signature, key, index, strlen(index));
    TRI_TRY(tri_text_format(&file, "TRIPACK 1 %s %zu %s %s\n", hash, strlen(index),
                            key ? key->public_key : "-", signature));
    TRI_TRY(tri_text_append(&file, index, strlen(index)));
    TRI_TRY(tri_text_append(&file, pack->bytes.data ? pack->bytes.data : "", pack->bytes.size));
    TRI_TRY(tri_file_write_atomic(path, file.data, file.size, 0644));
done:
    tri_text_free(&file);
    free(index);
    json_decref(root);
    return status;
}
