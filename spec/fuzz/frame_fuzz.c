/* Fuzz frame_read: any bytes, in one piece and split in two, give the same frames, which lie within
 * them and are written back as they were. */
#include "core/frame.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *at, size_t have, const struct frame *frame, long long taken)
{
    uint8_t head[FRAME_HEAD];

    if (taken < FRAME_HEAD || (size_t)taken > have || frame->len > MAX_TEXT ||
        (const uint8_t *)frame->text + frame->len != at + taken)
        abort();
    frame_head(head, frame->kind, frame->len);
    if (memcmp(head, at, sizeof head) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame frame, again;
    long long taken;

    while ((taken = frame_read(data, size, MAX_TEXT, &frame)) > 0) {
        check(data, size, &frame, taken);
        /* One byte less is not whole; not one byte more is needed. */
        if (frame_read(data, (size_t)taken - 1, MAX_TEXT, &again) != 0 ||
            frame_read(data, (size_t)taken, MAX_TEXT, &again) != taken)
            abort();
        data += taken;
        size -= (size_t)taken;
    }
    return 0;
}
