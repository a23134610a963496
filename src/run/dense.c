#include "run/dense.h"

#include <stdlib.h>

#include "op/dense.h"
#include "run/pretuned.h"

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

/* A server that cannot be reached now knows nothing now. */
static triage_status look_up_own(double *median_ns, const triage_context *context, const tri_problem *problem,
                                 const tri_device_info *info) {
    if (!context->store)
        return TRIAGE_OK;
    triage_status status = tri_dense_lookup(median_ns, context->store, problem, info);
    if (status != TRIAGE_E_IO || !tri_store_is_server(context->store))
        return status;
    tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s: doing without it", triage_last_error());
    return TRIAGE_OK;
}

triage_status tri_dense_time(double *median_ns, triage_context *context, const tri_problem *problem) {
    const tri_device_info *info = tri_device_describe(context->device);
    tri_store *pretuned = NULL;
    triage_status status = TRIAGE_OK;
    *median_ns = 0;
    pthread_mutex_lock(&context->lock);
    TRI_TRY(look_up_own(median_ns, context, problem, info));
    if (*median_ns > 0)
        goto done;
    TRI_TRY(tri_pretuned_of(&pretuned, context));
    if (pretuned)
        TRI_TRY(tri_dense_lookup(median_ns, pretuned, problem, info));
done:
    pthread_mutex_unlock(&context->lock);
    return status;
}
