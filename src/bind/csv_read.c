/* csv_read: the methods of a frame that read the whole input: a column, its facts, chosen rows. */
#include "bind/csv_frame.h"
#include "bind/l_column.h"
#include "core/csv_cell.h"
#include "core/csv_header.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SHOWN = 80, MOST_SELECTED = 100000 };

/* ---- a column and its facts ---- */

struct column_op {
    struct bridge_op op;
    struct csv *csv;
    size_t column;
    struct csv_late late;
    size_t lines[CSV_FIRST_BAD]; /* where late.facts.first are */
    bool failed;
};

static void column_work(struct bridge_op *op, struct crew *crew)
{
    struct column_op *c = (struct column_op *)op;
    size_t place = 0, line = 1;

    (void)crew;
    if (c->late.column == NULL)
        c->late.column = csv_numbers(c->csv, c->column, &c->late.facts);
    c->failed = c->late.column == NULL;
    for (size_t i = 0; i < c->late.facts.n_first; i++) {
        c->lines[i] = line = csv_line(c->csv, c->late.facts.first[i].start, place, line);
        place = c->late.facts.first[i].start;
    }
}

static void column_fini(struct bridge_op *op)
{
    struct column_op *c = (struct column_op *)op;

    csv_unref(c->csv);
    column_unref(c->late.column);
}

static const struct bridge_type column_type = {"frame:column", sizeof(struct column_op), NULL,
                                               column_work, column_fini};

/* Read the input's column `source`: now when it is there, else on a worker. */
static int run_column(lua_State *L, struct csv_frame *f, long source, lua_KFunction done)
{
    struct column_op *c = (struct column_op *)bridge_new(L, &column_type);
    const struct csv_late *late = f->late == NULL ? NULL : &f->late[source];

    c->csv = csv_ref(f->sheet.csv);
    c->column = (size_t)source;
    if (late != NULL && late->column != NULL) {
        c->late.column = column_ref(late->column);
        c->late.facts = late->facts;
    }
    c->op.heavy = c->late.column == NULL && f->sheet.csv->numbers[source] == NULL &&
                  f->sheet.csv->size > CSV_HEAVY_BYTES;
    return bridge_run(L, &c->op, done);
}

/* Remember what was read. */
static void keep_column(struct csv_frame *f, const struct column_op *c)
{
    if (f->sheet.csv == NULL || f->sheet.csv->numbers[c->column] != NULL)
        return;
    if (f->late == NULL)
        f->late = calloc(f->sheet.csv->n_columns, sizeof *f->late);
    if (f->late == NULL || f->late[c->column].column != NULL)
        return;
    f->late[c->column].column = column_ref(c->late.column);
    f->late[c->column].facts = c->late.facts;
}

static int column_done(lua_State *L, int status, lua_KContext ctx)
{
    struct column_op *c = (struct column_op *)ctx;
    struct column **slot;

    (void)status;
    if (c->failed)
        return csv_frame_no_memory(L);
    keep_column(lua_touserdata(L, 1), c);
    slot = column_box(L, c->late.column->n);
    *slot = c->late.column;
    c->late.column = NULL;
    return 1;
}

/* The column of cells that were set. */
static int push_set_column(lua_State *L, const struct csv_cells *cells, size_t n)
{
    struct column **slot = column_box(L, n);

    *slot = column_new(n);
    if (*slot == NULL)
        return csv_frame_no_memory(L);
    for (size_t i = 0; i < n; i++)
        (*slot)->cells[i] = csv_cells_number(cells, i);
    return 1;
}

int csv_read_column(lua_State *L)
{
    struct csv_frame *f = csv_frame_check(L, 1);
    const struct csv_output *o = csv_frame_output(L, f, 2);

    if (o == NULL)
        return 0;
    if (o->cells != NULL)
        return push_set_column(L, o->cells, f->sheet.csv->n_rows);
    lua_settop(L, 2);
    return run_column(L, f, o->source, column_done);
}

static void set_count(lua_State *L, const char *key, size_t n)
{
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, key);
}

/* Push {line, column, text} of a bad cell. */
static void push_bad(lua_State *L, const struct column_op *c, size_t i)
{
    struct csv_span cell = c->late.facts.first[i];
    const char *text = c->csv->text + cell.start;
    size_t n = csv_cell_trim(&text, cell.length);

    lua_createtable(L, 0, 3);
    set_count(L, "line", c->lines[i]);
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "column");
    lua_pushlstring(L, text, n < MOST_SHOWN ? n : MOST_SHOWN);
    lua_setfield(L, -2, "text");
}

static int numbers_done(lua_State *L, int status, lua_KContext ctx)
{
    const struct column_op *c = (const struct column_op *)ctx;
    const struct csv_facts *facts = &c->late.facts;

    (void)status;
    if (c->failed)
        return csv_frame_no_memory(L);
    keep_column(lua_touserdata(L, 1), c);
    lua_createtable(L, 0, 6);
    set_count(L, "cells", facts->finite + facts->bad + facts->booleans);
    set_count(L, "finite", facts->finite);
    set_count(L, "bad", facts->bad);
    set_count(L, "missing", facts->missing);
    set_count(L, "booleans", facts->booleans);
    lua_createtable(L, CSV_FIRST_BAD, 0);
    for (size_t i = 0; i < facts->n_first; i++) {
        push_bad(L, c, i);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "first");
    return 1;
}

