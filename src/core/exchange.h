/* exchange: one HTTP request and its answer over a libcurl easy handle.
 *
 * Filled by the caller, carried out either by exchange_perform (blocks) or by an event loop that
 * puts x->easy on its curl_multi and calls exchange_finish() when curl says it is done (the loop
 * may use CURLOPT_PRIVATE for itself). One thread at a time. The answer's body is bounded by
 * `limit`, its headers as in headers.h. Redirects are not followed. Only http and https are spoken.
 * Nothing secret is ever put into `failure`: it names the host and never the path or the query.
 */
#ifndef CORE_EXCHANGE_H
#define CORE_EXCHANGE_H

#include "core/buf.h"
#include "core/fail.h"
#include "core/headers.h"

#include <curl/curl.h>
#include <stdbool.h>

/* What the caller asks for. All pointers are copied by exchange_new, the body too unless it is
 * lent. The caller has looked at the headers with headers_valid. */
struct exchange_request {
    const char *method; /* "GET", ... */
    const char *url;    /* sent as it is: no dot-segment folding */
    const struct exchange_header *headers;
    size_t n_headers;
    const void *body;
    size_t body_len;
    bool body_lent;         /* not copied: the caller keeps it in place until exchange_free */
    size_t limit;           /* most bytes of an answer's body; 0 means 64 MiB */
    double connect_seconds; /* 0 means 5 */
    double stall_seconds;   /* no byte moved for so long (whole seconds, rounded up); 0 means 20 */
    double total_seconds;   /* the whole exchange; 0 means 300 */
    bool no_proxy;          /* never through a proxy (instance metadata) */
    const char *ca_file;    /* PEM file of trusted certificates; NULL means the system's */
};

struct exchange {
    CURL *easy;
    int status;     /* HTTP status once a whole answer came, else 0 */
    unsigned sends; /* 2 when curl, finding a kept connection dead, has sent it once more */
    struct exchange_header *headers;
    size_t n_headers;
    struct buf body;
    struct fail failure; /* failure.code != NULL when no whole answer came: "Timeout",
                            "ConnectFailed", "ResolveFailed", "TlsFailed", "TooLarge", "Cut",
                            "BadUrl", "NoMemory", "ExchangeFailed" */
    void *owner;         /* the loop's own record while it runs; not touched here */
    struct exchange_private *private;
};

/* A ready exchange; NULL when memory is short. Free with exchange_free (NULL allowed), never while
 * the easy handle is on a multi. */
struct exchange *exchange_new(const struct exchange_request *request);
void exchange_free(struct exchange *x);

/* Carry it out on this thread. The result is in x: see exchange_finish. Connections are kept for
 * the next exchange. */
void exchange_perform(struct exchange *x);

/* Called once with curl's verdict: sets status, or failure when no whole answer came. */
void exchange_finish(struct exchange *x, CURLcode code);

/* The value of an answer's header (name without case), or NULL. */
const char *exchange_header(const struct exchange *x, const char *name);

#endif
