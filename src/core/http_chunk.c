/* http_chunk: see http_chunk.h. */
#include "core/http_chunk.h"

#include <string.h>

enum { DIGITS_MAX = 15 };

static int refuse(struct http_refusal *why, int status, const char *reason)
{
    why->status = status;
    why->reason = reason;
    return -1;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The line of a size is complete up to its line feed: is the chunk within the limit? */
static int size_known(struct http_chunk *k, const struct http_limits *limits,
                      struct http_refusal *why)
{
    if (k->left > limits->max_body - k->total)
        return refuse(why, 413, "The body is too large");
    k->total += k->left;
    k->digits = 0;
    k->line = 0;
    k->state = k->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
    return 0;
}

static int size_char(struct http_chunk *k, char c, struct http_refusal *why)
{
    int digit = hex(c);

    if (digit >= 0 && k->digits < DIGITS_MAX) {
        k->left = k->left * 16 + (size_t)digit;
        k->digits++;
    } else if (k->digits > 0 && c == '\r') {
        k->state = CHUNK_SIZE_LF;
    } else if (k->digits > 0 && (c == ';' || c == ' ' || c == '\t')) {
        k->state = CHUNK_EXTENSION;
    } else {
        return refuse(why, 400, "Malformed chunk size");
    }
    return 0;
}

static int trailer_char(struct http_chunk *k, char c, struct http_refusal *why)
{
    if (c == '\r') {
        k->state = CHUNK_TRAILER_LF;
    } else if (c == '\n') {
        return refuse(why, 400, "Malformed trailer");
    } else {
        k->line++;
    }
    return 0;
}

/* One byte outside of a chunk's data. */
static int control_char(struct http_chunk *k, char c, const struct http_limits *limits,
                        struct http_refusal *why)
{
    switch (k->state) {
    case CHUNK_SIZE:
        return size_char(k, c, why);
    case CHUNK_EXTENSION:
        if (c == '\n')
            return refuse(why, 400, "Malformed chunk extension");
        if (c == '\r')
            k->state = CHUNK_SIZE_LF;
        break;
    case CHUNK_SIZE_LF:
        return c == '\n' ? size_known(k, limits, why) : refuse(why, 400, "Malformed chunk size");
    case CHUNK_DATA_CR:
    case CHUNK_DATA_LF:
        if (c != (k->state == CHUNK_DATA_CR ? '\r' : '\n'))
            return refuse(why, 400, "A chunk is longer than its size");
        k->state = k->state == CHUNK_DATA_CR ? CHUNK_DATA_LF : CHUNK_SIZE;
        return 0;
    case CHUNK_TRAILER:
        if (trailer_char(k, c, why) != 0)
            return -1;
        break;
    case CHUNK_TRAILER_LF:
        if (c != '\n')
            return refuse(why, 400, "Malformed trailer");
        k->state = k->line == 0 ? CHUNK_DONE : CHUNK_TRAILER;
        k->line = 0;
        break;
    default:
        break;
    }
    if (++k->overhead > limits->max_head)
        return refuse(why, 431, "The chunks' extensions or trailers are too large");
    return 0;
}

int http_chunk_decode(struct http_chunk *chunk, char *data, size_t len, size_t *decoded,
                      size_t *used, const struct http_limits *limits, struct http_refusal *why)
{
    size_t in = 0, out = 0;

    while (in < len && chunk->state != CHUNK_DONE) {
        if (chunk->state == CHUNK_DATA) {
            size_t n = chunk->left < len - in ? chunk->left : len - in;

            memmove(data + out, data + in, n);
            in += n;
            out += n;
            chunk->left -= n;
            if (chunk->left == 0)
                chunk->state = CHUNK_DATA_CR;
        } else if (control_char(chunk, data[in++], limits, why) != 0) {
            return -1;
        }
    }
    *decoded = out;
    *used = in;
    return chunk->state == CHUNK_DONE;
}
