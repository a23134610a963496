#include "space/remote.h"

#include "space/process.h"
#include "space/strategy.h"
#include "space/transfer.h"

#include <stdlib.h>
#include <string.h>

#define SPACE_MEMORY (INT64_C(64) << 20) /* the sandbox's default */

/* ---- questions ---- */

/* Are they numbers of points, each once, or is there a reason? */
static triage_status check_points(const tri_verdicts *verdicts, const tri_space *space, size_t points) {
    if (verdicts->count == 0 && verdicts->furthest == TRI_LEGAL)
        return tri_fail(TRIAGE_E_DATA, "%s: its process names no point and no constraint", space->file);
    for (size_t i = 0; i < verdicts->count; i++)
        if (verdicts->points[i] < (i > 0 ? verdicts->points[i - 1] + 1 : 0) ||
            (size_t)verdicts->points[i] >= points)
            return tri_fail(TRIAGE_E_DATA, "%s: its process names a point %d of %zu", space->file,
                            verdicts->points[i], points);
    return TRIAGE_OK;
}

static triage_status judge(tri_verdicts *out, tri_space *space, const tri_question *question, size_t kernel) {
    const tri_space_kernel *of = &space->kernels[kernel];
    const size_t points = tri_kernel_points(of);
    triage_status status = TRIAGE_OK;
    tri_packer payload = {0};
    tri_unpacker answer;
    tri_pack_question(&payload, question);
    tri_pack_integer(&payload, (int64_t)kernel);
    TRI_TRY(tri_process_call(&answer, space->state, TRI_FRAME_JUDGE, &payload, NULL));
    out->furthest = (int32_t)tri_unpack_integer(&answer, TRI_LEGAL, (int64_t)of->constraint_count - 1);
    out->asked = tri_unpack_integer(&answer, 0, INT64_MAX);
    out->count = tri_unpack_list(&answer, &out->points, sizeof *out->points, points);
    if (out->count > 0)
        tri_unpack_bytes(&answer, out->points, out->count * sizeof *out->points);
    TRI_TRY(tri_unpack_end(&answer));
    TRI_TRY(check_points(out, space, points));
done:
    tri_packer_free(&payload);
    return status;
}

static triage_status fill(tri_candidate *out, int32_t *violated, tri_space *space,
                          const tri_question *question, size_t kernel, const int32_t *point) {
    const tri_space_kernel *of = &space->kernels[kernel];
    triage_status status = TRIAGE_OK;
    tri_packer payload = {0};
    tri_unpacker answer;
    tri_pack_question(&payload, question);
    tri_pack_integer(&payload, (int64_t)kernel);
    tri_pack_bytes(&payload, point, sizeof(tri_point));
    TRI_TRY(tri_process_call(&answer, space->state, TRI_FRAME_FILL, &payload, NULL));
    *violated = (int32_t)tri_unpack_integer(&answer, TRI_LEGAL, (int64_t)of->constraint_count - 1);
    TRI_TRY(tri_unpack_candidate(&answer, out, tri_space_operation(space), question->backend));
done:
    tri_packer_free(&payload);
    return status;
}

static triage_status fill_reference(tri_candidate *out, tri_space *space, const tri_question *question) {
    triage_status status = TRIAGE_OK;
    tri_packer payload = {0};
    tri_unpacker answer;
    tri_pack_question(&payload, question);
    TRI_TRY(tri_process_call(&answer, space->state, TRI_FRAME_FILL_REFERENCE, &payload, NULL));
    TRI_TRY(tri_unpack_candidate(&answer, out, tri_space_operation(space), question->backend));
done:
    tri_packer_free(&payload);
    return status;
}

/* ---- opening and closing ---- */

static void close_remote(tri_space *space) {
    tri_process_free(space->state);
}

triage_status tri_remote_open(tri_space *space, const tri_space_text *text, const tri_files *files) {
    static const tri_answerer answerer = {judge, fill, fill_reference, NULL, close_remote};
    triage_status status = TRIAGE_OK;
    tri_process *process = NULL;
    tri_packer payload = {0};
    tri_unpacker answer;
    tri_pack_build(&payload);
    tri_pack_text(&payload, space->file, strlen(space->file));
    tri_pack_integer(&payload, space->is_path);
    tri_pack_text(&payload, text->vocabulary, text->vocabulary_size);
    tri_pack_text(&payload, text->text, text->text_size);
    tri_pack_integer(&payload, text->instruction_limit);
    tri_pack_integer(&payload, text->memory_limit);
    TRI_TRY(
        tri_process_start(&process, space->file, text->memory_limit > 0 ? text->memory_limit : SPACE_MEMORY));
    space->answerer = &answerer;
    space->state = process;
    TRI_TRY(tri_process_call(&answer, process, TRI_FRAME_OPEN_SPACE, &payload, files));
    TRI_TRY(tri_unpack_model(&answer, space));
done:
    tri_packer_free(&payload);
    return status;
}

