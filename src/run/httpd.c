/* httpd: see httpd.h. */
#include "run/httpd.h"

#include "run/http_conn.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,   /* the kernel cuts it to its own limit */
    OTHER_FILES = 64, /* descriptors left to the rest of the process */
    FULL_MS = 10,     /* how long accepting rests when there is no room */
    FAILED_MS = 100   /* and when descriptors have run out */
};

struct httpd {
    struct http_pool pool;
    struct evhttp *http;
    struct evhttp_bound_socket *bound; /* NULL once it does not listen any more */
    struct event *resume;              /* accept again */
    struct event *idle_event;
    int port;
    uint64_t number;
    bool draining;
    httpd_handler *handler;
    void *ctx;
    httpd_access *access;
    void *access_ctx;
    void (*idle)(void *ctx);
    void *idle_ctx;
    struct httpd *next;
};

/* evhttp keeps the listener's callback argument for itself, so that the callback for a failed
 * accept has to find its server here. */
static struct httpd *servers;

/* A request with what it is made of. Outlives its connection and its server. */
struct exchange {
    struct httpd_request request;
    struct http_message message;
    struct httpd *server;   /* NULL once the connection is gone */
    struct http_conn *conn; /* as server */
    struct evhttp_request *evreq;
    char peer[INET6_ADDRSTRLEN];
};

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct exchange *exchange_of(struct httpd_request *request)
{
    return (struct exchange *)(void *)request; /* its first member */
}

static void exchange_free(struct exchange *x)
{
    http_message_fini(&x->message);
    free(x);
}

static struct exchange *exchange_new(struct httpd *server, struct http_conn *conn,
                                     struct evhttp_request *evreq)
{
    struct exchange *x = calloc(1, sizeof *x);
    struct httpd_request *r;

    if (x == NULL)
        return NULL;
    x->message = conn->message;
    memset(&conn->message, 0, sizeof conn->message);
    memcpy(x->peer, conn->peer, sizeof x->peer);
    x->server = server;
    x->conn = conn;
    x->evreq = evreq;
    r = &x->request;
    r->method = x->message.method;
    r->target = x->message.target;
    r->minor = x->message.minor;
    r->headers = x->message.headers;
    r->n_headers = x->message.n_headers;
    r->body = x->message.body;
    r->body_len = x->message.body_len;
    r->peer = x->peer;
    r->peer_port = conn->peer_port;
    r->peer_is_loopback = conn->peer_is_loopback;
    r->refused = conn->refusal.status;
    r->reason = conn->refusal.reason;
    r->number = ++server->number;
    r->started = now();
    conn->request = x;
    return x;
}

/* evhttp dispatches one of the requests that http_conn gave it. */
static void on_request(struct evhttp_request *evreq, void *arg)
{
    struct httpd *server = arg;
    struct http_conn *conn = http_pool_find(&server->pool, evreq);
    struct exchange *x = conn == NULL ? NULL : exchange_new(server, conn, evreq);

    if (x == NULL) {
        /* memory is short; evhttp's own page closes the connection */
        if (conn != NULL)
            http_conn_answered(conn, evreq, true);
        evhttp_send_error(evreq, 503, NULL);
        return;
    }
    server->handler(&x->request, server->ctx);
}

/* The connection has gone while the handler was at work: only httpd_free does that. */
static void on_lost(struct http_conn *conn, void *owner)
{
    struct exchange *x = conn->request;

    (void)owner;
    if (evhttp_request_get_connection(x->evreq) == NULL)
        evhttp_request_free(x->evreq); /* evhttp has cut it loose; else it frees it itself */
    x->server = NULL;
    x->conn = NULL;
    x->evreq = NULL;
}

static void on_quiet(void *owner)
{
    struct httpd *server = owner;

    if (server->idle != NULL)
        event_active(server->idle_event, EV_TIMEOUT, 0);
}

