#include "space/legal.h"

#include "space/launch.h"
#include "space/load.h"
#include "space/words.h"

#include <string.h>

#define ENTRIES_MAX 256 /* of params and of options */
#define SHOWN_MAX 60

/* Fixed stack slots of a call that asks Lua. The functions get the configuration behind a window. */
enum { SLOT_PROBLEM = 1, SLOT_DEVICE, SLOT_CONFIG, SLOT_CONFIG_SEEN, SLOT_CONFIG_WATCHED };

/* ---- what the functions get ---- */

static int refuse_write(lua_State *L) {
    return luaL_error(L, "problem, configuration and device can only be read");
}

/* Pushes a value through which the fields of the table at index can be read and nothing written; or a function in its
 * place reads them. */
static void push_window(lua_State *L, int index) {
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
}

static void push_fact(lua_State *L, const tri_fact *fact) {
    switch (fact->kind) {
    case TRI_FACT_INTEGER:
        lua_pushinteger(L, fact->integer);
        return;
    case TRI_FACT_NUMBER:
        lua_pushnumber(L, fact->number);
        return;
    case TRI_FACT_TEXT:
        lua_pushstring(L, fact->text);
        return;
    case TRI_FACT_BOOL:
        lua_pushboolean(L, fact->integer != 0);
        return;
    }
}

static void push_facts(lua_State *L, const tri_facts *facts) {
    lua_createtable(L, 0, (int)facts->count);
    for (size_t i = 0; i < facts->count; i++) {
        push_fact(L, &facts->items[i]);
        lua_setfield(L, -2, facts->items[i].name);
    }
    push_window(L, lua_gettop(L));
    lua_remove(L, -2);
}

void tri_push_question(lua_State *L, const tri_question *question, const tri_space_kernel *kernel) {
    push_facts(L, &question->problem);
    push_facts(L, &question->device);
    lua_createtable(L, 0, kernel ? (int)kernel->axis_count : 0);
    push_window(L, SLOT_CONFIG);
}

void tri_push_axis_value(lua_State *L, const tri_axis_value *value) {
    if (value->is_integer)
        lua_pushinteger(L, value->number);
    else
        lua_pushstring(L, value->text);
}

void tri_set_config(lua_State *L, const tri_space_kernel *kernel, const int32_t *point) {
    for (size_t i = 0; i < kernel->axis_count; i++) {
        tri_push_axis_value(L, &kernel->axes[i].values[point[i]]);
        lua_setfield(L, SLOT_CONFIG, kernel->axes[i].name);
    }
}

void tri_watch_config(lua_State *L) {
    push_window(L, SLOT_CONFIG_WATCHED);
    lua_remove(L, SLOT_CONFIG_WATCHED);
}

/* ---- asking ---- */

static void push_call(lua_State *L, int function, int config) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, function);
    lua_pushvalue(L, SLOT_PROBLEM);
    lua_pushvalue(L, config);
    lua_pushvalue(L, SLOT_DEVICE);
}

/* Calls a function of the sandbox with (problem, config, device); its answer is pushed. */
static void ask(lua_State *L, int function) {
    push_call(L, function, SLOT_CONFIG_SEEN);
    tri_sandbox_at(L, -4);
    lua_call(L, 3, 1);
}

int tri_ask_constraint(lua_State *L, int function) {
    push_call(L, function, SLOT_CONFIG_WATCHED);
    const int code = lua_pcall(L, 3, 1, 0);
    if (code != LUA_OK && (code == LUA_ERRMEM || tri_sandbox_is_spent(L)))
        lua_error(L);
    return code;
}

int32_t tri_first_violated(lua_State *L, const tri_space_kernel *kernel) {
    for (size_t i = 0; i < kernel->constraint_count; i++) {
        ask(L, kernel->constraints[i].legal);
        if (!lua_isboolean(L, -1))
            luaL_error(L, "kernel %s: constraint '%s' answers %s, not true or false", kernel->name,
                       kernel->constraints[i].reason, luaL_typename(L, -1));
        bool legal = lua_toboolean(L, -1);
        lua_pop(L, 1);
        if (!legal)
            return (int32_t)i;
    }
    return TRI_LEGAL;
}

