/* How a lookup would be answered, and why not otherwise: the same search as src/evidence/lookup.c, told. */
#ifndef TRIAGE_EVIDENCE_EXPLAIN_H
#define TRIAGE_EVIDENCE_EXPLAIN_H

#include "evidence/sisters.h"
#include "evidence/loss.h"

typedef enum tri_row_role {
    TRI_ROLE_USED,
    TRI_ROLE_TIE,       /* within noise of the one that is used */
    TRI_ROLE_RUNNER_UP, /* would serve, but others do better or are nearer */
    TRI_ROLE_BELOW,     /* would serve, but a layer above answers, or better evidence does */
    TRI_ROLE_DEMOTED,   /* verified, but its time does not count as others' do */
    TRI_ROLE_STALE,     /* another source than today's */
    TRI_ROLE_ILLEGAL,   /* a constraint of the space, or no configuration of it */
    TRI_ROLE_FAILED     /* did not run or was not right when it was last tried */
} tri_row_role;
const char *tri_row_role_name(tri_row_role role); /* "used" "tie" "runner-up" ... */

/* A candidate of the asked problem, or the winner of another problem; a runner-up of that too, where the winner may not
 * run for the asked one (src/evidence/runner_up.h). */
typedef struct tri_rival {
    const char *layer; /* "own", "shipped", or "elsewhere": on another device */
    tri_row_role role;
    char *problem, *config, *stage; /* config "": the problem has no winner */
    char id[TRI_HASH_SIZE], source_hash[TRI_HASH_SIZE];
    double median_ns; /* 0: no time */
    double distance;  /* another problem's; 0 */
    tri_distance parts;
    char *why; /* one line; "" where the standing says all */
} tri_rival;

typedef struct tri_rivals {
    tri_rival *items;
    size_t count, capacity;
} tri_rivals;

typedef struct tri_explanation {
    tri_found found; /* what the lookup returns */
    const char *
        layer; /* that it comes from: "own", "shipped", "elsewhere", "predictor", or "space" for the default */
    char *problem, *device; /* keys */
    tri_rivals candidates;  /* of the asked problem: in both layers, the best first, failures last */
    tri_rivals donors;      /* the nearest other problems, in both layers, near ones first */
    bool candidates_cut;    /* there are more */
    size_t donors_left_out; /* farther ones */
    tri_losses losses;      /* nearest, on this device: of the tuned problems around the asked one */
} tri_explanation;
void tri_explanation_free(tri_explanation *explanation);

/* own, shipped, sisters and predictor may be NULL. donor_limit: at most so many donors of a layer that were not needed to find the
 * answer. */
triage_status tri_explain(tri_explanation *out, tri_store *own, tri_store *shipped, tri_sisters *sisters,
                          const tri_predictor *predictor, const tri_setting *setting,
                          const tri_problem *problem, size_t donor_limit);

#endif