static void on_idle_event(evutil_socket_t fd, short what, void *arg)
{
    struct httpd *server = arg;
    void (*idle)(void *ctx) = server->idle;

    (void)fd;
    (void)what;
    if (idle == NULL || server->pool.busy > 0)
        return;
    server->idle = NULL;
    idle(server->idle_ctx);
}

void httpd_on_idle(struct httpd *server, void (*idle)(void *ctx), void *ctx)
{
    server->idle = idle;
    server->idle_ctx = ctx;
    if (server->pool.busy == 0)
        on_quiet(server);
}

static void add_headers(struct evhttp_request *evreq, const struct http_header *headers, size_t n)
{
    struct evkeyvalq *out = evhttp_request_get_output_headers(evreq);

    for (size_t i = 0; i < n; i++) {
        if (http_header_sound(headers[i].name, headers[i].value))
            evhttp_add_header(out, headers[i].name, headers[i].value);
    }
}

/* Content-Length and Connection. Returns whether the connection is to be closed. */
static bool add_framing(const struct exchange *x, bool with_length, size_t len)
{
    struct evkeyvalq *out = evhttp_request_get_output_headers(x->evreq);
    bool last = x->server->draining || x->request.refused != 0 || !x->message.keep_alive;

    evhttp_remove_header(out, "Content-Length");
    evhttp_remove_header(out, "Transfer-Encoding");
    evhttp_remove_header(out, "Connection");
    if (with_length) {
        char number[24];

        snprintf(number, sizeof number, "%zu", len);
        evhttp_add_header(out, "Content-Length", number);
    }
    if (last)
        evhttp_add_header(out, "Connection", "close");
    else if (x->request.minor == 0)
        evhttp_add_header(out, "Connection", "keep-alive");
    return last;
}

static void send_reply(struct exchange *x, int status, const struct http_header *headers, size_t n,
                       const void *body, size_t len, size_t sent)
{
    bool last;

    if (sent > 0 && evbuffer_add(evhttp_request_get_output_buffer(x->evreq), body, sent) != 0) {
        status = 500; /* memory is short */
        n = len = 0;
        x->message.keep_alive = false;
    }
    add_headers(x->evreq, headers, n);
    last = add_framing(x, status != 204 && status != 304, len);
    evhttp_send_reply(x->evreq, status, http_phrase(status), NULL);
    http_conn_answered(x->conn, x->evreq, last);
}

void httpd_reply(struct httpd_request *request, int status, const struct http_header *headers,
                 size_t n_headers, const void *body, size_t len)
{
    struct exchange *x = exchange_of(request);
    struct httpd *server = x->server;
    bool head = strcmp(request->method, "HEAD") == 0;
    size_t sent = head || status == 204 || status == 304 ? 0 : len;

    if (server != NULL) {
        if (server->access != NULL)
            server->access(request, status, sent, now() - request->started, server->access_ctx);
        send_reply(x, status, headers, n_headers, body, len, sent);
    }
    exchange_free(x);
}

void httpd_on_access(struct httpd *server, httpd_access *access, void *ctx)
{
    server->access = access;
    server->access_ctx = ctx;
}

/* ---- listening ---- */

static int address_fail(struct fail *fail, const char *host, int port, int err)
{
    bool six = strchr(host, ':') != NULL;
    const char *open = six ? "[" : "", *close = six ? "]" : "";

    if (err == EADDRINUSE)
        return fail_set(fail, "AddressInUse",
                        "%s%s%s:%d is in use by another program; stop it or choose another port",
                        open, host, close, port);
    if (err == EACCES)
        return fail_set(fail, "AddressDenied",
                        "%s%s%s:%d may not be listened on; choose a port above 1023", open, host,
                        close, port);
    if (err == EADDRNOTAVAIL)
        return fail_set(fail, "AddressUnknown",
                        "%s is not an address of this machine; choose one that is, or 0.0.0.0",
                        host);
    return fail_set(fail, "ListenFailed", "cannot listen on %s%s%s:%d: %s", open, host, close, port,
                    strerror(err));
}

