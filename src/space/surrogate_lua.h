/* The surrogate as strategies see it: triage.surrogate. */
#ifndef TRIAGE_SPACE_SURROGATE_LUA_H
#define TRIAGE_SPACE_SURROGATE_LUA_H

#include "space/sandbox.h"
#include "space/surrogate.h"

typedef struct tri_surrogate_lua {
    tri_surrogate *surrogate; /* opened at the first use; freed by the owner */
    const tri_configs *configs;
    tri_random *random;
} tri_surrogate_lua;

/* Pushes a table of functions; `of` stays where it is for as long as the state lives. */
void tri_push_surrogate(lua_State *L, tri_surrogate_lua *of);

#endif
