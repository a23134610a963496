/* Inside a sandbox call: problem, configuration and device as Lua sees them, and what its functions say. */
#ifndef TRIAGE_SPACE_LEGAL_H
#define TRIAGE_SPACE_LEGAL_H

#include "space/model.h"
#include "space/sandbox.h"

/* Fills the first stack slots of an empty stack: what the functions get can be read and not written. kernel: whose
 * configurations are asked about; NULL: a reference's, which has none. */
void tri_push_question(lua_State *L, const tri_question *question, const tri_space_kernel *kernel);
/* Sets the configuration's fields. */
void tri_set_config(lua_State *L, const tri_space_kernel *kernel, const int32_t *point);
void tri_push_axis_value(lua_State *L, const tri_axis_value *value);
/* From now on tri_ask_constraint shows a configuration whose fields the function on top of the stack reads (as __index);
 * it is popped. */
void tri_watch_config(lua_State *L);
/* Asks one constraint, and pushes its answer, or the error that it raised: LUA_OK tells which. A limit of the sandbox is
 * raised. */
int tri_ask_constraint(lua_State *L, int function);
/* The first violated constraint of the configuration set, or TRI_LEGAL. A constraint that does not answer true
 * or false is an error that names it. */
int32_t tri_first_violated(lua_State *L, const tri_space_kernel *kernel);

/* Fills params, options and launch of a candidate for the configuration set. what begins messages. */
void tri_fill_candidate(lua_State *L, tri_candidate *out, const tri_operation *op, const tri_maker *maker,
                        const char *backend, const char *what);

#endif