/* A listening socket for one address, or -1 with errno. Accepted sockets inherit TCP_NODELAY. */
static int listen_on(const struct addrinfo *ai)
{
    int on = 1, off = 0, saved;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* "[::1]" is taken as "::1". */
static void bare_host(const char *host, char *bare, size_t size)
{
    size_t len = strlen(host);

    if (len > 2 && host[0] == '[' && host[len - 1] == ']')
        snprintf(bare, size, "%.*s", (int)(len - 2), host + 1);
    else
        snprintf(bare, size, "%s", host);
}

static int open_listener(const char *given, int port, struct fail *fail)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char host[256], service[16];
    int fd = -1, err;

    bare_host(given, host, sizeof host);
    snprintf(service, sizeof service, "%d", port);
    if (port < 0 || port > 65535)
        return fail_set(fail, "ListenFailed", "%d is not a port: choose one from 0 to 65535", port);
    err = getaddrinfo(host, service, &hints, &found);
    if (err != 0)
        return fail_set(fail, "AddressUnknown", "the host %s cannot be listened on: %s", host,
                        gai_strerror(err));
    /* a name may stand for several addresses: the first that can be had, IPv4 before IPv6 */
    err = EADDRNOTAVAIL;
    for (int pass = 0; pass < 2 && fd < 0; pass++) {
        for (struct addrinfo *ai = found; ai != NULL && fd < 0; ai = ai->ai_next) {
            if (ai->ai_family != (pass == 0 ? AF_INET : AF_INET6))
                continue;
            fd = listen_on(ai);
            if (fd < 0)
                err = errno;
        }
    }
    freeaddrinfo(found);
    return fd >= 0 ? fd : address_fail(fail, host, port, err);
}

static int port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } address = {.six = {0}};
    socklen_t len = sizeof address;

    if (getsockname(fd, &address.any, &len) != 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.six.sin6_port : address.four.sin_port);
}

/* New connections wait in the kernel's queue meanwhile. */
static void rest(struct httpd *server, int ms)
{
    struct timeval tv = {0, (suseconds_t)ms * 1000};

    if (server->bound == NULL)
        return;
    evconnlistener_disable(evhttp_bound_socket_get_listener(server->bound));
    event_add(server->resume, &tv);
}

static void on_full(void *owner)
{
    rest(owner, FULL_MS);
}

/* accept has failed: mostly for want of descriptors, and then it would fail again at once. */
static void on_accept_error(struct evconnlistener *listener, void *http)
{
    (void)listener;
    for (struct httpd *s = servers; s != NULL; s = s->next) {
        if (s->http != http)
            continue;
        http_pool_shed(&s->pool);
        rest(s, FAILED_MS);
    }
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct httpd *server = arg;

    (void)fd;
    (void)what;
    if (!http_pool_has_room(&server->pool))
        rest(server, FULL_MS);
    else if (server->bound != NULL)
        evconnlistener_enable(evhttp_bound_socket_get_listener(server->bound));
}

static int start_listening(struct httpd *server, const char *host, int port, struct fail *fail)
{
    int fd = open_listener(host, port, fail);
    struct evconnlistener *listener;

    if (fd < 0)
        return -1;
    listener = evconnlistener_new(server->pool.base, NULL, NULL,
                                  LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (listener == NULL) {
        close(fd);
        return fail_memory(fail);
    }
    server->bound = evhttp_bind_listener(server->http, listener);
    if (server->bound == NULL) {
        evconnlistener_free(listener);
        return fail_memory(fail);
    }
    evconnlistener_set_error_cb(listener, on_accept_error);
    server->port = port_of(fd);
    return 0;
}

/* ---- the server ---- */

/* The wanted number of connections, or what the limit of open files leaves for them. The soft limit
 * is raised when that helps. */
static size_t connection_cap(size_t wanted)
{
    const size_t others = OTHER_FILES + HTTP_POOL_SPARE;
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
        return wanted;
    if (files.rlim_cur < wanted + others && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max < wanted + others ? files.rlim_max : wanted + others;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0 && getrlimit(RLIMIT_NOFILE, &files) != 0)
            return 1;
    }
    if (files.rlim_cur >= wanted + others)
        return wanted;
    return files.rlim_cur > others ? (size_t)files.rlim_cur - others : 1;
}

