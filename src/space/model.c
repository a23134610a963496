#include "space/model.h"

#include "space/parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define VOCABULARY "tuner/triage.lua"
#define NAME_SIZE 48 /* of kernels, axes and words, with the NUL: a configuration stays one short line */
#define AXES_MAX 24
#define VALUES_MAX 256

/* ---- what the vocabulary may ask of C ---- */

static bool is_word(const char *text, size_t size, bool starts_with_letter) {
    if (size == 0 || size >= NAME_SIZE || (starts_with_letter && !islower((unsigned char)text[0])))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!islower((unsigned char)text[i]) && !isdigit((unsigned char)text[i]) && text[i] != '_')
            return false;
    return true;
}

static int push_is_word(lua_State *L, bool starts_with_letter) {
    size_t size = 0;
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &size) : NULL;
    lua_pushboolean(L, text && is_word(text, size, starts_with_letter));
    return 1;
}

static int native_is_name(lua_State *L) {
    return push_is_word(L, true);
}

static int native_is_text(lua_State *L) {
    return push_is_word(L, false);
}

/* "sm_90a" or "sm_80+": the number, and what follows it. 0: not that. */
static int parse_sm(const char *target, const char **suffix) {
    if (strncmp(target, "sm_", 3) != 0 || !isdigit((unsigned char)target[3]))
        return 0;
    char *end = NULL;
    long number = strtol(target + 3, &end, 10);
    *suffix = end;
    return number >= 10 && number <= 999 ? (int)number : 0;
}

static int native_is_target(lua_State *L) {
    const char *target = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "";
    const char *suffix = "?";
    bool sm = parse_sm(target, &suffix) &&
              (!*suffix || !strcmp(suffix, "a") || !strcmp(suffix, "f") || !strcmp(suffix, "+"));
    lua_pushboolean(L, sm || !strcmp(target, "host"));
    return 1;
}

/* Upvalue 1: the tri_space that is loaded. */
static int native_resource_exists(lua_State *L) {
    const tri_space *space = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    char *text = NULL;
    size_t size = 0;
    triage_status status = TRIAGE_E_NOT_FOUND;
    if (!strncmp(name, "templates/", 10) && !strstr(name, ".."))
        status = tri_resource_read(&text, &size, space->data_dir, name);
    free(text);
    if (status == TRIAGE_E_MEMORY)
        tri_sandbox_check(L, status);
    lua_pushboolean(L, status == TRIAGE_OK);
    return 1;
}

