/* loop: the one thread's event loop, its timers and its signals.
 *
 * Everything here belongs to the thread that runs loop_run. Callbacks are plain C and must return
 * soon: nothing on this thread may block.
 */
#ifndef RUN_LOOP_H
#define RUN_LOOP_H

#include "core/fail.h"

#include <event2/event.h>

struct loop;
struct timer;

/* A new loop; NULL and `fail` when the kernel gives none. */
struct loop *loop_new(struct fail *fail);
void loop_free(struct loop *loop);

/* The libevent base, for what is built on it (HTTP server, watcher, curl). */
struct event_base *loop_base(struct loop *loop);

/* Run until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Seconds on a clock that never jumps. */
double loop_now(void);

/* A timer that calls fn(ctx) from the loop once each time it is started. NULL: memory is short. */
typedef void (*loop_fn)(void *ctx);
struct timer *timer_new(struct loop *loop, loop_fn fn, void *ctx);
void timer_start(struct timer *t, double seconds);
void timer_stop(struct timer *t);
/* Make it due now: the next turn of the loop calls it. */
void timer_soon(struct timer *t);
void timer_free(struct timer *t);

/* Call fn(signo, ctx) on the loop whenever the signal arrives. At most 8 signals; lives as long as
 * the loop. */
int loop_on_signal(struct loop *loop, int signo, void (*fn)(int signo, void *ctx), void *ctx);

#endif
