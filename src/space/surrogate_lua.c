/* triage.surrogate, one a strategy; points are numbers 1 .. size:
 *
 *   rows, points       how many points it takes, and may choose from
 *   ask(point)         the point is asked: it is not chosen again
 *   tell(point)        its result is there
 *   believe(scores)    a list, one score a point told, in the order of telling; low is good
 *   failures(list)     1 for a point told that failed, 0 for another: what is likely to fail is chosen less
 *   costs(list)        the logarithm of what trying each took, less the mean: what is costly is chosen less
 *   fit(scores)        weighs the axes by them
 *   inherit()          what is believed now is what the next points are expected to be, and all rows are gone
 *   gather(point)      the points that differ from this one in one axis can be chosen, also in a very large space
 *   choose(rule, n)    -> point, what the rule says of it | nil: "bound": the least mean - n deviations; "gain": the
 *                      greatest expected gain on the score n; "spread": of n random ones that of which the least is known
 *   at(point)          -> mean, deviation, chance to fail, logarithm of the cost | nil: not in the pool
 *
 * Every argument is checked here: tri_surrogate trusts its caller. */
#include "space/surrogate_lua.h"

#include <math.h>

#define NUMBERS_AN_INSTRUCTION 64 /* multiply-adds that take as long as one of the VM's, at the least */

static tri_surrogate_lua *self(lua_State *L) {
    tri_surrogate_lua *of = lua_touserdata(L, lua_upvalueindex(1));
    if (!of->surrogate)
        tri_sandbox_check(L, tri_surrogate_open(&of->surrogate, of->configs, of->random));
    return of;
}

static size_t points(const tri_surrogate_lua *of) {
    return of->configs->count < TRI_SURROGATE_POOL ? of->configs->count : TRI_SURROGATE_POOL;
}

/* So many passes over the pool. */
static void charge(lua_State *L, const tri_surrogate_lua *of, size_t passes) {
    tri_sandbox_charge(L, (uint64_t)(points(of) * passes / NUMBERS_AN_INSTRUCTION) + 1);
}

static size_t check_point(lua_State *L, const tri_surrogate_lua *of) {
    const lua_Integer point = luaL_checkinteger(L, 1);
    luaL_argcheck(L, point >= 1 && (uint64_t)point <= of->configs->count, 1, "is no configuration's number");
    return (size_t)point - 1;
}

static void check_scores(lua_State *L, double scores[TRI_SURROGATE_ROWS], size_t told) {
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_rawlen(L, 1) != told)
        luaL_error(L, "%I scores for %I points told", (LUAI_UACINT)lua_rawlen(L, 1), (LUAI_UACINT)told);
    for (size_t i = 0; i < told; i++) {
        const bool is_number = lua_rawgeti(L, 1, (lua_Integer)i + 1) == LUA_TNUMBER;
        scores[i] = is_number ? lua_tonumber(L, -1) : NAN;
        if (!isfinite(scores[i]) || fabs(scores[i]) > 1e6)
            luaL_error(L, "score %I is no number from -1e6 to 1e6", (LUAI_UACINT)i + 1);
        lua_pop(L, 1);
    }
}

static int ask(lua_State *L) {
    tri_surrogate_lua *of = self(L);
    const size_t point = check_point(L, of);
    charge(L, of, tri_surrogate_told(of->surrogate) + 40);
    tri_sandbox_check(L, tri_surrogate_ask(of->surrogate, point));
    return 0;
}

static int tell(lua_State *L) {
    tri_surrogate_lua *of = self(L);
    const size_t point = check_point(L, of);
    charge(L, of, 40);
    tri_sandbox_check(L, tri_surrogate_tell(of->surrogate, point));
    return 0;
}

static int believe(lua_State *L) {
    tri_surrogate_lua *of = self(L);
    double scores[TRI_SURROGATE_ROWS];
    const size_t told = tri_surrogate_told(of->surrogate);
    check_scores(L, scores, told);
    charge(L, of, told);
    tri_surrogate_believe(of->surrogate, scores);
    return 0;
}

