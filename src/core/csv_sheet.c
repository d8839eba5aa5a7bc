/* csv_sheet: see csv_sheet.h. */
#include "core/csv_sheet.h"

#include "core/csv_cell.h"
#include "core/csv_cells.h"
#include "core/csv_header.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_ROWS = 4096, /* rows formatted in one go by one thread */
    MOST_BLOCKS = 64,  /* blocks at once */
    MOST_OUTPUTS = 65536,
    COPY_BLOCK = 32
};

/* Larger than any text that the limits of the reader let through, with any columns added. */
static const size_t most_bytes = (size_t)1 << 36;

/* ---- the list of columns ---- */

static char *copy_name(const char *name, size_t length)
{
    char *copy = malloc(length + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, name, length);
    copy[length] = 0;
    return copy;
}

static int add_output(struct csv_sheet *s, const char *name, size_t length, long source,
                      struct csv_cells *cells)
{
    struct csv_output *o = &s->outputs[s->n];

    o->name = copy_name(name, length);
    if (o->name == NULL)
        return -1;
    o->length = length;
    o->source = source;
    o->cells = cells;
    s->n++;
    return 0;
}

int csv_sheet_init(struct csv_sheet *s, struct csv *csv)
{
    memset(s, 0, sizeof *s);
    s->csv = csv_ref(csv);
    s->whole_rows = true;
    s->outputs = calloc(csv->n_columns, sizeof *s->outputs);
    if (s->outputs == NULL)
        return -1;
    for (size_t k = 0; k < csv->n_columns; k++)
        if (add_output(s, csv->names[k].text, csv->names[k].length, (long)k, NULL) != 0)
            return -1;
    return 0;
}

static void drop_output(struct csv_output *o)
{
    free(o->name);
    csv_cells_unref(o->cells);
}

void csv_sheet_fini(struct csv_sheet *s)
{
    for (size_t i = 0; i < s->n; i++)
        drop_output(&s->outputs[i]);
    free(s->outputs);
    csv_unref(s->csv);
    memset(s, 0, sizeof *s);
}

long csv_sheet_find(const struct csv_sheet *s, const char *name, size_t length)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->outputs[i].length == length && memcmp(s->outputs[i].name, name, length) == 0)
            return (long)i;
    return -1;
}

int csv_sheet_set(struct csv_sheet *s, const char *name, size_t length, struct csv_cells *cells)
{
    long k = csv_sheet_find(s, name, length);
    struct csv_output *grown;

    if (k >= 0) {
        csv_cells_unref(s->outputs[k].cells);
        s->outputs[k].cells = cells;
        s->whole_rows = s->whole_rows && s->outputs[k].source < 0;
        return 0;
    }
    grown = s->n < MOST_OUTPUTS ? realloc(s->outputs, (s->n + 1) * sizeof *grown) : NULL;
    if (grown != NULL)
        s->outputs = grown;
    if (grown == NULL || add_output(s, name, length, -1, cells) != 0) {
        csv_cells_unref(cells);
        return -1;
    }
    return 0;
}

void csv_sheet_drop(struct csv_sheet *s, size_t k)
{
    s->whole_rows = s->whole_rows && s->outputs[k].source < 0;
    drop_output(&s->outputs[k]);
    memmove(&s->outputs[k], &s->outputs[k + 1], (s->n - k - 1) * sizeof *s->outputs);
    s->n--;
}

int csv_sheet_freeze(const struct csv_sheet *s, struct csv_sheet *copy)
{
    memset(copy, 0, sizeof *copy);
    copy->csv = csv_ref(s->csv);
    copy->whole_rows = s->whole_rows;
    copy->outputs = calloc(s->n + 1, sizeof *copy->outputs);
    if (copy->outputs == NULL)
        return -1;
    for (size_t i = 0; i < s->n; i++) {
        const struct csv_output *o = &s->outputs[i];

        if (add_output(copy, o->name, o->length, o->source, csv_cells_ref(o->cells)) != 0) {
            csv_cells_unref(o->cells);
            return -1;
        }
    }
    return 0;
}

/* ---- lines ---- */

static int add_span(const struct csv_sheet *s, struct csv_span span, struct buf *out)
{
    return buf_add(out, s->csv->text + span.start, span.length);
}

