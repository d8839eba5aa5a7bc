/* http_fuzz: core/http_intake (with http_head and http_chunk) on any bytes.
 *
 * The first byte says how the rest is cut into reads; each way must give the same requests and the
 * same refusal as one byte at a time, within the limits.
 */
#include "check.h"

#include "core/http_intake.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits limits = {.max_head = 512, .max_headers = 8, .max_body = 300};

static bool has_host(const struct http_message *m)
{
    for (size_t i = 0; i < m->n_headers; i++)
        if (strcasecmp(m->headers[i].name, "host") == 0)
            return true;
    return false;
}

static void check_message(const struct http_message *m)
{
    CHECK(m->body_len <= limits.max_body && m->body[m->body_len] == '\0');
    CHECK(m->n_headers <= limits.max_headers);
    CHECK(*m->method != '\0' && *m->target != '\0' && strlen(m->method) <= 32);
    CHECK(m->minor == 0 || m->minor == 1);
    for (size_t i = 0; i < m->n_headers; i++)
        CHECK(http_header_sound(m->headers[i].name, m->headers[i].value));
    if (m->minor == 1)
        CHECK(has_host(m));
}

/* Put what an intake gives into `out`. False once it refuses. */
static bool drain(struct http_intake *in, struct buf *out)
{
    struct http_message m;
    enum http_intake_state state;

    while ((state = http_intake_step(in)) == INTAKE_DONE || state == INTAKE_REFUSED) {
        struct http_refusal refusal = in->refusal;

        CHECK((state == INTAKE_REFUSED) == (refusal.status != 0));
        CHECK(http_intake_take(in, &m) == 0);
        if (state == INTAKE_DONE)
            check_message(&m);
        buf_addf(out, "%d %s %s %d %d %zu ", refusal.status, m.method, m.target, m.minor,
                 m.keep_alive, m.n_headers);
        for (size_t i = 0; i < m.n_headers; i++)
            buf_addf(out, "%s=%s ", m.headers[i].name, m.headers[i].value);
        buf_add(out, m.body, m.body_len);
        http_message_fini(&m);
        if (state == INTAKE_REFUSED)
            return false;
    }
    return true;
}

static void run(const uint8_t *data, size_t size, size_t piece, struct buf *out)
{
    struct http_intake in;

    http_intake_init(&in, &limits, size);
    for (size_t at = 0; at < size; at += piece) {
        size_t n = piece < size - at ? piece : size - at;
        char *room = http_intake_room(&in, n);

        CHECK(room != NULL);
        memcpy(room, data + at, n);
        http_intake_added(&in, n);
        if (!drain(&in, out))
            break;
    }
    if (http_intake_began(&in) && in.state != INTAKE_REFUSED) {
        struct http_message m;

        http_intake_refuse(&in, 408, "late");
        CHECK(http_intake_take(&in, &m) == 0);
        http_message_fini(&m);
    }
    http_intake_fini(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf bytewise, pieces;

    if (size < 2 || size > 1 << 16)
        return 0;
    buf_init(&bytewise, 1 << 22);
    buf_init(&pieces, 1 << 22);
    run(data + 1, size - 1, 1, &bytewise);
    run(data + 1, size - 1, (size_t)data[0] * 7 + 2, &pieces);
    CHECK(bytewise.len == pieces.len);
    CHECK(bytewise.len == 0 || memcmp(bytewise.data, pieces.data, pieces.len) == 0);
    buf_fini(&bytewise);
    buf_fini(&pieces);
    return 0;
}
