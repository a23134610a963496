/* What a predictor is taught: the user's evidence, and what is shipped (db/pretuned: the rows, and files of bare times). */
#ifndef TRIAGE_EVIDENCE_TEACH_H
#define TRIAGE_EVIDENCE_TEACH_H

#include "evidence/predict.h"
#include "store/store.h"

#define TRI_TAUGHT_ROWS                                                                                      \
    20000 /* of a database, at most: its rows come in the order of their hashes, so that is a sample */

typedef struct tri_teaching {
    const tri_operation *op;
    const tri_device_info *info;
    tri_store *own, *shipped; /* may be NULL */
    const char *data_dir;     /* a folder without db/pretuned has the built-in files */
    const char *cache_dir;    /* where a fit is kept (docs/search.md); NULL: nowhere */
    const tri_log *log; /* may be NULL: a file of times that cannot be read is named there, and left out */
} tri_teaching;

/* Gathers what was measured on this device, or where that is too little, on its sisters, devices of the same target, or else on
 * other GPUs. What strangers claim does not teach. *out stays NULL where nothing can be predicted. */
triage_status tri_predictor_gather(tri_predictor **out, const tri_teaching *teaching);
/* And learns from it, or reads what was learnt from the same before: needs no store. NULL: nothing. */
triage_status tri_predictor_learn(tri_predictor *predictor, const tri_teaching *teaching);
/* Both. */
triage_status tri_predictor_open(tri_predictor **out, const tri_teaching *teaching);

#endif
