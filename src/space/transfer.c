#include "space/transfer.h"

#include "space/launch.h"
#include "space/words.h"

#include <stdlib.h>
#include <string.h>

#define LIST_MAX 4096 /* of anything; the sandbox's own limits are below */

static void pack_string(tri_packer *to, const char *text) {
    tri_pack_text(to, text, strlen(text));
}

/* ---- a space ---- */

static void pack_maker(tri_packer *to, const tri_maker *maker) {
    pack_string(to, maker->template_name ? maker->template_name : "");
}

static void unpack_maker(tri_unpacker *from, tri_maker *maker) {
    tri_unpack_text(from, &maker->template_name, NULL);
}

static void pack_axis(tri_packer *to, const tri_axis *axis) {
    pack_string(to, axis->name);
    tri_pack_integer(to, (int64_t)axis->count);
    for (size_t i = 0; i < axis->count; i++) {
        tri_pack_integer(to, axis->values[i].is_integer);
        tri_pack_integer(to, axis->values[i].number);
        pack_string(to, axis->values[i].text);
    }
}

static void unpack_axis(tri_unpacker *from, tri_axis *axis) {
    tri_unpack_text(from, &axis->name, NULL);
    axis->count = tri_unpack_list(from, &axis->values, sizeof *axis->values, LIST_MAX);
    for (size_t i = 0; i < axis->count; i++) {
        axis->values[i].is_integer = tri_unpack_integer(from, 0, 1) == 1;
        axis->values[i].number = tri_unpack_integer(from, INT64_MIN, INT64_MAX);
        tri_unpack_text(from, &axis->values[i].text, NULL);
    }
}

static void pack_kernel(tri_packer *to, const tri_space_kernel *kernel) {
    pack_string(to, kernel->name);
    pack_maker(to, &kernel->maker);
    tri_pack_integer(to, kernel->spill_limit);
    tri_pack_integer(to, (int64_t)kernel->target_count);
    for (size_t i = 0; i < kernel->target_count; i++)
        pack_string(to, kernel->targets[i]);
    tri_pack_integer(to, (int64_t)kernel->axis_count);
    for (size_t i = 0; i < kernel->axis_count; i++)
        pack_axis(to, &kernel->axes[i]);
    tri_pack_integer(to, (int64_t)kernel->constraint_count);
    for (size_t i = 0; i < kernel->constraint_count; i++)
        pack_string(to, kernel->constraints[i].reason);
    tri_pack_integer(to, (int64_t)kernel->default_count);
    tri_pack_bytes(to, kernel->defaults,
                   kernel->default_count * kernel->axis_count * sizeof *kernel->defaults);
}

static void unpack_kernel(tri_unpacker *from, tri_space_kernel *kernel) {
    tri_unpack_text(from, &kernel->name, NULL);
    unpack_maker(from, &kernel->maker);
    kernel->spill_limit = (int32_t)tri_unpack_integer(from, 0, INT32_MAX);
    kernel->target_count = tri_unpack_list(from, &kernel->targets, sizeof *kernel->targets, LIST_MAX);
    for (size_t i = 0; i < kernel->target_count; i++)
        tri_unpack_text(from, &kernel->targets[i], NULL);
    kernel->axis_count = tri_unpack_list(from, &kernel->axes, sizeof *kernel->axes, TRI_AXES_MAX);
    for (size_t i = 0; i < kernel->axis_count; i++)
        unpack_axis(from, &kernel->axes[i]);
    kernel->constraint_count =
        tri_unpack_list(from, &kernel->constraints, sizeof *kernel->constraints, LIST_MAX);
    for (size_t i = 0; i < kernel->constraint_count; i++)
        tri_unpack_text(from, &kernel->constraints[i].reason, NULL);
    kernel->default_count = tri_unpack_list(from, &kernel->defaults,
                                            (kernel->axis_count + 1) * sizeof *kernel->defaults, LIST_MAX);
    if (kernel->default_count > 0)
        tri_unpack_bytes(from, kernel->defaults,
                         kernel->default_count * kernel->axis_count * sizeof *kernel->defaults);
}

void tri_pack_model(tri_packer *to, const tri_space *space) {
    pack_string(to, space->name);
    pack_string(to, space->op);
    for (size_t i = 0; i < TRI_REFERENCES; i++)
        pack_maker(to, &space->references[i]);
    tri_pack_integer(to, (int64_t)space->kernel_count);
    for (size_t i = 0; i < space->kernel_count; i++)
        pack_kernel(to, &space->kernels[i]);
}

triage_status tri_unpack_model(tri_unpacker *from, tri_space *space) {
    tri_unpack_text(from, &space->name, NULL);
    tri_unpack_text(from, &space->op, NULL);
    for (size_t i = 0; i < TRI_REFERENCES; i++) {
        unpack_maker(from, &space->references[i]);
        if (space->references[i].template_name && !space->references[i].template_name[0]) {
            free(space->references[i].template_name);
            space->references[i].template_name = NULL;
        }
    }
    space->kernel_count = tri_unpack_list(from, &space->kernels, sizeof *space->kernels, LIST_MAX);
    for (size_t i = 0; i < space->kernel_count; i++)
        unpack_kernel(from, &space->kernels[i]);
    const triage_status status = tri_unpack_end(from);
    return status == TRIAGE_OK ? tri_model_check(space) : status;
}

