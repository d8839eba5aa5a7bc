/* armor: see armor.h. */
#include "core/armor.h"

#include <stdio.h>
#include <string.h>

enum { LABEL_MAX = 64 };

/* The six bits of a base64 character, or -1. */
static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/* The bytes of one group of four characters, of which `digits` (2 to 4) carry bits: how many bytes
 * were written to out, or 0 when the characters do not fit. */
static size_t group(const char *text, size_t digits, unsigned char out[3])
{
    unsigned bits = 0;

    for (size_t i = 0; i < 4; i++) {
        int six = i < digits ? sextet(text[i]) : 0;

        if (six < 0)
            return 0;
        bits = bits << 6 | (unsigned)six;
    }
    out[0] = (unsigned char)(bits >> 16);
    out[1] = (unsigned char)(bits >> 8);
    out[2] = (unsigned char)bits;
    if ((digits == 2 && (out[1] | out[2]) != 0) || (digits == 3 && out[2] != 0))
        return 0;
    return digits - 1;
}

/* How many of the last four characters carry bits: 4, or 3 or 2 before `=` or `==`. */
static size_t last_digits(const char *last)
{
    if (last[3] != '=')
        return 4;
    return last[2] == '=' ? 2 : 3;
}

static int no_room(const struct buf *out, size_t n, struct fail *fail)
{
    if (buf_full(out, n))
        return fail_set(fail, "TooLarge", "more than %zu bytes", out->max);
    return fail_memory(fail);
}

int armor_base64(const char *text, size_t len, struct buf *out, struct fail *fail)
{
    size_t start = out->len;

    if (len % 4 != 0)
        return fail_set(fail, "BadBase64", "base64 of %zu characters: not a multiple of four", len);
    if (buf_reserve(out, len / 4 * 3) != 0)
        return no_room(out, len / 4 * 3, fail);
    for (size_t i = 0; i < len; i += 4) {
        size_t digits = i + 4 == len ? last_digits(text + i) : 4;
        size_t n = group(text + i, digits, (unsigned char *)out->data + out->len);

        if (n == 0) {
            out->len = start;
            return fail_set(fail, "BadBase64", "not base64 in the four characters from %zu on",
                            i + 1);
        }
        out->len += n;
    }
    return 0;
}

struct cursor {
    const char *text;
    size_t len;
    size_t at;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->len && memchr(" \t\r\n", c->text[c->at], 4) != NULL)
        c->at++;
}

/* The next line without its end; -1 when it has none. */
static int next_line(struct cursor *c, const char **line, size_t *len)
{
    const char *start = c->text + c->at;
    const char *end = memchr(start, '\n', c->len - c->at);

    if (end == NULL)
        return -1;
    c->at += (size_t)(end - start) + 1;
    *line = start;
    *len = (size_t)(end - start);
    if (*len > 0 && start[*len - 1] == '\r')
        (*len)--;
    return 0;
}

/* Step over the boundary `-----WORD LABEL-----`; -1 when it does not stand here. */
static int boundary(struct cursor *c, const char *word, const char *label)
{
    char mark[LABEL_MAX];
    int n = snprintf(mark, sizeof mark, "-----%s %s-----", word, label);

    if (n < 0 || (size_t)n >= sizeof mark || c->len - c->at < (size_t)n ||
        memcmp(c->text + c->at, mark, (size_t)n) != 0)
        return -1;
    c->at += (size_t)n;
    return 0;
}

/* Join the lines up to the closing boundary into `joined`. */
static int body(struct cursor *c, const char *label, struct buf *joined, struct fail *fail)
{
    const char *line;
    size_t n;

    while (boundary(c, "END", label) != 0) {
        size_t at = c->at;

        if (next_line(c, &line, &n) != 0)
            return fail_set(fail, "BadPem", "a PEM %s block without its END line", label);
        if (n == 0)
            return fail_set(fail, "BadPem", "an empty line at byte %zu of a PEM block", at + 1);
        if (buf_add(joined, line, n) != 0)
            return no_room(joined, n, fail);
    }
    return 0;
}

static int read_block(struct cursor *c, const char *label, struct buf *joined, struct fail *fail)
{
    const char *rest;
    size_t n;

    skip_space(c);
    if (boundary(c, "BEGIN", label) != 0 || next_line(c, &rest, &n) != 0 || n != 0)
        return fail_set(fail, "BadPem", "does not start with the line -----BEGIN %s-----", label);
    if (body(c, label, joined, fail) != 0)
        return -1;
    skip_space(c);
    if (c->at != c->len)
        return fail_set(fail, "BadPem", "something follows the PEM block at byte %zu", c->at + 1);
    return 0;
}

int armor_pem(const char *text, size_t len, const char *label, struct buf *out, struct fail *fail)
{
    struct cursor c = {text, len, 0};
    struct buf joined;
    struct fail inner = {0};
    int rc;

    buf_init(&joined, len);
    rc = read_block(&c, label, &joined, fail);
    if (rc == 0 && joined.len == 0)
        rc = fail_set(fail, "BadPem", "an empty PEM %s block", label);
    if (rc == 0 && armor_base64(joined.data, joined.len, out, &inner) != 0) {
        int form = strcmp(inner.code, "BadBase64") == 0;

        rc = fail_set(fail, form ? "BadPem" : inner.code, "in a PEM block: %.400s", inner.message);
    }
    buf_fini(&joined);
    return rc;
}
