#include "carry.h"

#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "op/dense.h"
#include "render/render.h"
#include "store/measurement.h"

/* ---- the kernel of a row in a tree ---- */

typedef struct kernel {
    tri_candidate candidate;
    tri_source source;
    char hash[TRI_HASH_SIZE];
} kernel;

static void free_kernel(kernel *of) {
    tri_candidate_free(&of->candidate);
    tri_source_free(&of->source);
}

static triage_status find_space(tri_space **out, carry_tree *tree, const tri_operation *op) {
    size_t i = 0;
    while (i < CARRY_OPERATIONS && tree->ops[i] && tree->ops[i] != op)
        i++;
    if (i == CARRY_OPERATIONS)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "more than %d operations", CARRY_OPERATIONS);
    if (!tree->ops[i]) {
        const tri_space_options options = {.data_dir = tree->folder};
        const triage_status status = tri_space_open(&tree->spaces[i], op, &options);
        if (status != TRIAGE_OK)
            return status;
        tree->ops[i] = op;
    }
    *out = tree->spaces[i];
    return TRIAGE_OK;
}

static triage_status render(kernel *out, carry_tree *tree, const tri_problem *problem,
                            const tri_device_info *device, const char *config) {
    triage_status status = TRIAGE_OK;
    tri_space *space = NULL;
    TRI_TRY(find_space(&space, tree, problem->op));
    TRI_TRY(tri_space_candidate(&out->candidate, space, problem, device, config));
    TRI_TRY(tri_render(&out->source, &out->candidate, tree->folder));
    tri_source_hash(out->hash, &out->source, device->target);
    if (!out->hash[0])
        status = tri_fail(TRIAGE_E_MEMORY, "out of memory");
done:
    return status;
}

/* ---- what must be the same ---- */

static triage_status refuse(const char *why) {
    return tri_fail(TRIAGE_E_DATA, "%s", why);
}

/* By fields: bytes between them may be anything. */
static bool same_launch(const tri_launch *a, const tri_launch *b) {
    return memcmp(a->grid, b->grid, sizeof a->grid) == 0 &&
           memcmp(a->block, b->block, sizeof a->block) == 0 &&
           memcmp(a->cluster, b->cluster, sizeof a->cluster) == 0 && a->smem_bytes == b->smem_bytes &&
           a->workspace_bytes == b->workspace_bytes && a->workspace_zero_bytes == b->workspace_zero_bytes &&
           a->keeps_workspace == b->keeps_workspace && memcmp(a->maps, b->maps, sizeof a->maps) == 0 &&
           memcmp(a->own, b->own, sizeof a->own) == 0;
}

static const char *find_header(const tri_source *source, const char *name) {
    for (size_t i = 0; i < source->include_count; i++)
        if (strcmp(source->includes[i].name, name) == 0)
            return source->includes[i].text;
    return NULL;
}

static bool same_tokens(const char *a, const char *b) {
    char hashes[2][TRI_HASH_SIZE];
    const tri_source sources[2] = {{.name = (char *)"", .text = (char *)(uintptr_t)a},
                                   {.name = (char *)"", .text = (char *)(uintptr_t)b}};
    for (int i = 0; i < 2; i++)
        tri_source_hash(hashes[i], &sources[i], "");
    return hashes[0][0] && strcmp(hashes[0], hashes[1]) == 0;
}

/* What the host reads, too, is in files named .h: the arguments' layout first of all, which no machine code shows. */
static bool is_host_header(const char *name) {
    const size_t size = strlen(name);
    return size > 2 && strcmp(name + size - 2, ".h") == 0;
}

static bool has_host_headers_of(const tri_source *source, const tri_source *other) {
    for (size_t i = 0; i < other->include_count; i++) {
        const tri_include *header = &other->includes[i];
        const char *text = find_header(source, header->name);
        if (is_host_header(header->name) && (!text || !same_tokens(text, header->text)))
            return false;
    }
    return true;
}

/* The same number, and the same bytes of the compiler where the row has their hash: what its file is called may differ. */
static bool is_same_compiler(const char *a, const char *b) {
    const char *hashes[] = {strchr(a, '#'), strchr(b, '#')};
    const size_t size = strcspn(a, "(");
    const bool named_alike = size == strcspn(b, "(") && strncmp(a, b, size) == 0;
    return named_alike && hashes[0] && hashes[1] && strcmp(hashes[0], hashes[1]) == 0;
}

