#include "space/load.h"

#include "space/parts.h"
#include "space/words.h"

#include <stdlib.h>
#include <string.h>

/* The checked space is registered in Lua under this registry key. */
#define SPACE_KEY "triage.space"
#define VALUES_MAX 256
#define LIST_MAX 64 /* kernels, targets, defaults */
#define CONSTRAINT_MAX 256
#define REASON_MAX 300 /* bytes */

/* ---- what the vocabulary may ask of C ---- */

static int push_answer(lua_State *L, bool (*is)(const char *text, size_t size)) {
    size_t size = 0;
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &size) : NULL;
    lua_pushboolean(L, text && is(text, size));
    return 1;
}

static int native_is_name(lua_State *L) {
    return push_answer(L, tri_is_name);
}

static int native_is_text(lua_State *L) {
    return push_answer(L, tri_is_word);
}

static int native_is_target(lua_State *L) {
    lua_pushboolean(L, lua_type(L, 1) == LUA_TSTRING && tri_is_target(lua_tostring(L, 1)));
    return 1;
}

/* Upvalue 1: the tri_local that is loaded. */
static int native_resource_exists(lua_State *L) {
    const tri_local *local = lua_touserdata(L, lua_upvalueindex(1));
    bool exists = false;
    const char *name = luaL_checkstring(L, 1);
    if (!local->is_loading)
        luaL_error(L, "the space is loaded: nothing can be added");
    tri_sandbox_check(L, local->files.has_template(local->files.user, &exists, name));
    lua_pushboolean(L, exists);
    return 1;
}

/* "file:line: " of the innermost caller outside the vocabulary. */
static int native_where(lua_State *L) {
    lua_Debug at;
    for (int level = 1; lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (at.currentline > 0 && strcmp(at.source, "@" TRI_VOCABULARY) != 0) {
            lua_pushfstring(L, "%s:%d: ", at.short_src, at.currentline);
            return 1;
        }
    }
    lua_pushliteral(L, "");
    return 1;
}

static int native_register(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, SPACE_KEY);
    return 1;
}

static const luaL_Reg native_functions[] = {{"is_name", native_is_name},
                                            {"is_text", native_is_text},
                                            {"is_target", native_is_target},
                                            {"resource_exists", native_resource_exists},
                                            {"where", native_where},
                                            {"register", native_register},
                                            {NULL, NULL}};

/* ---- typed reads ---- */

int64_t tri_lua_integer(lua_State *L, int index, int64_t low, int64_t high, const char *what) {
    lua_Integer number = lua_isinteger(L, index) ? lua_tointeger(L, index) : low - 1;
    if (number < low || number > high) {
        const char *shown =
            lua_type(L, index) == LUA_TNUMBER ? luaL_tolstring(L, index, NULL) : luaL_typename(L, index);
        luaL_error(L, "%s must be an integer %I .. %I, not %s", what, (LUAI_UACINT)low, (LUAI_UACINT)high,
                   shown);
    }
    return number;
}

const char *tri_lua_text(lua_State *L, int index, const char *what) {
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "%s must be text, not %s", what, luaL_typename(L, index));
    size_t size = 0;
    const char *text = lua_tolstring(L, index, &size);
    if (strlen(text) != size)
        luaL_error(L, "%s holds a NUL byte", what);
    return text;
}

/* The text at the top of the stack, copied; popped. */
static void take_text(lua_State *L, char **out, const char *what) {
    tri_sandbox_check(L, tri_strdup(out, tri_lua_text(L, -1, what)));
    lua_pop(L, 1);
}

/* Pushes list[i + 1] of the table on top; it must be a table. */
static void push_item(lua_State *L, size_t i, const char *what) {
    if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TTABLE)
        luaL_error(L, "%s is not a table", what);
}

