#include "space/facts.h"

static void add(tri_facts *to, tri_fact fact) {
    if (to->count < TRI_FACTS_MAX)
        to->items[to->count++] = fact;
}

static void add_integer(tri_facts *to, const char *name, int64_t value) {
    add(to, (tri_fact){.name = name, .kind = TRI_FACT_INTEGER, .integer = value});
}

static void add_text(tri_facts *to, const char *name, const char *value) {
    add(to, (tri_fact){.name = name, .kind = TRI_FACT_TEXT, .text = value});
}

/* A tri_property_fn. */
static void add_property(void *user, const tri_property *property) {
    static const tri_fact_kind kinds[] = {[TRI_PROPERTY_INTEGER] = TRI_FACT_INTEGER,
                                          [TRI_PROPERTY_NUMBER] = TRI_FACT_NUMBER,
                                          [TRI_PROPERTY_TEXT] = TRI_FACT_TEXT,
                                          [TRI_PROPERTY_FLAG] = TRI_FACT_BOOL};
    add(user, (tri_fact){.name = property->name,
                         .kind = kinds[property->kind],
                         .integer = property->kind == TRI_PROPERTY_FLAG ? property->flag : property->integer,
                         .number = property->number,
                         .text = property->text});
}

void tri_facts_of_problem(tri_facts *out, const tri_problem *problem) {
    out->count = 0;
    problem->op->fields(problem, add_property, out);
}

void tri_facts_of_device(tri_facts *out, const tri_device_info *info) {
    out->count = 0;
    add_text(out, "backend", info->backend);
    add_text(out, "target", info->target);
    add_integer(out, "cc", info->cc);
    add_integer(out, "sm_count", info->sm_count);
    add_integer(out, "clock_khz", info->clock_khz);
    add_integer(out, "smem_bytes_max", info->smem_bytes_max);
    add_integer(out, "l2_bytes", info->l2_bytes);
    add_integer(out, "memory_bytes", info->memory_bytes);
}
