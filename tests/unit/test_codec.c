/* A launch goes to a worker and comes back as it was, field by field. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "measure/codec.h"

static tri_launch through_the_wire(const tri_launch *launch) {
    tri_launch back;
    json_t *json = tri_json_launch(launch);
    assert_non_null(json);
    assert_int_equal(tri_launch_from_json(&back, json), TRIAGE_OK);
    json_decref(json);
    return back;
}

/* Every number gets one of its own. */
static void every_number_comes_back(void **state) {
    (void)state;
    tri_launch launch;
    uint32_t sent[sizeof launch / sizeof(uint32_t)];
    for (uint32_t i = 0; i < sizeof launch / sizeof(uint32_t); i++)
        sent[i] = 1000 + i;
    memcpy(&launch, sent, sizeof launch);
    for (int keeps = 0; keeps < 2; keeps++) {
        memset((char *)&launch + offsetof(tri_launch, keeps_workspace), 0,
               offsetof(tri_launch, maps) - offsetof(tri_launch, keeps_workspace)); /* padding */
        launch.keeps_workspace = keeps;
        const tri_launch back = through_the_wire(&launch);
        const size_t end = offsetof(tri_launch, own);
        assert_memory_equal(&back, &launch, offsetof(tri_launch, maps) + sizeof launch.maps);
        assert_memory_equal((const char *)&back + end, (const char *)&launch + end, sizeof launch.own);
    }
}

/* Every byte that a path may have, and what looks as if it stood for one. */
static void every_path_comes_back(void **state) {
    (void)state;
    char bytes[256];
    for (int i = 0; i < 255; i++)
        bytes[i] = (char)(i + 1);
    bytes[255] = '\0';
    const char *const paths[] = {bytes, "", "/tmp/%41%", "/tmp/\xff\xfe", NULL};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char *back = NULL, *line = NULL;
        json_t *json = tri_json_path(paths[i]);
        line = json_dumps(json, JSON_ENCODE_ANY);
        assert_non_null(line);
        assert_int_equal(tri_path_from_json(&back, json), TRIAGE_OK);
        if (paths[i])
            assert_string_equal(back, paths[i]);
        else
            assert_null(back);
        free(back);
        free(line);
        json_decref(json);
    }
}

static void no_other_text_is_a_path(void **state) {
    (void)state;
    static const char *const refused[] = {"\"/tmp/%\"", "\"/tmp/%4\"", "\"/tmp/%4g\"", "\"%00\"", "\"%ff\"",
                                          "7",          "[]"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char *back = (char *)&back;
        json_t *json = json_loads(refused[i], JSON_DECODE_ANY, NULL);
        assert_non_null(json);
        assert_int_equal(tri_path_from_json(&back, json), TRIAGE_E_DATA);
        assert_null(back);
        json_decref(json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_number_comes_back),
                                       cmocka_unit_test(every_path_comes_back),
                                       cmocka_unit_test(no_other_text_is_a_path)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