/* Pushes table.field of the table on top, which must be a list, and makes room for its items. */
static void push_list(lua_State *L, const char *field, void *items, size_t *count, size_t item_size,
                      size_t limit) {
    if (lua_getfield(L, -1, field) != LUA_TTABLE)
        luaL_error(L, "%s is not a list", field);
    size_t length = lua_rawlen(L, -1);
    if (length > limit)
        luaL_error(L, "%s has %I entries, more than the %I allowed", field, (LUAI_UACINT)length,
                   (LUAI_UACINT)limit);
    tri_sandbox_check(L, tri_calloc(items, length ? length : 1, item_size));
    *count = length;
}

/* The function table.field of the table on top, kept in the sandbox. 0: nil, where that is allowed. */
static int take_function(lua_State *L, const char *field, bool optional) {
    const int type = lua_getfield(L, -1, field);
    if (type == LUA_TNIL && optional) {
        lua_pop(L, 1);
        return 0;
    }
    if (type != LUA_TFUNCTION)
        luaL_error(L, "%s must be a function, not %s", field, luaL_typename(L, -1));
    return luaL_ref(L, LUA_REGISTRYINDEX); /* never 0 */
}

/* ---- from Lua to C ---- */

static void read_value(lua_State *L, tri_axis_value *value) {
    value->is_integer = lua_isinteger(L, -1);
    value->number = value->is_integer ? lua_tointeger(L, -1) : 0;
    if (value->is_integer) {
        lua_pushfstring(L, "%I", (LUAI_UACINT)value->number);
        lua_remove(L, -2);
    }
    take_text(L, &value->text, "an axis value");
}

static void read_axis(lua_State *L, tri_axis *axis) {
    lua_getfield(L, -1, "name");
    take_text(L, &axis->name, "an axis's name");
    push_list(L, "values", &axis->values, &axis->count, sizeof *axis->values, VALUES_MAX);
    for (size_t i = 0; i < axis->count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        read_value(L, &axis->values[i]);
    }
    lua_pop(L, 1);
}

