#include "space/parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARTS_KEY "triage.parts"
#define BUILT_IN "tuner/spaces/"
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

/* Leaves the name for messages on the stack. */
static const char *read_part(lua_State *L, size_t *size, tri_space *space, const char *file) {
    const char *slash = strrchr(space->file, '/');
    free(space->part_text);
    space->part_text = NULL;
    lua_pushlstring(L, space->file, slash ? (size_t)(slash + 1 - space->file) : 0);
    const char *beside = lua_pushfstring(L, "%s%s", lua_tostring(L, -1), file);
    const bool is_own = space->is_path && access(beside, F_OK) == 0;
    const char *name = is_own ? beside : lua_pushfstring(L, BUILT_IN "%s", file);
    const triage_status status =
        tri_sandbox_read(&space->part_text, size, space->data_dir, name, is_own ? name : NULL);
    if (status == TRIAGE_E_NOT_FOUND)
        luaL_error(L, "require: there is no %s %s%s", file,
                   space->is_path ? "beside this file, nor among " : "in ", BUILT_IN);
    tri_sandbox_check(L, status);
    return name;
}

/* ---- require ---- */

/* Upvalue 1: the space. */
static int require_part(lua_State *L) {
    tri_space *space = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    size_t size = 0;
    luaL_argcheck(L, is_name(name), 1, "a part is named by words of a-z, 0-9 and _ with dots between");
    lua_settop(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, PARTS_KEY);
    if (lua_getfield(L, 2, name) != LUA_TNIL) {
        if (lua_islightuserdata(L, -1))
            return luaL_error(L, "require: %s is needed to load itself", name);
        return 1;
    }
    lua_pushlightuserdata(L, space); /* under way */
    lua_setfield(L, 2, name);
    const char *file = read_part(L, &size, space, push_file(L, name));
    tri_sandbox_load_part(L, space->part_text, size, file);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1))
        return luaL_error(L, "require: %s returns nothing", file);
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
}

void tri_parts_allow(lua_State *L, tri_space *space) {
    lua_pushlightuserdata(L, space);
    lua_pushcclosure(L, require_part, 1);
    lua_setglobal(L, "require");
}

void tri_parts_forbid(lua_State *L) {
    lua_pushnil(L);
    lua_setglobal(L, "require");
}
