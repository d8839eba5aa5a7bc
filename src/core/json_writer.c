/* json_writer: see json_writer.h. */
#include "core/json_writer.h"

#include "core/number.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Is c a byte that stands for itself between quotes? */
static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The second byte that may follow a lead byte of UTF-8 (The Unicode Standard, table 3-7). */
static bool second_fits(unsigned char lead, unsigned char c)
{
    if (lead == 0xE0)
        return c >= 0xA0 && c <= 0xBF;
    if (lead == 0xED)
        return c >= 0x80 && c <= 0x9F;
    if (lead == 0xF0)
        return c >= 0x90 && c <= 0xBF;
    if (lead == 0xF4)
        return c >= 0x80 && c <= 0x8F;
    return c >= 0x80 && c <= 0xBF;
}

/* How many bytes a character with this lead byte has; 0 when the byte can lead none. */
static size_t length_of(unsigned char lead)
{
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF)
        return 3;
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

/* How many of s[0..n-1], n >= 1, belong together: a whole character, and then *whole is set, or the
 * piece that one U+FFFD stands for. */
static size_t take(const unsigned char *s, size_t n, bool *whole)
{
    size_t need = length_of(s[0]);
    size_t have = 1;

    while (have < need && have < n &&
           (have == 1 ? second_fits(s[0], s[1]) : s[have] >= 0x80 && s[have] <= 0xBF))
        have++;
    *whole = need != 0 && have == need;
    return have;
}

static int add_escaped(struct buf *b, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";
    const char *at = c == 0 ? NULL : strchr(from, c);
    char text[8];

    if (at != NULL) {
        text[0] = '\\';
        text[1] = to[at - from];
        return buf_add(b, text, 2);
    }
    snprintf(text, sizeof text, "\\u%04x", c);
    return buf_add(b, text, 6);
}

/* One character that is_plain refused; *i moves behind it. */
static int add_special(struct buf *b, const unsigned char *s, size_t n, size_t *i)
{
    const unsigned char *at = s + *i;
    bool whole;
    size_t taken;

    if (*at < 0x80) {
        *i += 1;
        return add_escaped(b, *at);
    }
    taken = take(at, n - *i, &whole);
    *i += taken;
    return whole ? buf_add(b, at, taken) : buf_add(b, "\xEF\xBF\xBD", 3);
}

int json_writer_string(struct buf *b, const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;

    if (buf_addc(b, '"') != 0)
        return -1;
    while (i < n) {
        size_t from = i;

        while (i < n && is_plain(s[i]))
            i++;
        if (buf_add(b, s + from, i - from) != 0)
            return -1;
        if (i < n && add_special(b, s, n, &i) != 0)
            return -1;
    }
    return buf_addc(b, '"');
}

int json_writer_double(struct buf *b, double x)
{
    char text[NUMBER_MAX];

    return buf_add(b, text, number_shortest(x, text));
}

int json_writer_integer(struct buf *b, long long i)
{
    char text[24];

    return buf_add(b, text, (size_t)snprintf(text, sizeof text, "%lld", i));
}

int json_writer_line(struct buf *b, size_t spaces)
{
    if (buf_reserve(b, spaces + 1) != 0)
        return -1;
    b->data[b->len++] = '\n';
    memset(b->data + b->len, ' ', spaces);
    b->len += spaces;
    return 0;
}
