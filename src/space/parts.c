#include "space/parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_KEY "triage.parts"
#define NAME_SIZE 100

/* ---- names ---- */

static bool is_name(const char *name) {
    const size_t size = strlen(name);
    if (size == 0 || size > NAME_SIZE || name[0] == '.' || name[size - 1] == '.' || strstr(name, ".."))
        return false;
    for (const char *c = name; *c; c++)
        if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '_' && *c != '.')
            return false;
    return true;
}

/* Of "folder.name" the text "folder/name.lua", on the stack. */
static const char *push_file(lua_State *L, const char *name) {
    char path[NAME_SIZE + 1];
    snprintf(path, sizeof path, "%s", name);
    for (char *c = path; *c; c++)
        if (*c == '.')
            *c = '/';
    return lua_pushfstring(L, "%s.lua", path);
}

/* ---- reading ---- */

/* Keeps the text and the name in local, where they are freed whatever happens. */
static void read_part(lua_State *L, size_t *size, tri_local *local, const char *file) {
    free(local->part_text);
    free(local->part_name);
    local->part_text = local->part_name = NULL;
    const triage_status status =
        local->files.part(local->files.user, &local->part_text, size, &local->part_name, file);
    if (status == TRIAGE_E_NOT_FOUND)
        luaL_error(L, "require: there is no %s %stuner/spaces/", file,
                   local->files.is_path ? "beside this file, nor among " : "in ");
    tri_sandbox_check(L, status);
}

/* ---- require ---- */

/* Upvalue 1: the local space. */
static int require_part(lua_State *L) {
    tri_local *local = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    size_t size = 0;
    if (!local->is_loading)
        return luaL_error(L, "require: the space is loaded: no file is read any more");
    luaL_argcheck(L, is_name(name), 1, "a part is named by words of a-z, 0-9 and _ with dots between");
    lua_settop(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, PARTS_KEY);
    if (lua_getfield(L, 2, name) != LUA_TNIL) {
        if (lua_islightuserdata(L, -1))
            return luaL_error(L, "require: %s is needed to load itself", name);
        return 1;
    }
    lua_pushlightuserdata(L, local); /* under way */
    lua_setfield(L, 2, name);
    read_part(L, &size, local, push_file(L, name));
    const char *file = lua_pushstring(L, local->part_name); /* the part may need parts */
    tri_sandbox_load_part(L, local->part_text, size, file);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1))
        return luaL_error(L, "require: %s returns nothing", file);
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
}

/* Parts that are still marked as under way before anything is loaded: their loading failed. They may be tried again. */
static void forget_failed(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, PARTS_KEY);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        if (lua_islightuserdata(L, -1)) {
            lua_pushvalue(L, -2);
            lua_pushnil(L);
            lua_rawset(L, -5);
        }
    lua_pop(L, 1);
}

void tri_parts_allow(lua_State *L, tri_local *local) {
    forget_failed(L);
    local->is_loading = true;
    lua_pushlightuserdata(L, local);
    lua_pushcclosure(L, require_part, 1);
    lua_setglobal(L, "require");
}

void tri_parts_forbid(lua_State *L, tri_local *local) {
    local->is_loading = false; /* who kept the function has no use of it */
    lua_pushnil(L);
    lua_setglobal(L, "require");
}
