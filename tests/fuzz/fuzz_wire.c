/* What a worker says, line by line: JSON over a socket, as the searching process reads it; and every document through the
 * decoders of the worker's side. The whole input is also tried as a pattern in shared memory. */
#include "measure/worker.c"

#include "fuzz/fuzz.h"

/* As the process that searches takes it, to the end of the stream. */
static void hear_a_worker(const uint8_t *data, size_t size) {
    tri_worker worker = {.wire.fd = socket_of(data, size), .busy = true, .seconds = 1, .job = "measure"};
    tri_worker *one = &worker;
    bool open = true;
    for (int i = 0; open && i < 100; i++) {
        tri_event event = {0};
        worker.deadline_ns = tri_now_ns() + 60 * INT64_C(1000000000);
        MUST(tri_workers_wait(&event, &one, 1, 0) == TRIAGE_OK);
        open = event.kind != TRI_EVENT_DIED && event.kind != TRI_EVENT_NONE;
        tri_event_clear(&event);
    }
    tri_wire_free(&worker.wire);
}

/* What was decoded is encoded and decoded again: the same. */
#define ROUND_TRIP(type, decode, encode, first)                                                              \
    do {                                                                                                     \
        type second;                                                                                         \
        json_t *again = encode(first);                                                                       \
        if (!again) /* a text that was cut within a character is not UTF-8 */                                \
            break;                                                                                           \
        MUST(decode(&second, again) == TRIAGE_OK);                                                           \
        json_t *third = encode(&second);                                                                     \
        MUST(third &&json_equal(again, third));                                                              \
        json_decref(third);                                                                                  \
        FREE_##type(&second);                                                                                \
        json_decref(again);                                                                                  \
    } while (0)
#define FREE_tri_source(source) tri_borrowed_source_free(source)
#define FREE_tri_launch(launch) (void)(launch)
#define FREE_tri_problem(problem) (void)(problem)
#define FREE_tri_device_info(info) (void)(info)
#define FREE_tri_report(report) (void)(report)

static void decode(const json_t *json) {
    tri_source source;
    tri_launch launch;
    tri_problem problem;
    tri_device_info info;
    tri_report report;
    if (tri_source_from_json(&source, json) == TRIAGE_OK) {
        ROUND_TRIP(tri_source, tri_source_from_json, tri_json_source, &source);
        tri_borrowed_source_free(&source);
    }
    if (tri_launch_from_json(&launch, json) == TRIAGE_OK)
        ROUND_TRIP(tri_launch, tri_launch_from_json, tri_json_launch, &launch);
    if (tri_problem_from_json(&problem, json) == TRIAGE_OK)
        ROUND_TRIP(tri_problem, tri_problem_from_json, tri_json_problem, &problem);
    if (tri_device_from_json(&info, json) == TRIAGE_OK)
        ROUND_TRIP(tri_device_info, tri_device_from_json, tri_json_device, &info);
    if (tri_report_from_json(&report, json) == TRIAGE_OK)
        ROUND_TRIP(tri_report, tri_report_from_json, tri_json_report, &report);
}

/* A message holds its parts one or two levels down: each object is tried as each of them. */
static void decode_all(const json_t *json, int depth) {
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_object(json))
        decode(json);
    if (depth == 0)
        return;
    json_object_foreach((json_t *)(uintptr_t)json, key, value) decode_all(value, depth - 1);
    json_array_foreach(json, i, value) decode_all(value, depth - 1);
}

static void read_documents(const uint8_t *data, size_t size) {
    tri_wire wire = {.fd = socket_of(data, size)};
    json_t *json = NULL;
    bool open = true;
    while (open) {
        MUST(tri_wire_fill(&open, &wire, true) == TRIAGE_OK);
        triage_status status = tri_wire_next(&json, &wire);
        for (; status == TRIAGE_OK && json; status = tri_wire_next(&json, &wire)) {
            decode_all(json, 3);
            json_decref(json);
        }
        if (status != TRIAGE_OK)
            must_refuse(status);
    }
    tri_wire_free(&wire);
}

static void read_pattern(const uint8_t *data, size_t size) {
    tri_pattern pattern = {0}, copy = {0};
    int fd = -1;
    (void)file_of(&fd, data, size);
    if (tri_pattern_from_fd(&pattern, fd) != TRIAGE_OK)
        return;
    MUST(tri_pattern_copy(&copy, pattern.block_rows, pattern.block_cols, pattern.nnzb, pattern.row_ptr,
                          pattern.col_idx) == TRIAGE_OK);
    tri_pattern_free(&copy);
    tri_pattern_free(&pattern);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hear_a_worker(data, size);
    read_documents(data, size);
    read_pattern(data, size);
    return 0;
}