static double seconds_or(double value, double otherwise)
{
    return value > 0 ? value : otherwise;
}

static size_t size_or(size_t value, size_t otherwise)
{
    return value > 0 ? value : otherwise;
}

static void set_options(struct httpd *server, const struct httpd_options *o)
{
    struct http_pool *pool = &server->pool;

    pool->limits.max_body = size_or(o->max_body, 1u << 20);
    pool->limits.max_head = size_or(o->max_head, 16u << 10);
    pool->limits.max_headers = size_or(o->max_headers, 100);
    pool->max = connection_cap(size_or(o->max_connections, 1024));
    pool->head_seconds = seconds_or(o->head_seconds, 10);
    pool->body_seconds = seconds_or(o->body_seconds, 30);
    pool->idle_seconds = seconds_or(o->idle_seconds, 5);
    pool->write_seconds = seconds_or(o->write_seconds, 10);
    pool->tls = o->tls;
    pool->lost = on_lost;
    pool->quiet = on_quiet;
    pool->full = on_full;
    pool->owner = server;
}

static int set_up(struct httpd *server, struct event_base *base)
{
    server->pool.base = base;
    server->resume = evtimer_new(base, on_resume, server);
    server->idle_event = evtimer_new(base, on_idle_event, server);
    server->http = evhttp_new(base);
    if (server->resume == NULL || server->idle_event == NULL || server->http == NULL ||
        http_pool_init(&server->pool) != 0)
        return -1;
    /* what evhttp reads is of our making: POST, a short line, no body */
    evhttp_set_allowed_methods(server->http, EVHTTP_REQ_POST);
    evhttp_set_max_headers_size(server->http, 256);
    evhttp_set_max_body_size(server->http, 0);
    evhttp_set_default_content_type(server->http, NULL);
    evhttp_set_bevcb(server->http, http_pool_accept, &server->pool);
    evhttp_set_gencb(server->http, on_request, server);
    return 0;
}

struct httpd *httpd_new(struct event_base *base, const struct httpd_options *options,
                        httpd_handler *handler, void *ctx, struct fail *fail)
{
    struct httpd *server = calloc(1, sizeof *server);

    if (server == NULL) {
        fail_memory(fail);
        return NULL;
    }
    server->next = servers;
    servers = server;
    server->handler = handler;
    server->ctx = ctx;
    set_options(server, options);
    if (set_up(server, base) != 0) {
        fail_memory(fail);
        httpd_free(server);
        return NULL;
    }
    if (start_listening(server, options->host == NULL ? "127.0.0.1" : options->host, options->port,
                        fail) != 0) {
        httpd_free(server);
        return NULL;
    }
    return server;
}

int httpd_port(const struct httpd *server)
{
    return server->port;
}

size_t httpd_in_flight(const struct httpd *server)
{
    return server->pool.busy;
}

size_t httpd_connections(const struct httpd *server)
{
    return server->pool.n;
}

void httpd_stop_accepting(struct httpd *server)
{
    server->draining = true;
    event_del(server->resume);
    if (server->bound != NULL)
        evhttp_del_accept_socket(server->http, server->bound);
    server->bound = NULL;
}

void httpd_close_idle(struct httpd *server)
{
    http_pool_drop_idle(&server->pool);
}

void httpd_free(struct httpd *server)
{
    struct httpd **at = &servers;

    if (server == NULL)
        return;
    while (*at != server)
        at = &(*at)->next;
    *at = server->next;
    server->idle = NULL;
    if (server->http != NULL)
        evhttp_free(server->http);
    http_pool_fini(&server->pool);
    if (server->resume != NULL)
        event_free(server->resume);
    if (server->idle_event != NULL)
        event_free(server->idle_event);
    free(server);
}
