/* bridge: the one way in which a Lua function waits for C.
 *
 * A binding that computes long, talks over the network or sleeps makes an *operation*: a reference
 * counted struct whose `step` says what comes next. In the host the calling task yields and the
 * event loop carries the operation out (worker pool, curl_multi, timer); in a stock lua5.4 the same
 * operation runs to its end on the spot. Either way the continuation `k` then builds the results,
 * on the Lua side, where an error belongs to the caller.
 *
 *     struct fit_op { struct bridge_op op; ...inputs, outputs... };
 *     static void fit_work(struct bridge_op *op, struct crew *crew) { ...no Lua here... }
 *     static void fit_fini(struct bridge_op *op) { ...release inputs and outputs, not op itself... }
 *     static const struct bridge_type fit_type = {"iforest.fit", sizeof(struct fit_op), NULL,
 *                                                 fit_work, fit_fini};
 *     static int fit_done(lua_State *L, int status, lua_KContext ctx)
 *     {
 *         struct fit_op *f = (struct fit_op *)ctx;      (the box is still on the stack: f is alive)
 *         ...push results... return n;
 *     }
 *     static int l_fit(lua_State *L)
 *     {
 *         ...check every argument...
 *         struct fit_op *f = (struct fit_op *)bridge_new(L, &fit_type);    pushes the box
 *         ...take references into f...
 *         f->op.heavy = rows > 1000;
 *         return bridge_run(L, &f->op, fit_done);
 *     }
 *
 * Rules: between bridge_new and the assignment of an owned pointer into the operation nothing may
 * raise while the pointer is only in a local variable. `work` and `fini` may run on a worker
 * thread; `step` runs on the thread of the loop and never sees Lua.
 */
#ifndef BIND_BRIDGE_H
#define BIND_BRIDGE_H

#include "core/crew.h"
#include "core/exchange.h"

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* What an operation needs next. */
enum bridge_next {
    BRIDGE_DONE,     /* the result is there */
    BRIDGE_WORK,     /* call type->work, on a worker when op->heavy */
    BRIDGE_EXCHANGE, /* carry out op->exchange, owned by the operation */
    BRIDGE_SLEEP,    /* wait op->delay seconds */
    BRIDGE_PARK      /* wait until somebody calls wait_wake (host modules only) */
};

struct bridge_op;

struct bridge_type {
    const char *name; /* what the console shows for a waiting task */
    size_t size;      /* of the whole struct, whose first member is the bridge_op */
    /* What next? Called first with op->steps == 0 and again (1, 2, ...) after each thing it asked
     * for is done. NULL means: WORK once, then DONE. */
    enum bridge_next (*step)(struct bridge_op *op);
    void (*work)(struct bridge_op *op, struct crew *crew);
    void (*fini)(struct bridge_op *op); /* release what op owns, not op; may be NULL */
};

struct bridge_op {
    const struct bridge_type *type;
    atomic_int refs;
    unsigned steps; /* how often step was called before */
    bool heavy;     /* worth a worker thread; when false, work runs where it is */
    bool disk;      /* with heavy: waits for the disk more than it computes */
    double delay;   /* seconds, for BRIDGE_SLEEP */
    struct exchange *exchange;
    /* the bridge's own */
    bool cancelled; /* the waiting task was told to end */
    int top;
    lua_KFunction k;
    void *host; /* the host's record of this wait */
};

/* What a host puts into the registry under BRIDGE_KEY (a light userdata). */
struct bridge {
    int abi;
    /* Begin `next` for op and arrange that the running task is resumed when the operation is done.
     * Takes its own reference. 0, or -1 with a message when this cannot be waited for now. */
    int (*start)(lua_State *L, struct bridge_op *op, enum bridge_next next, const char **message);
};
#define BRIDGE_KEY "anomalyd.bridge"
#define BRIDGE_ABI 1

/* The first value of every yield that is a wait; lua/coro.lua passes it outward. */
extern const char bridge_sentinel;

/* Push the box of a new zeroed operation of this type and return the operation. Raises when memory
 * is short. The box holds one reference; it must stay on the stack until the continuation ends. */
struct bridge_op *bridge_new(lua_State *L, const struct bridge_type *type);

/* References beside the box's (the host's, a worker's). The last one runs fini and frees. */
void bridge_ref(struct bridge_op *op);
void bridge_unref(struct bridge_op *op);

/* Carry out op, then return k(L, LUA_OK, (lua_KContext)op). The caller returns what this returns.
 * The stack as it was at the call is what the continuation finds. Raises when the wait is not
 * possible here (inside table.sort, gsub, a metamethod of tostring, a chunk being required). */
int bridge_run(lua_State *L, struct bridge_op *op, lua_KFunction k);

/* For executors: ask the operation what it needs next. */
enum bridge_next bridge_next(struct bridge_op *op);

/* Push nil, message, code of a failure; returns 3. */
int bridge_fail(lua_State *L, const struct fail *fail);

#endif
