/* bridge: see bridge.h. */
#include "bind/bridge.h"

#include "bind/class.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <time.h>

#define BOX "anomalyd.operation"

const char bridge_sentinel = 0;

void bridge_ref(struct bridge_op *op)
{
    atomic_fetch_add_explicit(&op->refs, 1, memory_order_relaxed);
}

void bridge_unref(struct bridge_op *op)
{
    if (atomic_fetch_sub_explicit(&op->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (op->type->fini != NULL)
        op->type->fini(op);
    free(op);
}

static int l_box_gc(lua_State *L)
{
    struct bridge_op **box = lua_touserdata(L, 1);

    if (*box != NULL)
        bridge_unref(*box);
    *box = NULL;
    return 0;
}

struct bridge_op *bridge_new(lua_State *L, const struct bridge_type *type)
{
    struct bridge_op **box = class_box(L, BOX, sizeof(struct bridge_op *), l_box_gc);

    *box = calloc(1, type->size);
    if (*box == NULL)
        luaL_error(L, "out of memory");
    (*box)->type = type;
    atomic_init(&(*box)->refs, 1);
    return *box;
}

enum bridge_next bridge_next(struct bridge_op *op)
{
    enum bridge_next next;

    if (op->type->step == NULL)
        next = op->steps == 0 ? BRIDGE_WORK : BRIDGE_DONE;
    else
        next = op->type->step(op);
    op->steps++;
    return next;
}

static void sleep_for(double seconds)
{
    struct timespec t;

    if (seconds <= 0)
        return;
    t.tv_sec = (time_t)seconds;
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    while (nanosleep(&t, &t) == -1 && errno == EINTR)
        continue;
}

/* The executor of a stock interpreter: do it here and now. */
static void run_blocking(lua_State *L, struct bridge_op *op, enum bridge_next next)
{
    for (; next != BRIDGE_DONE; next = bridge_next(op)) {
        if (next == BRIDGE_WORK)
            op->type->work(op, NULL);
        else if (next == BRIDGE_EXCHANGE)
            exchange_perform(op->exchange);
        else if (next == BRIDGE_SLEEP)
            sleep_for(op->delay);
        else
            luaL_error(L, "%s waits for the host's event loop: run it with anomalyd",
                       op->type->name);
    }
}

static int resumed(lua_State *L, int status, lua_KContext ctx)
{
    struct bridge_op *op = (struct bridge_op *)ctx;

    (void)status;
    lua_settop(L, op->top);
    if (op->cancelled)
        return luaL_error(L, "cancelled while waiting for %s", op->type->name);
    /* Only the host's pump resumes what waits; a script that resumes another's coroutine must not
     * make it look at a result that is not there. */
    if (op->host != NULL)
        return luaL_error(L, "resumed by a script while waiting for %s", op->type->name);
    return op->k(L, LUA_OK, ctx);
}

static const struct bridge *bridge_get(lua_State *L)
{
    const struct bridge *bridge;

    lua_getfield(L, LUA_REGISTRYINDEX, BRIDGE_KEY);
    bridge = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return bridge;
}

int bridge_run(lua_State *L, struct bridge_op *op, lua_KFunction k)
{
    const struct bridge *bridge = bridge_get(L);
    const char *message = NULL;
    enum bridge_next next = bridge_next(op);

    /* What is quick is done at once; so is what cannot be waited for but only computes. */
    while (next == BRIDGE_WORK && (!op->heavy || bridge == NULL || !lua_isyieldable(L))) {
        op->type->work(op, NULL);
        next = bridge_next(op);
    }
    if (bridge == NULL)
        run_blocking(L, op, next);
    if (bridge == NULL || next == BRIDGE_DONE)
        return k(L, LUA_OK, (lua_KContext)op);
    if (!lua_isyieldable(L))
        return luaL_error(L,
                          "%s cannot wait here (inside table.sort, string.gsub, tostring or a file "
                          "being loaded): call it from the handler itself",
                          op->type->name);
    op->k = k;
    op->top = lua_gettop(L);
    luaL_checkstack(L, 4, "a waiting call");
    if (bridge->start(L, op, next, &message) != 0)
        return luaL_error(L, "%s: %s", op->type->name, message);
    lua_pushlightuserdata(L, (void *)&bridge_sentinel);
    return lua_yieldk(L, 1, (lua_KContext)op, resumed);
}

int bridge_fail(lua_State *L, const struct fail *fail)
{
    lua_pushnil(L);
    lua_pushstring(L, fail->message);
    lua_pushstring(L, fail->code);
    return 3;
}
