/* http_head: where the head of an HTTP/1.x request ends, whether it is sound, what it frames.
 *
 * Strict where laxness lets two readers disagree about where a request ends (RFC 9112, 9110): lines
 * end with CR LF, one Content-Length of digits alone or Transfer-Encoding: chunked alone, no folded
 * lines, no blank before a colon, one Host. Nothing is allocated, nothing is written except by
 * http_head_split. A refusal is an HTTP status and a constant sentence for the client.
 */
#ifndef CORE_HTTP_HEAD_H
#define CORE_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

struct http_limits {
    size_t max_head;    /* bytes of request line and headers together, the empty line included */
    size_t max_headers; /* header lines */
    size_t max_body;    /* bytes, decoded */
};

struct http_refusal {
    int status; /* 0: nothing is wrong */
    const char *reason;
};

struct http_header {
    const char *name; /* as it was sent; compare without case */
    const char *value;
};

/* How far http_scan has looked. All zero to begin with. */
struct http_scan {
    size_t at;    /* bytes looked at; the size of the head once it is complete */
    size_t start; /* where the request line begins (empty lines may come before it) */
    size_t line;  /* where the current line begins */
    size_t lines; /* complete lines, the request line included */
    bool named;   /* the method was seen whole */
};

/* Offsets count from the first byte given to http_scan. */
struct http_head {
    size_t start;
    size_t size; /* bytes up to and with the empty line */
    size_t method_at, method_len;
    size_t target_at, target_len; /* path and query; the authority of an absolute target is left
                                     out. Length 0 while not known. */
    bool target_root;             /* an absolute target without a path: "/" is meant */
    int minor;                    /* of HTTP/1.minor; 1 for anything later */
    size_t n_headers;
    bool keep_alive;      /* what the client asked for or its version implies */
    bool chunked;         /* the body comes in chunks; else content_length bytes */
    bool expect_continue; /* the client waits for 100 Continue */
    size_t content_length;
};

/* Look at the bytes that were added since the last call: 1 when the head is complete, 0 when more
 * is needed, -1 when it is refused (then *why says how). Each byte is looked at once. */
int http_scan(struct http_scan *scan, const char *data, size_t len,
              const struct http_limits *limits, struct http_refusal *why);

/* Check a complete head and fill *head. 0, or -1 with *why; the method and the target are filled in
 * either case when the request line could be read. */
int http_head_check(const char *data, const struct http_scan *scan,
                    const struct http_limits *limits, struct http_head *head,
                    struct http_refusal *why);

/* Only the request line, of a head that was refused before its end: fills method and target when
 * the line is whole and sound. */
void http_head_line(const char *data, size_t len, const struct http_scan *scan,
                    struct http_head *head);

/* Cut a checked head into strings, in place: method, target and the n_headers headers. The strings
 * live as long as `data`. */
void http_head_split(char *data, const struct http_head *head, const char **method,
                     const char **target, struct http_header *headers);

/* May this name and value be sent as a header? (a token; no control characters but the tab) */
bool http_header_sound(const char *name, const char *value);

/* The phrase of a status: "OK", "Not Found", ...; "Unknown" for one without a name. */
const char *http_phrase(int status);

#endif