static int believe_side(lua_State *L, tri_surrogate_side side) {
    tri_surrogate_lua *of = self(L);
    double values[TRI_SURROGATE_ROWS];
    const size_t told = tri_surrogate_told(of->surrogate);
    check_scores(L, values, told);
    charge(L, of, told);
    tri_sandbox_check(L, tri_surrogate_believe_side(of->surrogate, side, values));
    return 0;
}

static int failures(lua_State *L) {
    return believe_side(L, TRI_SIDE_FAILURE);
}

static int costs(lua_State *L) {
    return believe_side(L, TRI_SIDE_COST);
}

static int fit(lua_State *L) {
    tri_surrogate_lua *of = self(L);
    double scores[TRI_SURROGATE_ROWS];
    const size_t told = tri_surrogate_told(of->surrogate);
    check_scores(L, scores, told);
    charge(L, of, told * told + 1000);
    tri_sandbox_check(L, tri_surrogate_fit(of->surrogate, scores));
    return 0;
}

static int inherit(lua_State *L) {
    tri_surrogate_lua *of = self(L);
    charge(L, of, 40);
    tri_sandbox_check(L, tri_surrogate_inherit(of->surrogate));
    return 0;
}

static int gather(lua_State *L) {
    tri_surrogate_lua *of = self(L);
    const size_t point = check_point(L, of);
    tri_sandbox_charge(L, (uint64_t)of->configs->count);
    tri_surrogate_gather(of->surrogate, point);
    return 0;
}

static int choose(lua_State *L) {
    static const char *const rules[] = {"bound", "gain", "spread", NULL};
    tri_surrogate_lua *of = self(L);
    const int rule = luaL_checkoption(L, 1, NULL, rules);
    const double weight = luaL_checknumber(L, 2);
    luaL_argcheck(L, isfinite(weight) && fabs(weight) <= 1e6, 2, "is not from -1e6 to 1e6");
    if (rule == TRI_CHOOSE_SPREAD)
        tri_sandbox_charge(L, weight > 0 ? (uint64_t)weight : 0);
    charge(L, of, rule == TRI_CHOOSE_SPREAD ? 0 : 16);
    double value = 0;
    const int64_t point = tri_surrogate_choose(&value, of->surrogate, (tri_surrogate_rule)rule, weight);
    if (point < 0)
        return 0;
    lua_pushinteger(L, point + 1);
    lua_pushnumber(L, value);
    return 2;
}

static int at(lua_State *L) {
    tri_surrogate_lua *of = self(L);
    tri_belief belief;
    if (!tri_surrogate_at(&belief, of->surrogate, check_point(L, of)))
        return 0;
    lua_pushnumber(L, belief.mean);
    lua_pushnumber(L, belief.deviation);
    lua_pushnumber(L, belief.side[TRI_SIDE_FAILURE]);
    lua_pushnumber(L, belief.side[TRI_SIDE_COST]);
    return 4;
}

void tri_push_surrogate(lua_State *L, tri_surrogate_lua *of) {
    static const luaL_Reg functions[] = {
        {"ask", ask},       {"tell", tell}, {"believe", believe}, {"failures", failures},
        {"costs", costs},   {"fit", fit},   {"inherit", inherit}, {"gather", gather},
        {"choose", choose}, {"at", at},     {NULL, NULL}};
    lua_createtable(L, 0, (int)(sizeof functions / sizeof functions[0]));
    lua_pushlightuserdata(L, of);
    luaL_setfuncs(L, functions, 1);
    lua_pushinteger(L, TRI_SURROGATE_ROWS);
    lua_setfield(L, -2, "rows");
    lua_pushinteger(L, (lua_Integer)points(of));
    lua_setfield(L, -2, "points");
}
