/* headers: see headers.h. */
#include "core/headers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void drop(struct exchange_header *header)
{
    free((void *)header->name);
    free((void *)header->value);
}

static void forget(struct headers *h)
{
    for (size_t i = 0; i < h->n; i++) {
        drop(&h->list[i]);
    }
    h->n = 0;
    h->lines = 0;
    h->bytes = 0;
    h->ended = false;
}

void headers_fini(struct headers *h)
{
    forget(h);
    free(h->list);
    *h = (struct headers){NULL, 0, 0, 0, 0, false};
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Drop the line end and blanks around [*text, *text + *n). */
static void trim(const char **text, size_t *n)
{
    while (*n > 0 && (blank((*text)[*n - 1]) || (*text)[*n - 1] == '\r' || (*text)[*n - 1] == '\n'))
        --*n;
    while (*n > 0 && blank(**text)) {
        ++*text;
        --*n;
    }
}

static char *copy(const char *text, size_t n)
{
    char *made = malloc(n + 1);

    if (made == NULL)
        return NULL;
    memcpy(made, text, n);
    made[n] = '\0';
    return made;
}

static int grow(struct headers *h)
{
    size_t cap = h->cap == 0 ? 16 : h->cap * 2;
    struct exchange_header *list;

    if (h->n < h->cap)
        return 0;
    list = realloc(h->list, cap * sizeof *list);
    if (list == NULL)
        return -1;
    h->list = list;
    h->cap = cap;
    return 0;
}

static int add(struct headers *h, const char *line, size_t name, size_t n)
{
    const char *value = line + name + 1;
    size_t value_len = n - name - 1;
    struct exchange_header *header;

    trim(&line, &name);
    trim(&value, &value_len);
    if (name == 0 || memchr(line, '\0', name) != NULL)
        return 0;
    if (grow(h) != 0)
        return -1;
    header = &h->list[h->n];
    header->name = copy(line, name);
    header->value = copy(value, value_len);
    if (header->name == NULL || header->value == NULL) {
        drop(header);
        return -1;
    }
    h->n++;
    return 0;
}

/* The old way of folding: the line goes on with the last value. */
static int fold(struct headers *h, const char *line, size_t n)
{
    struct exchange_header *last;
    size_t had;
    char *value;

    trim(&line, &n);
    if (h->n == 0 || n == 0)
        return 0;
    last = &h->list[h->n - 1];
    had = strlen(last->value);
    value = realloc((void *)last->value, had + n + 2);
    if (value == NULL)
        return -1;
    last->value = value;
    value[had] = ' ';
    memcpy(value + had + 1, line, n);
    value[had + 1 + n] = '\0';
    return 0;
}

int headers_line(struct headers *h, const char *line, size_t n)
{
    const char *colon;

    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        forget(h);
        return 0;
    }
    if (n == 0 || line[0] == '\r' || line[0] == '\n') {
        h->ended = true;
        return 0;
    }
    if (n > HEADERS_BYTES - h->bytes || h->lines >= HEADERS_MAX)
        return -1;
    h->bytes += n;
    h->lines++;
    if (blank(line[0]))
        return fold(h, line, n);
    colon = memchr(line, ':', n);
    if (colon == NULL)
        return 0;
    return add(h, line, (size_t)(colon - line), n);
}

const char *headers_get(const struct exchange_header *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(list[i].name, name) == 0)
            return list[i].value;
    return NULL;
}

bool headers_valid(const char *name, const char *value)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    if (name[0] == '\0' || name[strspn(name, token)] != '\0')
        return false;
    for (const unsigned char *c = (const unsigned char *)value; *c != '\0'; c++)
        if ((*c < 0x20 && *c != '\t') || *c == 0x7f)
            return false;
    return true;
}
