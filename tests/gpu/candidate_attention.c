/* The problems of attention: the fixed cases, and small ones for where each configuration runs once. See
 * candidate_problem.h. */
#include "gpu/attention_keys.h"
#include "gpu/candidate_problem.h"
#include "op/attention/attention.h"

#include <stdio.h>
#include <string.h>

_Static_assert(FIXED_KEYS + SMALL_KEYS <= PROBES_MAX, "PROBES_MAX is too small for the list");

const tri_operation *probes_of(void) {
    return &tri_op_attention;
}

size_t probe_count(void) {
    return FIXED_KEYS + SMALL_KEYS;
}

/* What a kernel's code differs in most: operands, and where keys are found. */
static void name_group(char group[40], const tri_attention_problem *p) {
    const char *keys = p->mask.rows ? "blocks" : p->page_size ? "pages" : "rows";
    snprintf(group, 40, "%s %s", p->in_type == TRIAGE_E4M3 ? "e4m3" : "half", keys);
}

void outline_make(outline *out, size_t number) {
    const bool small = number >= FIXED_KEYS;
    const char *key = small ? small_keys[number - FIXED_KEYS] : fixed_keys[number];
    *out = (outline){.number = number, .raggedness = small ? 3 : 0, .made = true};
    must(tri_problem_parse(&out->problem, key));
    const tri_attention_problem *p = tri_attention(&out->problem);
    if (tri_problem_has_pattern(&out->problem))
        must(tri_attention_mask_random(&out->pattern, p, 0.5, 3));
    snprintf(out->name, sizeof out->name, "%s", key + strlen("attention "));
    name_group(out->group, p);
    out->cost = (double)p->pairs * (double)(p->d + p->dv);
}

/* What the space was made for. */
bool large_problem(tri_problem *out, char group[40], size_t i) {
    static const char *const keys[] = {
        "attention bf16 bf16 full m=8192 n=8192 k=64 v=64 heads=32/32 batch=2",
        "attention bf16 bf16 causal m=8192 n=8192 k=128 v=128 heads=16/16 batch=2",
        "attention bf16 bf16 causal m=2048 n=2048 k=256 v=256 heads=8/8 batch=8",
        "attention bf16 bf16 full m=16384 n=16384 k=256 v=256 heads=8/8 batch=1",
        "attention bf16 bf16 causal m=4096 n=4096 k=192 v=128 heads=16/16 batch=4",
        "attention bf16 bf16 causal varlen m=8192 n=8192 k=128 v=128 heads=16/16 batch=16",
        "attention bf16 bf16 window m=8192 n=8192 k=128 v=128 heads=16/4 batch=2 window=1024,0",
        "attention e4m3 bf16 full m=8192 n=8192 k=128 v=128 heads=16/16 batch=2",
        "attention e4m3 bf16 causal m=8192 n=8192 k=128 v=128 heads=16/16 batch=2",
        "attention bf16 bf16 full blocks=128x128 m=32768 n=32768 k=128 v=128 heads=16/16 batch=1 "
        "lists=all" LISTS,
        "attention bf16 bf16 full blocks=64x64 m=32768 n=32768 k=128 v=128 heads=16/16 batch=1 lists=q" LISTS,
        "attention bf16 bf16 full blocks=128x32 m=32768 n=32768 k=128 v=128 heads=16/16 batch=1 "
        "lists=all" LISTS,
        "attention bf16 bf16 full blocks=128x16 m=32768 n=32768 k=128 v=128 heads=16/16 batch=1 "
        "lists=all" LISTS,
        "attention bf16 bf16 full blocks=128x128 m=32768 n=32768 k=64 v=64 heads=32/32 batch=1 "
        "lists=all" LISTS,
        "attention bf16 bf16 full blocks=128x128 m=32768 n=32768 k=256 v=256 heads=8/8 batch=1 "
        "lists=all" LISTS,
        "attention bf16 bf16 full m=1 n=4096 k=128 v=128 heads=32/8 batch=64",
        "attention bf16 bf16 full m=1 n=32768 k=128 v=128 heads=32/8 batch=1",
        "attention bf16 bf16 full m=1 n=1024 k=128 v=128 heads=32/4 batch=1",
        "attention bf16 bf16 causal paged m=1 n=4096 k=128 v=128 heads=32/8 batch=64 page=16",
        "attention e4m3 bf16 full m=1 n=32768 k=128 v=128 heads=32/8 batch=8",
    };
    if (i == sizeof keys / sizeof *keys)
        return false;
    must(tri_problem_parse(out, keys[i]));
    name_group(group, tri_attention(out));
    return true;
}
