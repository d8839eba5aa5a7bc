/* http_intake: puts one whole HTTP/1.x request together from the bytes of a connection.
 *
 * Bytes go in as they come; out comes one request (head checked, body whole and decoded) or a
 * refusal. What lies behind the request's end (the next one, sent ahead) stays for the next round.
 * Memory is bounded by the limits plus what one read brings; an intake without bytes owns none.
 */
#ifndef CORE_HTTP_INTAKE_H
#define CORE_HTTP_INTAKE_H

#include "core/buf.h"
#include "core/http_chunk.h"
#include "core/http_head.h"

enum http_intake_state {
    INTAKE_HEAD,   /* the head is not complete; nothing may have come at all */
    INTAKE_BODY,   /* the head is sound, the body is not complete */
    INTAKE_DONE,   /* a request is there */
    INTAKE_REFUSED /* see `refusal`; nothing that follows on this connection can be understood */
};

struct http_intake {
    const struct http_limits *limits;
    enum http_intake_state state;
    struct http_refusal refusal;
    struct http_head head;
    bool want_continue; /* the client waits for 100 Continue; the reader clears it */
    /* its own */
    struct buf raw;  /* head, then the decoded body, then bytes not looked at */
    size_t body_end; /* of the decoded body in raw; raw.len > body_end: not looked at yet */
    struct http_scan scan;
    struct http_chunk chunk;
};

/* A request that was taken out. Everything points into `raw`. */
struct http_message {
    char *raw;                   /* owned: free() */
    struct http_header *headers; /* owned: free() */
    size_t n_headers;
    const char *method; /* "" when a refused head did not show it */
    const char *target; /* path and query as sent; "" when a refused head did not show it */
    int minor;          /* HTTP/1.minor */
    const char *body;   /* a NUL byte follows it */
    size_t body_len;
    bool keep_alive;
};

/* `limits` must outlive the intake. One read adds at most `read_max` bytes. */
void http_intake_init(struct http_intake *in, const struct http_limits *limits, size_t read_max);
void http_intake_fini(struct http_intake *in);

/* Room for n <= read_max bytes; the caller fills it and tells with http_intake_added. NULL when
 * memory is short. */
char *http_intake_room(struct http_intake *in, size_t n);
void http_intake_added(struct http_intake *in, size_t n);

/* Look at what was added. Returns in->state. */
enum http_intake_state http_intake_step(struct http_intake *in);

/* Has any byte come that is not part of a request taken out? */
bool http_intake_began(const struct http_intake *in);

/* Refuse from outside (a deadline, an overload), unless refused before. */
void http_intake_refuse(struct http_intake *in, int status, const char *reason);

/* In state DONE or REFUSED: move the request out and be ready for the next. 0, or -1 when memory is
 * short (then nothing was moved). */
int http_intake_take(struct http_intake *in, struct http_message *message);
void http_message_fini(struct http_message *message);

#endif
