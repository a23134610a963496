/* Evidence over a move of text. A kernel is named by the tokens of every file that it is rendered from, so that text which moves
 * from one file into another gives it a new name, and what was measured of it counts for nothing. Where both texts compile to
 * the same machine code, bit by bit, and are launched alike, it is the same kernel: its row takes the new name. */
#ifndef TRIAGE_TESTS_CARRY_CARRY_H
#define TRIAGE_TESTS_CARRY_CARRY_H

#include "space/space.h"
#include "store/store.h"

#define CARRY_OPERATIONS 8

/* A folder with templates/ and tuner/, and its spaces, opened when a row asks for them. */
typedef struct carry_tree {
    const char *folder;
    const tri_operation *ops[CARRY_OPERATIONS];
    tri_space *spaces[CARRY_OPERATIONS];
} carry_tree;

typedef struct carry {
    carry_tree before, after; /* what the rows were measured with; what is to be shipped */
    const char *cache_dir;    /* of compiled kernels; NULL: none */
} carry;

typedef enum carry_verdict {
    CARRY_CURRENT, /* the row speaks of the kernel of after as it is, or of a library's */
    CARRY_CARRIED,
    CARRY_REFUSED,
} carry_verdict;

typedef struct carry_result {
    carry_verdict verdict;
    char reason[400];                               /* of a refusal; else "" */
    char was[TRI_HASH_SIZE], id_was[TRI_HASH_SIZE]; /* carried: the names before */
    char image[TRI_HASH_SIZE];                      /* ... of the compiled kernel's bytes */
    size_t image_bytes;
} carry_result;

/* A carried row has a new source_hash and id, and nothing else new; a refused one is untouched. Fails where the machine does. */
triage_status carry_row(carry_result *out, carry *with, tri_measurement *row);
/* Frees the spaces. */
void carry_end(carry *with);

#endif
