/* http_conn: the guard in front of each evhttp connection, and the count of them.
 *
 * What evhttp 2.1.12 does not do (limits on heads, a total deadline, refusing what is ambiguous,
 * answering in our form, a cap on connections) is done before evhttp sees a byte. A callback on the
 * input buffer of evhttp's bufferevent takes the bytes away as they arrive and puts one whole
 * request together (core/http_intake). Only then evhttp is handed a request of our own making,
 * `POST /SLOT HTTP/1.1`, where SLOT is the connection's number here; evhttp dispatches it, the true
 * request or the refusal is found under the slot, and evhttp formats and writes the answer and
 * sequences the connection. So evhttp's parser reads nothing that came from outside.
 *
 * Why not a filtering bufferevent: in 2.1.12 its write callback runs when bytes have moved to the
 * underlying bufferevent, not when they were sent, and evhttp then closes and frees both, cutting
 * the answer; and enabling EV_WRITE on a filter does not flush what evhttp added before.
 *
 * What is relied on in evhttp 2.1.12: the argument of its bufferevent callbacks is the connection;
 * it never reads with EV_READ disabled, and disables it from dispatch to reply; its `closecb` runs
 * whenever it frees a connection. Each guard holds its own reference to the bufferevent, so that
 * nothing dangles and the socket can linger after evhttp has let go of it.
 *
 * With TLS the bufferevent is OpenSSL's, over the socket itself. It differs in what is handled apart
 * in http_conn.c: it reads on within one turn of the loop, calls back late after a write, does not
 * freeze its input, and says nothing at the end. A handshake is under the deadline of a head.
 */
#ifndef RUN_HTTP_CONN_H
#define RUN_HTTP_CONN_H

#include "core/http_intake.h"
#include "run/tls.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <sys/queue.h>

enum http_conn_state {
    CONN_READING,  /* idle, or a request is on its way in */
    CONN_HANDLING, /* a request was handed out and not yet answered */
    CONN_WRITING,  /* the answer is on its way out */
    CONN_LINGERING /* answered; what the client still sends is dropped, so that it can read why */
};

TAILQ_HEAD(http_conn_list, http_conn);

struct http_conn {
    struct http_pool *pool;
    size_t slot;
    enum http_conn_state state;
    struct bufferevent *bev; /* one reference is ours */
    struct evbuffer_cb_entry *hook;
    struct evhttp_connection *evcon; /* NULL: not known yet, or freed by evhttp */
    struct event *timer;
    struct http_intake intake;
    struct http_message message; /* taken out of intake, until the owner moves it away */
    struct http_refusal refusal; /* of the message */
    void *request;               /* the owner's record while HANDLING */
    struct http_conn_list *list; /* the list it waits in, or NULL */
    TAILQ_ENTRY(http_conn) link;
    double since;  /* monotonic: when it joined that list */
    int64_t taken; /* while WRITING: bytes taken by the client at the last look */
    bool attached;
    bool in_body;  /* the body deadline is running, not the head's */
    bool busy;     /* counted in pool->busy */
    bool ready;    /* a whole request or a refusal waits to be presented (TLS) */
    bool dropped;  /* ended by us */
    bool doomed;   /* to be dropped by the timer */
    bool overload; /* came when all connections were busy: its request is refused with 503 */
    bool last;     /* evhttp closes after the answer */
    bool linger;   /* and then gently: the client may still be sending */
    char peer[INET6_ADDRSTRLEN];
    int peer_port;
    bool peer_is_loopback;
};

/* All connections of a server. Filled by its owner up to `owner`, then http_pool_init. */
struct http_pool {
    struct event_base *base;
    struct tls *tls; /* NULL: plain HTTP */
    struct http_limits limits;
    double head_seconds, body_seconds, idle_seconds, write_seconds;
    size_t max; /* connections */
    /* A connection went while its request was being handled. */
    void (*lost)(struct http_conn *conn, void *owner);
    /* `busy` has come to 0. Called from within evhttp: only take note. */
    void (*quiet)(void *owner);
    /* There is no room for one more: stop accepting until http_pool_has_room. */
    void (*full)(void *owner);
    void *owner;
    /* its own */
    struct http_conn **slots;      /* max + HTTP_POOL_SPARE of them */
    size_t *unused;                /* a stack of free slots */
    size_t n;                      /* connections */
    size_t busy;                   /* connections from a complete head to the end of the answer */
    struct http_conn_list waiting; /* without a complete request, the longest waiting first */
    struct http_conn_list spare;   /* the same of those above `max` */
};

/* Connections above `max` that are still taken on, to be told 503. */
enum { HTTP_POOL_SPARE = 32 };

/* 0, or -1 when memory is short. */
int http_pool_init(struct http_pool *pool);

/* After evhttp_free: frees what still lingers. */
void http_pool_fini(struct http_pool *pool);

/* The callback for evhttp_set_bevcb; `pool` is its argument. Makes room at the cap. */
struct bufferevent *http_pool_accept(struct event_base *base, void *pool);

/* May one more connection be accepted, if need be in the place of one that waits? */
bool http_pool_has_room(const struct http_pool *pool);

/* The guard of a request that evhttp dispatched, or NULL when it is not one of ours. */
struct http_conn *http_pool_find(struct http_pool *pool, struct evhttp_request *evreq);

/* Drop the connection that has waited longest without a complete request. False: there is none. */
bool http_pool_shed(struct http_pool *pool);

/* Drop every connection on which no head is complete. */
void http_pool_drop_idle(struct http_pool *pool);

/* The owner has given evhttp the answer. `last`: the connection is closed after it. */
void http_conn_answered(struct http_conn *conn, struct evhttp_request *evreq, bool last);

#endif