/* ---- strategies ---- */

static triage_status next(int64_t *index, bool *waiting, tri_strategy *strategy) {
    const tri_packer none = {0};
    tri_unpacker answer;
    triage_status status = tri_process_call(&answer, strategy->mind, TRI_FRAME_NEXT, &none, NULL);
    if (status != TRIAGE_OK)
        return status;
    *index = tri_unpack_integer(&answer, -1, (int64_t)strategy->count - 1);
    *waiting = tri_unpack_integer(&answer, 0, 1) == 1;
    tri_unpack_bytes(&answer, strategy->ended, sizeof strategy->ended);
    strategy->ended[sizeof strategy->ended - 1] = '\0';
    status = tri_unpack_end(&answer);
    if (status == TRIAGE_OK && *index >= 0 && strategy->state[*index] != TRI_CONFIG_NEW)
        status = tri_fail(TRIAGE_E_DATA, "%s: its process proposes configuration %lld twice", strategy->file,
                          (long long)*index + 1);
    return status;
}

static triage_status tell(tri_strategy *strategy, int64_t index, const tri_strategy_result *result) {
    triage_status status = TRIAGE_OK;
    tri_packer payload = {0};
    tri_unpacker answer;
    tri_pack_integer(&payload, index);
    tri_pack_number(&payload, result->median_ns);
    tri_pack_number(&payload, result->compile_ms);
    TRI_TRY(tri_process_call(&answer, strategy->mind, TRI_FRAME_TELL, &payload, NULL));
    TRI_TRY(tri_unpack_end(&answer));
done:
    tri_packer_free(&payload);
    return status;
}

static void close_strategy(tri_strategy *strategy) {
    tri_process_free(strategy->mind);
}

static void pack_configs(tri_packer *to, const tri_configs *configs) {
    tri_pack_integer(to, (int64_t)configs->count);
    tri_pack_integer(to, (int64_t)configs->default_index);
    tri_pack_integer(to, (int64_t)configs->axes);
    tri_pack_bytes(to, configs->coordinates, configs->count * configs->axes * sizeof *configs->coordinates);
    tri_pack_integer(to, configs->scales ? (int64_t)configs->scale_count : 0);
    for (size_t i = 0; configs->scales && i < configs->scale_count; i++) {
        const tri_scale *scale = &configs->scales[i];
        tri_pack_integer(to, (int64_t)scale->count);
        tri_pack_integer(to, scale->numbers != NULL);
        if (scale->numbers)
            tri_pack_bytes(to, scale->numbers, scale->count * sizeof *scale->numbers);
    }
}

static void pack_strategy(tri_packer *to, const tri_strategy_text *text, const tri_configs *configs,
                          const tri_strategy_options *options) {
    tri_pack_build(to);
    tri_pack_text(to, text->file, strlen(text->file));
    tri_pack_text(to, text->text, text->size);
    pack_configs(to, configs);
    tri_pack_bytes(to, &options->seed, sizeof options->seed);
    tri_pack_integer(to, (int64_t)options->budget);
    tri_pack_integer(to, (int64_t)options->known_count);
    tri_pack_bytes(to, options->known, options->known_count * sizeof *options->known);
    tri_pack_integer(to, (int64_t)options->prior_count);
    tri_pack_bytes(to, options->prior, options->prior_count * sizeof *options->prior);
    tri_pack_number(to, options->stop_gain);
}

triage_status tri_strategy_open_remote(tri_strategy **out, const tri_strategy_text *text,
                                       const tri_configs *configs, const tri_strategy_options *options) {
    static const tri_strategist strategist = {next, tell, close_strategy};
    triage_status status = TRIAGE_OK;
    tri_strategy *strategy = NULL;
    tri_process *process = NULL;
    tri_packer payload = {0};
    tri_unpacker answer;
    TRI_TRY(tri_strategy_make(&strategy, text->file, configs, options));
    pack_strategy(&payload, text, configs, options);
    TRI_TRY(tri_process_start(&process, text->file, TRI_STRATEGY_MEMORY));
    strategy->strategist = &strategist;
    strategy->mind = process;
    TRI_TRY(tri_process_call(&answer, process, TRI_FRAME_OPEN_STRATEGY, &payload, NULL));
    TRI_TRY(tri_unpack_end(&answer));
    *out = strategy;
    strategy = NULL;
done:
    tri_packer_free(&payload);
    tri_strategy_free(strategy);
    return status;
}