static void read_axes(lua_State *L, tri_space_kernel *kernel) {
    push_list(L, "axes", &kernel->axes, &kernel->axis_count, sizeof *kernel->axes, TRI_AXES_MAX);
    for (size_t i = 0; i < kernel->axis_count; i++) {
        push_item(L, i, "an axis");
        read_axis(L, &kernel->axes[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_targets(lua_State *L, tri_space_kernel *kernel) {
    push_list(L, "targets", &kernel->targets, &kernel->target_count, sizeof *kernel->targets, LIST_MAX);
    for (size_t i = 0; i < kernel->target_count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        take_text(L, &kernel->targets[i], "a target");
    }
    lua_pop(L, 1);
}

static void read_constraints(lua_State *L, tri_space_kernel *kernel) {
    push_list(L, "constraints", &kernel->constraints, &kernel->constraint_count, sizeof *kernel->constraints,
              CONSTRAINT_MAX);
    for (size_t i = 0; i < kernel->constraint_count; i++) {
        tri_constraint *constraint = &kernel->constraints[i];
        push_item(L, i, "a constraint");
        lua_getfield(L, -1, "reason");
        if (strlen(tri_lua_text(L, -1, "a constraint's name")) > REASON_MAX)
            luaL_error(L, "a constraint's name has more than %d bytes", REASON_MAX);
        take_text(L, &constraint->reason, "a constraint's name");
        constraint->legal = take_function(L, "legal", false);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* A value index for each axis; the table on top is one default. */
static void read_default(lua_State *L, int32_t *out, const tri_space_kernel *kernel) {
    for (size_t i = 0; i < kernel->axis_count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        out[i] =
            (int32_t)tri_lua_integer(L, -1, 1, (int64_t)kernel->axes[i].count, "a default's position") - 1;
        lua_pop(L, 1);
    }
}

static void read_defaults(lua_State *L, tri_space_kernel *kernel) {
    push_list(L, "defaults", &kernel->defaults, &kernel->default_count,
              (kernel->axis_count + 1) * sizeof *kernel->defaults, LIST_MAX);
    for (size_t i = 0; i < kernel->default_count; i++) {
        push_item(L, i, "a default");
        read_default(L, kernel->defaults + i * kernel->axis_count, kernel);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Of the kernel or reference on top. */
static void read_maker(lua_State *L, tri_maker *maker) {
    lua_getfield(L, -1, "template");
    take_text(L, &maker->template_name, "template");
    maker->params = take_function(L, "params", false);
    maker->options = take_function(L, "options", true);
    maker->launch = take_function(L, "launch", false);
}

static void read_kernel(lua_State *L, tri_space_kernel *kernel) {
    lua_getfield(L, -1, "name");
    take_text(L, &kernel->name, "a kernel's name");
    kernel->later = take_function(L, "later", true);
    if (kernel->later)
        return;
    read_maker(L, &kernel->maker);
    read_targets(L, kernel);
    read_axes(L, kernel);
    read_constraints(L, kernel);
    read_defaults(L, kernel);
    lua_getfield(L, -1, "spill_limit");
    kernel->spill_limit = (int32_t)tri_lua_integer(L, -1, 0, INT32_MAX, "spill_limit");
    lua_pop(L, 1);
}

static void read_references(lua_State *L, tri_space *space) {
    static const char *const backends[TRI_REFERENCES] = {"cuda", "host"};
    if (lua_getfield(L, -1, "reference") != LUA_TTABLE)
        luaL_error(L, "reference is not a table");
    for (size_t i = 0; i < TRI_REFERENCES; i++) {
        const int type = lua_getfield(L, -1, backends[i]);
        if (type == LUA_TTABLE)
            read_maker(L, &space->references[i]);
        else if (type != LUA_TNIL)
            luaL_error(L, "reference.%s is not a table", backends[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* The registered space is on top. */
static void read_space(lua_State *L, tri_space *space) {
    lua_getfield(L, -1, "name");
    take_text(L, &space->name, "name");
    lua_getfield(L, -1, "op");
    take_text(L, &space->op, "op");
    read_references(L, space);
    push_list(L, "kernels", &space->kernels, &space->kernel_count, sizeof *space->kernels, LIST_MAX);
    for (size_t i = 0; i < space->kernel_count; i++) {
        push_item(L, i, "a kernel");
        read_kernel(L, &space->kernels[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* triage = tuner/triage.lua(native) */
static void open_vocabulary(lua_State *L, const tri_load_job *job) {
    lua_pushglobaltable(L);
    tri_sandbox_load(L, job->text->vocabulary, job->text->vocabulary_size, TRI_VOCABULARY);
    lua_newtable(L);
    lua_pushlightuserdata(L, job->local);
    luaL_setfuncs(L, native_functions, 1);
    lua_call(L, 1, 1);
    lua_setfield(L, -2, "triage");
    lua_pop(L, 1);
}

triage_status tri_load(lua_State *L, void *user) {
    const tri_load_job *job = user;
    tri_space *space = job->space;
    open_vocabulary(L, job);
    tri_sandbox_load(L, job->text->text, job->text->text_size, space->file);
    tri_parts_allow(L, job->local);
    lua_call(L, 0, 1);
    tri_parts_forbid(L, job->local);
    if (lua_getfield(L, LUA_REGISTRYINDEX, SPACE_KEY) != LUA_TTABLE || !lua_rawequal(L, -1, -2))
        return tri_fail(TRIAGE_E_DATA, "%s: a space file ends with: return triage.space{...}", space->file);
    read_space(L, space);
    return TRIAGE_OK;
}

triage_status tri_load_kernel(lua_State *L, void *user) {
    tri_load_kernel_job *job = user;
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->named->later);
    tri_parts_allow(L, job->local);
    lua_call(L, 0, 1);
    tri_parts_forbid(L, job->local);
    if (lua_type(L, -1) != LUA_TTABLE)
        luaL_error(L, "kernel %s is not a table", job->named->name);
    read_kernel(L, &job->made);
    if (job->made.later || strcmp(job->made.name, job->named->name) != 0)
        luaL_error(L, "%s is not kernel %s", job->made.name, job->named->name);
    return TRIAGE_OK;
}
