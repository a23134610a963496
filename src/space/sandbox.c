#include "space/sandbox.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lualib.h>

/* The hook counts VM instructions only, so each one must be cheap: no block of memory above a 16th of the
 * limit (4 MiB), work in C charged by its size, and the clock as the last word. */
#define HOOK_STEP 1000
#define CPU_LIMIT_NS (INT64_C(20) * 1000 * 1000 * 1000)
#define BLOCK_SHARE 16
#define SORT_CHARGE 16
#define REPEAT_LIMIT 1000000

struct tri_sandbox {
    lua_State *lua;
    size_t memory_used, memory_limit;
    int64_t instruction_limit, instructions_left;
    int64_t cpu_deadline_ns;
    bool machine_out_of_memory; /* malloc itself refused */
    triage_status raised;       /* by tri_sandbox_check in this call */
    char loaded[TRI_SANDBOX_PARTS + 1]
               [LUA_IDSIZE]; /* the file loaded last and its parts, as Lua's messages name them */
    size_t loaded_count;
    char where[LUA_IDSIZE + 24]; /* "file:line: " of the Lua function that C asked last, or "" */
};

/* ---- memory ---- */

static void *limited_realloc(void *user, void *old, size_t old_size, size_t size) {
    tri_sandbox *sandbox = user;
    size_t held = old ? old_size : 0; /* without a block, old_size says what kind of object is made */
    if (size == 0) {
        free(old);
        sandbox->memory_used -= held;
        return NULL;
    }
    if (size > held && (size > sandbox->memory_limit / BLOCK_SHARE ||
                        size - held > sandbox->memory_limit - sandbox->memory_used))
        return NULL;
    void *block = realloc(old, size);
    if (!block) {
        sandbox->machine_out_of_memory = true;
        return NULL;
    }
    sandbox->memory_used += size - held; /* wraps to a subtraction when it shrinks */
    return block;
}

static tri_sandbox *sandbox_of(lua_State *L) {
    void *user = NULL;
    lua_getallocf(L, &user);
    return user;
}

/* ---- time ---- */

static int64_t thread_cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Raises an error at the Lua line that runs now. */
static int fail_limit(lua_State *L, lua_Debug *at) {
    lua_getinfo(L, "Sl", at);
    const tri_sandbox *sandbox = sandbox_of(L);
    if (sandbox->instructions_left > 0)
        lua_pushfstring(L, "%s:%d: ran for more than %d s", at->short_src, at->currentline,
                        (int)(CPU_LIMIT_NS / 1000000000));
    else
        lua_pushfstring(L, "%s:%d: ran more than %I instructions: does it loop for ever?", at->short_src,
                        at->currentline, (LUAI_UACINT)sandbox->instruction_limit);
    return lua_error(L);
}

static void on_count(lua_State *L, lua_Debug *at) {
    tri_sandbox *sandbox = sandbox_of(L);
    sandbox->instructions_left -= HOOK_STEP;
    if (sandbox->instructions_left <= 0 || thread_cpu_ns() > sandbox->cpu_deadline_ns)
        fail_limit(L, at);
}

void tri_sandbox_charge(lua_State *L, uint64_t instructions) {
    tri_sandbox *sandbox = sandbox_of(L);
    const int64_t most = sandbox->instructions_left > 0 ? sandbox->instructions_left : 0;
    sandbox->instructions_left -= instructions < (uint64_t)most ? (int64_t)instructions : most;
    lua_Debug at;
    if (sandbox->instructions_left <= 0 && lua_getstack(L, 1, &at))
        fail_limit(L, &at);
}

/* ---- libraries ---- */

