/* csv_walk: see csv_walk.h. */
#include "core/csv_walk.h"

#include "core/csv_cell.h"
#include "core/csv_header.h"
#include "core/csv_plain.h"
#include "core/csv_scan.h"

#include <math.h>
#include <stdlib.h>

/* The separators from a place on, one window at a time. */
struct cursor {
    const struct csv_walk *walk;
    size_t window; /* where the window begins */
    size_t next;
    size_t count;
    uint16_t places[CSV_PLACES];
};

static void load_window(struct cursor *c, size_t window)
{
    const struct csv_walk *w = c->walk;
    size_t n = w->size - window < CSV_WINDOW ? w->size - window : CSV_WINDOW;

    c->window = window;
    c->next = 0;
    c->count = csv_scan_places(w->text + window, n, w->delimiter, w->carriage_return, c->places);
}

/* Go to the next window that has a separator; false at the end of the text. */
static bool next_window(struct cursor *c)
{
    while (c->next == c->count) {
        if (c->window + CSV_WINDOW >= c->walk->size)
            return false;
        load_window(c, c->window + CSV_WINDOW);
    }
    return true;
}

/* Go on from `place`, which is not before where the cursor is. */
static void move_to(struct cursor *c, size_t place)
{
    if (place - c->window >= CSV_WINDOW && place < c->walk->size)
        load_window(c, place);
    while (c->next < c->count && c->window + c->places[c->next] < place)
        c->next++;
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

/* A cell that needs a closer look. */
struct closer {
    size_t column;
    struct csv_span cell;
};

/* A row as it is being read. */
struct reading {
    struct cursor cursor;
    const struct csv_walk *walk;
    struct csv_stretch *stretch;
    size_t slot;          /* of this row */
    struct closer *close; /* the cells that are no plain numbers */
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
        const struct closer *c = &r->close[i];

        r->walk->cells[c->column][r->slot] =
            csv_walk_judge(r->walk->text, c->cell, &r->stretch->facts[c->column]);
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

/* Remember a cell that is no plain number. */
static void put_off(struct reading *r, size_t column, size_t start, size_t end)
{
    r->close[r->n_close++] = (struct closer){column, {(uint32_t)start, (uint32_t)(end - start)}};
}

/* Step over the quoted field that opens at `field`. False when it never closes. */
static bool skip_quoted(struct reading *r, size_t field)
{
    size_t behind = csv_quoted_end(r->walk->text, r->walk->size, field);

    if (behind > r->walk->size) {
        r->stretch->error = CSV_WALK_OPEN_QUOTE;
        r->stretch->where = field;
        return false;
    }
    move_to(&r->cursor, behind);
    return true;
}

/* Read the cells of the row that begins at `field`. Gives where it ends and how many there are; false
 * when a quote never closes. */
static bool read_cells(struct reading *r, size_t field, size_t *row_end, size_t *count)
{
    const struct csv_walk *w = r->walk;
    const char *text = w->text;
    double *const *cells = w->cells;
    struct cursor *c = &r->cursor;
    size_t n_columns = w->n_columns, slot = r->slot, n = 0;
    size_t end;

    for (;; field = end + 1) {
        if (w->quotes && field < w->size && text[field] == '"' && !skip_quoted(r, field))
            return false;
        if (c->next == c->count && !next_window(c))
            end = w->size;
        else
            end = c->window + c->places[c->next++];
        if (n < n_columns && cells[n] != NULL &&
            (end < PLAIN_REACH || !plain_number(text + field, end - field, &cells[n][slot])))
            put_off(r, n, field, end);
        n++;
        if (end == w->size || text[end] != w->delimiter)
            break;
    }
    *row_end = end;
    *count = n;
    return true;
}

/* Read the row that begins at `start`. Gives where the next one begins, or 0 to stop. */
static size_t read_row(struct reading *r, size_t start)
{
    const struct csv_walk *w = r->walk;
    size_t end, fields;

    r->n_close = 0;
    if (!read_cells(r, start, &end, &fields) || end_row(r, start, end, fields) != 0)
        return 0;
    if (end == w->size)
        return end;
    end++;
    if (w->text[end - 1] == '\r' && end < w->size && w->text[end] == '\n')
        move_to(&r->cursor, ++end);
    return end;
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
    r.close = malloc(walk->n_columns * sizeof *r.close);
    if (r.close == NULL) {
        s->error = CSV_WALK_MEMORY;
        return;
    }
    r.cursor.walk = walk;
    if (place < walk->size)
        load_window(&r.cursor, place);
    while (place < s->end) {
        place = read_row(&r, place);
        if (place == 0)
            break;
        s->stop = place;
    }
    free(r.close);
    count_finite(walk, s);
}
