/* multi: see multi.h. */
#include "run/multi.h"

#include <stdlib.h>

struct multi {
    CURLM *curlm; /* made with the first exchange: a service on a directory bucket needs none */
    struct loop *loop;
    struct timer *timer;
    long connections;
};

/* What runs: owned by the exchange's `owner` field between start and done. */
struct transfer {
    struct multi *multi;
    void (*done)(struct exchange *x, void *ctx);
    void *ctx;
};

static void collect(struct multi *multi)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(multi->curlm, &left)) != NULL) {
        struct exchange *x = NULL;
        struct transfer *t;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&x);
        t = x->owner;
        x->owner = NULL;
        curl_multi_remove_handle(multi->curlm, x->easy);
        exchange_finish(x, code);
        t->done(x, t->ctx);
        free(t);
    }
}

static void socket_ready(evutil_socket_t fd, short what, void *arg)
{
    struct multi *multi = arg;
    int action = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;

    curl_multi_socket_action(multi->curlm, fd, action, &running);
    collect(multi);
}

static void time_ready(void *arg)
{
    struct multi *multi = arg;
    int running;

    curl_multi_socket_action(multi->curlm, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(multi);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sockp)
{
    struct multi *multi = arg;
    struct event *event = sockp;
    short events = (short)((what & CURL_POLL_IN ? EV_READ : 0) |
                           (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
    int result = 0;

    (void)easy;
    if (event != NULL)
        event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE) {
        event = event_new(loop_base(multi->loop), fd, events, socket_ready, multi);
        if (event == NULL || event_add(event, NULL) != 0) {
            if (event != NULL)
                event_free(event);
            event = NULL;
            result = -1;
        }
    }
    /* Also after a failure: curl must not hand back an event that was freed. */
    curl_multi_assign(multi->curlm, fd, event);
    return result;
}

static int on_timer(CURLM *curlm, long milliseconds, void *arg)
{
    struct multi *multi = arg;

    (void)curlm;
    if (milliseconds < 0)
        timer_stop(multi->timer);
    else
        timer_start(multi->timer, (double)milliseconds / 1000);
    return 0;
}

static int prepare(struct multi *multi)
{
    if (multi->curlm != NULL)
        return 0;
    multi->curlm = curl_multi_init();
    if (multi->curlm == NULL)
        return -1;
    curl_multi_setopt(multi->curlm, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi->curlm, CURLMOPT_SOCKETDATA, multi);
    curl_multi_setopt(multi->curlm, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi->curlm, CURLMOPT_TIMERDATA, multi);
    curl_multi_setopt(multi->curlm, CURLMOPT_MAX_TOTAL_CONNECTIONS, multi->connections);
    curl_multi_setopt(multi->curlm, CURLMOPT_MAXCONNECTS, multi->connections);
    return 0;
}

struct multi *multi_new(struct loop *loop, long connections, struct fail *fail)
{
    struct multi *multi = calloc(1, sizeof *multi);

    if (multi != NULL) {
        multi->loop = loop;
        multi->connections = connections;
        multi->timer = timer_new(loop, time_ready, multi);
    }
    if (multi == NULL || multi->timer == NULL) {
        fail_memory(fail);
        multi_free(multi);
        return NULL;
    }
    return multi;
}

void multi_free(struct multi *multi)
{
    if (multi == NULL)
        return;
    /* curl_multi_cleanup closes kept connections and would call these with freed things. */
    if (multi->curlm != NULL) {
        curl_multi_setopt(multi->curlm, CURLMOPT_TIMERFUNCTION, NULL);
        curl_multi_cleanup(multi->curlm);
    }
    timer_free(multi->timer);
    free(multi);
}

int multi_start(struct multi *multi, struct exchange *x,
                void (*done)(struct exchange *x, void *ctx), void *ctx)
{
    struct transfer *t;

    if (prepare(multi) != 0 || (t = malloc(sizeof *t)) == NULL)
        return -1;
    t->multi = multi;
    t->done = done;
    t->ctx = ctx;
    x->owner = t;
    curl_easy_setopt(x->easy, CURLOPT_PRIVATE, x);
    if (curl_multi_add_handle(multi->curlm, x->easy) != CURLM_OK) {
        x->owner = NULL;
        free(t);
        return -1;
    }
    return 0;
}

void multi_cancel(struct multi *multi, struct exchange *x)
{
    if (x->owner == NULL)
        return;
    curl_multi_remove_handle(multi->curlm, x->easy);
    free(x->owner);
    x->owner = NULL;
}
