/* The process of one Lua file: answers the requests of process.h, locked in. */
#include <stdlib.h>
#include <string.h>

#include "space/jail.h"
#include "space/process.h"
#include "space/strategy.h"
#include "space/transfer.h"

#include "space/local.h"

#define CONFIGS_MAX ((int64_t)64 * TRI_POINTS_MAX)

typedef struct server {
    int socket_fd;
    tri_space *space;
    tri_strategy *strategy;
    tri_configs configs; /* the strategy's */
} server;

/* ---- files, from the other side ---- */

/* Its answer to a question of ours. */
static triage_status ask(tri_frame *answer, const server *s, tri_frame_kind kind, const char *name) {
    triage_status status = TRIAGE_OK;
    tri_packer question = {0};
    tri_pack_text(&question, name, strlen(name));
    TRI_TRY(question.status);
    TRI_TRY(tri_frame_send(s->socket_fd, kind, question.bytes.data, question.bytes.size));
    TRI_TRY(tri_frame_receive(answer, s->socket_fd, TRI_FRAME_MAX, 0));
    if (answer->kind == TRI_FRAME_FAILED)
        status = tri_unpack_failure(answer);
done:
    tri_packer_free(&question);
    return status;
}

static triage_status get_part(void *user, char **text, size_t *size, char **name, const char *part) {
    triage_status status = TRIAGE_OK;
    tri_frame answer = {0};
    TRI_TRY(ask(&answer, user, TRI_FRAME_GET_PART, part));
    tri_unpacker from = {answer.data, answer.size, TRIAGE_OK};
    tri_unpack_text(&from, name, NULL);
    tri_unpack_text(&from, text, size);
    status = tri_unpack_end(&from);
done:
    free(answer.data);
    return status;
}

static triage_status has_template(void *user, bool *out, const char *name) {
    triage_status status = TRIAGE_OK;
    tri_frame answer = {0};
    TRI_TRY(ask(&answer, user, TRI_FRAME_GET_TEMPLATE, name));
    tri_unpacker from = {answer.data, answer.size, TRIAGE_OK};
    *out = tri_unpack_integer(&from, 0, 1) == 1;
    status = tri_unpack_end(&from);
done:
    free(answer.data);
    return status;
}

/* ---- a space ---- */

static triage_status open_space(server *s, tri_unpacker *from, tri_packer *out) {
    triage_status status = TRIAGE_OK;
    char *vocabulary = NULL, *text = NULL;
    tri_space_text texts = {0};
    TRI_TRY(s->space ? tri_fail(TRIAGE_E_INVALID, "a space is open") : TRIAGE_OK);
    TRI_TRY(tri_unpack_build(from));
    TRI_TRY(tri_calloc(&s->space, 1, sizeof *s->space));
    tri_unpack_text(from, &s->space->file, NULL);
    s->space->is_path = tri_unpack_integer(from, 0, 1) == 1;
    tri_unpack_text(from, &vocabulary, &texts.vocabulary_size);
    tri_unpack_text(from, &text, &texts.text_size);
    texts.instruction_limit = tri_unpack_integer(from, 0, INT64_MAX);
    texts.memory_limit = tri_unpack_integer(from, 0, INT64_MAX);
    TRI_TRY(tri_unpack_end(from));
    texts.vocabulary = vocabulary;
    texts.text = text;
    const tri_files files = {get_part, has_template, s, s->space->is_path};
    TRI_TRY(tri_local_open(s->space, &texts, &files));
    TRI_TRY(tri_local_load_all(s->space));
    tri_pack_model(out, s->space);
done:
    free(vocabulary);
    free(text);
    return status;
}

/* The kernel that a request names. */
static triage_status find_kernel(size_t *out, const server *s, tri_unpacker *from) {
    *out = (size_t)tri_unpack_integer(from, 0, (int64_t)s->space->kernel_count - 1);
    return from->status;
}

static triage_status judge(server *s, tri_unpacker *from, tri_packer *out) {
    triage_status status = TRIAGE_OK;
    tri_question_text asked;
    tri_verdicts verdicts = {0};
    size_t kernel = 0;
    tri_unpack_question(from, &asked);
    TRI_TRY(find_kernel(&kernel, s, from));
    TRI_TRY(tri_unpack_end(from));
    TRI_TRY(s->space->answerer->judge(&verdicts, s->space, &asked.question, kernel));
    tri_pack_integer(out, verdicts.furthest);
    tri_pack_integer(out, verdicts.asked);
    tri_pack_integer(out, (int64_t)verdicts.count);
    tri_pack_bytes(out, verdicts.points, verdicts.count * sizeof *verdicts.points);
done:
    tri_question_text_free(&asked);
    free(verdicts.points);
    return status;
}

