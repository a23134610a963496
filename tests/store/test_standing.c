// links: base store
/* Standings in a file. */
#include "store/standing_cases.h"

int main(void) {
    const struct CMUnitTest tests[] = {STANDING_CASES};
    return cmocka_run_group_tests_name("standings", tests, make_folder, remove_folder);
}
