/* loop: see loop.h. */
#include "run/loop.h"

#include <stdlib.h>
#include <time.h>

enum { MAX_SIGNALS = 8 };

struct signal_watch {
    struct event *event;
    void (*fn)(int signo, void *ctx);
    void *ctx;
};

struct loop {
    struct event_base *base;
    struct signal_watch signals[MAX_SIGNALS];
    int n_signals;
};

struct timer {
    struct event *event;
    loop_fn fn;
    void *ctx;
};

struct loop *loop_new(struct fail *fail)
{
    struct loop *loop = calloc(1, sizeof *loop);

    if (loop == NULL) {
        fail_memory(fail);
        return NULL;
    }
    loop->base = event_base_new();
    if (loop->base == NULL) {
        fail_set(fail, "NoLoop", "the kernel gives no event queue (too many open files?)");
        free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    for (int i = 0; i < loop->n_signals; i++)
        event_free(loop->signals[i].event);
    event_base_free(loop->base);
    free(loop);
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

void loop_run(struct loop *loop)
{
    event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

void loop_stop(struct loop *loop)
{
    event_base_loopbreak(loop->base);
}

double loop_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    struct timer *t = arg;

    (void)fd;
    (void)what;
    t->fn(t->ctx);
}

struct timer *timer_new(struct loop *loop, loop_fn fn, void *ctx)
{
    struct timer *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->fn = fn;
    t->ctx = ctx;
    t->event = event_new(loop->base, -1, 0, timer_fired, t);
    if (t->event == NULL) {
        free(t);
        return NULL;
    }
    return t;
}

void timer_start(struct timer *t, double seconds)
{
    struct timeval tv;

    if (!(seconds > 0))
        seconds = 0;
    if (seconds > 1e9)
        seconds = 1e9;
    tv.tv_sec = (time_t)seconds;
    tv.tv_usec = (suseconds_t)((seconds - (double)tv.tv_sec) * 1e6);
    /* From now, and not from when the loop last looked at the clock. */
    event_base_update_cache_time(event_get_base(t->event));
    event_add(t->event, &tv);
}

void timer_stop(struct timer *t)
{
    event_del(t->event);
}

void timer_soon(struct timer *t)
{
    event_active(t->event, EV_TIMEOUT, 0);
}

void timer_free(struct timer *t)
{
    if (t == NULL)
        return;
    event_free(t->event);
    free(t);
}

static void signal_fired(evutil_socket_t fd, short what, void *arg)
{
    const struct signal_watch *w = arg;

    (void)what;
    w->fn((int)fd, w->ctx);
}

int loop_on_signal(struct loop *loop, int signo, void (*fn)(int signo, void *ctx), void *ctx)
{
    struct signal_watch *w = &loop->signals[loop->n_signals];

    if (loop->n_signals == MAX_SIGNALS)
        return -1;
    w->fn = fn;
    w->ctx = ctx;
    w->event = evsignal_new(loop->base, signo, signal_fired, w);
    if (w->event == NULL)
        return -1;
    loop->n_signals++;
    return event_add(w->event, NULL);
}
