#include "evidence/dense_evidence.h"

#include <stdlib.h>

#include "op/dense.h"
#include "evidence/pretuned.h"

/* A tri_row_fn. */
static triage_status take_median(void *user, const tri_measurement *row) {
    if (row->outcome == TRI_RIGHT)
        *(double *)user = row->median_ns;
    return TRIAGE_OK;
}

triage_status tri_dense_lookup(double *median_ns, tri_store *store, const tri_problem *problem,
                               const tri_device_info *info) {
    char *key = NULL, *device = NULL;
    triage_status status = TRIAGE_OK;
    *median_ns = 0;
    TRI_TRY(tri_dense_key_of(&key, problem));
    if (!key)
        goto done;
    TRI_TRY(tri_device_key(&device, info));
    TRI_TRY(tri_store_winner(store, key, device, take_median, median_ns));
done:
    free(key);
    free(device);
    return status;
}
