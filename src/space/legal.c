#include "space/legal.h"

#include <string.h>

static void set_integer(lua_State *L, const char *name, int64_t value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *value) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void push_sizes(lua_State *L, const tri_problem *problem) {
    int64_t block_rows = problem->m / problem->block_m, block_cols = problem->k / problem->block_k;
    set_integer(L, "m", problem->m);
    set_integer(L, "n", problem->n);
    set_integer(L, "k", problem->k);
    set_integer(L, "ldb", problem->ldb);
    set_integer(L, "ldc", problem->ldc);
    set_integer(L, "block_m", problem->block_m);
    set_integer(L, "block_k", problem->block_k);
    set_integer(L, "nnzb", problem->nnzb);
    set_integer(L, "block_rows", block_rows);
    set_integer(L, "block_cols", block_cols);
    set_number(L, "density", (double)problem->nnzb / ((double)block_rows * (double)block_cols));
    set_number(L, "imbalance", problem->fingerprint.imbalance_e1 / 10.0);
    set_number(L, "overlap", problem->fingerprint.overlap_e1 / 10.0);
}

static const char *scale_name(const tri_problem *problem) {
    return problem->in_type != TRIAGE_E4M3 ? "none" : problem->scale_per_block ? "block" : "tensor";
}

static void push_problem(lua_State *L, const tri_problem *problem) {
    lua_createtable(L, 0, 24);
    push_sizes(L, problem);
    set_text(L, "in_type", tri_dtype_name(problem->in_type));
    set_text(L, "out_type", tri_dtype_name(problem->out_type));
    set_integer(L, "in_size", (int64_t)tri_dtype_size(problem->in_type));
    set_integer(L, "out_size", (int64_t)tri_dtype_size(problem->out_type));
    set_text(L, "scale", scale_name(problem));
    set_text(L, "b_layout", tri_layout_name(problem->b_layout));
    set_text(L, "c_layout", tri_layout_name(problem->c_layout));
    set_text(L, "activation", tri_activation_name(problem->activation));
    lua_pushboolean(L, problem->bias);
    lua_setfield(L, -2, "bias");
}

static void push_device(lua_State *L, const tri_device_info *info) {
    lua_createtable(L, 0, 8);
    set_text(L, "backend", info->backend);
    set_text(L, "target", info->target);
    set_integer(L, "cc", info->cc);
    set_integer(L, "sm_count", info->sm_count);
    set_integer(L, "clock_khz", info->clock_khz);
    set_integer(L, "smem_bytes_max", info->smem_bytes_max);
    set_integer(L, "l2_bytes", info->l2_bytes);
    set_integer(L, "memory_bytes", info->memory_bytes);
}

void tri_push_problem_and_device(lua_State *L, const tri_problem *problem, const tri_device_info *info) {
    push_problem(L, problem);
    push_device(L, info);
}

void tri_select_kernel(lua_State *L, const tri_space *space, size_t kernel) {
    lua_settop(L, TRI_SLOT_DEVICE);
    tri_model_push_kernel(L, kernel);
    lua_getfield(L, TRI_SLOT_KERNEL, "constraints");
    lua_createtable(L, 0, (int)space->kernels[kernel].axis_count);
}

void tri_set_config(lua_State *L, const tri_space_kernel *kernel, const int32_t *point) {
    for (size_t i = 0; i < kernel->axis_count; i++) {
        const tri_axis_value *value = &kernel->axes[i].values[point[i]];
        if (value->is_integer)
            lua_pushinteger(L, value->number);
        else
            lua_pushstring(L, value->text);
        lua_setfield(L, TRI_SLOT_CONFIG, kernel->axes[i].name);
    }
}

const char *tri_push_reason(lua_State *L, size_t constraint) {
    lua_rawgeti(L, TRI_SLOT_CONSTRAINTS, (lua_Integer)constraint + 1);
    lua_getfield(L, -1, "reason");
    lua_remove(L, -2);
    return tri_lua_text(L, -1, "a constraint's name");
}

/* Pushes (problem, config, device) and calls the function below them. */
static void call_with_all(lua_State *L) {
    if (!lua_isfunction(L, -1))
        luaL_error(L, "a function is missing");
    tri_sandbox_at(L, -1);
    lua_pushvalue(L, TRI_SLOT_PROBLEM);
    lua_pushvalue(L, TRI_SLOT_CONFIG);
    lua_pushvalue(L, TRI_SLOT_DEVICE);
    lua_call(L, 3, 1);
}

