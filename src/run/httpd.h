/* httpd: the HTTP/1.x server of the event runtime, on libevent's evhttp; HTTPS with a certificate.
 *
 * One handler gets every request, also those that were refused before they were whole (then
 * `refused` is the status and `reason` the sentence for the client), so that every answer has one
 * form and one access record. A handler answers at once or at any later time with httpd_reply,
 * exactly once. All of it runs on the thread of the event loop; the process must ignore SIGPIPE.
 *
 * Limits and deadlines: the head in max_head bytes, max_headers lines and head_seconds from its
 * first byte; the body in max_body bytes and body_seconds; an idle connection lives idle_seconds (a
 * new one head_seconds, in which it also has to finish its TLS handshake); a client that takes less of an answer than 1 KiB a second is dropped after
 * one to two write_seconds. Nothing limits how long a handler takes. At max_connections the
 * connection that has waited longest without a complete request, if for 50 ms (TLS: 250 ms) or more,
 * makes room for a new one, which waits in the kernel's queue meanwhile; when all of them are being
 * handled, a new one is told 503.
 *
 * A client that goes away while its request is handled is not noticed before the answer is written.
 */
#ifndef RUN_HTTPD_H
#define RUN_HTTPD_H

#include "core/fail.h"
#include "core/http_head.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct httpd;

struct httpd_options {
    const char *host;       /* an address or a name; NULL means 127.0.0.1; "::" takes IPv4 too */
    int port;               /* 0: any free one */
    size_t max_body;        /* 0: 1 MiB */
    size_t max_head;        /* 0: 16 KiB */
    size_t max_headers;     /* 0: 100 */
    size_t max_connections; /* 0: 1024; less when the hard limit of open files is too low for it
                               (the soft one is raised) */
    double head_seconds;    /* 0: 10 */
    double body_seconds;    /* 0: 30 */
    double idle_seconds;    /* 0: 5 */
    double write_seconds;   /* 0: 10 */
    struct tls *tls;        /* speak HTTPS with it (run/tls.h); not owned, outlives the server */
};

/* What a handler gets. Valid until httpd_reply, whatever happens to the connection. */
struct httpd_request {
    const char *method; /* as sent; "" when a refused request did not show it */
    const char *target; /* path and query as sent; "" when a refused request did not show it */
    int minor;          /* HTTP/1.minor */
    const struct http_header *headers; /* in the order they were sent */
    size_t n_headers;
    const char *body; /* a NUL byte follows its body_len bytes */
    size_t body_len;
    const char *peer; /* the client's address without port */
    int peer_port;
    bool peer_is_loopback;
    int refused;        /* 0, or the status this request is to be answered with */
    const char *reason; /* of a refusal; constant */
    uint64_t number;    /* 1, 2, ... in the order of arrival */
    double started;     /* monotonic seconds when it was complete */
    void *data;         /* the owner's */
};

typedef void httpd_handler(struct httpd_request *request, void *ctx);

/* Listen and serve from the next turn of the loop. NULL with *fail: "AddressInUse",
 * "AddressDenied", "AddressUnknown", "ListenFailed", "NoMemory". The options are copied. */
struct httpd *httpd_new(struct event_base *base, const struct httpd_options *options,
                        httpd_handler *handler, void *ctx, struct fail *fail);

/* The port that is listened on. */
int httpd_port(const struct httpd *server);

/* Answer. Everything is copied; the request is freed. `body` may be NULL when len is 0. Content-
 * Length, Date and Connection are added; no body is sent for HEAD, 204 and 304. `status` is 200 to
 * 599. A header whose name or value cannot be sent (control characters) is left out. */
void httpd_reply(struct httpd_request *request, int status, const struct http_header *headers,
                 size_t n_headers, const void *body, size_t len);

/* Called in httpd_reply, before the first byte goes out: once for each request that is answered.
 * `sent` is the length of the body that is sent, `seconds` the time since the request was whole. */
typedef void httpd_access(const struct httpd_request *request, int status, size_t sent,
                          double seconds, void *ctx);
void httpd_on_access(struct httpd *server, httpd_access *access, void *ctx);

/* Requests whose head is complete and whose answer is not yet sent. */
size_t httpd_in_flight(const struct httpd *server);

/* Connections that are open. */
size_t httpd_connections(const struct httpd *server);

/* Stop listening; every answer from now on closes its connection. */
void httpd_stop_accepting(struct httpd *server);

/* Close the connections on which no request is in flight. Not from within a handler. */
void httpd_close_idle(struct httpd *server);

/* Have `idle` called from the loop once no request is in flight (soon, when none is now). */
void httpd_on_idle(struct httpd *server, void (*idle)(void *ctx), void *ctx);

/* Close everything. Requests that are still being handled stay valid, and their httpd_reply frees
 * them and does nothing else. Not from within a handler or an access hook; NULL allowed. */
void httpd_free(struct httpd *server);

#endif