/* Upvalue 1 is the library's own function. */
static int call_original(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int charged_rep(lua_State *L) {
    lua_Integer count = luaL_checkinteger(L, 2);
    luaL_argcheck(L, count <= REPEAT_LIMIT, 2, "more than 1000000 repeats");
    tri_sandbox_charge(L, count > 0 ? (uint64_t)count : 0); /* "" repeats without taking memory */
    return call_original(L);
}

static int charged_sort(lua_State *L) {
    const uint64_t length = lua_rawlen(L, 1); /* a table with holes may claim 2^62 */
    tri_sandbox_charge(L, length < UINT64_MAX / SORT_CHARGE ? length * SORT_CHARGE : length);
    return call_original(L);
}

/* Only an insertion or removal that names a position moves the rest. */
static int charged_insert(lua_State *L) {
    tri_sandbox_charge(L, lua_gettop(L) == 3 ? lua_rawlen(L, 1) : 1);
    return call_original(L);
}

static int charged_remove(lua_State *L) {
    tri_sandbox_charge(L, lua_gettop(L) == 2 ? lua_rawlen(L, 1) : 1);
    return call_original(L);
}

static int charged_by_length(lua_State *L) {
    tri_sandbox_charge(L, lua_rawlen(L, 1));
    return call_original(L);
}

/* Where something lies in memory is nobody's business: tables, functions and the like are named by their type. */
static bool has_address(lua_State *L, int index) {
    const int type = lua_type(L, index);
    return type != LUA_TNIL && type != LUA_TBOOLEAN && type != LUA_TNUMBER && type != LUA_TSTRING;
}

const char *tri_sandbox_show(lua_State *L, int index) {
    return has_address(L, index) ? lua_pushstring(L, luaL_typename(L, index))
                                 : luaL_tolstring(L, index, NULL);
}

static int nameless_tostring(lua_State *L) {
    luaL_checkany(L, 1);
    (void)tri_sandbox_show(L, 1);
    return 1;
}

/* Does a format ask for an address? */
static bool asks_for_pointer(const char *format, size_t size) {
    for (size_t i = 0; i + 1 < size; i++) {
        if (format[i] != '%')
            continue;
        i += 1 + strspn(format + i + 1, "-+ #0123456789.");
        if (i < size && format[i] == 'p')
            return true;
    }
    return false;
}

static int nameless_format(lua_State *L) {
    size_t size = 0;
    const char *format = luaL_checklstring(L, 1, &size);
    luaL_argcheck(L, !asks_for_pointer(format, size), 1, "there is no %p here");
    for (int i = 2; i <= lua_gettop(L); i++) {
        if (!has_address(L, i))
            continue;
        lua_pushstring(L, luaL_typename(L, i));
        lua_replace(L, i);
    }
    return call_original(L);
}

/* What stays of one library, with what stands in for the function there. NULL: the function itself. */
typedef struct kept {
    const char *name;
    lua_CFunction stand_in;
} kept;

static const kept base_kept[] = {{"_VERSION", NULL}, {"assert", NULL},
                                 {"error", NULL},    {"ipairs", NULL},
                                 {"next", NULL},     {"pairs", NULL},
                                 {"rawequal", NULL}, {"rawget", NULL},
                                 {"rawlen", NULL},   {"rawset", NULL},
                                 {"select", NULL},   {"tonumber", NULL},
                                 {"type", NULL},     {"tostring", nameless_tostring},
                                 {NULL, NULL}};
static const kept table_kept[] = {{"concat", charged_by_length},
                                  {"insert", charged_insert},
                                  {"remove", charged_remove},
                                  {"sort", charged_sort},
                                  {"pack", NULL},
                                  {"unpack", NULL},
                                  {NULL, NULL}};
static const kept string_kept[] = {{"byte", NULL},
                                   {"char", NULL},
                                   {"format", nameless_format},
                                   {"len", NULL},
                                   {"lower", charged_by_length},
                                   {"sub", NULL},
                                   {"rep", charged_rep},
                                   {"reverse", charged_by_length},
                                   {"upper", charged_by_length},
                                   {NULL, NULL}};
static const char *const math_removed[] = {"random", "randomseed", NULL};

/* Pushes a table with what is kept of the one on top, and replaces that. */
static void keep_fields(lua_State *L, const kept *list) {
    lua_newtable(L);
    for (; list->name; list++) {
        lua_getfield(L, -2, list->name);
        if (list->stand_in)
            lua_pushcclosure(L, list->stand_in, 1);
        lua_setfield(L, -2, list->name);
    }
    lua_remove(L, -2);
}

static void open_string(lua_State *L) {
    luaopen_string(L);
    keep_fields(L, string_kept);
    lua_pushliteral(L, ""); /* ("x"):rep(2) looks its method up in the string metatable */
    lua_getmetatable(L, -1);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
}

static void open_math(lua_State *L) {
    luaopen_math(L);
    for (const char *const *name = math_removed; *name; name++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *name);
    }
}

