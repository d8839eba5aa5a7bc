/* frame: what the console and its clients say to each other: a length, a letter, bytes.
 *
 * Four bytes, most significant first, give the length of what follows: one byte that says the kind
 * and the text, which may be any bytes. Both sides check the length before they believe it.
 */
#ifndef CORE_FRAME_H
#define CORE_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum { FRAME_HEAD = 5 };

struct frame {
    char kind;
    const char *text; /* in the buffer that was read */
    size_t len;
};

/* Read the frame at the start of `have` bytes; its text may have `max` bytes. The bytes it takes,
 * 0 when it is not whole yet, -1 when it is none (no kind, or too long). */
long long frame_read(const void *bytes, size_t have, size_t max, struct frame *out);

/* Write the head of a frame whose text has `len` bytes (at most UINT32_MAX - 1). */
void frame_head(uint8_t head[FRAME_HEAD], char kind, size_t len);

#endif
