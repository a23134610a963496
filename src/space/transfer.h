/* Spaces, questions and candidates as bytes. Whatever is read is checked by the rules of words.h and launch.h. */
#ifndef TRIAGE_SPACE_TRANSFER_H
#define TRIAGE_SPACE_TRANSFER_H

#include "space/model.h"
#include "space/pack.h"

void tri_pack_model(tri_packer *to, const tri_space *space);
/* Fills name, op, kernels and references of a space whose file is named. On failure the caller frees the space. */
triage_status tri_unpack_model(tri_unpacker *from, tri_space *space);

void tri_pack_question(tri_packer *to, const tri_question *question);
/* The texts of the facts are owned by names; freed with tri_question_text_free. */
typedef struct tri_question_text {
    tri_question question;
    char *names[2 * TRI_FACTS_MAX], *texts[2 * TRI_FACTS_MAX], *backend;
} tri_question_text;
void tri_unpack_question(tri_unpacker *from, tri_question_text *out);
void tri_question_text_free(tri_question_text *text);

/* Parameters, options and launch. */
void tri_pack_candidate(tri_packer *to, const tri_candidate *candidate);
triage_status tri_unpack_candidate(tri_unpacker *from, tri_candidate *out, const tri_operation *op,
                                   const char *backend);

#endif
