/* headers: the header lines of an HTTP answer, read one by one under hard limits.
 *
 * Lines come as a transport hands them over: with or without the line end, the status line first,
 * perhaps several blocks (100 Continue, a proxy's CONNECT answer) of which the last one counts.
 */
#ifndef CORE_HEADERS_H
#define CORE_HEADERS_H

#include <stdbool.h>
#include <stddef.h>

#define HEADERS_MAX 256            /* lines of one block, continued ones included */
#define HEADERS_BYTES (256 * 1024) /* names and values of one block */

struct exchange_header {
    const char *name; /* as it came; compare without case */
    const char *value;
};

struct headers {
    struct exchange_header *list;
    size_t n;
    size_t cap;
    size_t lines;
    size_t bytes;
    bool ended; /* the empty line behind the block has come */
};

/* An empty block is all zeros. Release what a block owns; it is empty afterwards. */
void headers_fini(struct headers *h);

/* Take one line. A status line ("HTTP/...") empties the block, an empty line ends it, a line without a
 * colon is passed over, a line that starts with a blank continues the value before it. 0, or -1
 * when memory is short or a limit is passed. */
int headers_line(struct headers *h, const char *line, size_t n);

/* The value of the first header of this name (without case), or NULL. */
const char *headers_get(const struct exchange_header *list, size_t n, const char *name);

/* May this pair be sent? The name is a token, the value has no control character but the tab. */
bool headers_valid(const char *name, const char *value);

#endif
