/* http_conn: see http_conn.h. */
#include "run/http_conn.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <limits.h>
#include <linux/sockios.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define NO_SLOT SIZE_MAX
#define NOT_LOOKED INT64_MIN

/* A connection may wait so long, in seconds, before it has to make room for another. Without this
 * a rush of clients would push each other out before a single request was read. A TLS handshake
 * takes one round trip, or two. */
#define GRACE 0.05
#define TLS_GRACE 0.25

enum {
    READ_MAX = 16384,     /* what a bufferevent reads at once */
    LINGER_SECONDS = 5,   /* how long a closed connection's bytes are dropped */
    SLOWEST_CLIENT = 1024 /* bytes a second that a client must take of an answer */
};

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void arm(struct http_conn *conn, double seconds)
{
    struct timeval tv = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};

    event_add(conn->timer, &tv);
}

/* Run the timer's callback from the loop, as soon as it is safe. */
static void soon(struct http_conn *conn)
{
    event_active(conn->timer, EV_TIMEOUT, 0);
}

static void leave_list(struct http_conn *conn)
{
    if (conn->list != NULL)
        TAILQ_REMOVE(conn->list, conn, link);
    conn->list = NULL;
}

static void join_list(struct http_conn *conn)
{
    leave_list(conn);
    conn->since = now();
    conn->list = conn->overload ? &conn->pool->spare : &conn->pool->waiting;
    TAILQ_INSERT_TAIL(conn->list, conn, link);
}

static void set_busy(struct http_conn *conn, bool busy)
{
    struct http_pool *pool = conn->pool;

    if (conn->busy == busy)
        return;
    conn->busy = busy;
    pool->busy = busy ? pool->busy + 1 : pool->busy - 1;
    if (pool->busy == 0)
        pool->quiet(pool->owner);
}

static void conn_free(struct http_conn *conn)
{
    struct http_pool *pool = conn->pool;

    leave_list(conn);
    set_busy(conn, false);
    if (conn->slot != NO_SLOT) {
        pool->slots[conn->slot] = NULL;
        pool->n--;
        pool->unused[pool->max + HTTP_POOL_SPARE - pool->n - 1] = conn->slot;
    }
    event_free(conn->timer);
    evbuffer_remove_cb_entry(bufferevent_get_input(conn->bev), conn->hook);
    bufferevent_decref(conn->bev);
    http_intake_fini(&conn->intake);
    http_message_fini(&conn->message);
    free(conn);
}

/* evhttp is about to free its connection. */
static void on_closed(struct evhttp_connection *evcon, void *arg)
{
    struct http_conn *conn = arg;

    (void)evcon;
    conn->evcon = NULL;
    if (conn->pool->tls != NULL)
        tls_end(conn->pool->tls, conn->bev, conn->dropped, conn->peer);
    if (conn->state == CONN_HANDLING && conn->request != NULL)
        conn->pool->lost(conn, conn->pool->owner);
    conn->request = NULL;
    if (conn->state == CONN_READING && conn->linger) {
        conn->state = CONN_LINGERING;
        join_list(conn);
        soon(conn);
    } else {
        conn_free(conn);
    }
}

static void note_peer(struct http_conn *conn)
{
    const struct sockaddr *sa = evhttp_connection_get_addr(conn->evcon);
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)sa;
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)sa;

    if (sa != NULL && sa->sa_family == AF_INET) {
        conn->peer_is_loopback = (ntohl(four->sin_addr.s_addr) >> 24) == 127;
        conn->peer_port = ntohs(four->sin_port);
        inet_ntop(AF_INET, &four->sin_addr, conn->peer, sizeof conn->peer);
    } else if (sa != NULL && sa->sa_family == AF_INET6) {
        const unsigned char *bytes = six->sin6_addr.s6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&six->sin6_addr);

        conn->peer_port = ntohs(six->sin6_port);
        conn->peer_is_loopback = mapped ? bytes[12] == 127 : IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
        inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? bytes + 12 : bytes, conn->peer,
                  sizeof conn->peer);
    }
}

/* Learn which connection evhttp made around our bufferevent. -1: it gave up and made none. */
static int attach(struct http_conn *conn)
{
    void *evcon = NULL;

    if (conn->attached)
        return 0;
    bufferevent_getcb(conn->bev, NULL, NULL, NULL, &evcon);
    if (evcon == NULL)
        return -1;
    conn->attached = true;
    conn->evcon = evcon;
    evhttp_connection_set_closecb(evcon, on_closed, conn);
    note_peer(conn);
    return 0;
}

