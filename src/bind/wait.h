/* wait: one operation (see bridge.h), carried out by the event loop: its work by a worker, its
 * exchange by curl_multi, its sleep by a timer. Knows nothing of tasks: somebody is told once.
 *
 * Everything here belongs to the loop's thread.
 */
#ifndef BIND_WAIT_H
#define BIND_WAIT_H

#include "bind/bridge.h"
#include "run/loop.h"
#include "run/multi.h"
#include "run/pool.h"

struct wait;

/* What carries operations out. Lives as long as any wait that was not cancelled. */
struct carriers {
    struct loop *loop;
    struct pool *pool; /* computes */
    struct pool *disk; /* waits for the disk */
    struct multi *multi;
};

/* Carry out op, of which `next` is what it needs first; takes a reference. `done(ctx)` is called
 * once, when it is done or cancelled, later or from inside wait_cancel: from then on the wait is
 * not the caller's. NULL when memory is short. */
struct wait *wait_start(const struct carriers *carriers, struct bridge_op *op,
                        enum bridge_next next, void (*done)(void *ctx), void *ctx);

/* End it now. What a worker has is left to it: the operation lives until the worker is done. */
void wait_cancel(struct wait *w);

/* Wake an operation whose step said BRIDGE_PARK. Calling it twice, or when it does not wait (any
 * more), does nothing. */
void wait_wake(struct bridge_op *op);

/* What is waited for, as the console shows it. */
const char *wait_name(const struct wait *w);

#endif
