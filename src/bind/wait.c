/* wait: see wait.h. */
#include "bind/wait.h"

#include <stdlib.h>

struct wait {
    struct pool_job job; /* first: a pool_job is its wait */
    const struct carriers *carriers;
    struct bridge_op *op;
    struct timer *timer;
    enum bridge_next next;
    void (*done)(void *ctx); /* NULL once it was cancelled: only a worker knows it then */
    void *ctx;
};

static void begin(struct wait *w, enum bridge_next next);

/* The operation is done, or nobody waits for it. */
static void end(struct wait *w)
{
    w->op->host = NULL;
    if (w->done != NULL)
        w->done(w->ctx);
    timer_free(w->timer);
    bridge_unref(w->op);
    free(w);
}

/* A part of the operation is done: what next? Quick work is done here. */
static void step(struct wait *w)
{
    enum bridge_next next;

    if (w->done == NULL) {
        end(w);
        return;
    }
    next = bridge_next(w->op);
    while (next == BRIDGE_WORK && !w->op->heavy) {
        w->op->type->work(w->op, NULL);
        next = bridge_next(w->op);
    }
    if (next == BRIDGE_DONE)
        end(w);
    else
        begin(w, next);
}

static void job_work(struct pool_job *job, struct crew *crew)
{
    struct bridge_op *op = ((struct wait *)job)->op;

    op->type->work(op, crew);
}

static void job_done(struct pool_job *job)
{
    step((struct wait *)job);
}

static void exchange_done(struct exchange *x, void *ctx)
{
    (void)x;
    step(ctx);
}

static void timer_done(void *ctx)
{
    step(ctx);
}

static void begin(struct wait *w, enum bridge_next next)
{
    const struct carriers *c = w->carriers;

    w->next = next;
    if (next == BRIDGE_WORK) {
        pool_submit(w->op->disk ? c->disk : c->pool, &w->job);
    } else if (next == BRIDGE_EXCHANGE) {
        if (multi_start(c->multi, w->op->exchange, exchange_done, w) != 0) {
            exchange_finish(w->op->exchange, CURLE_OUT_OF_MEMORY);
            timer_soon(w->timer);
        }
    } else if (next == BRIDGE_SLEEP || w->op->delay > 0) {
        timer_start(w->timer, w->op->delay);
    }
}

struct wait *wait_start(const struct carriers *carriers, struct bridge_op *op,
                        enum bridge_next next, void (*done)(void *ctx), void *ctx)
{
    struct wait *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->timer = timer_new(carriers->loop, timer_done, w);
    if (w->timer == NULL) {
        free(w);
        return NULL;
    }
    w->job.work = job_work;
    w->job.done = job_done;
    w->carriers = carriers;
    w->op = op;
    w->done = done;
    w->ctx = ctx;
    bridge_ref(op);
    op->host = w;
    begin(w, next);
    return w;
}

void wait_cancel(struct wait *w)
{
    void (*done)(void *ctx) = w->done;

    w->op->cancelled = true;
    if (w->next == BRIDGE_WORK) {
        w->done = NULL;
        done(w->ctx);
        return;
    }
    if (w->next == BRIDGE_EXCHANGE)
        multi_cancel(w->carriers->multi, w->op->exchange);
    end(w);
}

void wait_wake(struct bridge_op *op)
{
    struct wait *w = op->host;

    if (w == NULL || w->next != BRIDGE_PARK)
        return;
    w->next = BRIDGE_DONE;
    timer_soon(w->timer);
}

const char *wait_name(const struct wait *w)
{
    return w->op->type->name;
}
