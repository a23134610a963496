/* Inside a sandbox call: problem, configuration and device as Lua sees them, and what its functions say. */
#ifndef TRIAGE_SPACE_LEGAL_H
#define TRIAGE_SPACE_LEGAL_H

#include "space/model.h"

/* A point of one kernel: value indexes in the order of its axes. */
#define TRI_POINT_MAX 24

/* Fixed stack slots of a call that asks Lua. */
enum { TRI_SLOT_PROBLEM = 1, TRI_SLOT_DEVICE, TRI_SLOT_KERNEL, TRI_SLOT_CONSTRAINTS, TRI_SLOT_CONFIG };

/* Fills the first two slots of an empty stack. */
void tri_push_problem_and_device(lua_State *L, const tri_problem *problem, const tri_device_info *info);
/* Fills (or refills) the other three for one kernel; the configuration is an empty table. */
void tri_select_kernel(lua_State *L, const tri_space *space, size_t kernel);
/* Sets the configuration's fields. */
void tri_set_config(lua_State *L, const tri_space_kernel *kernel, const int32_t *point);
/* The first violated constraint of the configuration set; -1: legal. A constraint that does not answer true
 * or false is an error that names it. */
int64_t tri_first_violated(lua_State *L, const tri_space_kernel *kernel);
/* Pushes a constraint's name. */
const char *tri_push_reason(lua_State *L, size_t constraint);

/* Fills params, options and launch of a candidate from the table at `index` (a kernel or a reference) with
 * the configuration in its slot. what begins messages. */
void tri_fill_candidate(lua_State *L, tri_candidate *out, int index, const char *what);

#endif
