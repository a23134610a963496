/* A kernel's axes span up to a million points, of which some dozens are legal. A constraint mostly reads two or three of the
 * axes, and must be a function of what it reads: so each one's answers are kept in a tree, whose inner nodes are the axes in
 * the order in which the function read them, and whose leaves are its answers. Points are made axis by axis; a constraint
 * whose leaf is reached before all axes have a value, and which fails there, excludes all points that go on from it.
 *
 * Lua is asked only where a tree ends. The axes without a value have their first one then: what the function read of them is
 * in the tree, too. An error there says nothing yet, since a constraint before it may exclude the point (that a divisor is
 * not 0); it counts where a whole point has no other verdict. */
#include "space/judge.h"

#include "space/legal.h"

#include <stdlib.h>
#include <string.h>

/* Of a node: what is known there. From READS on: the function reads axis kind - READS next. */
enum { UNSEEN = 0, HOLDS, FAILS, BREAKS, READS };

#define NODE_CHARGE 4 /* instructions, so that a stranger's trees stay small */

typedef struct node {
    int32_t kind;
    uint32_t first; /* of its children, one a value of the axis */
} node;

/* A constraint that is not decided yet. */
typedef struct open_constraint {
    int32_t constraint;
    uint32_t at; /* its node */
} open_constraint;

struct tri_judge {
    const tri_space_kernel *kernel;
    const tri_question *question;
    tri_verdicts *out;
    tri_point point;
    size_t assigned; /* axes that have a value */
    node *nodes;     /* the first constraint_count are the roots */
    size_t count, capacity;
    open_constraint *open; /* [axis_count + 1][constraint_count] */
    size_t number_capacity;
    int32_t reads[TRI_AXES_MAX]; /* by the function that is being asked, in their order */
    size_t read_count;
    const char *names[TRI_AXES_MAX]; /* where the name of an axis was found last: only compared */
    uint32_t was_read;               /* bits of axes */
};
_Static_assert(TRI_AXES_MAX <= 32, "was_read has a bit for each axis");

triage_status tri_judge_open(tri_judge **out, const tri_space_kernel *kernel, const tri_question *question,
                             tri_verdicts *verdicts) {
    tri_judge *made = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&made, 1, sizeof *made));
    *made = (tri_judge){.kernel = kernel, .question = question, .out = verdicts};
    made->count = made->capacity = kernel->constraint_count;
    TRI_TRY(tri_calloc(&made->nodes, made->count + 1, sizeof *made->nodes));
    TRI_TRY(
        tri_calloc(&made->open, (kernel->axis_count + 1) * kernel->constraint_count + 1, sizeof *made->open));
    verdicts->furthest = TRI_LEGAL;
    *out = made;
    made = NULL;
done:
    tri_judge_free(made);
    return status;
}

void tri_judge_free(tri_judge *judge) {
    if (!judge)
        return;
    free(judge->nodes);
    free(judge->open);
    free(judge);
}

/* ---- asking ---- */

/* __index of the configuration: the value of an axis, which is noted. */
static int read_axis(lua_State *L) {
    tri_judge *judge = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    const size_t count = judge->kernel->axis_count;
    size_t axis = 0;
    while (axis < count && judge->names[axis] != name) /* where Lua had that name before, mostly */
        axis++;
    if (axis == count || strcmp(judge->kernel->axes[axis].name, name) != 0)
        for (axis = 0; axis < count && strcmp(judge->kernel->axes[axis].name, name) != 0;)
            axis++;
    if (axis == count)
        return 0;
    judge->names[axis] = name;
    if (!(judge->was_read >> axis & 1)) {
        judge->was_read |= UINT32_C(1) << axis;
        judge->reads[judge->read_count++] = (int32_t)axis;
    }
    tri_push_axis_value(L, &judge->kernel->axes[axis].values[judge->point[axis]]);
    return 1;
}

static int32_t ask(lua_State *L, tri_judge *judge, int32_t constraint) {
    judge->read_count = 0;
    judge->was_read = 0;
    judge->out->asked++;
    const int code = tri_ask_constraint(L, judge->kernel->constraints[constraint].legal);
    int32_t answer = BREAKS;
    if (code == LUA_OK && lua_isboolean(L, -1))
        answer = lua_toboolean(L, -1) ? HOLDS : FAILS;
    lua_pop(L, 1);
    return answer;
}

/* ---- trees ---- */

static uint32_t add_children(lua_State *L, tri_judge *judge, size_t count) {
    const size_t first = judge->count;
    tri_sandbox_charge(L, NODE_CHARGE * count);
    while (judge->capacity < first + count)
        tri_sandbox_check(L, tri_grow(&judge->nodes, &judge->capacity, judge->capacity, sizeof *judge->nodes,
                                      "answers of constraints"));
    memset(judge->nodes + first, 0, count * sizeof *judge->nodes);
    judge->count += count;
    return (uint32_t)first;
}

