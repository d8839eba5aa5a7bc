/* csv_walk: see csv_walk.h. */
#include "core/csv_walk.h"

#include "core/csv_cell.h"
#include "core/csv_header.h"
#include "core/csv_plain.h"
#include "core/csv_scan.h"

#include <math.h>
#include <stdlib.h>

enum { WINDOW = CSV_BLOCK * CSV_WINDOW };

/* The separators from a place on, one window of masks at a time. */
struct cursor {
    const struct csv_walk *walk;
    uint64_t mask; /* separators left in the block */
    size_t block;  /* where the block begins */
    size_t window; /* where the window begins */
    uint64_t masks[CSV_WINDOW];
};

static void load_window(struct cursor *c, size_t window)
{
    const struct csv_walk *w = c->walk;
    size_t n = w->size - window < WINDOW ? w->size - window : WINDOW;

    c->window = window;
    csv_scan_masks(w->text + window, n, w->delimiter, w->carriage_return, c->masks);
    for (size_t i = (n + CSV_BLOCK - 1) / CSV_BLOCK; i < CSV_WINDOW; i++)
        c->masks[i] = 0;
}

/* Go on from `place`, which is not before where the cursor is. */
static void move_to(struct cursor *c, size_t place)
{
    if (place >= c->walk->size) {
        c->block = c->walk->size;
        c->mask = 0;
        return;
    }
    if (place - c->window >= WINDOW)
        load_window(c, place);
    if (place - c->block >= CSV_BLOCK) {
        c->block = c->window + (place - c->window) / CSV_BLOCK * CSV_BLOCK;
        c->mask = c->masks[(c->block - c->window) / CSV_BLOCK];
    }
    c->mask &= ~UINT64_C(0) << (place - c->block);
}

static void start_cursor(struct cursor *c, const struct csv_walk *walk, size_t place)
{
    c->walk = walk;
    c->mask = 0;
    c->block = place;
    if (place >= walk->size)
        return;
    load_window(c, place);
    c->mask = c->masks[0];
}

/* The next separator, or the size of the text. */
static inline size_t next_separator(struct cursor *c)
{
    size_t found;

    while (c->mask == 0) {
        c->block += CSV_BLOCK;
        if (c->block >= c->walk->size) {
            c->block = c->walk->size;
            return c->walk->size;
        }
        if (c->block - c->window >= WINDOW)
            load_window(c, c->block);
        c->mask = c->masks[(c->block - c->window) / CSV_BLOCK];
    }
    found = c->block + (size_t)__builtin_ctzll(c->mask);
    c->mask &= c->mask - 1;
    return found;
}

double csv_walk_judge(const char *text, struct csv_span cell, struct csv_facts *facts)
{
    double value;
    enum csv_kind kind = csv_cell_kind(text + cell.start, cell.length, &value);

    if (kind == CSV_NUMBER) {
        facts->finite++;
        return value;
    }
    if (kind == CSV_MISSING) {
        facts->missing++;
        return NAN;
    }
    facts->booleans += kind == CSV_BOOLEAN;
    facts->bad++;
    if (facts->n_first < CSV_FIRST_BAD)
        facts->first[facts->n_first++] = cell;
    return NAN;
}

/* A row as it is being read. */
struct reading {
    struct cursor cursor;
    const struct csv_walk *walk;
    struct csv_stretch *stretch;
    size_t slot;     /* of this row */
    size_t *fields;  /* where each wanted cell that needs a closer look begins and ends */
    size_t *columns; /* and its column */
    size_t n_close;
};

static int reject(struct csv_stretch *s, struct csv_span row, size_t fields)
{
    if (s->n_rejects == s->cap_rejects) {
        size_t cap = s->cap_rejects == 0 ? 16 : s->cap_rejects * 2;
        struct csv_reject *grown = realloc(s->rejects, cap * sizeof *grown);

        if (grown == NULL) {
            s->error = CSV_WALK_MEMORY;
            return -1;
        }
        s->rejects = grown;
        s->cap_rejects = cap;
    }
    s->rejects[s->n_rejects++] = (struct csv_reject){row, fields};
    return 0;
}

static bool is_blank_line(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && text[i] != '\t')
            return false;
    return true;
}