/* Close now. Only from the loop or an accept, never from within the connection's own callbacks. */
static void drop(struct http_conn *conn)
{
    if (attach(conn) == 0 && conn->evcon != NULL) {
        conn->linger = false;
        conn->dropped = true;
        evhttp_connection_free(conn->evcon);
    } else {
        conn_free(conn);
    }
}

static void doom(struct http_conn *conn)
{
    conn->doomed = true;
    soon(conn);
}

/* A whole request or a refusal is there: give evhttp something to dispatch. */
static void present(struct http_conn *conn)
{
    struct evbuffer *input = bufferevent_get_input(conn->bev);
    int failed;

    if (conn->overload)
        http_intake_refuse(&conn->intake, 503, "Too many requests are being handled");
    conn->refusal = conn->intake.refusal;
    if (http_intake_take(&conn->intake, &conn->message) != 0) {
        doom(conn);
        return;
    }
    event_del(conn->timer);
    leave_list(conn);
    set_busy(conn, true);
    conn->state = CONN_HANDLING;
    conn->ready = false;
    /* a socket's bufferevent keeps the end of its input frozen, except while it reads */
    evbuffer_unfreeze(input, 0);
    evbuffer_cb_clear_flags(input, conn->hook, EVBUFFER_CB_ENABLED);
    failed = evbuffer_add_printf(input, "POST /%zu HTTP/1.1\r\n\r\n", conn->slot) < 0;
    evbuffer_cb_set_flags(input, conn->hook, EVBUFFER_CB_ENABLED);
    if (conn->pool->tls == NULL)
        evbuffer_freeze(input, 0);
    if (failed)
        doom(conn);
}

/* Present it from the loop. */
static void hand_over(struct http_conn *conn)
{
    present(conn);
    if (!conn->doomed)
        bufferevent_trigger(conn->bev, EV_READ, 0);
}

/* A whole request or a refusal has come. With TLS the rest of a record may still be on its way into
 * evhttp's input, where it would get mixed with our line: there it waits until that is over. */
static void complete(struct http_conn *conn)
{
    if (conn->pool->tls == NULL) {
        present(conn);
        return;
    }
    leave_list(conn);
    set_busy(conn, true);
    conn->ready = true;
    soon(conn);
}

/* evhttp keeps writing disabled while it reads, and its write callback would take these bytes for
 * the end of an answer: so it is set aside until evhttp sets its callbacks for the answer. */
static void send_continue(struct http_conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    bufferevent_data_cb read;
    bufferevent_event_cb event;
    void *arg;

    conn->intake.want_continue = false;
    if (conn->pool->tls != NULL) {
        /* with TLS that callback comes late, perhaps only when the answer's have been set */
        if (tls_say(conn->bev, text, sizeof text - 1) != 0)
            doom(conn);
        return;
    }
    bufferevent_getcb(conn->bev, &read, NULL, &event, &arg);
    bufferevent_setcb(conn->bev, read, NULL, event, arg);
    bufferevent_write(conn->bev, text, sizeof text - 1);
    bufferevent_enable(conn->bev, EV_WRITE);
}

static void step(struct http_conn *conn)
{
    switch (http_intake_step(&conn->intake)) {
    case INTAKE_HEAD:
        break;
    case INTAKE_BODY:
        if (!conn->in_body)
            arm(conn, conn->pool->body_seconds);
        conn->in_body = true;
        set_busy(conn, true);
        if (conn->overload)
            complete(conn);
        else if (conn->intake.want_continue)
            send_continue(conn);
        break;
    case INTAKE_DONE:
    case INTAKE_REFUSED:
        complete(conn);
        break;
    }
}

/* Bytes have come into evhttp's input: take them away before evhttp looks. */
static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    struct http_conn *conn = arg;
    size_t n = evbuffer_get_length(input);
    bool began = http_intake_began(&conn->intake);
    char *room;

    if (info->n_added == 0 || n == 0 || attach(conn) != 0)
        return;
    room =
        conn->state == CONN_LINGERING || conn->doomed ? NULL : http_intake_room(&conn->intake, n);
    if (room == NULL) {
        evbuffer_drain(input, n);
        if (conn->state != CONN_LINGERING)
            doom(conn);
        return;
    }
    evbuffer_remove(input, room, n);
    http_intake_added(&conn->intake, n);
    if (conn->state != CONN_READING || conn->ready)
        return;
    if (!began)
        arm(conn, conn->pool->head_seconds);
    step(conn);
}