/* The fields of a line; one for each input column. */
static void find_fields(const struct csv *csv, struct csv_span line, struct csv_span *fields)
{
    size_t p = line.start;
    size_t end = p + line.length;

    for (size_t k = 0; k < csv->n_columns; k++) {
        size_t stop = csv_field_end(csv, p, end);

        fields[k] = (struct csv_span){(uint32_t)p, (uint32_t)(stop - p)};
        p = stop + 1;
    }
}

/* Does this row lack the delimiter that the most others have at the end? */
static bool lacks_extra(const struct csv *csv, struct csv_span row)
{
    return csv->ragged &&
           csv_count_fields(csv, row.start, (size_t)row.start + row.length) == csv->n_columns;
}

/* Append the cells of one line, the input's from `fields`; row is SIZE_MAX for the header. */
static int add_cells(const struct csv_sheet *s, size_t row, const struct csv_span *fields,
                     struct buf *out)
{
    bool extra = s->csv->extra;

    for (size_t i = 0; i < s->n; i++) {
        const struct csv_output *o = &s->outputs[i];
        int status;

        if (o->source < 0 && extra) {
            extra = false;
            if (i > 0 && buf_addc(out, s->csv->delimiter) != 0)
                return -1;
        }
        if (i > 0 && buf_addc(out, s->csv->delimiter) != 0)
            return -1;
        if (o->source >= 0 && (o->cells == NULL || row == SIZE_MAX))
            status = add_span(s, fields[o->source], out);
        else if (row == SIZE_MAX)
            status = csv_cell_encode(o->name, o->length, s->csv->delimiter, out);
        else
            status = csv_cells_write(o->cells, row, s->csv->delimiter, out);
        if (status != 0)
            return -1;
    }
    return extra ? buf_addc(out, s->csv->delimiter) : 0;
}

static int add_line(const struct csv_sheet *s, size_t row, struct csv_span line,
                    struct csv_span *fields, struct buf *out)
{
    find_fields(s->csv, line, fields);
    if (add_cells(s, row, fields, out) != 0)
        return -1;
    return add_span(s, csv_line_end(s->csv, line), out);
}

static int add_header(const struct csv_sheet *s, struct buf *out)
{
    const struct csv *csv = s->csv;
    struct csv_span *fields = malloc(csv->n_columns * sizeof *fields);
    int status;

    if (fields == NULL)
        return -1;
    status = csv->size >= 3 && memcmp(csv->text, "\xef\xbb\xbf", 3) == 0
                 ? buf_add(out, csv->text, 3)
                 : 0;
    if (status == 0)
        status = add_line(s, SIZE_MAX, csv->header, fields, out);
    free(fields);
    return status;
}

/* ---- rows ---- */

/* What the computed cells of a row may take, texts aside. */
static size_t room_of(const struct csv_sheet *s)
{
    size_t room = 0;

    for (size_t i = 0; i < s->n; i++)
        if (s->outputs[i].cells != NULL)
            room += s->outputs[i].cells->room + 1;
    return room;
}

/* Copy n bytes in blocks, up to COPY_BLOCK - 1 more than asked for on both sides, which must be
 * there. */
static inline void copy_blocks(char *out, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i += COPY_BLOCK)
        memcpy(out + i, from + i, COPY_BLOCK);
}

/* Append a text cell; leaves `room` behind it. Gives the end, or NULL. */
static char *add_text(const struct csv_sheet *s, const struct csv_cells *cells, size_t row,
                      size_t room, char *p, struct buf *out)
{
    out->len = (size_t)(p - out->data);
    if (csv_cells_write(cells, row, s->csv->delimiter, out) != 0 || buf_reserve(out, room) != 0)
        return NULL;
    return out->data + out->len;
}

/* Append a row whose input cells are all kept, and the computed ones behind them. `room` is what
 * these take at most, texts aside, with a line end and what copy_blocks writes too much. */
static int add_whole_row(const struct csv_sheet *s, size_t row, size_t room, struct buf *out)
{
    const struct csv *csv = s->csv;
    struct csv_span line = csv->rows[row];
    size_t end = (size_t)line.start + line.length;
    char *p;

    if (out->cap - out->len < line.length + room && buf_reserve(out, line.length + room) != 0)
        return -1;
    p = out->data + out->len;
    if (csv->size - end >= COPY_BLOCK)
        copy_blocks(p, csv->text + line.start, line.length);
    else
        memcpy(p, csv->text + line.start, line.length);
    p += line.length;
    if (csv->ragged && lacks_extra(csv, line))
        *p++ = csv->delimiter;
    for (size_t i = csv->n_columns; i < s->n; i++) {
        const struct csv_cells *cells = s->outputs[i].cells;

        *p++ = csv->delimiter;
        p = cells->format != CSV_TEXTS ? csv_cells_put(cells, row, p)
                                       : add_text(s, cells, row, room, p, out);
        if (p == NULL)
            return -1;
    }
    if (end < csv->size) {
        *p++ = csv->text[end];
        if (csv->text[end] == '\r' && end + 1 < csv->size && csv->text[end + 1] == '\n')
            *p++ = '\n';
    }
    out->len = (size_t)(p - out->data);
    return 0;
}