/* The cells that were no plain numbers, now that the row counts. */
static void look_closer(struct reading *r)
{
    for (size_t i = 0; i < r->n_close; i++) {
        size_t column = r->columns[i];
        struct csv_span cell = {(uint32_t)r->fields[2 * i],
                                (uint32_t)(r->fields[2 * i + 1] - r->fields[2 * i])};

        r->walk->cells[column][r->slot] =
            csv_walk_judge(r->walk->text, cell, &r->stretch->facts[column]);
    }
}

/* The row at start..end-1 has so many fields: keep it, reject it, or skip it. */
static int end_row(struct reading *r, size_t start, size_t end, size_t fields)
{
    const struct csv_walk *w = r->walk;
    struct csv_stretch *s = r->stretch;
    struct csv_span row = {(uint32_t)start, (uint32_t)(end - start)};
    bool extra;

    if (fields == 1 && is_blank_line(w->text + start, row.length))
        return 0;
    if (s->n_rows + s->n_rejects == s->most) {
        s->error = CSV_WALK_ROWS;
        s->where = start;
        return -1;
    }
    if (row.length > w->row_bytes) {
        s->error = CSV_WALK_LONG_ROW;
        s->where = start;
        return -1;
    }
    extra = w->extra && fields == w->n_columns + 1 && w->text[end - 1] == w->delimiter;
    if (fields != w->n_columns && !extra)
        return reject(s, row, fields);
    if (r->n_close > 0)
        look_closer(r);
    w->rows[r->slot] = row;
    s->n_extra += extra;
    s->n_rows++;
    r->slot++;
    return 0;
}

static inline void take_cell(struct reading *r, size_t column, size_t start, size_t end)
{
    const struct csv_walk *w = r->walk;

    if (w->cells[column] == NULL)
        return;
    if (end >= 16 && plain_number(w->text + start, end - start, &w->cells[column][r->slot]))
        return;
    r->fields[2 * r->n_close] = start;
    r->fields[2 * r->n_close + 1] = end;
    r->columns[r->n_close++] = column;
}

/* Read the row that begins at `start`. Gives where the next one begins, or 0 to stop. */
static size_t read_row(struct reading *r, size_t start)
{
    const struct csv_walk *w = r->walk;
    size_t field = start;
    size_t n = 0;
    size_t end;

    r->n_close = 0;
    for (;; field = end + 1) {
        if (w->quotes && field < w->size && w->text[field] == '"') {
            size_t behind = csv_quoted_end(w->text, w->size, field);

            if (behind > w->size) {
                r->stretch->error = CSV_WALK_OPEN_QUOTE;
                r->stretch->where = field;
                return 0;
            }
            move_to(&r->cursor, behind);
        }
        end = next_separator(&r->cursor);
        if (n < w->n_columns)
            take_cell(r, n, field, end);
        n++;
        if (end >= w->size || w->text[end] != w->delimiter)
            break;
    }
    if (end_row(r, start, end, n) != 0)
        return 0;
    if (end < w->size && w->text[end] == '\r' && end + 1 < w->size && w->text[end + 1] == '\n')
        end = next_separator(&r->cursor);
    return end < w->size ? end + 1 : end;
}

/* Every cell that needed no closer look was a finite number. */
static void count_finite(const struct csv_walk *w, struct csv_stretch *s)
{
    for (size_t k = 0; k < w->n_columns; k++)
        if (w->cells[k] != NULL)
            s->facts[k].finite = s->n_rows - s->facts[k].missing - s->facts[k].bad;
}

void csv_walk(const struct csv_walk *walk, struct csv_stretch *s)
{
    struct reading r = {.walk = walk, .stretch = s, .slot = s->slot};
    size_t place = s->begin;

    s->stop = place;
    r.fields = malloc(walk->n_columns * 3 * sizeof *r.fields);
    if (r.fields == NULL) {
        s->error = CSV_WALK_MEMORY;
        return;
    }
    r.columns = r.fields + walk->n_columns * 2;
    start_cursor(&r.cursor, walk, place);
    while (place < s->end) {
        place = read_row(&r, place);
        if (place == 0)
            break;
        s->stop = place;
    }
    free(r.fields);
    count_finite(walk, s);
}