int64_t tri_first_violated(lua_State *L, const tri_space_kernel *kernel) {
    for (size_t i = 0; i < kernel->constraint_count; i++) {
        lua_rawgeti(L, TRI_SLOT_CONSTRAINTS, (lua_Integer)i + 1);
        lua_getfield(L, -1, "legal");
        call_with_all(L);
        if (!lua_isboolean(L, -1)) {
            const char *type = luaL_typename(L, -1);
            luaL_error(L, "kernel %s: constraint '%s' answers %s, not true or false", kernel->name,
                       tri_push_reason(L, i), type);
        }
        bool legal = lua_toboolean(L, -1);
        lua_pop(L, 2);
        if (!legal)
            return (int64_t)i;
    }
    return -1;
}

/* ---- params and options ---- */

/* Text that replaces a placeholder: one line, and no braces that would look like another. */
static bool is_plain(const char *text, size_t size) {
    if (size == 0 || size > 200)
        return false;
    for (size_t i = 0; i < size; i++)
        if (text[i] < ' ' || text[i] > '~' || text[i] == '{' || text[i] == '}')
            return false;
    return true;
}

/* The value on top as text, copied; popped. */
static void take_plain(lua_State *L, char **out, const char *what) {
    if (!lua_isinteger(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s must be an integer or text, not %s", what,
                   lua_type(L, -1) == LUA_TNUMBER ? "a float" : luaL_typename(L, -1));
    size_t size = 0;
    const char *text = luaL_tolstring(L, -1, &size);
    if (!is_plain(text, size))
        luaL_error(L, "%s must be 1 .. 200 printable characters without braces", what);
    tri_sandbox_check(L, tri_strdup(out, text));
    lua_pop(L, 2);
}

/* Calls table.field and leaves its list on top; its length is returned. */
static size_t call_for_list(lua_State *L, int index, const char *field, const char *what) {
    lua_getfield(L, index, field);
    call_with_all(L);
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: %s must return a list, not %s", what, field, luaL_typename(L, -1));
    size_t count = lua_rawlen(L, -1);
    if (count > 256)
        luaL_error(L, "%s: %s returns more than 256 entries", what, field);
    return count;
}

static void fill_params(lua_State *L, tri_candidate *out, int index, const char *what) {
    size_t count = call_for_list(L, index, "params", what);
    tri_sandbox_check(L, tri_calloc(&out->params, count + 1, sizeof *out->params));
    for (size_t i = 0; i < count; i++) {
        out->param_count = i + 1;
        if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TTABLE)
            luaL_error(L, "%s: params must return a list of {name, value}", what);
        lua_rawgeti(L, -1, 1);
        take_plain(L, &out->params[i].name, "a parameter's name");
        const char *which = lua_pushfstring(L, "%s: parameter %s", what, out->params[i].name);
        lua_rawgeti(L, -2, 2);
        take_plain(L, &out->params[i].value, which);
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

static void fill_options(lua_State *L, tri_candidate *out, int index, const char *what) {
    int type = lua_getfield(L, index, "options");
    lua_pop(L, 1);
    if (type == LUA_TNIL)
        return;
    size_t count = call_for_list(L, index, "options", what);
    tri_sandbox_check(L, tri_calloc(&out->options, count + 1, sizeof *out->options));
    for (size_t i = 0; i < count; i++) {
        out->option_count = i + 1;
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        take_plain(L, &out->options[i], "a compiler option");
    }
    lua_pop(L, 1);
}

/* ---- launch ---- */

/* The integer table[at], or otherwise's when it is absent, of the table on top. */
static int64_t item(lua_State *L, lua_Integer at, int64_t otherwise, int64_t low, int64_t high,
                    const char *what) {
    int64_t value = otherwise;
    if (lua_rawgeti(L, -1, at) != LUA_TNIL)
        value = tri_lua_integer(L, -1, low, high, what);
    lua_pop(L, 1);
    return value;
}

static int64_t field(lua_State *L, const char *name, int64_t low, int64_t high) {
    int64_t value = 0;
    if (lua_getfield(L, -1, name) != LUA_TNIL)
        value = tri_lua_integer(L, -1, low, high, name);
    lua_pop(L, 1);
    return value;
}

/* {x}, {x, y} or {x, y, z}; absent: 1, 1, 1. The ranges are CUDA's. */
static void read_extent(lua_State *L, uint32_t out[3], const char *name, const int64_t high[3]) {
    out[0] = out[1] = out[2] = 1;
    int type = lua_getfield(L, -1, name);
    if (type != LUA_TNIL && type != LUA_TTABLE)
        luaL_error(L, "launch: %s must be a list of up to 3 integers", name);
    for (int i = 0; type == LUA_TTABLE && i < 3; i++)
        out[i] = (uint32_t)item(L, i + 1, 1, 1, high[i], name);
    lua_pop(L, 1);
}

/* A field that nobody reads is a typing error. known ends with NULL. */
static void check_fields(lua_State *L, const char *const *known, const char *what) {
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "that is not a name";
        size_t i = 0;
        while (known[i] && strcmp(known[i], name) != 0)
            i++;
        if (!known[i])
            luaL_error(L, "%s has an unknown field %s", what, name);
    }
}

static void read_box(lua_State *L, tri_tensor_box *box, const char *name) {
    static const char *const known[] = {"rank", "box", "inner_split", "swizzle", "l2_promotion", NULL};
    memset(box, 0, sizeof *box);
    int type = lua_getfield(L, -1, name);
    if (type == LUA_TTABLE) {
        check_fields(L, known, name);
        box->rank = (int32_t)field(L, "rank", 2, 3);
        box->inner_split = (int32_t)field(L, "inner_split", 0, INT32_MAX);
        box->swizzle = (int32_t)field(L, "swizzle", 0, 128);
        box->l2_promotion = (int32_t)field(L, "l2_promotion", 0, 256);
        if (lua_getfield(L, -1, "box") != LUA_TTABLE)
            luaL_error(L, "launch: %s.box must be a list of %d integers", name, box->rank);
        for (int i = 0; i < box->rank; i++)
            box->box[i] = (int32_t)item(L, i + 1, 0, 1, 256, "a tensor box"); /* 256: CUDA's limit */
        lua_pop(L, 1);
    } else if (type != LUA_TNIL) {
        luaL_error(L, "launch: %s must be a table", name);
    }
    lua_pop(L, 1);
}

static bool flag(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    bool set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

static void read_launch(lua_State *L, tri_launch *launch) {
    static const char *const known[] = {
        "grid",          "block",         "cluster",     "smem_bytes",       "workspace_bytes",
        "map_a",         "map_b",         "map_c",       "panel_rows",       "panel_group",
        "panel_cluster", "panel_columns", "panel_warps", "panel_busy_warps", "panel_least_blocks",
        "gather",        "reorder",       NULL};
    static const int64_t grid_high[3] = {INT32_MAX, 65535, 65535}, block_high[3] = {1024, 1024, 64},
                         cluster_high[3] = {16, 16, 16};
    check_fields(L, known, "launch");
    read_extent(L, launch->grid, "grid", grid_high);
    read_extent(L, launch->block, "block", block_high);
    read_extent(L, launch->cluster, "cluster", cluster_high);
    launch->smem_bytes = (uint32_t)field(L, "smem_bytes", 0, 1 << 20);
    launch->workspace_bytes = (uint32_t)field(L, "workspace_bytes", 0, UINT32_MAX);
    read_box(L, &launch->map_a, "map_a");
    read_box(L, &launch->map_b, "map_b");
    read_box(L, &launch->map_c, "map_c");
    launch->panel_rows = (int32_t)field(L, "panel_rows", 0, 32); /* 32: bits of tri_panel_step.rows */
    launch->panel_group = (int32_t)field(L, "panel_group", 0, 32);
    launch->panel_cluster = (int32_t)field(L, "panel_cluster", 0, 16);
    launch->panel_columns = (int32_t)field(L, "panel_columns", 0, INT32_MAX);
    launch->panel_warps = (int32_t)field(L, "panel_warps", 0, 32);
    launch->panel_busy_warps = (int32_t)field(L, "panel_busy_warps", 0, 1024);
    launch->panel_least_blocks = (int32_t)field(L, "panel_least_blocks", 0, 1 << 20);
    launch->gather = flag(L, "gather");
    launch->reorder = flag(L, "reorder");
}

void tri_fill_candidate(lua_State *L, tri_candidate *out, int index, const char *what) {
    fill_params(L, out, index, what);
    fill_options(L, out, index, what);
    lua_getfield(L, index, "launch");
    call_with_all(L);
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: launch must return a table, not %s", what, luaL_typename(L, -1));
    read_launch(L, &out->launch);
    lua_pop(L, 1);
}
