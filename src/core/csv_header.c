/* csv_header: see csv_header.h. */
#include "core/csv_header.h"

#include "core/csv_cell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char candidates[] = ",;\t|";

size_t csv_quoted_end(const char *text, size_t size, size_t open)
{
    size_t p = open + 1;

    while (p < size) {
        const char *quote = memchr(text + p, '"', size - p);

        if (quote == NULL)
            break;
        p = (size_t)(quote - text) + 1;
        if (p == size || text[p] != '"')
            return p;
        p++;
    }
    return size + 1;
}

/* Files that are often sent by mistake, known by their first bytes. */
static int check_magic(const struct csv *csv, size_t start, size_t line, struct fail *fail)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *what;
    } magics[] = {
        {"\x1f\x8b", 2, "is compressed by gzip: unpack it first"},
        {"PK\x03\x04", 4, "is a zip archive or an Excel workbook: export it as CSV"},
        {"\x28\xb5\x2f\xfd", 4, "is compressed by zstd: unpack it first"},
        {"\xfd"
         "7zXZ",
         5, "is compressed by xz: unpack it first"},
        {"\xd0\xcf\x11\xe0", 4, "is an old Excel workbook: export it as CSV"},
        {"\xff\xfe", 2, "is UTF-16: save it as UTF-8"},
        {"\xfe\xff", 2, "is UTF-16: save it as UTF-8"},
    };

    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (csv->size - start >= magics[i].n &&
            memcmp(csv->text + start, magics[i].bytes, magics[i].n) == 0)
            return fail_set(fail, "NotText", "line %zu: the file %s", line, magics[i].what);
    return 0;
}

static bool is_end(char c)
{
    return c == '\n' || c == '\r';
}

static size_t skip_line_end(const struct csv *csv, size_t p)
{
    if (p < csv->size && csv->text[p] == '\r')
        return p + 1 < csv->size && csv->text[p + 1] == '\n' ? p + 2 : p + 1;
    return p < csv->size ? p + 1 : p;
}

/* Skip the byte order mark and blank lines. */
static size_t find_start(const struct csv *csv, size_t *line)
{
    size_t start = csv->size >= 3 && memcmp(csv->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    size_t p = start;

    while (p < csv->size) {
        if (is_end(csv->text[p])) {
            p = start = skip_line_end(csv, p);
            (*line)++;
        } else if (csv->text[p] == ' ' || csv->text[p] == '\t') {
            p++;
        } else {
            return start;
        }
    }
    return csv->size;
}

static bool is_delimiter(char c, char delimiter)
{
    return delimiter != 0 ? c == delimiter : c != 0 && strchr(candidates, c) != NULL;
}

/* Where the header ends; NULL counts, or the candidates outside quotes are counted (`delimiter` is 0
 * then: a quote behind any candidate opens a field). -1 when a quote never closes. */
static int find_end(const struct csv *csv, size_t start, char delimiter, size_t *end,
                    size_t *counts)
{
    bool opens = true;
    size_t p = start;

    while (p < csv->size && !is_end(csv->text[p])) {
        char c = csv->text[p];

        if (opens && c == '"') {
            p = csv_quoted_end(csv->text, csv->size, p);
            if (p > csv->size)
                return -1;
            opens = false;
            continue;
        }
        opens = is_delimiter(c, delimiter);
        if (opens && counts != NULL)
            counts[strchr(candidates, c) - candidates]++;
        p++;
    }
    *end = p;
    return 0;
}

/* The candidate that the header holds most of. */
static char recognise(const struct csv *csv, size_t start)
{
    size_t counts[4] = {0, 0, 0, 0};
    size_t best = 0, end;

    (void)find_end(csv, start, 0, &end, counts);
    for (size_t i = 1; i < 4; i++)
        if (counts[i] > counts[best])
            best = i;
    return candidates[best];
}

size_t csv_field_end(const struct csv *csv, size_t p, size_t end)
{
    const char *found;

    if (p < end && csv->text[p] == '"')
        p = csv_quoted_end(csv->text, end, p);
    if (p >= end)
        return end;
    found = memchr(csv->text + p, csv->delimiter, end - p);
    return found == NULL ? end : (size_t)(found - csv->text);
}

size_t csv_count_fields(const struct csv *csv, size_t p, size_t end)
{
    size_t n = 1;

    for (p = csv_field_end(csv, p, end); p < end; p = csv_field_end(csv, p + 1, end))
        n++;
    return n;
}

/* ---- names ---- */

/* Names seen so far, by hash, so that thousands of equal ones cost no more than different ones. */
struct seen {
    size_t *slots; /* 1 + the column; 0 is free */
    size_t mask;
    size_t *suffix; /* per column: the last number tried for its repetitions */
};

static size_t hash_of(const char *text, size_t n)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    return (size_t)(h ^ h >> 32);
}

