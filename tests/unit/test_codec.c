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

/* Up to `gather` all fields are 32 bits wide: each gets a number of its own. */
static void every_number_comes_back(void **state) {
    (void)state;
    enum { NUMBERS = offsetof(tri_launch, gather) / sizeof(uint32_t) };
    tri_launch launch = {
        .panel_columns = 7, .panel_warps = 9, .panel_busy_warps = 11, .panel_least_blocks = 13};
    uint32_t sent[NUMBERS], came[NUMBERS];
    for (uint32_t i = 0; i < NUMBERS; i++)
        sent[i] = 1000 + i;
    memcpy(&launch, sent, sizeof sent);
    const tri_launch back = through_the_wire(&launch);
    memcpy(came, &back, sizeof came);
    assert_memory_equal(came, sent, sizeof sent);
    assert_int_equal(back.panel_columns, 7);
    assert_int_equal(back.panel_warps, 9);
    assert_int_equal(back.panel_busy_warps, 11);
    assert_int_equal(back.panel_least_blocks, 13);
}

static void the_bools_come_back(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        const tri_launch back = through_the_wire(&(tri_launch){.gather = i & 1, .reorder = i & 2});
        assert_int_equal(back.gather, i & 1);
        assert_int_equal(back.reorder, (i & 2) != 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_number_comes_back),
                                       cmocka_unit_test(the_bools_come_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
