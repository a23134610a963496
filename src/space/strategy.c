/* A strategy is a Lua file that returns a function(space, options) -> { next = , tell = }:
 *
 *   space.size          how many configurations there are; they are numbered 1 .. size
 *   space.default       the number of the default
 *   space.coordinates   [i]: its kernel, then the value index on each axis of that kernel (made when first asked for)
 *   options.seed, options.budget (1 .. size)
 *   options.known       a list of numbers, the most promising first, none twice and the default not among them: what
 *                       was good on near problems. Those that come with triage propose them right after the
 *                       default; empty, it changes nothing
 *   options.prior       a list of { number, ns or false if it failed }: times of another device or a near problem
 *   options.stop_gain   end where less than this part of the best time is to be gained; 0: never
 *   next(self)          -> number | nil, waiting | nil, false, why it ends here (text)
 *   tell(self, number, median_ns)      median_ns is nil if it failed
 *   triage.random(n)    1 .. n, from the seed
 *   triage.surrogate    a model of the space: surrogate_lua.c
 */
#include "space/files.h"
#include "space/space.h"
#include "space/surrogate_lua.h"

#include <stdlib.h>
#include <string.h>

#define STRATEGY_KEY "triage.strategy"
/* Coordinates of a large space of a user take more than a space file does. */
#define STRATEGY_MEMORY (INT64_C(512) << 20)

struct tri_strategy {
    tri_sandbox *sandbox;
    char *file;
    tri_random random;
    tri_surrogate_lua model;
    const tri_configs *configs;
    char ended[TRI_STRATEGY_REASON]; /* why, if it ended before the budget */
    size_t count, budget, proposed, outstanding;
    uint8_t *state; /* [count]: 0 not proposed, 1 proposed, 2 told */
};

static int random_below(lua_State *L) {
    tri_strategy *strategy = lua_touserdata(L, lua_upvalueindex(1));
    lua_Integer bound = luaL_checkinteger(L, 1);
    luaL_argcheck(L, bound >= 1, 1, "must be at least 1");
    lua_pushinteger(L, (lua_Integer)tri_random_below(&strategy->random, (uint64_t)bound) + 1);
    return 1;
}

typedef struct open_job {
    tri_strategy *strategy;
    const tri_configs *configs;
    const tri_strategy_options *options;
    const char *text;
    size_t size;
} open_job;