static triage_status check_compiler(const tri_measurement *row, const char *target) {
    triage_status status = TRIAGE_OK;
    char here[TRI_COMPILER_SIZE], number[TRI_COMPILER_SIZE];
    TRI_TRY(tri_compiler_version(here, sizeof here, target));
    const char *more = strstr(here, " ("); /* rows of before 2026-12 have the number alone */
    snprintf(number, sizeof number, "%.*s", (int)(more ? more - here : (ptrdiff_t)strlen(here)), here);
    if (strcmp(row->compiler, number) != 0 && !is_same_compiler(row->compiler, here))
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "measured with %s, the compiler here is %s", row->compiler, here));
done:
    return status;
}

/* A row that does not know a count says -1. */
static bool is_as_measured(int64_t measured, int32_t here) {
    return measured == -1 || measured == here;
}

static triage_status check_images(const tri_measurement *row, const tri_image *before,
                                  const tri_image *after) {
    if (!is_as_measured(row->registers, before->registers) ||
        !is_as_measured(row->spill_bytes, before->spill_bytes))
        return refuse("the old text does not compile to the registers and spills that were measured");
    if (before->size != after->size || memcmp(before->data, after->data, before->size) != 0 ||
        before->registers != after->registers || before->spill_bytes != after->spill_bytes ||
        before->static_smem_bytes != after->static_smem_bytes)
        return refuse("the machine code differs");
    return TRIAGE_OK;
}

/* What is cheap to see comes first. */
static triage_status compare(carry_result *out, const carry *with, const tri_measurement *row,
                             const char *target, const kernel *before, const kernel *after) {
    triage_status status = TRIAGE_OK;
    tri_image old = {0}, new = {0};
    if (strcmp(before->hash, row->source_hash) != 0)
        TRI_TRY(refuse("the kernel of the tree before is not the one that was measured"));
    if (!same_launch(&before->candidate.launch, &after->candidate.launch))
        TRI_TRY(refuse("the launch differs"));
    if (!has_host_headers_of(&after->source, &before->source) ||
        !has_host_headers_of(&before->source, &after->source))
        TRI_TRY(refuse("a header that the host reads differs"));
    TRI_TRY(check_compiler(row, target));
    TRI_TRY(tri_compile(&old, target, &before->source, with->cache_dir));
    TRI_TRY(tri_compile(&new, target, &after->source, with->cache_dir));
    TRI_TRY(check_images(row, &old, &new));
    tri_hash(out->image, new.data, new.size);
    out->image_bytes = new.size;
done:
    tri_image_free(&old);
    tri_image_free(&new);
    return status;
}

/* ---- a row ---- */

static triage_status rename_row(carry_result *out, tri_measurement *row, const char *hash) {
    triage_status status = TRIAGE_OK;
    char *name = NULL;
    TRI_TRY(tri_strdup(&name, hash));
    memcpy(out->was, row->source_hash, TRI_HASH_SIZE);
    memcpy(out->id_was, row->id, TRI_HASH_SIZE);
    free(row->source_hash);
    row->source_hash = name;
    tri_measurement_id(row->id, row);
    out->verdict = CARRY_CARRIED;
    status = tri_measurement_check_foreign(row);
done:
    return status;
}

static bool is_refusal(triage_status status) {
    return status == TRIAGE_E_DATA || status == TRIAGE_E_UNSUPPORTED || status == TRIAGE_E_COMPILE ||
           status == TRIAGE_E_NOT_FOUND;
}

triage_status carry_row(carry_result *out, carry *with, tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    tri_problem problem;
    tri_device_info device;
    kernel before = {0}, after = {0};
    *out = (carry_result){0};
    if (tri_dense_is_key(row->problem))
        return TRIAGE_OK;
    TRI_TRY(tri_problem_parse(&problem, row->problem));
    TRI_TRY(tri_device_parse(&device, row->device));
    TRI_TRY(render(&after, &with->after, &problem, &device, row->config));
    if (strcmp(after.hash, row->source_hash) == 0)
        goto done;
    TRI_TRY(render(&before, &with->before, &problem, &device, row->config));
    TRI_TRY(compare(out, with, row, device.target, &before, &after));
    TRI_TRY(rename_row(out, row, after.hash));
done:
    if (is_refusal(status)) {
        out->verdict = CARRY_REFUSED;
        snprintf(out->reason, sizeof out->reason, "%s", triage_last_error());
        status = TRIAGE_OK;
    }
    free_kernel(&before);
    free_kernel(&after);
    return status;
}

void carry_end(carry *with) {
    for (size_t i = 0; i < CARRY_OPERATIONS; i++) {
        tri_space_free(with->before.spaces[i]);
        tri_space_free(with->after.spaces[i]);
    }
}
