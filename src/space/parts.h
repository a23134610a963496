/* The parts of a space file: require "folder.name" while it is loaded. */
#ifndef TRIAGE_SPACE_PARTS_H
#define TRIAGE_SPACE_PARTS_H

#include "space/load.h"

/* Inside a sandbox call: the global function require(name). A name is words of a-z, 0-9 and _ with dots between, and
 * stands for the file folder/name.lua in the folder of the space file; for a space of one's own that has no such file,
 * for the part of the built-in spaces. Each is run once, and what it returns is what require returns. */
void tri_parts_allow(lua_State *L, tri_local *local);
/* No file is read once the space is loaded. */
void tri_parts_forbid(lua_State *L, tri_local *local);

#endif
