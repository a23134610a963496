/* What the process of a stranger's Lua says, frame by frame (space/process.h): models of spaces, candidates and failures; and
 * the questions that it is asked. What was read is written and read again: the same. */
#include "fuzz/fuzz.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "space/process.h"
#include "space/transfer.h"

/* Which of them a frame is taken for: by its kind, as seeds.c makes it. */
static void read_model(tri_unpacker from) {
    tri_space space = {.file = (char *)(uintptr_t) "fuzz.lua"}, again = space;
    tri_packer first = {0}, second = {0};
    const triage_status status = tri_unpack_model(&from, &space);
    if (status == TRIAGE_OK) {
        tri_pack_model(&first, &space);
        MUST(tri_unpack_model(&(tri_unpacker){first.bytes.data, first.bytes.size, TRIAGE_OK}, &again) ==
             TRIAGE_OK);
        tri_pack_model(&second, &again);
        MUST(first.bytes.size == second.bytes.size &&
             !memcmp(first.bytes.data, second.bytes.data, first.bytes.size));
    } else {
        must_refuse(status);
    }
    tri_packer_free(&first);
    tri_packer_free(&second);
    tri_model_free(&again);
    tri_model_free(&space);
}

static void read_candidate(tri_unpacker from, const tri_operation *op, const char *backend) {
    tri_candidate made = {0}, again = {0};
    tri_packer bytes = {0};
    const triage_status status = tri_unpack_candidate(&from, &made, op, backend);
    if (status == TRIAGE_OK) {
        tri_pack_candidate(&bytes, &made);
        tri_unpacker back = {bytes.bytes.data, bytes.bytes.size, TRIAGE_OK};
        MUST(tri_unpack_candidate(&back, &again, op, backend) == TRIAGE_OK);
        MUST(again.param_count == made.param_count && again.option_count == made.option_count);
    } else {
        must_refuse(status);
    }
    tri_packer_free(&bytes);
    tri_candidate_free(&again);
    tri_candidate_free(&made);
}

static void read_question(tri_unpacker from) {
    tri_question_text text;
    tri_packer bytes = {0};
    tri_unpack_question(&from, &text);
    if (from.status == TRIAGE_OK) {
        tri_pack_question(&bytes, &text.question);
        tri_unpacker back = {bytes.bytes.data, bytes.bytes.size, TRIAGE_OK};
        tri_question_text again;
        tri_unpack_question(&back, &again);
        MUST(tri_unpack_end(&back) == TRIAGE_OK &&
             again.question.problem.count == text.question.problem.count);
        tri_question_text_free(&again);
    }
    tri_packer_free(&bytes);
    tri_question_text_free(&text);
}

static void read_frame(const tri_frame *frame) {
    const tri_unpacker from = {frame->data, frame->size, TRIAGE_OK};
    switch (frame->kind) {
    case TRI_FRAME_OPEN_SPACE:
        read_model(from);
        break;
    case TRI_FRAME_FILL:
        read_candidate(from, &tri_op_bsr_gemm, "cuda");
        break;
    case TRI_FRAME_FILL_REFERENCE:
        read_candidate(from, tri_operation_find("attention"), "host");
        break;
    case TRI_FRAME_JUDGE:
        read_question(from);
        break;
    default:
        MUST(tri_unpack_failure(frame) != TRIAGE_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const int fd = socket_of(data, size);
    tri_frame frame = {0};
    while (tri_frame_receive(&frame, fd, TRI_ANSWER_MAX, 0) == TRIAGE_OK) {
        read_frame(&frame);
        free(frame.data);
        frame = (tri_frame){0};
    }
    free(frame.data);
    close(fd);
    return 0;
}