static void open_triage(lua_State *L, tri_strategy *strategy) {
    lua_pushglobaltable(L);
    lua_newtable(L);
    lua_pushlightuserdata(L, strategy);
    lua_pushcclosure(L, random_below, 1);
    lua_setfield(L, -2, "random");
    tri_push_surrogate(L, &strategy->model);
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
    open_triage(L, job->strategy);
    tri_sandbox_load(L, job->text, job->size, job->strategy->file);
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

static bool is_path(const char *name) {
    size_t size = strlen(name);
    return strchr(name, '/') || (size > 4 && !strcmp(name + size - 4, ".lua"));
}

static triage_status load_strategy(tri_strategy *strategy, const char *name, const tri_configs *configs,
                                   const tri_strategy_options *options) {
    triage_status status = TRIAGE_OK;
    char *text = NULL;
    open_job job = {.strategy = strategy, .configs = configs, .options = options};
    TRI_TRY(is_path(name) ? tri_strdup(&strategy->file, name)
                          : tri_format(&strategy->file, "tuner/strategies/%s.lua", name));
    status =
        tri_lua_file_read(&text, &job.size, options->data_dir, strategy->file, is_path(name) ? name : NULL);
    if (status == TRIAGE_E_NOT_FOUND)
        status = tri_fail(TRIAGE_E_INVALID,
                          "there is no strategy '%s': exhaustive, random, local, model or a .lua file", name);
    TRI_TRY(status);
    job.text = text;
    TRI_TRY(tri_sandbox_call(strategy->sandbox, open_in_lua, &job, strategy->file));
done:
    free(text);
    return status;
}

static triage_status check_known(const tri_configs *configs, const tri_strategy_options *options) {
    for (size_t i = 0; i < options->known_count; i++)
        if (options->known[i] >= configs->count)
            return tri_fail(TRIAGE_E_INVALID, "a known configuration %zu: allowed are 0 .. %zu",
                            options->known[i], configs->count - 1);
    for (size_t i = 0; i < options->prior_count; i++)
        if (options->prior[i].point >= configs->count)
            return tri_fail(TRIAGE_E_INVALID, "a time of configuration %zu: allowed are 0 .. %zu",
                            options->prior[i].point, configs->count - 1);
    return TRIAGE_OK;
}

triage_status tri_strategy_open(tri_strategy **out, const char *name, const tri_configs *configs,
                                const tri_strategy_options *options) {
    const size_t budget = options->budget;
    triage_status status = TRIAGE_OK;
    tri_strategy *strategy = NULL;
    TRI_TRY(check_known(configs, options));
    TRI_TRY(tri_calloc(&strategy, 1, sizeof *strategy));
    TRI_TRY(tri_calloc(&strategy->state, configs->count + 1, 1));
    tri_random_seed(&strategy->random, options->seed);
    strategy->configs = configs;
    strategy->count = configs->count;
    strategy->model = (tri_surrogate_lua){.configs = configs, .random = &strategy->random};
    strategy->budget = budget && budget < configs->count ? budget : configs->count;
    TRI_TRY(tri_sandbox_open(&strategy->sandbox, 0, STRATEGY_MEMORY));
    TRI_TRY(load_strategy(strategy, name, configs, options));
    *out = strategy;
    strategy = NULL;
done:
    tri_strategy_free(strategy);
    return status;
}

void tri_strategy_free(tri_strategy *strategy) {
    if (!strategy)
        return;
    tri_sandbox_free(strategy->sandbox);
    tri_surrogate_free(strategy->model.surrogate);
    free(strategy->file);
    free(strategy->state);
    free(strategy);
}

/* ---- next and tell ---- */

typedef struct step_job {
    tri_strategy *strategy;
    int64_t index; /* -1: none */
    bool waiting;
    double median_ns;
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
    if (job->strategy->state[number - 1] != 0)
        luaL_error(L, "configuration %I is proposed twice", number);
    job->index = number - 1;
    return TRIAGE_OK;
}

triage_status tri_strategy_next(int64_t *index, bool *waiting, tri_strategy *strategy) {
    step_job job = {.strategy = strategy, .index = -1};
    *index = -1;
    *waiting = false;
    if (strategy->proposed == strategy->budget)
        return TRIAGE_OK;
    triage_status status = tri_sandbox_call(strategy->sandbox, next_in_lua, &job, strategy->file);
    if (status != TRIAGE_OK)
        return status;
    if (job.index < 0 && job.waiting && strategy->outstanding == 0)
        return tri_fail(TRIAGE_E_DATA, "%s: waits for a result, but none is outstanding", strategy->file);
    *index = job.index;
    *waiting = job.index < 0 && job.waiting;
    if (job.index >= 0) {
        strategy->state[job.index] = 1;
        strategy->proposed++;
        strategy->outstanding++;
    }
    return TRIAGE_OK;
}

const char *tri_strategy_ended(const tri_strategy *strategy) {
    return strategy->ended;
}

static triage_status tell_in_lua(lua_State *L, void *user) {
    const step_job *job = user;
    push_method(L, "tell");
    tri_sandbox_at(L, -2);
    lua_pushinteger(L, job->index + 1);
    if (job->median_ns >= 0)
        lua_pushnumber(L, job->median_ns);
    else
        lua_pushnil(L);
    lua_call(L, 3, 0);
    return TRIAGE_OK;
}

triage_status tri_strategy_tell(tri_strategy *strategy, int64_t index, double median_ns) {
    if (index < 0 || (uint64_t)index >= strategy->count || strategy->state[index] != 1)
        return tri_fail(TRIAGE_E_INVALID, "a result is told for configuration %lld, which is not outstanding",
                        (long long)index);
    step_job job = {.strategy = strategy, .index = index, .median_ns = median_ns};
    triage_status status = tri_sandbox_call(strategy->sandbox, tell_in_lua, &job, strategy->file);
    if (status != TRIAGE_OK)
        return status;
    strategy->state[index] = 2;
    strategy->outstanding--;
    return TRIAGE_OK;
}
