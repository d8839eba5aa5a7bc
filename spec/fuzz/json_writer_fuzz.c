/* json_writer_fuzz: any bytes as a JSON string, any double as a JSON number.
 *
 * Promised: the string's text is UTF-8, has no raw control character or loose quote, and reads back
 * to the bytes that went in wherever those were UTF-8; the number reads back to the same double.
 */
#include "core/json_writer.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

/* The length of the UTF-8 character at s, decoded the long way; 0 when there is none. */
static size_t character(const uint8_t *s, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t need = s[0] < 0x80       ? 1
                  : s[0] >> 5 == 6  ? 2
                  : s[0] >> 4 == 14 ? 3
                  : s[0] >> 3 == 30 ? 4
                                    : 0;
    uint32_t code;

    if (need <= 1 || need > n)
        return need == 1;
    code = s[0] & (0x7Fu >> need);
    for (size_t i = 1; i < need; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    if (code < least[need] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return 0;
    return need;
}

static int is_utf8(const uint8_t *s, size_t n)
{
    size_t taken;

    for (size_t i = 0; i < n; i += taken)
        if ((taken = character(s + i, n - i)) == 0)
            return 0;
    return 1;
}

/* Read the escape behind a backslash at s[0]; how many bytes it has, the byte into *out. */
static size_t unescape(const uint8_t *s, size_t n, uint8_t *out)
{
    static const char names[] = "\"\\bfnrt";
    static const char bytes[] = "\"\\\b\f\n\r\t";
    const char *at;
    unsigned code;

    check(n >= 2, "an escape is cut off");
    if (s[1] == 'u') {
        char digits[5] = {0};

        check(n >= 6, "a \\u escape is cut off");
        memcpy(digits, s + 2, 4);
        check(sscanf(digits, "%4x", &code) == 1 && code < 0x20, "a needless \\u escape");
        *out = (uint8_t)code;
        return 6;
    }
    at = s[1] == 0 ? NULL : strchr(names, s[1]);
    check(at != NULL, "an unknown escape");
    *out = (uint8_t)bytes[at - names];
    return 2;
}

static void check_string(const uint8_t *data, size_t size)
{
    struct buf b;
    const uint8_t *s;
    uint8_t *back = malloc(size * 3 + 1);
    size_t n = 0;

    buf_init(&b, size * 6 + 2);
    check(back != NULL && json_writer_string(&b, (const char *)data, size) == 0, "it fits");
    s = (const uint8_t *)b.data;
    check(b.len >= 2 && s[0] == '"' && s[b.len - 1] == '"', "it is quoted");
    check(is_utf8(s, b.len), "it is UTF-8");
    for (size_t i = 1; i < b.len - 1;) {
        check(s[i] >= 0x20 && s[i] != '"', "nothing is left to escape");
        if (s[i] == '\\')
            i += unescape(s + i, b.len - 1 - i, &back[n++]);
        else
            back[n++] = s[i++];
    }
    if (is_utf8(data, size))
        check(n == size && memcmp(back, data, n) == 0, "it reads back");
    free(back);
    buf_fini(&b);
}

static void check_double(double x)
{
    struct buf b;
    double back;

    if (!isfinite(x))
        return;
    buf_init(&b, 64);
    check(json_writer_double(&b, x) == 0 && buf_addc(&b, '\0') == 0, "a number fits");
    back = strtod(b.data, NULL);
    check(back == x && signbit(back) == signbit(x), "a number reads back");
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double x;

    check_string(data, size);
    if (size >= sizeof x) {
        memcpy(&x, data, sizeof x);
        check_double(x);
    }
    return 0;
}
