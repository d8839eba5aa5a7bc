/* http_head: see http_head.h. */
#include "core/http_head.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { METHOD_MAX = 32, EMPTY_LINES_MAX = 4 };

static int refuse(struct http_refusal *why, int status, const char *reason)
{
    why->status = status;
    why->reason = reason;
    return -1;
}

/* Is this byte allowed in a method or a header's name (RFC 9110, 5.6.2)? */
static bool token_char(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool value_char(unsigned char c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

/* A line has ended at the line feed `at`. 1: the head is complete. */
static int scan_line(struct http_scan *scan, const char *data, size_t at,
                     const struct http_limits *limits, struct http_refusal *why)
{
    if (at == scan->line || data[at - 1] != '\r')
        return refuse(why, 400, "A line must end with CR LF");
    if (at - 1 > scan->line) {
        scan->lines++;
        scan->line = at + 1;
        if (scan->lines > limits->max_headers + 1)
            return refuse(why, 431, "Too many header lines");
        return 0;
    }
    scan->line = at + 1;
    if (scan->lines > 0)
        return 1;
    /* RFC 9112, 2.2: an empty line before the request line is passed over */
    scan->start = at + 1;
    if (at + 1 > 2 * (size_t)EMPTY_LINES_MAX)
        return refuse(why, 400, "No request line");
    return 0;
}

/* What is no HTTP at all (TLS, a stray protocol) is told at once, not when the deadline comes. */
static int scan_method(struct http_scan *scan, unsigned char c, struct http_refusal *why)
{
    if (c == ' ' && scan->at > scan->start) {
        scan->named = true;
        return 0;
    }
    if (c == '\r' && scan->at == scan->line)
        return 0;
    if (!token_char(c) || scan->at - scan->start >= METHOD_MAX)
        return refuse(why, 400, "Malformed request line");
    return 0;
}

int http_scan(struct http_scan *scan, const char *data, size_t len,
              const struct http_limits *limits, struct http_refusal *why)
{
    for (; scan->at < len; scan->at++) {
        if (scan->at - scan->start >= limits->max_head)
            return scan->lines == 0 ? refuse(why, 414, "The request line is too long")
                                    : refuse(why, 431, "The head of the request is too large");
        if (data[scan->at] == '\n') {
            int end = scan_line(scan, data, scan->at, limits, why);

            if (end == 0)
                continue;
            scan->at += end > 0;
            return end;
        }
        if (!scan->named && scan_method(scan, (unsigned char)data[scan->at], why) != 0)
            return -1;
    }
    return 0;
}

/* An absolute target (RFC 9112, 3.2.2): the part behind the authority. */
static int absolute_target(const char *line, struct http_head *head)
{
    const char *target = line + head->target_at;
    size_t scheme = 0;
    const char *path;

    if (head->target_len > 7 && strncasecmp(target, "http://", 7) == 0)
        scheme = 7;
    else if (head->target_len > 8 && strncasecmp(target, "https://", 8) == 0)
        scheme = 8;
    if (scheme == 0 || strchr("/?#", target[scheme]) != NULL)
        return -1;
    path = memchr(target + scheme, '/', head->target_len - scheme);
    if (path == NULL) {
        head->target_root = true;
        return memchr(target, '?', head->target_len) == NULL ? 0 : -1;
    }
    if (memchr(target, '?', (size_t)(path - target)) != NULL)
        return -1;
    head->target_at += (size_t)(path - target);
    head->target_len -= (size_t)(path - target);
    return 0;
}

static int check_target(const char *data, struct http_head *head)
{
    const char *target = data + head->target_at;
    bool connect = head->method_len == 7 && memcmp(data + head->method_at, "CONNECT", 7) == 0;

    if (head->target_len == 0)
        return -1;
    for (size_t i = 0; i < head->target_len; i++) {
        if ((unsigned char)target[i] <= 0x20 || (unsigned char)target[i] >= 0x7f)
            return -1;
    }
    if (target[0] == '/' || connect || (head->target_len == 1 && target[0] == '*'))
        return 0;
    return absolute_target(data, head);
}

static int check_version(const char *v, size_t len, struct http_head *head,
                         struct http_refusal *why)
{
    if (len != 8 || memcmp(v, "HTTP/", 5) != 0 || v[5] < '0' || v[5] > '9' || v[6] != '.' ||
        v[7] < '0' || v[7] > '9')
        return refuse(why, 400, "Malformed request line");
    if (v[5] != '1')
        return refuse(why, 505, "Only HTTP/1.0 and HTTP/1.1 are spoken");
    head->minor = v[7] == '0' ? 0 : 1;
    return 0;
}

/* METHOD SP TARGET SP VERSION, `len` bytes at `at` without the line end. */
static int check_line(const char *data, size_t at, size_t len, struct http_head *head,
                      struct http_refusal *why)
{
    const char *line = data + at;
    const char *first = memchr(line, ' ', len);
    const char *second =
        first == NULL ? NULL : memchr(first + 1, ' ', len - (size_t)(first + 1 - line));
    struct http_head found = {.minor = 1};

    if (second == NULL || first == line)
        return refuse(why, 400, "Malformed request line");
    found.method_at = at;
    found.method_len = (size_t)(first - line);
    for (size_t i = 0; i < found.method_len; i++) {
        if (!token_char((unsigned char)line[i]))
            return refuse(why, 400, "Malformed request line");
    }
    found.target_at = at + (size_t)(first + 1 - line);
    found.target_len = (size_t)(second - first - 1);
    if (check_target(data, &found) != 0)
        return refuse(why, 400, "Malformed request target");
    head->method_at = found.method_at;
    head->method_len = found.method_len;
    head->target_at = found.target_at;
    head->target_len = found.target_len;
    head->target_root = found.target_root;
    return check_version(second + 1, len - (size_t)(second + 1 - line), head, why);
}

/* What the framing headers have said so far. */
struct framing {
    size_t hosts, lengths, encodings;
    bool length_over; /* more than any limit */
    bool close, keep_alive, unknown_encoding;
};

static bool is(const char *a, size_t n, const char *b)
{
    return strlen(b) == n && strncasecmp(a, b, n) == 0;
}

static int read_length(const char *v, size_t n, struct framing *f, struct http_head *head,
                       struct http_refusal *why)
{
    size_t value = 0;

    if (f->lengths++ > 0)
        return refuse(why, 400, "More than one Content-Length");
    if (n == 0)
        return refuse(why, 400, "Content-Length is not a number");
    for (size_t i = 0; i < n; i++) {
        if (v[i] < '0' || v[i] > '9')
            return refuse(why, 400, "Content-Length is not a number");
        if (value > (SIZE_MAX - 9) / 10)
            f->length_over = true;
        else
            value = value * 10 + (size_t)(v[i] - '0');
    }
    head->content_length = value;
    return 0;
}

/* The elements of a list "a, b, c" that matter in Connection. */
static void read_connection(const char *v, size_t n, struct framing *f)
{
    while (n > 0) {
        const char *comma = memchr(v, ',', n);
        size_t part = comma == NULL ? n : (size_t)(comma - v);
        size_t from = 0, to = part;

        while (from < to && (v[from] == ' ' || v[from] == '\t'))
            from++;
        while (to > from && (v[to - 1] == ' ' || v[to - 1] == '\t'))
            to--;
        if (is(v + from, to - from, "close"))
            f->close = true;
        else if (is(v + from, to - from, "keep-alive"))
            f->keep_alive = true;
        part += comma != NULL;
        v += part;
        n -= part;
    }
}

static int read_header(const char *name, size_t len, const char *v, size_t n, struct framing *f,
                       struct http_head *head, struct http_refusal *why)
{
    if (is(name, len, "content-length"))
        return read_length(v, n, f, head, why);
    if (is(name, len, "transfer-encoding")) {
        f->encodings++;
        f->unknown_encoding |= !is(v, n, "chunked");
    } else if (is(name, len, "connection")) {
        read_connection(v, n, f);
    } else if (is(name, len, "host")) {
        f->hosts++;
    } else if (is(name, len, "expect") && head->minor >= 1) {
        if (!is(v, n, "100-continue"))
            return refuse(why, 417, "Only the expectation 100-continue can be met");
        head->expect_continue = true;
    }
    return 0;
}

/* One header line of `len` bytes: where its name ends and its value lies. */
static int cut_header(const char *line, size_t len, size_t *name, size_t *value, size_t *value_len)
{
    size_t at = 0, end = len;

    while (at < len && token_char((unsigned char)line[at]))
        at++;
    if (at == 0 || at == len || line[at] != ':')
        return -1;
    *name = at++;
    while (at < end && (line[at] == ' ' || line[at] == '\t'))
        at++;
    while (end > at && (line[end - 1] == ' ' || line[end - 1] == '\t'))
        end--;
    *value = at;
    *value_len = end - at;
    return 0;
}

static int check_header(const char *line, size_t len, struct framing *f, struct http_head *head,
                        struct http_refusal *why)
{
    size_t name, value, n;

    if (cut_header(line, len, &name, &value, &n) != 0)
        return refuse(why, 400, "Malformed header line");
    for (size_t i = value; i < value + n; i++) {
        if (!value_char((unsigned char)line[i]))
            return refuse(why, 400, "A header's value has a control character");
    }
    head->n_headers++;
    return read_header(line, name, line + value, n, f, head, why);
}

static int check_framing(const struct framing *f, const struct http_limits *limits,
                         struct http_head *head, struct http_refusal *why)
{
    if (f->encodings > 0 && f->lengths > 0)
        return refuse(why, 400, "Both Content-Length and Transfer-Encoding");
    if (f->encodings > 1 || (f->encodings == 1 && head->minor == 0))
        return refuse(why, 400, "Transfer-Encoding cannot be understood");
    if (f->unknown_encoding)
        return refuse(why, 501, "Only the transfer coding chunked is known");
    if (f->hosts > 1 || (f->hosts == 0 && head->minor >= 1))
        return refuse(why, 400, "A request has exactly one Host header");
    if (f->length_over || head->content_length > limits->max_body)
        return refuse(why, 413, "The body is too large");
    head->chunked = f->encodings == 1;
    head->keep_alive = !f->close && (head->minor >= 1 || f->keep_alive);
    return 0;
}

/* The bytes of the line that begins at `at`, without its end; *next is where the next begins. */
static size_t line_at(const char *data, size_t size, size_t at, size_t *next)
{
    const char *end = memchr(data + at, '\n', size - at);
    size_t len = (size_t)(end - (data + at)) - 1;

    *next = at + len + 2;
    return len;
}

int http_head_check(const char *data, const struct http_scan *scan,
                    const struct http_limits *limits, struct http_head *head,
                    struct http_refusal *why)
{
    struct framing framing = {0};
    size_t next;
    size_t len = line_at(data, scan->at, scan->start, &next);

    *head = (struct http_head){.start = scan->start, .size = scan->at, .minor = 1};
    if (check_line(data, scan->start, len, head, why) != 0)
        return -1;
    for (size_t at = next; at < scan->at; at = next) {
        len = line_at(data, scan->at, at, &next);
        if (len == 0)
            break;
        if (check_header(data + at, len, &framing, head, why) != 0)
            return -1;
    }
    return check_framing(&framing, limits, head, why);
}

void http_head_line(const char *data, size_t len, const struct http_scan *scan,
                    struct http_head *head)
{
    struct http_refusal ignored;
    size_t next;

    *head = (struct http_head){.minor = 1};
    if (scan->lines == 0 || scan->start >= len)
        return;
    (void)check_line(data, scan->start, line_at(data, len, scan->start, &next), head, &ignored);
}

void http_head_split(char *data, const struct http_head *head, const char **method,
                     const char **target, struct http_header *headers)
{
    size_t next, name, value, n;

    (void)line_at(data, head->size, head->start, &next);
    data[head->method_at + head->method_len] = '\0';
    data[head->target_at + head->target_len] = '\0';
    *method = data + head->method_at;
    *target = head->target_root ? "/" : data + head->target_at;
    for (size_t i = 0, at = next; i < head->n_headers; i++, at = next) {
        size_t len = line_at(data, head->size, at, &next);

        if (cut_header(data + at, len, &name, &value, &n) != 0)
            name = value = n = 0; /* cannot be: the head was checked */
        data[at + name] = '\0';
        data[at + value + n] = '\0';
        headers[i].name = data + at;
        headers[i].value = data + at + value;
    }
}

bool http_header_sound(const char *name, const char *value)
{
    if (*name == '\0')
        return false;
    for (; *name != '\0'; name++) {
        if (!token_char((unsigned char)*name))
            return false;
    }
    for (; *value != '\0'; value++) {
        if (!value_char((unsigned char)*value))
            return false;
    }
    return true;
}

const char *http_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Request Entity Too Large"},
        {414, "Request-URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Requested Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Entity"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
        if (phrases[i].status == status)
            return phrases[i].phrase;
    }
    return "Unknown";
}