static int add_rows(const struct csv_sheet *s, size_t first, size_t last, struct buf *out)
{
    size_t room = room_of(s) + COPY_BLOCK + 8;
    struct csv_span *fields = NULL;
    int status = 0;

    if (!s->whole_rows) {
        fields = malloc(s->csv->n_columns * sizeof *fields);
        if (fields == NULL)
            return -1;
    }
    for (size_t row = first; row < last && status == 0; row++)
        status = s->whole_rows ? add_whole_row(s, row, room, out)
                               : add_line(s, row, s->csv->rows[row], fields, out);
    free(fields);
    return status;
}

/* ---- the whole ---- */

/* Some blocks of rows, formatted side by side. */
struct wave {
    const struct csv_sheet *sheet;
    size_t first; /* row */
    struct buf bufs[MOST_BLOCKS];
    int status[MOST_BLOCKS];
};

static void format_block(void *ctx, size_t i)
{
    struct wave *w = ctx;
    size_t first = w->first + i * BLOCK_ROWS;

    w->bufs[i].len = 0;
    w->status[i] =
        add_rows(w->sheet, first, least(first + BLOCK_ROWS, w->sheet->csv->n_rows), &w->bufs[i]);
}

static int write_wave(struct wave *w, struct crew *crew, size_t blocks,
                      int (*sink)(void *ctx, const char *data, size_t n), void *ctx,
                      struct fail *fail)
{
    crew_each(crew, blocks, format_block, w);
    for (size_t i = 0; i < blocks; i++) {
        int status =
            w->status[i] != 0 ? fail_memory(fail) : sink(ctx, w->bufs[i].data, w->bufs[i].len);

        if (status != 0)
            return status;
    }
    w->first += blocks * BLOCK_ROWS;
    return 0;
}

static int write_waves(struct wave *w, struct crew *crew,
                       int (*sink)(void *ctx, const char *data, size_t n), void *ctx,
                       struct fail *fail)
{
    size_t n_rows = w->sheet->csv->n_rows;
    size_t width = (size_t)crew_width(crew);
    size_t most = width == 1 ? 1 : least(width * 2, MOST_BLOCKS);
    int status;

    if (add_header(w->sheet, &w->bufs[0]) != 0)
        return fail_memory(fail);
    status = sink(ctx, w->bufs[0].data, w->bufs[0].len);
    while (status == 0 && w->first < n_rows) {
        size_t left = (n_rows - w->first + BLOCK_ROWS - 1) / BLOCK_ROWS;

        status = write_wave(w, crew, least(left, most), sink, ctx, fail);
    }
    return status;
}

int csv_sheet_write(const struct csv_sheet *s, struct crew *crew,
                    int (*sink)(void *ctx, const char *data, size_t n), void *ctx,
                    struct fail *fail)
{
    struct wave w = {.sheet = s};
    int status;

    for (size_t i = 0; i < MOST_BLOCKS; i++)
        buf_init(&w.bufs[i], most_bytes);
    status = write_waves(&w, crew, sink, ctx, fail);
    for (size_t i = 0; i < MOST_BLOCKS; i++)
        buf_fini(&w.bufs[i]);
    return status;
}

struct text_sink {
    struct buf *out;
    struct fail *fail;
};

static int into_text(void *ctx, const char *data, size_t n)
{
    struct text_sink *t = ctx;

    return buf_add(t->out, data, n) == 0 ? 0 : fail_memory(t->fail);
}

int csv_sheet_text(const struct csv_sheet *s, struct crew *crew, struct buf *out, struct fail *fail)
{
    struct text_sink t = {out, fail};

    if (crew_width(crew) > 1 && s->csv->n_rows > BLOCK_ROWS)
        return csv_sheet_write(s, crew, into_text, &t, fail);
    if (add_header(s, out) != 0 || add_rows(s, 0, s->csv->n_rows, out) != 0)
        return fail_memory(fail);
    return 0;
}
