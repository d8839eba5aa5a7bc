/* http_intake: see http_intake.h. */
#include "core/http_intake.h"

#include <stdlib.h>
#include <string.h>

void http_intake_init(struct http_intake *in, const struct http_limits *limits, size_t read_max)
{
    memset(in, 0, sizeof *in);
    in->limits = limits;
    /* a pipelining client can leave one read's bytes behind a whole request; one byte ends it */
    buf_init(&in->raw, limits->max_head + limits->max_body + 2 * read_max + 16);
}

void http_intake_fini(struct http_intake *in)
{
    buf_fini(&in->raw);
}

char *http_intake_room(struct http_intake *in, size_t n)
{
    if (buf_reserve(&in->raw, n + 1) != 0)
        return NULL;
    return in->raw.data + in->raw.len;
}

void http_intake_added(struct http_intake *in, size_t n)
{
    in->raw.len += n;
}

bool http_intake_began(const struct http_intake *in)
{
    return in->raw.len > 0;
}

void http_intake_refuse(struct http_intake *in, int status, const char *reason)
{
    if (in->state == INTAKE_REFUSED)
        return;
    if (in->state == INTAKE_HEAD)
        http_head_line(in->raw.data, in->raw.len, &in->scan, &in->head);
    in->refusal.status = status;
    in->refusal.reason = reason;
    in->state = INTAKE_REFUSED;
    in->want_continue = false;
}

static void step_head(struct http_intake *in)
{
    struct http_refusal why = {0};
    int end = http_scan(&in->scan, in->raw.data, in->raw.len, in->limits, &why);

    if (end == 0)
        return;
    if (end < 0) {
        http_intake_refuse(in, why.status, why.reason);
        return;
    }
    if (http_head_check(in->raw.data, &in->scan, in->limits, &in->head, &why) != 0) {
        in->refusal = why;
        in->state = INTAKE_REFUSED;
        return;
    }
    in->state = INTAKE_BODY;
    in->body_end = in->head.size;
    in->want_continue = in->head.expect_continue;
}

static void step_chunked(struct http_intake *in)
{
    struct http_refusal why = {0};
    size_t decoded = 0, used = 0;
    char *data = in->raw.data + in->body_end;
    size_t len = in->raw.len - in->body_end;
    int end = http_chunk_decode(&in->chunk, data, len, &decoded, &used, in->limits, &why);

    if (end < 0) {
        http_intake_refuse(in, why.status, why.reason);
        return;
    }
    memmove(data + decoded, data + used, len - used);
    in->raw.len -= used - decoded;
    in->body_end += decoded;
    if (end > 0)
        in->state = INTAKE_DONE;
}

static void step_length(struct http_intake *in)
{
    size_t want = in->head.size + in->head.content_length;

    in->body_end = in->raw.len < want ? in->raw.len : want;
    if (in->body_end == want)
        in->state = INTAKE_DONE;
}

enum http_intake_state http_intake_step(struct http_intake *in)
{
    if (in->raw.len == 0)
        return in->state;
    if (in->state == INTAKE_HEAD)
        step_head(in);
    if (in->state == INTAKE_BODY) {
        /* a client that sends its body without waiting needs no 100 Continue (RFC 9110, 10.1.1) */
        if (in->raw.len > in->body_end)
            in->want_continue = false;
        if (in->head.chunked)
            step_chunked(in);
        else
            step_length(in);
        if (in->state == INTAKE_DONE)
            in->want_continue = false;
    }
    return in->state;
}

static void restart(struct http_intake *in)
{
    in->state = INTAKE_HEAD;
    in->refusal = (struct http_refusal){0};
    in->head = (struct http_head){0};
    in->scan = (struct http_scan){0};
    in->chunk = (struct http_chunk){0};
    in->body_end = 0;
    in->want_continue = false;
}

/* The request line of a refused request, as far as it was understood. */
static void fill_refused(struct http_intake *in, struct http_message *m)
{
    const struct http_head *head = &in->head;

    m->minor = head->minor;
    m->method = m->target = "";
    if (head->method_len == 0)
        return;
    m->raw[head->method_at + head->method_len] = '\0';
    m->raw[head->target_at + head->target_len] = '\0';
    m->method = m->raw + head->method_at;
    m->target = head->target_root ? "/" : m->raw + head->target_at;
}

static int fill_done(struct http_intake *in, struct http_message *m)
{
    const struct http_head *head = &in->head;

    m->headers = calloc(head->n_headers + 1, sizeof *m->headers);
    if (m->headers == NULL)
        return -1;
    http_head_split(m->raw, head, &m->method, &m->target, m->headers);
    m->n_headers = head->n_headers;
    m->minor = head->minor;
    m->keep_alive = head->keep_alive;
    m->body = m->raw + head->size;
    m->body_len = in->body_end - head->size;
    m->raw[in->body_end] = '\0';
    return 0;
}

int http_intake_take(struct http_intake *in, struct http_message *m)
{
    struct buf rest;
    size_t behind = in->state == INTAKE_DONE ? in->raw.len - in->body_end : 0;

    memset(m, 0, sizeof *m);
    m->body = "";
    buf_init(&rest, in->raw.max);
    if (buf_add(&rest, in->raw.data + in->body_end, behind) != 0)
        return -1;
    m->raw = in->raw.data;
    if (in->state == INTAKE_REFUSED) {
        fill_refused(in, m);
    } else if (fill_done(in, m) != 0) {
        buf_fini(&rest);
        memset(m, 0, sizeof *m);
        return -1;
    }
    in->raw = rest;
    restart(in);
    return 0;
}

void http_message_fini(struct http_message *m)
{
    free(m->raw);
    free(m->headers);
    memset(m, 0, sizeof *m);
}
