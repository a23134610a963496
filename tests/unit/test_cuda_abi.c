/* Does device/cuda/abi.h say what NVIDIA's headers say? */
// links: base
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "device/cuda/abi.h"
#include "unit/cuda_abi.h"

static const cuda_fact ours[] = {
#define FACT(expression) {#expression, (long long)(expression)},
#include "unit/cuda_abi.def"
#undef FACT
};

static void every_number_is_nvidias(void **state) {
    (void)state;
    const cuda_fact *theirs = NULL;
    const size_t count = sizeof ours / sizeof *ours;
    assert_int_equal(cuda_facts_of_nvidia(&theirs), count);
    for (size_t i = 0; i < count; i++) {
        if (ours[i].value != theirs[i].value)
            fail_msg("%s: %lld, by NVIDIA's headers %lld", ours[i].name, ours[i].value, theirs[i].value);
    }
}

int main(void) {
    if (!cuda_facts_of_nvidia) {
        puts("skipped: no CUDA headers to compare with");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_number_is_nvidias)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
