#include "space/local.h"

#include "space/judge.h"
#include "space/legal.h"
#include "space/load.h"

#include <stdlib.h>
#include <string.h>

static tri_sandbox *sandbox_of(const tri_space *space) {
    return ((const tri_local *)space->state)->sandbox;
}

/* ---- judging ---- */

static triage_status judge(tri_verdicts *out, tri_space *space, const tri_question *question, size_t kernel) {
    tri_judge *made = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_judge_open(&made, &space->kernels[kernel], question, out));
    status = tri_sandbox_call(sandbox_of(space), tri_judge_in_lua, made, space->file);
done:
    tri_judge_free(made);
    return status;
}

/* ---- filling ---- */

typedef struct fill_job {
    tri_space *space;
    const tri_question *question;
    const tri_space_kernel *kernel; /* NULL: a reference */
    const tri_maker *maker;
    const int32_t *point;
    int32_t violated;
    tri_candidate *out;
} fill_job;

static triage_status fill_in_lua(lua_State *L, void *user) {
    fill_job *job = user;
    const char *what = "reference";
    tri_push_question(L, job->question, job->kernel);
    if (job->kernel) {
        tri_set_config(L, job->kernel, job->point);
        job->violated = tri_first_violated(L, job->kernel);
        what = lua_pushfstring(L, "kernel %s", job->kernel->name);
    }
    if (job->violated == TRI_LEGAL)
        tri_fill_candidate(L, job->out, tri_space_operation(job->space), job->maker, job->question->backend,
                           what);
    return TRIAGE_OK;
}

static triage_status fill(tri_candidate *out, int32_t *violated, tri_space *space,
                          const tri_question *question, size_t kernel, const int32_t *point) {
    const tri_space_kernel *of = &space->kernels[kernel];
    fill_job job = {space, question, of, &of->maker, point, TRI_LEGAL, out};
    const triage_status status = tri_sandbox_call(sandbox_of(space), fill_in_lua, &job, space->file);
    *violated = job.violated;
    return status;
}

static triage_status fill_reference(tri_candidate *out, tri_space *space, const tri_question *question) {
    const tri_reference_of of = strcmp(question->backend, "host") ? TRI_REFERENCE_CUDA : TRI_REFERENCE_HOST;
    fill_job job = {space, question, NULL, &space->references[of], NULL, TRI_LEGAL, out};
    return tri_sandbox_call(sandbox_of(space), fill_in_lua, &job, space->file);
}

/* ---- opening and closing ---- */

static void close_local(tri_space *space) {
    tri_local *local = space->state;
    tri_sandbox_free(local->sandbox);
    free(local->part_text);
    free(local->part_name);
    free(local);
}

/* A kernel whose loading fails stays as it was, known by its name, and its function stays in the sandbox: whoever asks for the
 * kernel next tries again. */
static triage_status load_kernel(tri_space *space, size_t kernel) {
    tri_local *local = space->state;
    tri_load_kernel_job job = {.local = local, .named = &space->kernels[kernel]};
    triage_status status = tri_sandbox_call(local->sandbox, tri_load_kernel, &job, space->file);
    local->is_loading = false;
    if (status == TRIAGE_OK)
        status = tri_model_check_kernel(space, &job.made);
    if (status == TRIAGE_OK) {
        const tri_space_kernel named = space->kernels[kernel];
        space->kernels[kernel] = job.made;
        job.made = named;
    }
    tri_space_kernel_clear(&job.made);
    return status;
}

triage_status tri_local_load_all(tri_space *space) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < space->kernel_count && status == TRIAGE_OK; i++)
        status = space->kernels[i].later ? load_kernel(space, i) : TRIAGE_OK;
    return status;
}

triage_status tri_local_open(tri_space *space, const tri_space_text *text, const tri_files *files) {
    static const tri_answerer answerer = {judge, fill, fill_reference, load_kernel, close_local};
    triage_status status = TRIAGE_OK;
    tri_local *local = NULL;
    TRI_TRY(tri_calloc(&local, 1, sizeof *local));
    space->answerer = &answerer;
    space->state = local;
    local->files = *files;
    TRI_TRY(tri_sandbox_open(&local->sandbox, text->instruction_limit, text->memory_limit));
    TRI_TRY(tri_sandbox_call(local->sandbox, tri_load, &(tri_load_job){space, local, text}, space->file));
    TRI_TRY(tri_model_check(space));
done:
    return status;
}