/* ---- params and options ---- */

/* As much of it as fits a message, pushed. */
static const char *shorten(lua_State *L, const char *text) {
    return lua_pushlstring(L, text, strnlen(text, SHOWN_MAX));
}

/* Integer or text on top, as text; replaced. */
static const char *as_text(lua_State *L, const char *what) {
    if (lua_isinteger(L, -1))
        (void)lua_tolstring(L, -1, NULL);
    else if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s must be an integer or text, not %s", what,
                   lua_type(L, -1) == LUA_TNUMBER ? "a float" : luaL_typename(L, -1));
    return tri_lua_text(L, -1, what);
}

/* A parameter's value is put into a program and an option onto a command line: neither may be more than it says. */
static void take_value(lua_State *L, char **out, const char *what) {
    const char *text = as_text(L, what);
    if (!tri_is_value(text))
        luaL_error(L, "%s must be " TRI_VALUE_RULE ", not '%s'", what, shorten(L, text));
    tri_sandbox_check(L, tri_strdup(out, text));
    lua_pop(L, 1);
}

static void take_param_name(lua_State *L, char **out, const char *what) {
    const char *text = tri_lua_text(L, -1, "a parameter's name");
    if (!tri_is_name(text, strlen(text)))
        luaL_error(L, "%s: a parameter's name must be a name of a-z, 0-9 and _, not '%s'", what,
                   shorten(L, text));
    tri_sandbox_check(L, tri_strdup(out, text));
    lua_pop(L, 1);
}

static void take_option(lua_State *L, char **out, const char *backend, const char *what) {
    const char *text = tri_lua_text(L, -1, "a compiler option");
    if (!tri_is_option(backend, text))
        luaL_error(L, "%s: the compiler option '%s' is not among those allowed for %s: %s", what,
                   shorten(L, text), backend, tri_option_rule(backend));
    tri_sandbox_check(L, tri_strdup(out, text));
    lua_pop(L, 1);
}

/* Asks for a list and leaves it on top; its length is returned. */
static size_t ask_for_list(lua_State *L, int function, const char *field, const char *what) {
    ask(L, function);
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: %s must return a list, not %s", what, field, luaL_typename(L, -1));
    size_t count = lua_rawlen(L, -1);
    if (count > ENTRIES_MAX)
        luaL_error(L, "%s: %s returns more than %d entries", what, field, ENTRIES_MAX);
    return count;
}

static void fill_params(lua_State *L, tri_candidate *out, const tri_maker *maker, const char *what) {
    size_t count = ask_for_list(L, maker->params, "params", what);
    tri_sandbox_check(L, tri_calloc(&out->params, count + 1, sizeof *out->params));
    for (size_t i = 0; i < count; i++) {
        out->param_count = i + 1;
        if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TTABLE)
            luaL_error(L, "%s: params must return a list of {name, value}", what);
        lua_rawgeti(L, -1, 1);
        take_param_name(L, &out->params[i].name, what);
        const char *which = lua_pushfstring(L, "%s: parameter %s", what, out->params[i].name);
        lua_rawgeti(L, -2, 2);
        take_value(L, &out->params[i].value, which);
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

static void fill_options(lua_State *L, tri_candidate *out, const tri_maker *maker, const char *backend,
                         const char *what) {
    if (!maker->options)
        return;
    size_t count = ask_for_list(L, maker->options, "options", what);
    tri_sandbox_check(L, tri_calloc(&out->options, count + 1, sizeof *out->options));
    for (size_t i = 0; i < count; i++) {
        out->option_count = i + 1;
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        take_option(L, &out->options[i], backend, what);
    }
    lua_pop(L, 1);
}

/* ---- launch ---- */

/* A field that nobody reads is a typing error. */
static void check_fields(lua_State *L, bool (*is_known)(const char *name, const tri_operation *op),
                         const tri_operation *op, const char *what) {
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "that is not a name";
        if (!is_known(name, op))
            luaL_error(L, "%s has an unknown field %s", what, name);
    }
}

