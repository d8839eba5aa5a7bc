/* buf: a growing run of bytes with a hard limit.
 *
 * Every buffer states its maximum when it is made, so that no input can make the process grow
 * without end. Owned by one thread at a time. `data` may be read up to `len`; it is not terminated.
 */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include <stddef.h>

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max;
};

/* An empty buffer that will never hold more than `max` bytes. Allocates nothing. */
void buf_init(struct buf *b, size_t max);

/* Release the memory; the buffer is empty afterwards and may be used again. */
void buf_fini(struct buf *b);

/* Make room for `n` more bytes behind `len`. 0, or -1 when memory is short or `max` is passed
 * (buf_full tells which); the content is untouched on failure. */
int buf_reserve(struct buf *b, size_t n);

/* Append. 0 or -1 as buf_reserve. */
int buf_add(struct buf *b, const void *data, size_t n);
int buf_adds(struct buf *b, const char *text);
int buf_addc(struct buf *b, char c);
__attribute__((format(printf, 2, 3))) int buf_addf(struct buf *b, const char *format, ...);

/* Would `n` more bytes pass the limit? */
int buf_full(const struct buf *b, size_t n);

#endif
