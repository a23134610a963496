/* What names a kernel: src/render/identity.c says how. tri_source_hash is in render.h. Private to src/render. */
#ifndef TRIAGE_RENDER_IDENTITY_H
#define TRIAGE_RENDER_IDENTITY_H

#include "device/device.h"

/* Does a compiler see the same of both: tokens, names of headers, options? */
triage_status tri_source_same(bool *same, const tri_source *a, const tri_source *b);

#endif