/* ---- a question ---- */

static void pack_facts(tri_packer *to, const tri_facts *facts) {
    tri_pack_integer(to, (int64_t)facts->count);
    for (size_t i = 0; i < facts->count; i++) {
        const tri_fact *fact = &facts->items[i];
        pack_string(to, fact->name);
        tri_pack_integer(to, (int64_t)fact->kind);
        tri_pack_integer(to, fact->integer);
        tri_pack_number(to, fact->number);
        pack_string(to, fact->text ? fact->text : "");
    }
}

static void unpack_facts(tri_unpacker *from, tri_facts *facts, char **names, char **texts) {
    facts->count = (size_t)tri_unpack_integer(from, 0, TRI_FACTS_MAX);
    for (size_t i = 0; i < facts->count; i++) {
        tri_fact *fact = &facts->items[i];
        tri_unpack_text(from, &names[i], NULL);
        fact->name = names[i] ? names[i] : "";
        fact->kind = (tri_fact_kind)tri_unpack_integer(from, TRI_FACT_INTEGER, TRI_FACT_BOOL);
        fact->integer = tri_unpack_integer(from, INT64_MIN, INT64_MAX);
        fact->number = tri_unpack_number(from);
        tri_unpack_text(from, &texts[i], NULL);
        fact->text = texts[i] ? texts[i] : "";
    }
}

void tri_pack_question(tri_packer *to, const tri_question *question) {
    pack_string(to, question->backend);
    pack_facts(to, &question->problem);
    pack_facts(to, &question->device);
}

void tri_unpack_question(tri_unpacker *from, tri_question_text *out) {
    memset(out, 0, sizeof *out);
    tri_unpack_text(from, &out->backend, NULL);
    out->question.backend = out->backend ? out->backend : "";
    unpack_facts(from, &out->question.problem, out->names, out->texts);
    unpack_facts(from, &out->question.device, out->names + TRI_FACTS_MAX, out->texts + TRI_FACTS_MAX);
}

void tri_question_text_free(tri_question_text *text) {
    for (size_t i = 0; i < 2 * (size_t)TRI_FACTS_MAX; i++) {
        free(text->names[i]);
        free(text->texts[i]);
    }
    free(text->backend);
}

/* ---- a candidate ---- */

void tri_pack_candidate(tri_packer *to, const tri_candidate *candidate) {
    tri_pack_integer(to, (int64_t)candidate->param_count);
    for (size_t i = 0; i < candidate->param_count; i++) {
        pack_string(to, candidate->params[i].name);
        pack_string(to, candidate->params[i].value);
    }
    tri_pack_integer(to, (int64_t)candidate->option_count);
    for (size_t i = 0; i < candidate->option_count; i++)
        pack_string(to, candidate->options[i]);
    tri_pack_bytes(to, &candidate->launch, sizeof candidate->launch);
}

static triage_status check_candidate(const tri_candidate *made, const tri_operation *op,
                                     const char *backend) {
    for (size_t i = 0; i < made->param_count; i++)
        if (!tri_is_name(made->params[i].name, strlen(made->params[i].name)) ||
            !tri_is_value(made->params[i].value))
            return tri_fail(TRIAGE_E_DATA, "a parameter '%.60s' is not " TRI_VALUE_RULE,
                            made->params[i].value);
    for (size_t i = 0; i < made->option_count; i++)
        if (!tri_is_option(backend, made->options[i]))
            return tri_fail(TRIAGE_E_DATA, "the compiler option '%.60s' is not allowed", made->options[i]);
    return tri_launch_check(&made->launch, op);
}

triage_status tri_unpack_candidate(tri_unpacker *from, tri_candidate *out, const tri_operation *op,
                                   const char *backend) {
    out->param_count = tri_unpack_list(from, &out->params, sizeof *out->params, LIST_MAX);
    for (size_t i = 0; i < out->param_count; i++) {
        tri_unpack_text(from, &out->params[i].name, NULL);
        tri_unpack_text(from, &out->params[i].value, NULL);
    }
    out->option_count = tri_unpack_list(from, &out->options, sizeof *out->options, LIST_MAX);
    for (size_t i = 0; i < out->option_count; i++)
        tri_unpack_text(from, &out->options[i], NULL);
    tri_unpack_bytes(from, &out->launch, sizeof out->launch);
    /* the operation's, whatever was sent: a bool must not be read before it is known to be one */
    memset(&out->launch.keeps_workspace, 0, sizeof out->launch.keeps_workspace);
    out->launch.keeps_workspace = op->keeps_workspace;
    const triage_status status = tri_unpack_end(from);
    return status == TRIAGE_OK ? check_candidate(out, op, backend) : status;
}
