/* Does a stored configuration still mean the kernel that was measured? */
#ifndef TRIAGE_EVIDENCE_FRESHNESS_H
#define TRIAGE_EVIDENCE_FRESHNESS_H

#include "render/render.h"

/* What a configuration is rendered for. Borrowed. */
typedef struct tri_setting {
    tri_space *space;
    const tri_device_info *info;
    const char *data_dir;
} tri_setting;

/* A configuration made for a problem: ready to be compiled. Zero-initialise. */
typedef struct tri_rendering {
    tri_candidate candidate;
    tri_source source;
    char hash[TRI_HASH_SIZE]; /* of the source for the device's target */
} tri_rendering;
triage_status tri_rendering_make(tri_rendering *out, const tri_setting *setting, const tri_problem *problem,
                                 const char *config);
void tri_rendering_free(tri_rendering *rendering); /* leaves it empty */
/* Is that the configuration's fault? It is none of this space, not legal here, or its template is broken or gone. */
bool tri_rendering_is_miss(triage_status status);

typedef enum tri_freshness {
    TRI_CURRENT,   /* legal, and renders to the very source that was measured */
    TRI_STALE,     /* legal, but its template or parameters have changed since */
    TRI_NOT_LEGAL, /* a constraint of the space, for that problem on that device */
    TRI_NOT_KNOWN  /* no configuration of the space, or its template is gone */
} tri_freshness;

typedef struct tri_config_freshness {
    tri_freshness is;
    char hash[TRI_HASH_SIZE]; /* of today's source; "" if there is none */
    char why[320];            /* "" when current */
} tri_config_freshness;

/* source_hash NULL: whatever the source is. made: the rendering of a current one; may be NULL. Fails only for what is not
 * the configuration's fault. */
triage_status tri_freshness_render(tri_config_freshness *out, tri_rendering *made, const tri_setting *setting,
                                   const tri_problem *problem, const char *config, const char *source_hash);
triage_status tri_freshness_of(tri_config_freshness *out, const tri_setting *setting,
                               const tri_problem *problem, const char *config, const char *source_hash);

#endif
