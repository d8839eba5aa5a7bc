/* uri: see uri.h. */
#include "core/uri.h"

#include <string.h>

static bool unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static int escape(struct buf *out, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";
    const char text[3] = {'%', digits[c >> 4], digits[c & 15]};

    return buf_add(out, text, sizeof text);
}

static int encode_byte(struct buf *out, unsigned char c, bool keep_slash)
{
    if (unreserved(c) || (keep_slash && c == '/'))
        return buf_addc(out, (char)c);
    return escape(out, c);
}

int uri_encode(struct buf *out, const char *raw, size_t n, bool keep_slash)
{
    for (size_t i = 0; i < n; i++)
        if (encode_byte(out, (unsigned char)raw[i], keep_slash) != 0)
            return -1;
    return 0;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte of an escape at `text`, or -1. */
static int escaped(const char *text, size_t n)
{
    int high;
    int low;

    if (n < 3 || text[0] != '%')
        return -1;
    high = digit(text[1]);
    low = digit(text[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

int uri_canonical(struct buf *out, const char *text, size_t n, bool keep_slash)
{
    for (size_t i = 0; i < n;) {
        int c = escaped(text + i, n - i);

        if (c < 0) {
            if (encode_byte(out, (unsigned char)text[i], keep_slash) != 0)
                return -1;
            i++;
        } else {
            if (encode_byte(out, (unsigned char)c, false) != 0)
                return -1;
            i += 3;
        }
    }
    return 0;
}

int uri_decode(struct buf *out, const char *text, size_t n, bool form)
{
    for (size_t i = 0; i < n;) {
        int c = escaped(text + i, n - i);
        char byte = (char)(c >= 0 ? c : form && text[i] == '+' ? ' ' : text[i]);

        if (buf_addc(out, byte) != 0)
            return -1;
        i += c < 0 ? 1 : 3;
    }
    return 0;
}
