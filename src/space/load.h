/* From a file's Lua to a space as C keeps it. */
#ifndef TRIAGE_SPACE_LOAD_H
#define TRIAGE_SPACE_LOAD_H

#include "space/local.h"
#include "space/sandbox.h"

typedef struct tri_local {
    tri_sandbox *sandbox;
    tri_files files; /* asked only while it is loaded: */
    bool is_loading;
    char *part_text, *part_name; /* of the part that is being loaded: what a Lua error leaves behind */
} tri_local;

/* Inside a sandbox call: runs the vocabulary and the file's text, then fills the space, which may be half full after
 * a failure. Every value is looked at once, here, and never again. */
typedef struct tri_load_job {
    tri_space *space;
    tri_local *local;
    const tri_space_text *text;
} tri_load_job;
triage_status tri_load(lua_State *L, void *job);

/* Inside a later tri_sandbox_call: makes a kernel of which the space knows only the name. */
typedef struct tri_load_kernel_job {
    tri_local *local;
    const tri_space_kernel *named;
    tri_space_kernel made; /* the caller's, whatever happens */
} tri_load_kernel_job;
triage_status tri_load_kernel(lua_State *L, void *job);

/* Raw reads that raise a Lua error on another type. */
int64_t tri_lua_integer(lua_State *L, int index, int64_t low, int64_t high, const char *what);
const char *tri_lua_text(lua_State *L, int index, const char *what); /* without NUL */

#endif
