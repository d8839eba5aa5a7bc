/* json_scan: see json_scan.h. */
#include "core/json_scan.h"

#include "core/number.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LONG_NUMBER = 16 }; /* from so many bytes on a whole number may not be exact */

struct pass {
    struct json_scan *s;
    const char *text;
    size_t len;
    size_t at;
    size_t copied; /* what is before it is in s->marked */
    int depth, max_depth;
    size_t left;                      /* names and values that may still come */
    size_t open[JSON_SCAN_DEPTH + 1]; /* the object of each level; 0: an array, or an empty one */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The first place from `at` on that is no white space. */
static size_t skip_blanks(const struct pass *p, size_t at)
{
    while (at < p->len && is_blank(p->text[at]))
        at++;
    return at;
}

static size_t skip_digits(const struct pass *p, size_t at)
{
    while (at < p->len && is_digit(p->text[at]))
        at++;
    return at;
}

static bool has(const struct pass *p, size_t at, char c)
{
    return at < p->len && p->text[at] == c;
}

/* Put `mark` in the place of text[from..to-1]. */
static enum json_scan_result replace(struct pass *p, size_t from, size_t to, const char *mark)
{
    struct buf *out = &p->s->marked;

    if (buf_add(out, p->text + p->copied, from - p->copied) != 0 || buf_adds(out, mark) != 0)
        return JSON_SCAN_MEMORY;
    p->copied = to;
    return JSON_SCAN_DONE;
}

static enum json_scan_result wrong_string(struct pass *p, size_t place, const char *reason)
{
    p->s->at = p->at;
    p->s->place = place;
    p->s->reason = reason;
    return JSON_SCAN_STRING;
}

static enum json_scan_result wrong(struct pass *p, size_t at, enum json_scan_result what)
{
    p->s->at = at;
    return what;
}

/* The bytes of the escape whose backslash is at `at`; 0 when it is none, then *reason says why. */
static size_t escape_length(const struct pass *p, size_t at, const char **reason)
{
    *reason = "Invalid \\escape";
    if (at + 1 >= p->len) {
        *reason = "Unterminated string starting at";
        return 0;
    }
    if (p->text[at + 1] != 'u')
        return memchr("\"\\/bfnrt", p->text[at + 1], 8) == NULL ? 0 : 2;
    *reason = "Invalid \\uXXXX escape";
    for (size_t i = at + 2; i < at + 6; i++)
        if (i >= p->len || !is_hex(p->text[i]))
            return 0;
    return 6;
}

/* The string that begins at p->at: the place of its last quote in *end. */
static enum json_scan_result string_end(struct pass *p, size_t *end, bool *escaped)
{
    size_t at = p->at + 1;
    const char *reason;

    *escaped = false;
    for (;;) {
        while (at < p->len && p->text[at] != '"' && p->text[at] != '\\' &&
               (unsigned char)p->text[at] >= 32)
            at++;
        if (at >= p->len)
            return wrong_string(p, p->at, "Unterminated string starting at");
        if (p->text[at] == '"')
            break;
        if (p->text[at] != '\\')
            return wrong_string(p, at, "Invalid control character at");
        *escaped = true;
        size_t n = escape_length(p, at, &reason);
        if (n == 0) {
            bool u = reason[0] == 'I' && p->text[at + 1] == 'u';
            return wrong_string(p, reason[0] == 'U' ? p->at : at + u, reason);
        }
        at += n;
    }
    *end = at;
    return JSON_SCAN_DONE;
}

static enum json_scan_result take_string(struct pass *p)
{
    size_t end, object = p->open[p->depth];
    struct json_scan_name name = {p->at + 1, 0, object, false};
    enum json_scan_result result = string_end(p, &end, &name.escaped);

    if (result != JSON_SCAN_DONE)
        return result;
    if (object != 0 && has(p, skip_blanks(p, end + 1), ':')) {
        name.len = end - name.at;
        if (buf_add(&p->s->names, &name, sizeof name) != 0)
            return JSON_SCAN_MEMORY;
    }
    p->at = end + 1;
    return JSON_SCAN_DONE;
}

/* Where the number that begins at `at` ends; `at` itself when none does. */
static size_t number_end(const struct pass *p, size_t at, bool *fraction)
{
    size_t start = at, end, after;

    at += has(p, at, '-');
    end = has(p, at, '0') ? at + 1 : skip_digits(p, at);
    if (end == at)
        return start;
    after = end;
    if (has(p, end, '.') && skip_digits(p, end + 1) > end + 1)
        after = skip_digits(p, end + 1);
    if (has(p, after, 'e') || has(p, after, 'E')) {
        size_t digits = after + 1 + (has(p, after + 1, '+') || has(p, after + 1, '-'));

        if (skip_digits(p, digits) > digits)
            after = skip_digits(p, digits);
    }
    *fraction = after > end;
    return after;
}

static enum json_scan_result mark_number(struct pass *p, size_t end)
{
    struct buf *out = &p->s->marked;
    double value;