/* Of the table on top; absent: 0. */
static void read_numbers(lua_State *L, void *to, const tri_launch_number *list) {
    for (; list->name; list++) {
        int64_t value = 0;
        if (lua_getfield(L, -1, list->name) != LUA_TNIL)
            value = tri_lua_integer(L, -1, list->low, list->high, list->name);
        memcpy((char *)to + list->offset, &(uint32_t){(uint32_t)value}, sizeof(uint32_t));
        lua_pop(L, 1);
    }
}

/* {x}, {x, y} or {x, y, z}; absent: 1, 1, 1. */
static void read_extent(lua_State *L, uint32_t out[3], const tri_launch_part *part) {
    const int type = lua_getfield(L, -1, part->name);
    if (type != LUA_TNIL && type != LUA_TTABLE)
        luaL_error(L, "launch: %s must be a list of up to 3 integers", part->name);
    for (int i = 0; i < 3; i++) {
        out[i] = 1;
        if (type != LUA_TTABLE)
            continue;
        if (lua_rawgeti(L, -1, i + 1) != LUA_TNIL)
            out[i] = (uint32_t)tri_lua_integer(L, -1, 1, part->high[i], part->name);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_box(lua_State *L, tri_tensor_box *box, const tri_map_field *map) {
    const int type = lua_getfield(L, -1, map->name);
    if (type != LUA_TNIL && type != LUA_TTABLE)
        luaL_error(L, "launch: %s must be a table", map->name);
    if (type == LUA_TTABLE) {
        const tri_launch_number rank[] = {
            {"rank", offsetof(tri_tensor_box, rank), map->least_rank, map->most_rank}, {0}};
        check_fields(L, tri_is_box_field, NULL, map->name);
        read_numbers(L, box, rank);
        read_numbers(L, box, tri_box_numbers);
        if (lua_getfield(L, -1, "box") != LUA_TTABLE)
            luaL_error(L, "launch: %s.box must be a list of %d integers", map->name, box->rank);
        for (int i = 0; i < box->rank; i++) {
            lua_rawgeti(L, -1, i + 1);
            box->box[i] = (int32_t)tri_lua_integer(L, -1, 1, TRI_BOX_ELEMENTS_MAX, "a tensor box");
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static bool read_flag(lua_State *L, const char *name) {
    const int type = lua_getfield(L, -1, name);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        luaL_error(L, "launch: %s must be true or false, not %s", name, luaL_typename(L, -1));
    const bool set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

/* The operation's part of the launch. */
static void read_own(lua_State *L, tri_launch *launch, const tri_operation *op) {
    for (const tri_launch_field *field = op->launch_fields; field && field->name; field++) {
        const tri_launch_number number[] = {{field->name, field->offset, 0, field->high}, {0}};
        const int32_t flag = field->high == 0 && read_flag(L, field->name);
        if (field->high == 0)
            memcpy(launch->own + field->offset, &flag, sizeof flag);
        else
            read_numbers(L, launch->own, number);
    }
}

static void read_launch(lua_State *L, tri_launch *launch, const tri_operation *op) {
    char *to = (char *)launch;
    memset(launch, 0, sizeof *launch);
    check_fields(L, tri_is_launch_field, op, "launch");
    read_numbers(L, launch, tri_launch_numbers);
    for (const tri_launch_part *part = tri_launch_extents; part->name; part++)
        read_extent(L, (uint32_t *)(void *)(to + part->offset), part);
    for (int i = 0; i < TRI_MAPS_MAX && op->maps[i].name; i++)
        read_box(L, &launch->maps[i], &op->maps[i]);
    read_own(L, launch, op);
    launch->keeps_workspace = op->keeps_workspace;
}

void tri_fill_candidate(lua_State *L, tri_candidate *out, const tri_operation *op, const tri_maker *maker,
                        const char *backend, const char *what) {
    fill_params(L, out, maker, what);
    fill_options(L, out, maker, backend, what);
    ask(L, maker->launch);
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: launch must return a table, not %s", what, luaL_typename(L, -1));
    read_launch(L, &out->launch, op);
    lua_pop(L, 1);
}
