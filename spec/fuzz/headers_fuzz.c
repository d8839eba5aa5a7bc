/* headers_fuzz: the reader of an answer's header lines, and the check of headers to be sent. */
#include "core/headers.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines as a transport hands them over: up to and including the line end. */
static void feed(struct headers *h, const char *text, size_t size)
{
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t n = end == NULL ? size : (size_t)(end + 1 - text);

        if (headers_line(h, text, n) != 0)
            return;
        text += n;
        size -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct headers h = {0};
    size_t bytes = 0;

    feed(&h, (const char *)data, size);
    if (h.n > HEADERS_MAX)
        __builtin_trap();
    for (size_t i = 0; i < h.n; i++) {
        const char *name = h.list[i].name;

        bytes += strlen(name) + strlen(h.list[i].value);
        if (name[0] == '\0' || headers_get(h.list, h.n, name) == NULL)
            __builtin_trap();
        if (headers_valid(name, h.list[i].value) && strpbrk(h.list[i].value, "\r\n") != NULL)
            __builtin_trap();
    }
    if (bytes > HEADERS_BYTES + HEADERS_MAX)
        __builtin_trap();
    headers_fini(&h);
    return 0;
}