/* names[].text holds offsets into name_bytes until all are there. */
static const char *name_text(const struct csv *csv, size_t column)
{
    return csv->name_bytes.data + (size_t)(uintptr_t)csv->names[column].text;
}

/* The slot of this text: taken by the column that has it, or free. */
static size_t *find_slot(const struct csv *csv, const struct seen *seen, const char *text, size_t n)
{
    size_t i = hash_of(text, n) & seen->mask;

    while (seen->slots[i] != 0) {
        size_t column = seen->slots[i] - 1;

        if (csv->names[column].length == n && memcmp(name_text(csv, column), text, n) == 0)
            break;
        i = (i + 1) & seen->mask;
    }
    return &seen->slots[i];
}

/* Append ".1" and so on to the name at the end of name_bytes until no other column has it. */
static int make_unique(struct csv *csv, struct seen *seen, size_t column, size_t offset)
{
    struct buf *bytes = &csv->name_bytes;
    size_t bare = bytes->len;
    size_t *slot = find_slot(csv, seen, bytes->data + offset, bare - offset);
    size_t *suffix = *slot == 0 ? NULL : &seen->suffix[*slot - 1];

    while (*slot != 0) {
        bytes->len = bare;
        if (buf_addf(bytes, ".%zu", ++*suffix) != 0)
            return -1;
        slot = find_slot(csv, seen, bytes->data + offset, bytes->len - offset);
    }
    csv->names[column].text = (const char *)(uintptr_t)offset;
    csv->names[column].length = bytes->len - offset;
    *slot = column + 1;
    return 0;
}

static int add_name(struct csv *csv, struct seen *seen, size_t column, const char *raw, size_t n)
{
    struct buf *bytes = &csv->name_bytes;
    size_t offset = bytes->len;
    const char *name;

    n = csv_cell_trim_blanks(&raw, n);
    if (buf_reserve(bytes, n + 1) != 0)
        return -1;
    name = bytes->data + offset;
    n = csv_cell_decode(raw, n, bytes->data + offset);
    n = csv_cell_trim_blanks(&name, n);
    if (n > 0)
        memmove(bytes->data + offset, name, n);
    bytes->len = offset + n;
    if (n == 0 && buf_addf(bytes, "Unnamed: %zu", column) != 0)
        return -1;
    return make_unique(csv, seen, column, offset);
}

static int add_names(struct csv *csv, struct seen *seen)
{
    size_t end = csv->header.start + csv->header.length;
    size_t p = csv->header.start;

    for (size_t k = 0; k < csv->n_columns; k++) {
        size_t stop = csv_field_end(csv, p, end);

        if (add_name(csv, seen, k, csv->text + p, stop - p) != 0)
            return -1;
        p = stop + 1;
    }
    for (size_t k = 0; k < csv->n_columns; k++)
        csv->names[k].text = name_text(csv, k);
    return 0;
}

static int read_names(struct csv *csv, struct fail *fail)
{
    struct seen seen = {NULL, 0, NULL};
    size_t slots = 4;
    int status;

    while (slots < csv->n_columns * 2)
        slots *= 2;
    seen.mask = slots - 1;
    seen.slots = calloc(slots, sizeof *seen.slots);
    seen.suffix = calloc(csv->n_columns, sizeof *seen.suffix);
    csv->names = calloc(csv->n_columns, sizeof *csv->names);
    /* each name may grow by a number of at most 20 digits */
    buf_init(&csv->name_bytes, csv->header.length + csv->n_columns * 32);
    if (seen.slots == NULL || seen.suffix == NULL || csv->names == NULL)
        status = -1;
    else
        status = add_names(csv, &seen);
    free(seen.slots);
    free(seen.suffix);
    return status == 0 ? 0 : fail_memory(fail);
}

