/* A strategy whose functions run in this process, in a sandbox. */
#include "space/sandbox.h"
#include "space/strategy.h"
#include "space/surrogate_lua.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#define STRATEGY_KEY "triage.strategy"

typedef struct mind {
    tri_sandbox *sandbox;
    tri_random random;
    tri_surrogate_lua model;
} mind;

static int random_below(lua_State *L) {
    mind *of = lua_touserdata(L, lua_upvalueindex(1));
    lua_Integer bound = luaL_checkinteger(L, 1);
    luaL_argcheck(L, bound >= 1, 1, "must be at least 1");
    lua_pushinteger(L, (lua_Integer)tri_random_below(&of->random, (uint64_t)bound) + 1);
    return 1;
}

typedef struct open_job {
    tri_strategy *strategy;
    const tri_configs *configs;
    const tri_strategy_options *options;
    const tri_strategy_text *text;
} open_job;

static void open_triage(lua_State *L, mind *of) {
    lua_pushglobaltable(L);
    lua_newtable(L);
    lua_pushlightuserdata(L, of);
    lua_pushcclosure(L, random_below, 1);
    lua_setfield(L, -2, "random");
    tri_push_surrogate(L, &of->model);
    lua_setfield(L, -2, "surrogate");
    lua_setfield(L, -2, "triage");
    lua_pop(L, 1);
}

static void push_row(lua_State *L, const tri_configs *configs, size_t at) {
    const int32_t *row = configs->coordinates + at * configs->axes;
    lua_createtable(L, (int)configs->axes, 0);
    for (size_t j = 0; j < configs->axes && row[j] >= 0; j++) {
        lua_pushinteger(L, row[j] + 1);
        lua_rawseti(L, -2, (lua_Integer)j + 1);
    }
}

/* space.coordinates, which a strategy of a very large space had better not ask for. */
static int push_coordinates(lua_State *L) {
    const tri_strategy *strategy = lua_touserdata(L, lua_upvalueindex(1));
    const tri_configs *configs = strategy->configs;
    if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "coordinates") != 0)
        return 0;
    lua_createtable(L, (int)configs->count, 0);
    for (size_t i = 0; i < configs->count; i++) {
        push_row(L, configs, i);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 1, "coordinates");
    return 1;
}