/* Bytes that the client has taken, counted from anywhere. With TLS what lies in the output says
 * little: a whole answer stays there until its last byte is encrypted. */
static int64_t taken(struct http_conn *conn)
{
    int queued = 0;

    if (ioctl(bufferevent_getfd(conn->bev), SIOCOUTQ, &queued) != 0)
        queued = 0;
    if (conn->pool->tls != NULL)
        return (int64_t)tls_written(conn->bev) - queued;
    return -(int64_t)evbuffer_get_length(bufferevent_get_output(conn->bev)) - queued;
}

/* Has the client taken enough of the answer since the last look? */
static void check_writing(struct http_conn *conn)
{
    int64_t now_taken = taken(conn);

    if (conn->taken != NOT_LOOKED &&
        now_taken - conn->taken < (int64_t)(conn->pool->write_seconds * (double)SLOWEST_CLIENT)) {
        drop(conn);
        return;
    }
    conn->taken = now_taken;
    arm(conn, conn->pool->write_seconds);
}

static void on_linger_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    (void)what;
    conn_free(arg);
}

static void check_lingering(struct http_conn *conn)
{
    bufferevent_event_cb event = NULL;

    bufferevent_getcb(conn->bev, NULL, NULL, &event, NULL);
    if (event == on_linger_event) {
        conn_free(conn);
        return;
    }
    bufferevent_setcb(conn->bev, NULL, NULL, on_linger_event, conn);
    bufferevent_enable(conn->bev, EV_READ);
    arm(conn, LINGER_SECONDS);
}

/* The deadline of a request on its way in has come. */
static void check_reading(struct http_conn *conn)
{
    if (!http_intake_began(&conn->intake)) {
        drop(conn);
        return;
    }
    http_intake_refuse(&conn->intake, 408, "The request did not come in time");
    hand_over(conn);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct http_conn *conn = arg;

    (void)fd;
    (void)what;
    if (conn->doomed) {
        drop(conn);
    } else if (!conn->attached) {
        if (attach(conn) != 0)
            conn_free(conn);
        else
            arm(conn, conn->pool->head_seconds);
    } else if (conn->state == CONN_READING && conn->ready) {
        hand_over(conn);
    } else if (conn->state == CONN_READING) {
        check_reading(conn);
    } else if (conn->state == CONN_WRITING) {
        check_writing(conn);
    } else if (conn->state == CONN_LINGERING) {
        check_lingering(conn);
    }
}

/* The answer is sent. evhttp goes on to read the next request, or closes after a `last` one. */
static void on_sent(struct evhttp_request *evreq, void *arg)
{
    struct http_conn *conn = arg;

    (void)evreq;
    conn->state = CONN_READING;
    conn->in_body = false;
    set_busy(conn, false);
    event_del(conn->timer);
    if (conn->doomed)
        soon(conn);
    if (conn->last || conn->doomed)
        return;
    join_list(conn);
    arm(conn,
        http_intake_began(&conn->intake) ? conn->pool->head_seconds : conn->pool->idle_seconds);
    /* evhttp looks into its input by itself after this, from the loop */
    if (http_intake_began(&conn->intake))
        step(conn);
}

void http_conn_answered(struct http_conn *conn, struct evhttp_request *evreq, bool last)
{
    conn->state = CONN_WRITING;
    conn->request = NULL;
    conn->last = last;
    conn->linger = last && (conn->refusal.status != 0 || http_intake_began(&conn->intake));
    /* evhttp has enabled reading to learn of a close, and would cut the answer to a client that
     * has only closed its sending side */
    bufferevent_disable(conn->bev, EV_READ);
    evhttp_request_set_on_complete_cb(evreq, on_sent, conn);
    conn->taken = NOT_LOOKED;
    arm(conn, conn->pool->write_seconds);
}

static struct http_conn *conn_new(struct http_pool *pool)
{
    struct http_conn *conn = calloc(1, sizeof *conn);

