/* A space as C keeps it: the part that is data. The functions (constraints, params, launch) stay in Lua. */
#ifndef TRIAGE_SPACE_MODEL_H
#define TRIAGE_SPACE_MODEL_H

#include "space/sandbox.h"
#include "space/space.h"

typedef struct tri_axis_value {
    char *text; /* as in a configuration's text */
    bool is_integer;
    int64_t number;
} tri_axis_value;

typedef struct tri_axis {
    char *name;
    tri_axis_value *values;
    size_t count;
} tri_axis;

typedef struct tri_space_kernel {
    char *name;
    char **targets; /* "host", "sm_90a" (exactly), "sm_80+" (that or later) */
    size_t target_count;
    tri_axis *axes;
    size_t axis_count;
    size_t constraint_count;
    int32_t *defaults; /* [default_count][axis_count]: value indexes, best first */
    size_t default_count;
    int32_t spill_limit;
} tri_space_kernel;

struct tri_space {
    tri_sandbox *sandbox;
    char *file;   /* as messages name it: a resource, or */
    bool is_path; /* the path of a space of one's own */
    char *data_dir;
    char *part_text; /* of the part that is being loaded: what a Lua error leaves behind */
    char *name;
    char *op;
    tri_space_kernel *kernels;
    size_t kernel_count;
};

/* The checked space is registered in Lua under this registry key. */
#define TRI_SPACE_KEY "triage.space"

/* Inside a sandbox call, an empty space as job: runs tuner/triage.lua and the file's text, then fills the
 * space. What it holds after a failure is freed with it. */
typedef struct tri_model_job {
    tri_space *space;
    const char *vocabulary, *text;
    size_t vocabulary_size, text_size;
} tri_model_job;
triage_status tri_model_load(lua_State *L, void *job);
void tri_model_free(tri_space *space);

/* Pushes the Lua table of one kernel. */
void tri_model_push_kernel(lua_State *L, size_t kernel);

bool tri_target_matches(const char *wanted, const tri_device_info *info);

/* Raw reads that raise a Lua error on another type. */
int64_t tri_lua_integer(lua_State *L, int index, int64_t low, int64_t high, const char *what);
const char *tri_lua_text(lua_State *L, int index, const char *what);

#endif
