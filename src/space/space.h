/* Search spaces and strategies: Lua files, run in a sandbox. The only room that sees lua_State.
 *
 * A space file returns triage.space{...} (tuner/triage.lua is the vocabulary): a list of kernels, each
 * with its template, the targets it runs on, axes (ordered lists of names and values), named constraints,
 * template parameters and launch geometry as functions of (problem, config, device), and a default. A constraint is asked
 * once for each combination of the values that it reads (judge.h): it must depend on nothing else.
 * A configuration's text is its identity: kernel name and axis values in the order of the axes, e.g.
 * "wgmma tile_n=256 stages=4".
 *
 * Parts of a file, in files beside it or built in, by require "folder.name" (parts.h); a part with a kernel by triage.later, which
 * a built-in space reads when that kernel is first asked for. Who has a space uses it from one thread at a time.
 *
 * Lua that is not built in, a file given by its path or anything from a data folder, runs in a process of its own
 * (process.h): triage_worker must be where this build put it. What comes from there is checked here.
 *
 * Sandbox: no io, os, package, debug, load, dofile, collectgarbage, string.dump; text chunks only; an
 * instruction limit and a memory limit for each call, both with a clear TRIAGE_E_DATA. */
#ifndef TRIAGE_SPACE_SPACE_H
#define TRIAGE_SPACE_SPACE_H

#include "op/op.h"

typedef struct tri_space tri_space;

typedef struct tri_space_options {
    const char *data_dir;      /* see tri_resource_read */
    const char *path;          /* a user's file; NULL: "tuner/spaces/<op>.lua" */
    int64_t instruction_limit; /* VM instructions of one call; 0: 50 million */
    int64_t memory_limit;      /* bytes of the whole state; 0: 64 MiB */
} tri_space_options;

/* Loads and checks a space: TRIAGE_E_DATA names file, line and what is wrong (unknown template, axis
 * without values, default outside its axes, constraint without a name, ...). */
/* op NULL, with a path only: of whichever operation the file says. */
triage_status tri_space_open(tri_space **out, const tri_operation *op, const tri_space_options *options);
const tri_operation *tri_space_operation(const tri_space *space);
void tri_space_free(tri_space *space);
const char *tri_space_name(const tri_space *space);

/* One template parameter: {{name}} and the text that replaces it. */
typedef struct tri_param {
    char *name;
    char *value;
} tri_param;

/* One legal configuration, ready to render and launch. */
typedef struct tri_candidate {
    char *kernel;        /* "wgmma" */
    char *config;        /* "wgmma tile_n=256 stages=4" */
    char *template_name; /* "templates/bsr_gemm/wgmma.cu" */
    tri_param *params;
    size_t param_count;
    char **options; /* compiler options */
    size_t option_count;
    tri_launch launch;
    int32_t spill_limit; /* bytes; more than that is a failed candidate */
} tri_candidate;
void tri_candidate_free(tri_candidate *candidate);

/* All legal configurations for a problem on a device, in the order of the file. configs is an array of
 * *count strings, freed with tri_space_configs_free. default_index: the first kernel's default that is legal
 * (TRIAGE_E_UNSUPPORTED with the violated constraints when nothing is legal).
 * coordinates: for strategies, *count * axes values: kernel index, then the axis value
 * indexes of its kernel, padded with -1. scales: what these values are. */
typedef struct tri_scale { /* the values of one axis */
    size_t count;
    int64_t *numbers; /* NULL: names, which have no order */
} tri_scale;

typedef struct tri_configs {
    char **text;
    size_t count;
    size_t default_index;
    int32_t *coordinates;
    size_t axes;       /* columns of coordinates */
    tri_scale *scales; /* [kernels][axes - 1]; NULL: numbers that are not known, in order */
    size_t scale_count;
    int64_t asked; /* how often a function of the file was, for this */
} tri_configs;
triage_status tri_space_enumerate(tri_configs *out, tri_space *space, const tri_problem *problem,
                                  const tri_device_info *info);
void tri_configs_free(tri_configs *configs);

/* The text of the default alone, for much less work; *out owned by the caller. */
triage_status tri_space_default(char **out, tri_space *space, const tri_problem *problem,
                                const tri_device_info *info);

/* A configuration's text to a candidate for this problem and device: parsed, checked against the axes and
 * every constraint. TRIAGE_E_DATA: not a configuration of this space; TRIAGE_E_UNSUPPORTED: a constraint, named. */
triage_status tri_space_candidate(tri_candidate *out, tri_space *space, const tri_problem *problem,
                                  const tri_device_info *info, const char *config);

/* The same check without a device or problem: are kernel and axis values of this space? (imports) */
triage_status tri_space_knows(tri_space *space, const char *config);

/* The plain kernel of verification for this problem on this backend: not part of the space, declared in the
 * file as `reference`. */
triage_status tri_space_reference(tri_candidate *out, tri_space *space, const tri_problem *problem,
                                  const tri_device_info *info);

/* ---- strategies: tuner/strategies/<name>.lua: exhaustive, random, local, model ------------------------ */

typedef struct tri_strategy tri_strategy;
/* The time of a configuration elsewhere: on another device, or of a near problem. */
typedef struct tri_prior {
    size_t point;
    double median_ns; /* negative: it failed */
} tri_prior;
typedef struct tri_strategy_options {
    const char *data_dir;
    uint64_t seed;
    size_t budget;       /* the most proposals; 0: the whole space */
    const size_t *known; /* configurations to begin with, behind the default; NULL: none */
    size_t known_count;
    const tri_prior *prior; /* times of one other device or problem; only their order counts; NULL: none */
    size_t prior_count;
    double
        stop_gain; /* the search ends where less than this part of the best time is to be gained; 0: never */
} tri_strategy_options;
/* configs are borrowed until the strategy is freed.
 * name, or a path when it holds a '/' or ends in .lua. Same seed, same space, same known and same results told: same
 * proposals. */
triage_status tri_strategy_open(tri_strategy **out, const char *name, const tri_configs *configs,
                                const tri_strategy_options *options);
/* The next configuration to try; -1: finished, or (with results outstanding) nothing to propose before some
 * result is told: *waiting tells which. */
triage_status tri_strategy_next(int64_t *index, bool *waiting, tri_strategy *strategy);
typedef struct tri_strategy_result {
    double median_ns;  /* negative: it failed */
    double compile_ms; /* what the next one like it would take; 0: nobody knows, or it does not matter */
} tri_strategy_result;
triage_status tri_strategy_tell(tri_strategy *strategy, int64_t index, const tri_strategy_result *result);
/* Why it proposes no more although there is more; "": no reason of its own. */
#define TRI_STRATEGY_REASON 160
const char *tri_strategy_ended(const tri_strategy *strategy);
void tri_strategy_free(tri_strategy *strategy);

#endif