static int unknown_global(lua_State *L) {
    return luaL_error(L, "'%s' is not known here (the sandbox has no io, os, package, debug, load or pcall)",
                      tri_sandbox_show(L, 2));
}

/* Globals: the kept base functions, and a clear word about anything else. */
static void open_globals(lua_State *L) {
    luaopen_base(L);
    keep_fields(L, base_kept);
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, unknown_global);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

static triage_status open_libraries(lua_State *L, void *job) {
    (void)job;
    open_globals(L);
    luaopen_table(L);
    keep_fields(L, table_kept);
    lua_setfield(L, 1, "table");
    open_string(L);
    lua_setfield(L, 1, "string");
    open_math(L);
    lua_setfield(L, 1, "math");
    return TRIAGE_OK;
}

/* ---- calls ---- */

typedef struct protected_call {
    tri_sandbox_fn fn;
    void *job;
    triage_status status;
} protected_call;

static int trampoline(lua_State *L) {
    protected_call *call = lua_touserdata(L, 1);
    lua_settop(L, 0);
    call->status = call->fn(L, call->job);
    return 0;
}

/* Does it begin with "file:" of what was loaded? */
static bool is_placed(const tri_sandbox *sandbox, const char *message) {
    for (size_t i = 0; i < sandbox->loaded_count; i++) {
        const size_t size = strlen(sandbox->loaded[i]);
        if (!strncmp(message, sandbox->loaded[i], size) && message[size] == ':')
            return true;
    }
    return false;
}

static triage_status fail_lua(tri_sandbox *sandbox, int code, const char *file) {
    if (sandbox->raised != TRIAGE_OK)
        return sandbox->raised; /* its message is set */
    if (code == LUA_ERRMEM && sandbox->machine_out_of_memory)
        return tri_fail(TRIAGE_E_MEMORY, "%s: out of memory", file);
    if (code == LUA_ERRMEM)
        return tri_fail(TRIAGE_E_DATA, "%s: needs more memory than the %zu KiB that it may use", file,
                        sandbox->memory_limit >> 10);
    if (lua_type(sandbox->lua, -1) != LUA_TSTRING)
        return tri_fail(TRIAGE_E_DATA, "%s: raised an error that is a %s, not text", file,
                        luaL_typename(sandbox->lua, -1));
    const char *message = lua_tostring(sandbox->lua, -1);
    if (is_placed(sandbox, message))
        return tri_fail(TRIAGE_E_DATA, "%s", message);
    if (sandbox->where[0])
        return tri_fail(TRIAGE_E_DATA, "%s%s", sandbox->where, message);
    return tri_fail(TRIAGE_E_DATA, "%s: %s", file, message);
}

