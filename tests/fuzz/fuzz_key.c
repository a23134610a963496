/* Keys of problems and texts of configurations, as databases from elsewhere have them: the first line is a key, the second,
 * if there is one, a configuration of the operation's space, the third a device's key. */
#include "fuzz/fuzz.h"

#include <math.h>

#include "op/op.h"
#include "space/facts.h"
#include "space/space.h"

static tri_space *space_of(const tri_operation *op) {
    static tri_space *spaces[TRI_OPERATIONS_MAX];
    tri_space **space = &spaces[tri_operation_index(op)];
    if (!*space)
        MUST(tri_space_open(space, op, NULL) == TRIAGE_OK);
    return *space;
}

static void check_key(const tri_problem *problem, const char *text) {
    char *key = NULL;
    MUST(tri_problem_check(problem) == TRIAGE_OK);
    MUST(tri_problem_key(&key, problem) == TRIAGE_OK);
    MUST(strcmp(key, text) == 0); /* parse refuses what key would not write */
    free(key);
}

/* What lookups and reports compute of a problem that somebody claims. */
static void use(const tri_problem *problem, const char *text) {
    tri_problem variants[TRI_VARIANTS];
    tri_facts facts;
    char outline[256], *family = NULL;
    int64_t sizes[3];
    tri_least_work least = {0};
    problem->op->sizes(sizes, problem);
    problem->op->least_work(&least, problem);
    tri_problem_outline(outline, sizeof outline, problem);
    tri_facts_of_problem(&facts, problem);
    MUST(isfinite(tri_problem_flops(problem)) && tri_problem_flops(problem) >= 0);
    MUST(isfinite(tri_problem_dense_flops(problem)) && isfinite(tri_problem_bytes(problem)));
    MUST(isfinite(problem->op->host_bytes(problem)) && isfinite(least.flops) && least.flops >= 0);
    MUST(tri_problem_distance(problem, problem) == 0);
    MUST(tri_problem_family(&family, text) == TRIAGE_OK);
    free(family);
    const size_t count = problem->op->variants ? problem->op->variants(variants, problem) : 0;
    for (size_t i = 0; i < count; i++)
        check_key(&variants[i], text);
}

static void try_config(const tri_problem *problem, const char *config) {
    tri_device_info info;
    tri_candidate made = {0};
    MUST(tri_device_info_of_target(&info, "sm_90a") == TRIAGE_OK);
    (void)tri_space_knows(space_of(problem->op), config);
    const triage_status status = tri_space_candidate(&made, space_of(problem->op), problem, &info, config);
    if (status == TRIAGE_OK)
        MUST(strcmp(made.config, config) == 0); /* a configuration has one text */
    else
        must_refuse(status);
    tri_candidate_free(&made);
}

static void try_device(const char *text) {
    tri_device_info info;
    char *key = NULL;
    const triage_status status = tri_device_parse(&info, text);
    if (status == TRIAGE_OK)
        MUST(tri_device_key(&key, &info) == TRIAGE_OK && strcmp(key, text) == 0);
    else
        must_refuse(status);
    free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tri_problem problem;
    char *text = text_of(data, size), *rest = text;
    const char *key = strsep(&rest, "\n"), *config = strsep(&rest, "\n"), *device = strsep(&rest, "\n");
    const triage_status status = tri_problem_parse(&problem, key);
    if (status == TRIAGE_OK) {
        check_key(&problem, key);
        use(&problem, key);
        if (config)
            try_config(&problem, config);
    } else {
        must_refuse(status);
    }
    if (device)
        try_device(device);
    free(text);
    return 0;
}