static void push_space(lua_State *L, tri_strategy *strategy) {
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)strategy->count);
    lua_setfield(L, -2, "size");
    lua_pushinteger(L, (lua_Integer)strategy->configs->default_index + 1);
    lua_setfield(L, -2, "default");
    lua_createtable(L, 0, 1);
    lua_pushlightuserdata(L, strategy);
    lua_pushcclosure(L, push_coordinates, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

static bool comes_before(const open_job *job, size_t at) {
    const size_t *known = job->options->known;
    for (size_t i = 0; i < at; i++)
        if (known[i] == known[at])
            return true;
    return known[at] == job->configs->default_index;
}

static void push_known(lua_State *L, const open_job *job) {
    lua_Integer count = 0;
    lua_newtable(L);
    for (size_t i = 0; i < job->options->known_count; i++) {
        if (comes_before(job, i))
            continue;
        lua_pushinteger(L, (lua_Integer)job->options->known[i] + 1);
        lua_rawseti(L, -2, ++count);
    }
}

static void push_prior(lua_State *L, const tri_strategy_options *options) {
    lua_createtable(L, (int)options->prior_count, 0);
    for (size_t i = 0; i < options->prior_count; i++) {
        lua_createtable(L, 2, 0);
        lua_pushinteger(L, (lua_Integer)options->prior[i].point + 1);
        lua_rawseti(L, -2, 1);
        if (options->prior[i].median_ns >= 0)
            lua_pushnumber(L, options->prior[i].median_ns);
        else
            lua_pushboolean(L, false);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_options(lua_State *L, const open_job *job) {
    lua_createtable(L, 0, 5);
    push_known(L, job);
    lua_setfield(L, -2, "known");
    push_prior(L, job->options);
    lua_setfield(L, -2, "prior");
    lua_pushnumber(L, job->options->stop_gain);
    lua_setfield(L, -2, "stop_gain");
    lua_pushinteger(L, (lua_Integer)job->options->seed);
    lua_setfield(L, -2, "seed");
    lua_pushinteger(L, (lua_Integer)job->strategy->budget);
    lua_setfield(L, -2, "budget");
}

static void require_method(lua_State *L, const char *name) {
    if (lua_getfield(L, -1, name) != LUA_TFUNCTION)
        luaL_error(L, "a strategy has functions next and tell: %s is missing", name);
    lua_pop(L, 1);
}

static triage_status open_in_lua(lua_State *L, void *user) {
    open_job *job = user;
    open_triage(L, job->strategy->mind);
    tri_sandbox_load(L, job->text->text, job->text->size, job->strategy->file);
    lua_call(L, 0, 1);
    if (!lua_isfunction(L, -1))
        luaL_error(L, "a strategy file ends with: return function(space, options) ... end");
    push_space(L, job->strategy);
    push_options(L, job);
    lua_call(L, 2, 1);
    if (!lua_istable(L, -1))
        luaL_error(L, "a strategy is a table with functions next and tell, not %s", luaL_typename(L, -1));
    require_method(L, "next");
    require_method(L, "tell");
    lua_setfield(L, LUA_REGISTRYINDEX, STRATEGY_KEY);
    return TRIAGE_OK;
}

/* ---- next and tell ---- */

typedef struct step_job {
    tri_strategy *strategy;
    int64_t index; /* -1: none */
    bool waiting;
    tri_strategy_result result;
} step_job;

/* Pushes the method and its self. */
static void push_method(lua_State *L, const char *name) {
    lua_getfield(L, LUA_REGISTRYINDEX, STRATEGY_KEY);
    if (lua_getfield(L, -1, name) != LUA_TFUNCTION)
        luaL_error(L, "%s is a function no more, but %s", name, luaL_typename(L, -1));
    lua_insert(L, -2);
}

static triage_status next_in_lua(lua_State *L, void *user) {
    step_job *job = user;
    push_method(L, "next");
    tri_sandbox_at(L, -2);
    lua_call(L, 1, 3);
    job->waiting = lua_toboolean(L, 2);
    job->index = -1;
    if (lua_isnil(L, 1)) {
        if (lua_type(L, 3) == LUA_TSTRING)
            snprintf(job->strategy->ended, sizeof job->strategy->ended, "%s", lua_tostring(L, 3));
        return TRIAGE_OK;
    }
    lua_Integer number = lua_isinteger(L, 1) ? lua_tointeger(L, 1) : 0;
    if (number < 1 || (uint64_t)number > job->strategy->count)
        luaL_error(L, "next must return a number 1 .. %I or nil, not %s", (LUAI_UACINT)job->strategy->count,
                   tri_sandbox_show(L, 1));
    if (job->strategy->state[number - 1] != TRI_CONFIG_NEW)
        luaL_error(L, "configuration %I is proposed twice", number);
    job->index = number - 1;
    return TRIAGE_OK;
}

static triage_status next(int64_t *index, bool *waiting, tri_strategy *strategy) {
    const mind *of = strategy->mind;
    step_job job = {.strategy = strategy, .index = -1};
    const triage_status status = tri_sandbox_call(of->sandbox, next_in_lua, &job, strategy->file);
    *index = job.index;
    *waiting = job.waiting;
    return status;
}

static void push_positive(lua_State *L, double number, double least) {
    if (number >= least)
        lua_pushnumber(L, number);
    else
        lua_pushnil(L);
}

static triage_status tell_in_lua(lua_State *L, void *user) {
    const step_job *job = user;
    push_method(L, "tell");
    tri_sandbox_at(L, -2);
    lua_pushinteger(L, job->index + 1);
    push_positive(L, job->result.median_ns, 0);
    push_positive(L, job->result.compile_ms, DBL_MIN);
    lua_call(L, 4, 0);
    return TRIAGE_OK;
}

static triage_status tell(tri_strategy *strategy, int64_t index, const tri_strategy_result *result) {
    const mind *of = strategy->mind;
    step_job job = {.strategy = strategy, .index = index, .result = *result};
    return tri_sandbox_call(of->sandbox, tell_in_lua, &job, strategy->file);
}

/* ---- opening and closing ---- */

static void close_mind(tri_strategy *strategy) {
    mind *of = strategy->mind;
    tri_sandbox_free(of->sandbox);
    tri_surrogate_free(of->model.surrogate);
    free(of);
}

triage_status tri_strategy_open_here(tri_strategy **out, const tri_strategy_text *text,
                                     const tri_configs *configs, const tri_strategy_options *options) {
    static const tri_strategist strategist = {next, tell, close_mind};
    triage_status status = TRIAGE_OK;
    tri_strategy *strategy = NULL;
    mind *of = NULL;
    TRI_TRY(tri_strategy_make(&strategy, text->file, configs, options));
    TRI_TRY(tri_calloc(&of, 1, sizeof *of));
    strategy->strategist = &strategist;
    strategy->mind = of;
    tri_random_seed(&of->random, options->seed);
    of->model = (tri_surrogate_lua){.configs = configs, .random = &of->random};
    TRI_TRY(tri_sandbox_open(&of->sandbox, 0, TRI_STRATEGY_MEMORY));
    open_job job = {strategy, configs, options, text};
    TRI_TRY(tri_sandbox_call(of->sandbox, open_in_lua, &job, strategy->file));
    *out = strategy;
    strategy = NULL;
done:
    tri_strategy_free(strategy);
    return status;
}