static triage_status check_point(const tri_space_kernel *kernel, const tri_point point) {
    for (size_t i = 0; i < kernel->axis_count; i++)
        if (point[i] < 0 || (size_t)point[i] >= kernel->axes[i].count)
            return tri_fail(TRIAGE_E_INVALID, "no such point");
    return TRIAGE_OK;
}

static triage_status fill(server *s, tri_unpacker *from, tri_packer *out) {
    triage_status status = TRIAGE_OK;
    tri_question_text asked;
    tri_candidate made = {0};
    tri_point point;
    size_t kernel = 0;
    int32_t violated = TRI_LEGAL;
    tri_unpack_question(from, &asked);
    TRI_TRY(find_kernel(&kernel, s, from));
    tri_unpack_bytes(from, point, sizeof point);
    TRI_TRY(tri_unpack_end(from));
    TRI_TRY(check_point(&s->space->kernels[kernel], point));
    TRI_TRY(s->space->answerer->fill(&made, &violated, s->space, &asked.question, kernel, point));
    tri_pack_integer(out, violated);
    if (violated != TRI_LEGAL)
        made.launch = (tri_launch){.grid = {1, 1, 1}, .block = {1, 1, 1}, .cluster = {1, 1, 1}};
    tri_pack_candidate(out, &made);
done:
    tri_question_text_free(&asked);
    tri_candidate_free(&made);
    return status;
}

static triage_status fill_reference(server *s, tri_unpacker *from, tri_packer *out) {
    triage_status status = TRIAGE_OK;
    tri_question_text asked;
    tri_candidate made = {0};
    tri_unpack_question(from, &asked);
    TRI_TRY(tri_unpack_end(from));
    TRI_TRY(s->space->answerer->fill_reference(&made, s->space, &asked.question));
    tri_pack_candidate(out, &made);
done:
    tri_question_text_free(&asked);
    tri_candidate_free(&made);
    return status;
}

/* ---- a strategy ---- */

static triage_status read_scale(tri_unpacker *from, tri_scale *out) {
    out->count = (size_t)tri_unpack_integer(from, 0, TRI_POINTS_MAX);
    const bool numbers = tri_unpack_integer(from, 0, 1) == 1;
    if (from->status != TRIAGE_OK || !numbers)
        return from->status;
    const triage_status status = tri_calloc(&out->numbers, out->count + 1, sizeof *out->numbers);
    if (status == TRIAGE_OK)
        tri_unpack_bytes(from, out->numbers, out->count * sizeof *out->numbers);
    return status;
}

static triage_status read_configs(tri_unpacker *from, tri_configs *out) {
    triage_status status = TRIAGE_OK;
    out->count = (size_t)tri_unpack_integer(from, 0, CONFIGS_MAX);
    out->default_index = (size_t)tri_unpack_integer(from, 0, CONFIGS_MAX);
    out->axes = (size_t)tri_unpack_integer(from, 1, TRI_AXES_MAX + 1);
    TRI_TRY(from->status);
    TRI_TRY(tri_calloc(&out->coordinates, out->count * out->axes + 1, sizeof *out->coordinates));
    tri_unpack_bytes(from, out->coordinates, out->count * out->axes * sizeof *out->coordinates);
    const size_t scales = tri_unpack_list(from, &out->scales, sizeof *out->scales, (size_t)TRI_POINTS_MAX);
    out->scale_count = scales;
    for (size_t i = 0; i < scales; i++)
        TRI_TRY(read_scale(from, &out->scales[i]));
    if (scales == 0) { /* not known */
        free(out->scales);
        out->scales = NULL;
    }
done:
    return status;
}

/* known and prior are owned by the caller. */
static void read_options(tri_unpacker *from, tri_strategy_options *out, size_t **known, tri_prior **prior) {
    tri_unpack_bytes(from, &out->seed, sizeof out->seed);
    out->budget = (size_t)tri_unpack_integer(from, 0, INT64_MAX);
    out->known_count = tri_unpack_list(from, known, sizeof **known, (size_t)CONFIGS_MAX);
    if (out->known_count > 0)
        tri_unpack_bytes(from, *known, out->known_count * sizeof **known);
    out->prior_count = tri_unpack_list(from, prior, sizeof **prior, (size_t)CONFIGS_MAX);
    if (out->prior_count > 0)
        tri_unpack_bytes(from, *prior, out->prior_count * sizeof **prior);
    out->stop_gain = tri_unpack_number(from);
    out->known = *known;
    out->prior = *prior;
}

