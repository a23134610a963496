/* A strategy: who was proposed and told is kept here; what to propose is asked of the file's functions, in this process or in
 * one of its own. */
#ifndef TRIAGE_SPACE_STRATEGY_H
#define TRIAGE_SPACE_STRATEGY_H

#include "space/process.h"
#include "space/space.h"

typedef struct tri_strategist {
    /* The configuration to try, or -1; its number is in range and not proposed yet. */
    triage_status (*next)(int64_t *index, bool *waiting, tri_strategy *strategy);
    triage_status (*tell)(tri_strategy *strategy, int64_t index, const tri_strategy_result *result);
    void (*close)(tri_strategy *strategy);
} tri_strategist;

typedef enum tri_config_state { TRI_CONFIG_NEW, TRI_CONFIG_PROPOSED, TRI_CONFIG_TOLD } tri_config_state;

struct tri_strategy {
    char *file;
    const tri_configs *configs;      /* borrowed */
    char ended[TRI_STRATEGY_REASON]; /* why, if it ended before the budget */
    size_t count, budget, proposed, outstanding;
    uint8_t *state; /* [count]: a tri_config_state */
    const tri_strategist *strategist;
    void *mind; /* the strategist's */
};

/* A file's text for configurations. */
typedef struct tri_strategy_text {
    const char *file, *text;
    size_t size;
} tri_strategy_text;

/* In this process; options->data_dir is not used. */
triage_status tri_strategy_open_here(tri_strategy **out, const tri_strategy_text *text,
                                     const tri_configs *configs, const tri_strategy_options *options);
/* In a process of its own. */
triage_status tri_strategy_open_remote(tri_strategy **out, const tri_strategy_text *text,
                                       const tri_configs *configs, const tri_strategy_options *options);

/* Of either: everything but the strategist. */
triage_status tri_strategy_make(tri_strategy **out, const char *file, const tri_configs *configs,
                                const tri_strategy_options *options);

/* Coordinates of a large space of a user take more than a space file does. */
#define TRI_STRATEGY_MEMORY (INT64_C(512) << 20)

#endif
