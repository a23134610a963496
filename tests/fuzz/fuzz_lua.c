/* Spaces of strangers: a Lua file whose tables and functions return what they like, read by src/space. */
#include "fuzz/fuzz.h"
#include "space/launch.h"
#include "space/local.h"
#include "space/words.h"

/* Small, so that an input that only runs on costs little. */
enum { INSTRUCTIONS = 200000, MEMORY = 8 << 20 };

static const char *key_for(const tri_operation *op) {
    return strcmp(op->name, "attention") == 0
               ? "attention bf16 bf16 causal m=512 n=512 k=64 v=64 heads=4/4 batch=2"
               : "bsr_gemm f16 f16 row row none nobias m=512 n=512 k=512 block=32x32 density=1000 "
                 "imbalance=14 overlap=1";
}

/* Nothing gets out that a rule forbids. */
static void check(const tri_candidate *made, const tri_operation *op, const char *backend) {
    MUST(tri_is_template(made->template_name));
    for (size_t i = 0; i < made->param_count; i++)
        MUST(tri_is_name(made->params[i].name, strlen(made->params[i].name)) &&
             tri_is_value(made->params[i].value));
    for (size_t i = 0; i < made->option_count; i++)
        MUST(tri_is_option(backend, made->options[i]));
    MUST(tri_launch_check(&made->launch, op) == TRIAGE_OK);
}

static void settle(triage_status status, tri_candidate *made, const tri_space *space, const char *backend) {
    if (status == TRIAGE_OK)
        check(made, tri_space_operation(space), backend);
    else
        must_refuse(status);
    tri_candidate_free(made);
}

static void ask(tri_space *space, const char *target) {
    tri_problem problem;
    tri_device_info info;
    tri_candidate made;
    tri_configs configs;
    MUST(tri_problem_parse(&problem, key_for(tri_space_operation(space))) == TRIAGE_OK);
    MUST(tri_device_info_of_target(&info, target) == TRIAGE_OK);
    const triage_status status = tri_space_enumerate(&configs, space, &problem, &info);
    for (size_t i = 0; status == TRIAGE_OK && i < configs.count && i < 4; i++)
        settle(tri_space_candidate(&made, space, &problem, &info, configs.text[i]), &made, space,
               info.backend);
    if (status != TRIAGE_OK)
        must_refuse(status);
    tri_configs_free(&configs);
    settle(tri_space_reference(&made, space, &problem, &info), &made, space, info.backend);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tri_space *space = NULL;
    const tri_space_options options = {
        .path = file_of(NULL, data, size), .instruction_limit = INSTRUCTIONS, .memory_limit = MEMORY};
    const triage_status status = tri_space_open_here(&space, NULL, &options);
    if (status != TRIAGE_OK) {
        must_refuse(status);
        return 0;
    }
    ask(space, "sm_90a");
    ask(space, "host");
    tri_space_free(space);
    return 0;
}
