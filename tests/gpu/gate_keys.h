/* Problems, given by their keys, through the house's gate, untimed: poisoned results, red zones, float64, all cases. What
 * the programs of fixed cases share (run_attention, run_products). */
#ifndef TRIAGE_TESTS_GPU_GATE_KEYS_H
#define TRIAGE_TESTS_GPU_GATE_KEYS_H

#include "device/device.h"
#include "op/op.h"
#include "space/space.h"

/* The options' text for a usage line. */
#define GATE_USAGE                                                                                           \
    "[--device cuda|host] [--all] [--kernel NAME] [--part I/N] [--keys TEXT] [--cache DIR] [--verbose] "     \
    "[--compile TARGET] [--small] [--cover] [--log FILE]"

typedef struct gate_options {
    const char *device, *kernel, *text, *cache, *compile;
    const char *log;      /* a line of JSON for each result; what it has already is not run again */
    unsigned part, parts; /* part is 0 .. parts - 1 */
    bool all, verbose, small;
    bool
        cover; /* the first of each kernel, and whoever has a value of an axis that this kernel has not had yet */
} gate_options;
/* False: wrong usage. */
bool gate_read_options(gate_options *o, int argc, char **argv);

typedef struct gate_stand {
    tri_device *device; /* NULL: compile only */
    tri_device_info info;
    tri_space *space;
    tri_problem problem;
    tri_pattern pattern; /* where the problem has one */
    /* draws it, the same every time; the problem gets its number of blocks */
    triage_status (*pattern_of)(tri_pattern *out, tri_problem *problem);
} gate_stand;

extern struct gate_tally { size_t problems, right, wrong, without; } gate_counts;

void gate_must(triage_status status);
/* The device, or that of --compile's target. 0, or the exit code where there is none. */
int gate_open(gate_stand *s, const gate_options *o);
void gate_close(gate_stand *s);
/* Each key of this part that has the text asked for: compiled, or all candidates that are asked for judged. */
void gate_keys(gate_stand *s, const gate_options *o, const tri_operation *op, const char *const *keys,
               size_t count);

/* ---- for more than the gate ---- */

void gate_problem(gate_stand *s, const char *key);
const tri_pattern *gate_pattern(const gate_stand *s); /* NULL: it has none */
/* Is the configuration asked for? The first of its kernel, or all. */
bool gate_wants(const gate_options *o, const tri_configs *configs, size_t i);
void gate_wrong(const char *key, const char *config, const char *reason);
/* The last line, for scripts; the exit code. */
int gate_end(const char *program);

#endif