/* ---- is it a header? ---- */

/* Does a name begin as a date or a time does: digits, then one of "-/:."? */
static bool looks_like_time(const char *name, size_t n)
{
    size_t i = 0;

    while (i < n && name[i] >= '0' && name[i] <= '9')
        i++;
    return i > 0 && i < n && memchr("-/:.", name[i], 4) != NULL;
}

/* A line of values is data whose header was forgotten: when every name looks like a value, or at
 * least half of them are numbers with a point. */
static bool is_data(const struct csv *csv)
{
    size_t values = 0, decimals = 0;

    for (size_t k = 0; k < csv->n_columns; k++) {
        const struct csv_name *name = &csv->names[k];
        bool unnamed = name->length > 9 && memcmp(name->text, "Unnamed: ", 9) == 0;
        double x;
        enum csv_kind kind = csv_cell_kind(name->text, name->length, &x);

        values += unnamed || kind != CSV_TEXT || looks_like_time(name->text, name->length);
        decimals += kind == CSV_NUMBER && memchr(name->text, '.', name->length) != NULL;
    }
    return values == csv->n_columns || decimals * 2 >= csv->n_columns;
}

static int check_bytes(const struct csv *csv, size_t line, struct fail *fail)
{
    for (size_t i = 0; i < csv->header.length; i++) {
        unsigned char c = (unsigned char)csv->text[csv->header.start + i];

        if (c < ' ' && memchr("\t\n\v\f\r", c, 5) == NULL)
            return fail_set(
                fail, "NotText",
                "line %zu: the header holds the control byte 0x%02x: this is no CSV text", line, c);
    }
    return 0;
}

/* Where the header lies and how many names it has. */
static int find_header(struct csv *csv, char delimiter, const struct csv_limits *limits,
                       struct fail *fail, size_t *line)
{
    size_t start = find_start(csv, line);
    size_t end;

    if (start == csv->size) {
        *line = 1;
        return fail_set(fail, "Empty", "line 1: the file is empty: a header line is needed");
    }
    if (check_magic(csv, start, *line, fail) != 0)
        return -1;
    csv->delimiter = delimiter != 0 ? delimiter : recognise(csv, start);
    if (find_end(csv, start, csv->delimiter, &end, NULL) != 0)
        return fail_set(fail, "UnclosedQuote", "line %zu: a quote in the header never closes",
                        *line);
    csv->header = (struct csv_span){(uint32_t)start, (uint32_t)(end - start)};
    csv->n_columns = csv_count_fields(csv, start, end);
    if (csv->header.length > limits->row_bytes)
        return fail_set(fail, "TooLarge",
                        "line %zu: the header has %zu bytes, more than max_row_bytes = %zu", *line,
                        (size_t)csv->header.length, limits->row_bytes);
    if (csv->n_columns > limits->columns)
        return fail_set(fail, "TooLarge", "line %zu: %zu columns, more than max_columns = %zu",
                        *line, csv->n_columns, limits->columns);
    return check_bytes(csv, *line, fail);
}

size_t csv_header_read(struct csv *csv, char delimiter, const struct csv_limits *limits,
                       struct fail *fail, size_t *line)
{
    *line = 1;
    if (find_header(csv, delimiter, limits, fail, line) != 0 || read_names(csv, fail) != 0)
        return 0;
    if (is_data(csv)) {
        const struct csv_name *first = &csv->names[0];

        fail_set(fail, "NotHeader",
                 "line %zu: \"%.*s\" is no name of a column: the first line must be a header",
                 *line, (int)(first->length < 60 ? first->length : 60), first->text);
        return 0;
    }
    return skip_line_end(csv, csv->header.start + csv->header.length);
}