/* Below a node where nothing is known: what the function read behind the axes that lead there, and its answer. */
static void learn(lua_State *L, tri_judge *judge, const open_constraint *of) {
    const int32_t answer = ask(L, judge, of->constraint);
    uint32_t at = (uint32_t)of->constraint;
    for (size_t i = 0; i < judge->read_count; i++) {
        const int32_t axis = judge->reads[i], kind = judge->nodes[at].kind;
        if (kind == UNSEEN) {
            const uint32_t first = add_children(L, judge, judge->kernel->axes[axis].count);
            judge->nodes[at] = (node){READS + axis, first};
        } else if (kind != READS + axis) {
            break; /* it read otherwise before: not a function of what it reads */
        }
        at = judge->nodes[at].first + (uint32_t)judge->point[axis];
    }
    if (judge->nodes[at].kind == UNSEEN)
        judge->nodes[at].kind = answer;
    if (judge->nodes[of->at].kind == UNSEEN)
        judge->nodes[of->at].kind = answer;
}

/* Goes on as far as the axes have values. */
static int32_t follow(lua_State *L, tri_judge *judge, open_constraint *of) {
    for (;;) {
        const node *here = &judge->nodes[of->at];
        if (here->kind == UNSEEN) {
            learn(L, judge, of);
        } else if (here->kind < READS || (size_t)(here->kind - READS) >= judge->assigned) {
            return here->kind;
        } else {
            of->at = here->first + (uint32_t)judge->point[here->kind - READS];
        }
    }
}

/* ---- points ---- */

/* All axes have values, and what is still open broke off. */
static bool is_legal(lua_State *L, const tri_judge *judge, size_t open) {
    if (open == 0)
        return true;
    tri_set_config(L, judge->kernel, judge->point);
    return tri_first_violated(L, judge->kernel) == TRI_LEGAL; /* raises the error */
}

static void add_point(lua_State *L, tri_judge *judge) {
    tri_verdicts *out = judge->out;
    int32_t number = 0;
    for (size_t i = 0; i < judge->kernel->axis_count; i++)
        number = number * (int32_t)judge->kernel->axes[i].count + judge->point[i];
    tri_sandbox_check(
        L, tri_grow(&out->points, &judge->number_capacity, out->count, sizeof *out->points, "points"));
    out->points[out->count++] = number;
}

/* Is it known already that the constraint fails? Nobody is asked. */
static bool is_known_to_fail(const tri_judge *judge, open_constraint of) {
    const node *here = &judge->nodes[of.at];
    while (here->kind >= READS && (size_t)(here->kind - READS) < judge->assigned)
        here = &judge->nodes[here->first + (uint32_t)judge->point[here->kind - READS]];
    return here->kind == FAILS;
}

/* Does what is known exclude the point? Not by a constraint behind the furthest, since those before it are to be asked then. */
static bool is_excluded(const tri_judge *judge, const open_constraint *from, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (from[i].constraint <= judge->out->furthest && is_known_to_fail(judge, from[i]))
            return true;
    return false;
}

/* What of `from` is open with one axis more. False: a constraint fails, whatever the axes behind have. */
static bool narrow(lua_State *L, tri_judge *judge, size_t *count, open_constraint *to,
                   const open_constraint *from, size_t from_count) {
    *count = 0;
    if (is_excluded(judge, from, from_count))
        return false;
    for (size_t i = 0; i < from_count; i++) {
        open_constraint item = from[i];
        const int32_t kind = follow(L, judge, &item);
        if (kind == FAILS) {
            if (item.constraint > judge->out->furthest)
                judge->out->furthest = item.constraint;
            return false;
        }
        if (kind != HOLDS)
            to[(*count)++] = item;
    }
    return true;
}

static void try_points(lua_State *L, tri_judge *judge, size_t open) {
    const size_t depth = judge->assigned, width = judge->kernel->constraint_count;
    open_constraint *mine = judge->open + depth * width;
    size_t left = 0;
    if (depth == judge->kernel->axis_count) {
        if (is_legal(L, judge, open))
            add_point(L, judge);
        return;
    }
    judge->assigned++;
    for (size_t i = 0; i < judge->kernel->axes[depth].count; i++) {
        judge->point[depth] = (int32_t)i;
        tri_sandbox_charge(L, 1);
        if (narrow(L, judge, &left, mine + width, mine, open))
            try_points(L, judge, left);
    }
    judge->point[depth] = 0;
    judge->assigned--;
}

triage_status tri_judge_in_lua(lua_State *L, void *user) {
    tri_judge *judge = user;
    size_t open = 0;
    tri_push_question(L, judge->question, judge->kernel);
    lua_pushlightuserdata(L, judge);
    lua_pushcclosure(L, read_axis, 1);
    tri_watch_config(L);
    for (size_t i = 0; i < judge->kernel->constraint_count; i++)
        judge->open[i] = (open_constraint){(int32_t)i, (uint32_t)i};
    if (narrow(L, judge, &open, judge->open, judge->open, judge->kernel->constraint_count))
        try_points(L, judge, open);
    return TRIAGE_OK;
}
