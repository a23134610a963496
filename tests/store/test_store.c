// links: base store
/* Evidence in a store, here a file: adding, ranking, knowing, finding; and what a row's id is made of. */
#include "store/store_cases.h"

static void test_outcomes_have_names(void **state) {
    (void)state;
    for (int i = TRI_RIGHT; i <= TRI_LAUNCH_FAILED; i++) {
        tri_outcome back;
        assert_ok(tri_outcome_parse(&back, tri_outcome_name((tri_outcome)i)));
        assert_int_equal(back, i);
    }
    tri_outcome none;
    assert_fails(TRIAGE_E_DATA, "fast", tri_outcome_parse(&none, "fast"));
}

/* Every field is part of the identity: a change of any gives another row. */
static void test_every_field_is_in_the_id(void **state) {
    (void)state;
    const tri_measurement base = row_of("wgmma a=1", 100.0);
    char id[TRI_HASH_SIZE], other[TRI_HASH_SIZE];
    tri_measurement_id(id, &base);
    for (size_t i = 0; i < TRI_FIELD_COUNT; i++) {
        tri_measurement row = base;
        switch (tri_fields[i].kind) {
        case TRI_FIELD_TEXT:
            *tri_field_text(&row, &tri_fields[i]) = (char *)(uintptr_t) "changed";
            break;
        case TRI_FIELD_INTEGER:
            ++*tri_field_integer(&row, &tri_fields[i]);
            break;
        case TRI_FIELD_REAL:
            *tri_field_real(&row, &tri_fields[i]) *= 1 + 1e-15;
            break;
        case TRI_FIELD_BOOL:
            row.cold_l2 = !row.cold_l2;
            break;
        case TRI_FIELD_OUTCOME:
            row.outcome = TRI_SLOW;
        }
        tri_measurement_id(other, &row);
        if (strcmp(id, other) == 0)
            fail_msg("%s is not part of the id", tri_fields[i].name);
    }
}

/* The id is a promise to every other machine and version. This one was computed with Python's hashlib:
 * BLAKE2b-128 over each field's text, preceded by its length in eight bytes, the domain's name first. */
static void test_id_is_fixed(void **state) {
    (void)state;
    tri_measurement row = row_of("wgmma a=1", 100.5);
    char id[TRI_HASH_SIZE];
    tri_measurement_id(id, &row);
    assert_string_equal(id, "b402bfa1420fd07b04677eecc527714a");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes_have_names),
        cmocka_unit_test(test_every_field_is_in_the_id),
        cmocka_unit_test(test_id_is_fixed),
        STORE_CASES,
    };
    return cmocka_run_group_tests_name("store", tests, make_folder, remove_folder);
}