static triage_status open_strategy(server *s, tri_unpacker *from, tri_packer *out) {
    triage_status status = TRIAGE_OK;
    char *file = NULL, *text = NULL;
    size_t *known = NULL;
    tri_prior *prior = NULL;
    tri_strategy_options options = {0};
    tri_strategy_text of = {0};
    (void)out;
    TRI_TRY(s->configs.coordinates ? tri_fail(TRIAGE_E_INVALID, "a strategy is open") : TRIAGE_OK);
    TRI_TRY(tri_unpack_build(from));
    tri_unpack_text(from, &file, NULL);
    tri_unpack_text(from, &text, &of.size);
    TRI_TRY(read_configs(from, &s->configs));
    read_options(from, &options, &known, &prior);
    TRI_TRY(tri_unpack_end(from));
    of.file = file;
    of.text = text;
    TRI_TRY(tri_strategy_open_here(&s->strategy, &of, &s->configs, &options));
done:
    free(known);
    free(prior);
    free(file);
    free(text);
    return status;
}

static triage_status next(server *s, tri_unpacker *from, tri_packer *out) {
    int64_t index = -1;
    bool waiting = false;
    triage_status status = tri_unpack_end(from);
    if (status == TRIAGE_OK)
        status = tri_strategy_next(&index, &waiting, s->strategy);
    tri_pack_integer(out, index);
    tri_pack_integer(out, waiting);
    char ended[TRI_STRATEGY_REASON] = "";
    snprintf(ended, sizeof ended, "%s", tri_strategy_ended(s->strategy));
    tri_pack_bytes(out, ended, sizeof ended);
    return status;
}

static triage_status tell(server *s, tri_unpacker *from, tri_packer *out) {
    const int64_t index = tri_unpack_integer(from, 0, INT64_MAX);
    tri_strategy_result result;
    result.median_ns = tri_unpack_number(from);
    result.compile_ms = tri_unpack_number(from);
    (void)out;
    const triage_status status = tri_unpack_end(from);
    return status == TRIAGE_OK ? tri_strategy_tell(s->strategy, index, &result) : status;
}

/* ---- the loop ---- */

typedef triage_status (*request_fn)(server *s, tri_unpacker *from, tri_packer *out);

static request_fn request_of(const server *s, tri_frame_kind kind) {
    switch (kind) {
    case TRI_FRAME_OPEN_SPACE:
        return open_space;
    case TRI_FRAME_JUDGE:
        return s->space ? judge : NULL;
    case TRI_FRAME_FILL:
        return s->space ? fill : NULL;
    case TRI_FRAME_FILL_REFERENCE:
        return s->space ? fill_reference : NULL;
    case TRI_FRAME_OPEN_STRATEGY:
        return open_strategy;
    case TRI_FRAME_NEXT:
        return s->strategy ? next : NULL;
    case TRI_FRAME_TELL:
        return s->strategy ? tell : NULL;
    default:
        return NULL;
    }
}

static triage_status answer(server *s, const tri_frame *frame) {
    tri_unpacker from = {frame->data, frame->size, TRIAGE_OK};
    tri_packer out = {0};
    const request_fn request = request_of(s, frame->kind);
    triage_status status = request ? request(s, &from, &out) : tri_fail(TRIAGE_E_INVALID, "no such request");
    if (status == TRIAGE_OK)
        status = out.status;
    const bool failed = status != TRIAGE_OK;
    if (failed) {
        tri_packer_free(&out);
        out = (tri_packer){0};
        tri_pack_failure(&out, status);
    }
    status = tri_frame_send(s->socket_fd, failed ? TRI_FRAME_FAILED : TRI_FRAME_DONE, out.bytes.data,
                            out.bytes.size);
    tri_packer_free(&out);
    return status;
}

int tri_space_serve(int socket_fd) {
    server s = {.socket_fd = socket_fd};
    tri_frame frame = {0};
    triage_status status = TRIAGE_OK;
    tri_jail_enter();
    while (status == TRIAGE_OK && tri_frame_receive(&frame, socket_fd, TRI_FRAME_MAX, 0) == TRIAGE_OK) {
        status = answer(&s, &frame);
        free(frame.data);
    }
    tri_strategy_free(s.strategy);
    tri_configs_free(&s.configs);
    tri_space_free(s.space);
    return status == TRIAGE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