    if (conn == NULL)
        return NULL;
    conn->pool = pool;
    conn->slot = NO_SLOT;
    http_intake_init(&conn->intake, &pool->limits, READ_MAX);
    conn->timer = evtimer_new(pool->base, on_timer, conn);
    conn->bev = pool->tls != NULL ? tls_accept(pool->tls, pool->base)
                                  : bufferevent_socket_new(pool->base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (conn->bev != NULL)
        conn->hook = evbuffer_add_cb(bufferevent_get_input(conn->bev), on_input, conn);
    if (conn->timer == NULL || conn->hook == NULL) {
        if (conn->timer != NULL)
            event_free(conn->timer);
        if (conn->bev != NULL)
            bufferevent_free(conn->bev);
        free(conn);
        return NULL;
    }
    /* evhttp's callback has nothing to do until a request is put there */
    bufferevent_setwatermark(conn->bev, EV_READ, 1, 0);
    bufferevent_incref(conn->bev);
    return conn;
}

static void take_slot(struct http_conn *conn)
{
    struct http_pool *pool = conn->pool;

    conn->overload = pool->n >= pool->max;
    conn->slot = pool->unused[pool->max + HTTP_POOL_SPARE - pool->n - 1];
    pool->slots[conn->slot] = conn;
    pool->n++;
    join_list(conn);
}

/* The connection to drop for a new one; NULL when none has to go or may go.
 * NOLINTBEGIN(clang-analyzer-unix.Malloc): the analyzer cannot see that a freed one left its list */
static struct http_conn *victim(const struct http_pool *pool)
{
    if (pool->n < pool->max)
        return NULL;
    if (!TAILQ_EMPTY(&pool->waiting))
        return TAILQ_FIRST(&pool->waiting);
    return pool->n < pool->max + HTTP_POOL_SPARE ? NULL : TAILQ_FIRST(&pool->spare);
}
/* NOLINTEND(clang-analyzer-unix.Malloc) */

bool http_pool_has_room(const struct http_pool *pool)
{
    const struct http_conn *conn = victim(pool);

    if (conn == NULL)
        return pool->n < pool->max + HTTP_POOL_SPARE;
    return now() - conn->since >= (pool->tls != NULL ? TLS_GRACE : GRACE);
}

struct bufferevent *http_pool_accept(struct event_base *base, void *arg)
{
    struct http_pool *pool = arg;
    struct http_conn *conn = victim(pool);

    (void)base;
    if (conn != NULL)
        drop(conn);
    conn = conn_new(pool);
    if (conn == NULL)
        return NULL;
    if (pool->n < pool->max + HTTP_POOL_SPARE)
        take_slot(conn);
    else
        conn->doomed = true; /* evhttp has accepted it already: it is closed in a moment */
    soon(conn);
    if (!http_pool_has_room(pool))
        pool->full(pool->owner);
    return conn->bev;
}

struct http_conn *http_pool_find(struct http_pool *pool, struct evhttp_request *evreq)
{
    const char *uri = evhttp_request_get_uri(evreq);
    unsigned long slot = uri == NULL || *uri != '/' ? ULONG_MAX : strtoul(uri + 1, NULL, 10);
    struct http_conn *conn;

    if (slot >= pool->max + HTTP_POOL_SPARE)
        return NULL;
    conn = pool->slots[slot];
    if (conn == NULL || conn->evcon != evhttp_request_get_connection(evreq) ||
        conn->state != CONN_HANDLING || conn->request != NULL)
        return NULL;
    return conn;
}

bool http_pool_shed(struct http_pool *pool)
{
    struct http_conn *conn = TAILQ_FIRST(&pool->waiting);

    if (conn == NULL)
        conn = TAILQ_FIRST(&pool->spare);
    if (conn == NULL)
        return false;
    drop(conn);
    return true;
}

static void drop_idle(struct http_conn_list *list)
{
    struct http_conn *conn = TAILQ_FIRST(list), *next;

    for (; conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, link);
        if (conn->state == CONN_READING && !conn->busy)
            drop(conn);
    }
}

void http_pool_drop_idle(struct http_pool *pool)
{
    drop_idle(&pool->waiting);
    drop_idle(&pool->spare);
}

int http_pool_init(struct http_pool *pool)
{
    size_t n = pool->max + HTTP_POOL_SPARE;

    TAILQ_INIT(&pool->waiting);
    TAILQ_INIT(&pool->spare);
    pool->slots = calloc(n, sizeof *pool->slots);
    pool->unused = calloc(n, sizeof *pool->unused);
    if (pool->slots == NULL || pool->unused == NULL) {
        http_pool_fini(pool);
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        pool->unused[i] = i;
    return 0;
}

void http_pool_fini(struct http_pool *pool)
{
    for (size_t i = 0; pool->slots != NULL && i < pool->max + HTTP_POOL_SPARE; i++) {
        if (pool->slots[i] != NULL)
            conn_free(pool->slots[i]);
    }
    free(pool->slots);
    free(pool->unused);
    pool->slots = NULL;
    pool->unused = NULL;
}
