/* 2000 mutations of types and fields of a space through every callback: no crash, nothing gets out that a rule forbids. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attack/space_mutations.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "space/launch.h"
#include "space/local.h"
#include "space/words.h"

#define MUTATIONS 2000

static char path[] = "/tmp/triage-attack-XXXXXX.lua";

typedef struct tally {
    size_t opened, refused, made;
} tally;

static int make_file(void **state) {
    (void)state;
    const int fd = mkstemps(path, 4);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void write_file(const tri_text *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text->data, 1, text->size, file), text->size);
    assert_int_equal(fclose(file), 0);
}

/* ---- what may come of it ---- */

/* Refused for what it is, in one line that tells no address. */
static void check_refusal(triage_status status, uint64_t seed) {
    if (status != TRIAGE_E_DATA && status != TRIAGE_E_UNSUPPORTED)
        fail_msg("mutation %llu: %s (%s)", (unsigned long long)seed, triage_status_name(status),
                 triage_last_error());
    if (strstr(triage_last_error(), "0x") || strchr(triage_last_error(), '\n'))
        fail_msg("mutation %llu says: %s", (unsigned long long)seed, triage_last_error());
}

static void check_candidate(const tri_candidate *made) {
    assert_true(tri_is_template(made->template_name));
    for (size_t i = 0; i < made->param_count; i++)
        assert_true(tri_is_name(made->params[i].name, strlen(made->params[i].name)) &&
                    tri_is_value(made->params[i].value));
    for (size_t i = 0; i < made->option_count; i++)
        assert_true(tri_is_option("cuda", made->options[i]));
    assert_int_equal(tri_launch_check(&made->launch, &tri_op_bsr_gemm), TRIAGE_OK);
}

static void settle(triage_status status, tri_candidate *made, uint64_t seed, tally *count) {
    if (status == TRIAGE_OK) {
        check_candidate(made);
        count->made++;
    } else {
        check_refusal(status, seed);
        count->refused++;
    }
    tri_candidate_free(made);
}

/* ---- spaces ---- */

static tri_problem problem_of(int64_t n) {
    return tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                .out_type = TRIAGE_F16,
                                                .m = 512,
                                                .n = n,
                                                .k = 512,
                                                .ldb = n,
                                                .ldc = n,
                                                .block_m = 32,
                                                .block_k = 32,
                                                .nnzb = 100,
                                                .fingerprint = {1000, 10, 1}});
}

/* Everything twice: what a callback changed in the first round must not count in the second. */
static void ask_everything(tri_space *space, uint64_t seed, tally *count) {
    static const tri_device_info info = {.backend = "cuda", .target = "sm_90a", .cc = 90, .sm_count = 132};
    for (int round = 0; round < 2; round++) {
        const tri_problem problem = problem_of(100 + round);
        tri_configs configs;
        tri_candidate made;
        const triage_status status = tri_space_enumerate(&configs, space, &problem, &info);
        if (status == TRIAGE_OK)
            assert_in_range(configs.count, 1, 1000);
        else
            check_refusal(status, seed);
        tri_configs_free(&configs);
        settle(tri_space_candidate(&made, space, &problem, &info, "k tile=2 mode=x"), &made, seed, count);
        settle(tri_space_reference(&made, space, &problem, &info), &made, seed, count);
    }
}

static void mutated_spaces_stay_inside(void **state) {
    (void)state;
    tally count = {0};
    for (uint64_t seed = 1; seed <= MUTATIONS; seed++) {
        tri_text text = TRI_TEXT_INIT;
        tri_space *space = NULL;
        assert_int_equal(write_mutation(&text, seed), TRIAGE_OK);
        write_file(&text);
        tri_text_free(&text);
        const triage_status status =
            tri_space_open_here(&space, &tri_op_bsr_gemm, &(tri_space_options){.path = path});
        if (status != TRIAGE_OK) {
            check_refusal(status, seed);
            continue;
        }
        count.opened++;
        ask_everything(space, seed, &count);
        tri_space_free(space);
    }
    print_message("%d mutations of spaces: %zu opened; %zu candidates made, %zu refused\n", MUTATIONS,
                  count.opened, count.made, count.refused);
    assert_in_range(count.opened, MUTATIONS / 2, MUTATIONS);
    assert_true(count.made > MUTATIONS && count.refused > MUTATIONS / 2); /* it tried both */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(mutated_spaces_stay_inside)};
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
