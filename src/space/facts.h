/* What Lua sees of a problem and of a device: named values. */
#ifndef TRIAGE_SPACE_FACTS_H
#define TRIAGE_SPACE_FACTS_H

#include "op/op.h"

typedef enum tri_fact_kind { TRI_FACT_INTEGER, TRI_FACT_NUMBER, TRI_FACT_TEXT, TRI_FACT_BOOL } tri_fact_kind;

typedef struct tri_fact {
    const char *name;
    tri_fact_kind kind;
    int64_t integer; /* or bool */
    double number;
    const char *text; /* borrowed from the problem or the device */
} tri_fact;

#define TRI_FACTS_MAX 64
typedef struct tri_facts {
    tri_fact items[TRI_FACTS_MAX];
    size_t count;
} tri_facts;

void tri_facts_of_problem(tri_facts *out, const tri_problem *problem);
void tri_facts_of_device(tri_facts *out, const tri_device_info *info);

#endif
