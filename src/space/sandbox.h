/* A Lua state in which a stranger's file may run: no way out to the machine, and no way to run for ever.
 *
 * What is left of the libraries: base without load, loadfile, dofile, collectgarbage, print, warn,
 * metatables and pcall (a limit must not be catchable, and a finaliser runs without the hook); table
 * without move; math without random; string without patterns, dump and pack (backtracking and unpacking
 * run in C, where no instruction is counted). No value tells where it lies in memory: tostring and format name tables
 * and functions by their type. */
#ifndef TRIAGE_SPACE_SANDBOX_H
#define TRIAGE_SPACE_SANDBOX_H

#include <lua.h>
#include <lauxlib.h>

#include "base/base.h"

#define TRI_SANDBOX_INSTRUCTIONS (INT64_C(50) * 1000 * 1000)
#define TRI_SANDBOX_MEMORY (INT64_C(64) << 20)

typedef struct tri_sandbox tri_sandbox;

/* Limits: 0 takes the value above. */
triage_status tri_sandbox_open(tri_sandbox **out, int64_t instruction_limit, int64_t memory_limit);
void tri_sandbox_free(tri_sandbox *sandbox);

/* A piece of work with the state. It runs protected and starts with an empty stack. A Lua error leaves it
 * by longjmp: what it allocates must hang on `job` at that moment, for the caller to free. */
typedef triage_status (*tri_sandbox_fn)(lua_State *L, void *job);

/* Runs fn with a fresh allowance of instructions. A Lua error, a limit included, is TRIAGE_E_DATA with
 * file and line; `file` stands in where Lua knows none. Else the status is fn's own. */
triage_status tri_sandbox_call(tri_sandbox *sandbox, tri_sandbox_fn fn, void *job, const char *file);

/* Inside a call: compiles text (no bytecode) as file and leaves the function on the stack. Messages that begin with
 * the file's name, or with that of a part of it, are passed on as they are. */
void tri_sandbox_load(lua_State *L, const char *text, size_t size, const char *file);
#define TRI_SANDBOX_PARTS 32 /* at most, of the file that was loaded last */
void tri_sandbox_load_part(lua_State *L, const char *text, size_t size, const char *file);

/* Inside a call: pushes what the value is, for a message: numbers and text as they are, else the type's name. */
const char *tri_sandbox_show(lua_State *L, int index);

/* Inside a call: errors raised from C name the place where this Lua function was defined. */
void tri_sandbox_at(lua_State *L, int function);

/* Inside a call: work done in C counts as so many instructions. */
void tri_sandbox_charge(lua_State *L, uint64_t instructions);

/* Inside a call: has it used up what it may? Then an error that C has caught must be raised again. */
bool tri_sandbox_is_spent(lua_State *L);

/* Inside a call: if status is a failure, leaves the call with it (and its message, set already). */
void tri_sandbox_check(lua_State *L, triage_status status);

#endif