    if (number_parse(p->text + p->at, end - p->at, &value) != NUMBER_FINITE)
        return wrong(p, p->at, JSON_SCAN_RANGE);
    if (floor(value) != value)
        return JSON_SCAN_DONE;
    if (replace(p, p->at, p->at, "\"\xff") != JSON_SCAN_DONE ||
        buf_add(out, p->text + p->at, end - p->at) != 0 || buf_addc(out, '"') != 0)
        return JSON_SCAN_MEMORY;
    p->copied = end;
    return JSON_SCAN_DONE;
}

static enum json_scan_result take_number(struct pass *p)
{
    bool fraction;
    size_t end = number_end(p, p->at, &fraction);
    enum json_scan_result result = JSON_SCAN_DONE;

    if (end == p->at)
        return wrong(p, p->at, JSON_SCAN_UNEXPECTED);
    if (end < p->len && is_digit(p->text[end]))
        return wrong(p, end, JSON_SCAN_UNEXPECTED);
    /* In the place of a name the reader complains about the number as it is. */
    if ((fraction || end - p->at >= LONG_NUMBER) && !has(p, skip_blanks(p, end), ':'))
        result = mark_number(p, end);
    p->at = end;
    return result;
}

static enum json_scan_result take_word(struct pass *p)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i]);

        if (p->len - p->at >= n && memcmp(p->text + p->at, words[i], n) == 0) {
            p->at += n;
            return JSON_SCAN_DONE;
        }
    }
    return wrong(p, p->at, JSON_SCAN_UNEXPECTED);
}

static enum json_scan_result take_open(struct pass *p)
{
    bool is_object = p->text[p->at] == '{';
    bool is_empty = has(p, skip_blanks(p, p->at + 1), is_object ? '}' : ']');
    enum json_scan_result result = JSON_SCAN_DONE;
    char mark[48];

    if (++p->depth > p->max_depth)
        return wrong(p, p->at, JSON_SCAN_DEEP);
    p->open[p->depth] = 0;
    if (is_object && !is_empty) {
        p->open[p->depth] = ++p->s->objects;
        snprintf(mark, sizeof mark, "{\"\xff\":%zu,", p->s->objects);
        result = replace(p, p->at, p->at + 1, mark);
    } else if (!is_object && is_empty) {
        result = replace(p, p->at, p->at + 1, "[\"\xff\"");
    }
    p->at++;
    return result;
}

static enum json_scan_result take(struct pass *p)
{
    char c = p->text[p->at];

    if (c == '}' || c == ']') {
        p->depth -= p->depth > 0;
        p->at++;
        return JSON_SCAN_DONE;
    }
    if (p->left == 0)
        return wrong(p, p->at, JSON_SCAN_MANY);
    p->left--;
    if (c == '"')
        return take_string(p);
    if (c == '{' || c == '[')
        return take_open(p);
    if (c == '-' || is_digit(c))
        return take_number(p);
    return take_word(p);
}

enum json_scan_result json_scan(struct json_scan *s, const char *text, size_t len, int max_depth,
                                size_t max_values)
{
    struct pass p = {.s = s, .text = text, .len = len, .max_depth = max_depth, .left = max_values};
    enum json_scan_result result = JSON_SCAN_DONE;

    memset(s, 0, sizeof *s);
    if (len > SIZE_MAX / 64)
        return JSON_SCAN_MEMORY;
    buf_init(&s->marked, len * 8 + 64);
    buf_init(&s->names, (len + 1) * sizeof(struct json_scan_name));
    if (p.max_depth > JSON_SCAN_DEPTH)
        p.max_depth = JSON_SCAN_DEPTH;
    while (p.at < len && result == JSON_SCAN_DONE) {
        char c = text[p.at];

        if (is_blank(c) || c == ',' || c == ':')
            p.at++;
        else
            result = take(&p);
    }
    if (result != JSON_SCAN_DONE)
        return result;
    return replace(&p, len, len, "");
}

void json_scan_fini(struct json_scan *s)
{
    buf_fini(&s->marked);
    buf_fini(&s->names);
}