/* "file:line: " of the innermost caller outside the vocabulary. */
static int native_where(lua_State *L) {
    lua_Debug at;
    for (int level = 1; lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (at.currentline > 0 && strcmp(at.source, "@" VOCABULARY) != 0) {
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
    lua_setfield(L, LUA_REGISTRYINDEX, TRI_SPACE_KEY);
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
    return lua_tostring(L, index);
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

/* ---- from Lua to C ---- */

static void read_value(lua_State *L, tri_axis_value *value) {
    value->is_integer = lua_isinteger(L, -1);
    value->number = value->is_integer ? lua_tointeger(L, -1) : 0;
    luaL_tolstring(L, -1, NULL);
    take_text(L, &value->text, "an axis value");
    lua_pop(L, 1);
}

static void read_axis(lua_State *L, tri_axis *axis) {
    lua_getfield(L, -1, "name");
    take_text(L, &axis->name, "an axis's name");
    push_list(L, "values", &axis->values, &axis->count, sizeof *axis->values, VALUES_MAX);
    if (axis->count == 0)
        luaL_error(L, "axis %s has no values", axis->name);
    for (size_t i = 0; i < axis->count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        read_value(L, &axis->values[i]);
    }
    lua_pop(L, 1);
}

static void read_axes(lua_State *L, tri_space_kernel *kernel) {
    push_list(L, "axes", &kernel->axes, &kernel->axis_count, sizeof *kernel->axes, AXES_MAX);
    for (size_t i = 0; i < kernel->axis_count; i++) {
        push_item(L, i, "an axis");
        read_axis(L, &kernel->axes[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_targets(lua_State *L, tri_space_kernel *kernel) {
    push_list(L, "targets", &kernel->targets, &kernel->target_count, sizeof *kernel->targets, 64);
    for (size_t i = 0; i < kernel->target_count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        take_text(L, &kernel->targets[i], "a target");
    }
    lua_pop(L, 1);
}

static void read_defaults(lua_State *L, tri_space_kernel *kernel) {
    if (lua_getfield(L, -1, "defaults") != LUA_TTABLE)
        luaL_error(L, "defaults is not a list");
    kernel->default_count = lua_rawlen(L, -1);
    tri_sandbox_check(L, tri_calloc(&kernel->defaults, kernel->default_count * kernel->axis_count + 1,
                                    sizeof *kernel->defaults));
    for (size_t i = 0; i < kernel->default_count; i++) {
        push_item(L, i, "a default");
        for (size_t j = 0; j < kernel->axis_count; j++) {
            lua_rawgeti(L, -1, (lua_Integer)j + 1);
            int64_t at = tri_lua_integer(L, -1, 1, (int64_t)kernel->axes[j].count, "a default's position");
            kernel->defaults[i * kernel->axis_count + j] = (int32_t)at - 1;
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_kernel(lua_State *L, tri_space_kernel *kernel) {
    lua_getfield(L, -1, "name");
    take_text(L, &kernel->name, "a kernel's name");
    read_targets(L, kernel);
    read_axes(L, kernel);
    read_defaults(L, kernel);
    if (lua_getfield(L, -1, "constraints") == LUA_TTABLE)
        kernel->constraint_count = lua_rawlen(L, -1);
    lua_pop(L, 1);
    lua_getfield(L, -1, "spill_limit");
    kernel->spill_limit = (int32_t)tri_lua_integer(L, -1, 0, 65536, "spill_limit");
    lua_pop(L, 1);
}

/* The registered space is on top. */
static void read_space(lua_State *L, tri_space *space) {
    lua_getfield(L, -1, "name");
    take_text(L, &space->name, "name");
    lua_getfield(L, -1, "op");
    take_text(L, &space->op, "op");
    push_list(L, "kernels", &space->kernels, &space->kernel_count, sizeof *space->kernels, 64);
    for (size_t i = 0; i < space->kernel_count; i++) {
        push_item(L, i, "a kernel");
        read_kernel(L, &space->kernels[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* triage = tuner/triage.lua(native) */
static void open_vocabulary(lua_State *L, const tri_model_job *job) {
    lua_pushglobaltable(L);
    tri_sandbox_load(L, job->vocabulary, job->vocabulary_size, VOCABULARY);
    lua_newtable(L);
    lua_pushlightuserdata(L, job->space);
    luaL_setfuncs(L, native_functions, 1);
    lua_call(L, 1, 1);
    lua_setfield(L, -2, "triage");
    lua_pop(L, 1);
}

triage_status tri_model_load(lua_State *L, void *user) {
    const tri_model_job *job = user;
    open_vocabulary(L, job);
    tri_sandbox_load(L, job->text, job->text_size, job->space->file);
    tri_parts_allow(L, job->space);
    lua_call(L, 0, 1);
    tri_parts_forbid(L);
    if (lua_getfield(L, LUA_REGISTRYINDEX, TRI_SPACE_KEY) != LUA_TTABLE || !lua_rawequal(L, -1, -2))
        return tri_fail(TRIAGE_E_DATA, "%s: a space file ends with: return triage.space{...}",
                        job->space->file);
    read_space(L, job->space);
    return TRIAGE_OK;
}

void tri_model_push_kernel(lua_State *L, size_t kernel) {
    lua_getfield(L, LUA_REGISTRYINDEX, TRI_SPACE_KEY);
    lua_getfield(L, -1, "kernels");
    lua_rawgeti(L, -1, (lua_Integer)kernel + 1);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

bool tri_target_matches(const char *wanted, const tri_device_info *info) {
    if (!strcmp(info->backend, "host") || !strcmp(wanted, "host"))
        return !strcmp(info->backend, "host") && !strcmp(wanted, "host");
    const char *wanted_suffix = "", *suffix = "";
    int least = parse_sm(wanted, &wanted_suffix), has = parse_sm(info->target, &suffix);
    if (!strcmp(wanted_suffix, "+"))
        return has >= least;
    return !strcmp(wanted, info->target);
}

/* ---- freeing ---- */

static void free_axis(tri_axis *axis) {
    for (size_t i = 0; axis->values && i < axis->count; i++)
        free(axis->values[i].text);
    free(axis->values);
    free(axis->name);
}

static void free_kernel(tri_space_kernel *kernel) {
    for (size_t i = 0; kernel->axes && i < kernel->axis_count; i++)
        free_axis(&kernel->axes[i]);
    for (size_t i = 0; kernel->targets && i < kernel->target_count; i++)
        free(kernel->targets[i]);
    free(kernel->axes);
    free(kernel->targets);
    free(kernel->defaults);
    free(kernel->name);
}

void tri_model_free(tri_space *space) {
    for (size_t i = 0; space->kernels && i < space->kernel_count; i++)
        free_kernel(&space->kernels[i]);
    free(space->part_text);
    free(space->kernels);
    free(space->name);
    free(space->op);
}
