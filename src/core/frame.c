/* frame: see frame.h. */
#include "core/frame.h"

long long frame_read(const void *bytes, size_t have, size_t max, struct frame *out)
{
    const uint8_t *b = bytes;
    size_t size;

    if (have < 4)
        return 0;
    size = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
    if (size < 1 || size - 1 > max)
        return -1;
    if (have - 4 < size)
        return 0;
    out->kind = (char)b[4];
    out->text = (const char *)b + FRAME_HEAD;
    out->len = size - 1;
    return (long long)(size + 4);
}

void frame_head(uint8_t head[FRAME_HEAD], char kind, size_t len)
{
    size_t size = len + 1;

    head[0] = (uint8_t)(size >> 24);
    head[1] = (uint8_t)(size >> 16);
    head[2] = (uint8_t)(size >> 8);
    head[3] = (uint8_t)size;
    head[4] = (uint8_t)kind;
}
