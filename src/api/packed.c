#include "api/packed.h"

#include <stdlib.h>
#include <string.h>

/* ---- kernels ---- */

static const tri_pack *pack_of(triage_context *context) {
    return atomic_load(&context->bad_pack) ? NULL : context->pack;
}

void tri_packed_distrust(triage_context *context) {
    const char *path = context->pack->path, *error = triage_last_error();
    const bool is_named = strncmp(error, path, strlen(path)) == 0; /* not by an error of the driver */
    if (!atomic_exchange(&context->bad_pack, true))
        tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s%s%s: doing without the pack",
                     is_named ? "" : path, is_named ? "" : ": ", error);
}

triage_status tri_context_compile(tri_image *out, triage_context *context, const tri_source *source,
                                  const char *hash) {
    const tri_pack *pack = pack_of(context);
    triage_status status = pack ? tri_pack_read(out, pack, hash) : TRIAGE_E_NOT_FOUND;
    if (status == TRIAGE_OK || status == TRIAGE_E_MEMORY)
        return status;
    if (status != TRIAGE_E_NOT_FOUND)
        tri_packed_distrust(context);
    return tri_compile(out, tri_device_describe(context->device)->target, source, context->cache_dir);
}

/* ---- answers ---- */

static triage_status render_answer(tri_found *out, const tri_pack_answer *answer, triage_context *context,
                                   tri_space *space, const tri_problem *problem) {
    const tri_device_info *info = tri_device_describe(context->device);
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_space_candidate(&out->candidate, space, problem, info, answer->config));
    TRI_TRY(tri_render(&out->rendered, &out->candidate, context->data_dir));
done:
    return status;
}

/* Not of this space, not legal here, or of another text than the one that was packed. */
static bool is_miss(triage_status status, const tri_found *found, const tri_pack_answer *answer,
                    const tri_device_info *info) {
    char hash[TRI_HASH_SIZE];
    if (status != TRIAGE_OK)
        return status == TRIAGE_E_DATA || status == TRIAGE_E_UNSUPPORTED || status == TRIAGE_E_NOT_FOUND;
    tri_source_hash(hash, &found->rendered, info->target);
    return strcmp(hash, answer->kernel) != 0;
}

static triage_status take_answer(tri_found *found, bool *hit, const tri_pack_answer *answer,
                                 triage_context *context, tri_space *space, const tri_problem *problem) {
    triage_status status = render_answer(found, answer, context, space, problem);
    if (is_miss(status, found, answer, tri_device_describe(context->device))) {
        if (!atomic_exchange(&context->told_of_other_text, true))
            tri_log_line(&context->log, TRIAGE_LOG_WARNING,
                         "%s: \"%.200s\" was packed from other text than this library's: such kernels are "
                         "looked up as "
                         "without it",
                         context->pack->path, answer->problem);
        return TRIAGE_OK;
    }
    TRI_TRY(status);
    TRI_TRY(tri_strdup(&found->donor, answer->donor));
    if (answer->donor_device[0])
        TRI_TRY(tri_strdup(&found->device, answer->donor_device));
    found->source = answer->source;
    found->distance = answer->distance;
    found->median_ns = answer->median_ns;
    found->expected_loss = answer->expected_loss;
    *hit = true;
done:
    return status;
}

triage_status tri_packed_look_up(tri_found *out, bool *hit, triage_context *context, tri_space *space,
                                 const tri_problem *problem) {
    const tri_pack *pack = pack_of(context);
    tri_found found = {0};
    char *key = NULL, *device = NULL;
    triage_status status = TRIAGE_OK;
    *hit = false;
    if (!pack)
        return TRIAGE_OK;
    TRI_TRY(tri_problem_key(&key, problem));
    TRI_TRY(tri_device_key(&device, tri_device_describe(context->device)));
    const tri_pack_answer *answer = tri_pack_find(pack, key, device);
    if (answer)
        TRI_TRY(take_answer(&found, hit, answer, context, space, problem));
    if (*hit) {
        *out = found;
        found = (tri_found){0};
    }
done:
    tri_found_free(&found);
    free(device);
    free(key);
    return status;
}