int csv_read_numbers(lua_State *L)
{
    struct csv_frame *f = csv_frame_check(L, 1);
    const struct csv_output *o = csv_frame_output(L, f, 2);

    if (o == NULL)
        return 0;
    luaL_argcheck(L, o->cells == NULL, 2, "a column that was set; only the input has facts");
    lua_settop(L, 2);
    return run_column(L, f, o->source, numbers_done);
}

/* ---- select ---- */

struct select_op {
    struct bridge_op op;
    struct csv *csv;
    size_t column;
    char *text; /* what to look for */
    size_t length;
    size_t limit;
    size_t *rows;
    size_t n;
};

static bool cell_is(const struct csv *csv, size_t row, const struct select_op *s)
{
    struct csv_span cell = csv_cell(csv, row, s->column);
    const char *text = csv->text + cell.start;
    size_t n = csv_cell_trim(&text, cell.length);

    return n == s->length && memcmp(text, s->text, n) == 0;
}

static void select_work(struct bridge_op *op, struct crew *crew)
{
    struct select_op *s = (struct select_op *)op;

    (void)crew;
    for (size_t row = 0; row < s->csv->n_rows && s->n < s->limit; row++)
        if (cell_is(s->csv, row, s))
            s->rows[s->n++] = row;
}

static void select_fini(struct bridge_op *op)
{
    struct select_op *s = (struct select_op *)op;

    csv_unref(s->csv);
    free(s->text);
    free(s->rows);
}

static const struct bridge_type select_type = {"frame:select", sizeof(struct select_op), NULL,
                                               select_work, select_fini};

/* Digits, maybe behind a "-", that a Lua integer holds. */
static bool as_integer(const char *text, size_t n, lua_Integer *value)
{
    bool negative = n > 0 && *text == '-';
    lua_Integer v = 0;

    if (n - negative == 0 || n - negative > 18)
        return false;
    for (size_t i = negative; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (text[i] - '0');
    }
    *value = negative ? -v : v;
    return true;
}

static bool all_digits(const char *text, size_t n)
{
    size_t i = n > 0 && (*text == '-' || *text == '+');

    while (i < n && text[i] >= '0' && text[i] <= '9')
        i++;
    return i == n;
}

/* Push what a cell means. A whole number that no integer of Lua's holds stays a text, so that no
 * digit is lost. */
static void push_typed(lua_State *L, const char *raw, size_t n)
{
    double value;
    lua_Integer whole;
    const char *text = raw;
    size_t length = csv_cell_trim(&text, n);
    enum csv_kind kind = csv_cell_kind(raw, n, &value);

    if (kind == CSV_MISSING)
        lua_pushlightuserdata(L, NULL);
    else if (kind == CSV_BOOLEAN)
        lua_pushboolean(L, value != 0);
    else if (kind == CSV_NUMBER && as_integer(text, length, &whole))
        lua_pushinteger(L, whole);
    else if (kind == CSV_NUMBER && !all_digits(text, length))
        lua_pushnumber(L, value);
    else
        csv_frame_push_text(L, raw, n);
}

static void push_row(lua_State *L, const struct csv *csv, size_t row)
{
    size_t p = csv->rows[row].start;
    size_t end = p + csv->rows[row].length;

    lua_createtable(L, (int)csv->n_columns, 0);
    for (size_t k = 0; k < csv->n_columns; k++) {
        size_t stop = csv_field_end(csv, p, end);

        push_typed(L, csv->text + p, stop - p);
        lua_rawseti(L, -2, (lua_Integer)k + 1);
        p = stop + 1;
    }
}

static int select_done(lua_State *L, int status, lua_KContext ctx)
{
    const struct select_op *s = (const struct select_op *)ctx;

    (void)status;
    lua_createtable(L, (int)s->n, 0);
    for (size_t i = 0; i < s->n; i++) {
        push_row(L, s->csv, s->rows[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_createtable(L, (int)s->csv->n_columns, 0);
    for (size_t k = 0; k < s->csv->n_columns; k++) {
        lua_pushlstring(L, s->csv->names[k].text, s->csv->names[k].length);
        lua_rawseti(L, -2, (lua_Integer)k + 1);
    }
    return 2;
}

int csv_read_select(lua_State *L)
{
    struct csv_frame *f = csv_frame_check(L, 1);
    size_t n, length;
    const char *name = luaL_checklstring(L, 2, &n);
    const char *text = luaL_checklstring(L, 3, &length);
    lua_Integer limit = luaL_checkinteger(L, 4);
    long column = csv_find(f->sheet.csv, name, n);
    struct select_op *s;

    luaL_argcheck(L, limit >= 0 && limit <= MOST_SELECTED, 4, "a limit of 0 to 100000");
    lua_settop(L, 4);
    s = (struct select_op *)bridge_new(L, &select_type);
    s->csv = csv_ref(f->sheet.csv);
    s->column = (size_t)column;
    s->limit = column < 0 ? 0 : (size_t)limit;
    s->length = length;
    s->text = malloc(length + 1);
    s->rows = malloc((s->limit + 1) * sizeof *s->rows);
    if (s->text == NULL || s->rows == NULL)
        return csv_frame_no_memory(L);
    memcpy(s->text, text, length);
    s->op.heavy = f->sheet.csv->size > CSV_HEAVY_BYTES;
    return bridge_run(L, &s->op, select_done);
}