triage_status tri_sandbox_call(tri_sandbox *sandbox, tri_sandbox_fn fn, void *job, const char *file) {
    lua_State *L = sandbox->lua;
    protected_call call = {fn, job, TRIAGE_OK};
    sandbox->instructions_left = sandbox->instruction_limit;
    sandbox->cpu_deadline_ns = thread_cpu_ns() + CPU_LIMIT_NS;
    sandbox->machine_out_of_memory = false;
    sandbox->raised = TRIAGE_OK;
    sandbox->where[0] = '\0';
    lua_settop(L, 0);
    lua_pushcfunction(L, trampoline);
    lua_pushlightuserdata(L, &call);
    int code = lua_pcall(L, 1, 0, 0);
    triage_status status = code == LUA_OK ? call.status : fail_lua(sandbox, code, file);
    lua_settop(L, 0);
    return status;
}

void tri_sandbox_load(lua_State *L, const char *text, size_t size, const char *file) {
    sandbox_of(L)->loaded_count = 0;
    tri_sandbox_load_part(L, text, size, file);
}

void tri_sandbox_load_part(lua_State *L, const char *text, size_t size, const char *file) {
    tri_sandbox *sandbox = sandbox_of(L);
    const char *chunk = lua_pushfstring(L, "@%s", file);
    lua_Debug at;
    if (sandbox->loaded_count > TRI_SANDBOX_PARTS)
        luaL_error(L, "more than %d parts", TRI_SANDBOX_PARTS);
    if (luaL_loadbufferx(L, "", 0, chunk, "t") == LUA_OK) { /* how Lua shortens the name */
        lua_getinfo(L, ">S", &at);
        snprintf(sandbox->loaded[sandbox->loaded_count++], LUA_IDSIZE, "%s", at.short_src);
    }
    if (luaL_loadbufferx(L, text, size, chunk, "t") != LUA_OK)
        lua_error(L);
    lua_remove(L, -2);
}

void tri_sandbox_at(lua_State *L, int function) {
    tri_sandbox *sandbox = sandbox_of(L);
    lua_Debug at;
    lua_pushvalue(L, function);
    lua_getinfo(L, ">S", &at);
    snprintf(sandbox->where, sizeof sandbox->where, "%s:%d: ", at.short_src, at.linedefined);
}

bool tri_sandbox_is_spent(lua_State *L) {
    const tri_sandbox *sandbox = sandbox_of(L);
    return sandbox->instructions_left <= 0 || sandbox->raised != TRIAGE_OK ||
           thread_cpu_ns() > sandbox->cpu_deadline_ns;
}

void tri_sandbox_check(lua_State *L, triage_status status) {
    if (status == TRIAGE_OK)
        return;
    sandbox_of(L)->raised = status;
    lua_pushnil(L);
    lua_error(L);
}

triage_status tri_sandbox_open(tri_sandbox **out, int64_t instruction_limit, int64_t memory_limit) {
    triage_status status = TRIAGE_OK;
    tri_sandbox *sandbox = NULL;
    TRI_TRY(tri_calloc(&sandbox, 1, sizeof *sandbox));
    sandbox->instruction_limit = instruction_limit > 0 ? instruction_limit : TRI_SANDBOX_INSTRUCTIONS;
    sandbox->memory_limit = (size_t)(memory_limit > 0 ? memory_limit : TRI_SANDBOX_MEMORY);
    sandbox->lua = lua_newstate(limited_realloc, sandbox);
    if (!sandbox->lua) {
        status =
            tri_fail(TRIAGE_E_MEMORY, "a Lua state does not fit in %zu KiB", sandbox->memory_limit >> 10);
        goto done;
    }
    lua_gc(sandbox->lua, LUA_GCINC, 1000, 0, 0); /* what is loaded stays: collect rarely, or at the limit */
    TRI_TRY(tri_sandbox_call(sandbox, open_libraries, NULL, "lua"));
    lua_sethook(sandbox->lua, on_count, LUA_MASKCOUNT, HOOK_STEP);
    *out = sandbox;
    sandbox = NULL;
done:
    tri_sandbox_free(sandbox);
    return status;
}

void tri_sandbox_free(tri_sandbox *sandbox) {
    if (!sandbox)
        return;
    if (sandbox->lua)
        lua_close(sandbox->lua);
    free(sandbox);
}
