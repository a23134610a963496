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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_number_comes_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
