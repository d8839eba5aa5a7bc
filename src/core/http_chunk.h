/* http_chunk: the chunked transfer coding (RFC 9112, 7.1), decoded in place.
 *
 * Extensions and trailer fields are read over and dropped, within bounds. The decoder keeps no
 * bytes: it moves the data to the front of what it is given.
 */
#ifndef CORE_HTTP_CHUNK_H
#define CORE_HTTP_CHUNK_H

#include "core/http_head.h"

#include <stddef.h>

struct http_chunk {
    enum {
        CHUNK_SIZE,      /* the digits of a chunk's size */
        CHUNK_EXTENSION, /* from ';' to the end of the size's line */
        CHUNK_SIZE_LF,
        CHUNK_DATA,
        CHUNK_DATA_CR,
        CHUNK_DATA_LF,
        CHUNK_TRAILER, /* lines behind the last chunk, up to an empty one */
        CHUNK_TRAILER_LF,
        CHUNK_DONE
    } state;
    size_t left;     /* bytes of the current chunk that are still to come */
    size_t digits;   /* of the current size */
    size_t total;    /* data bytes announced so far */
    size_t overhead; /* bytes of extensions and trailers */
    size_t line;     /* bytes of the current trailer line */
};

/* Decode `len` bytes at `data`. The decoded bytes are moved to data[0 .. *decoded), *used tells how
 * many bytes were taken (all of them, unless the body ended). 1 when the body is complete, 0 when
 * more is needed, -1 when it is refused: malformed, more than limits->max_body bytes of data, or
 * more than limits->max_head of extensions and trailers. Start with a zeroed struct. */
int http_chunk_decode(struct http_chunk *chunk, char *data, size_t len, size_t *decoded,
                      size_t *used, const struct http_limits *limits, struct http_refusal *why);

#endif
