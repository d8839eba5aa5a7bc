/* l_csv: the Lua module `csv`: delimited text as columns, every byte of it kept.
 *
 *   csv.parse(text [, options]) -> frame | nil, message, code, line
 *     options: delimiter (default: the one of , ; tab | that the header holds most of),
 *     max_bytes (512 MiB), max_rows (20 000 000), max_columns (4096), max_row_bytes (1 MiB),
 *     text_only (true: do not read numbers ahead, for who wants a few cells)
 *     codes: Empty NotText NulByte NotHeader NoRowFits UnclosedQuote TooLarge NoMemory; `line` is
 *     the line the message is about, where there is one
 *   csv.null: what frame:select gives for a missing cell (the null of cjson)
 *   csv.scan_path([name]) -> name: for tests, see csv_scan.h
 *
 *   frame.rows, frame.names, frame.delimiter
 *   frame.rejected              how many rows did not fit the header; they are not among the rows
 *   frame:rejected_text()       them as CSV: line, reason, then the row as it came
 *   frame:column(name)          its numbers as a column; NaN where a cell is missing or no finite
 *                               number; nil when there is no such column. In a column of nothing but
 *                               True and False these are 1 and 0.
 *   frame:numbers(name)         {cells, finite, bad, missing, booleans, first = {{line, column, text},
 *                               ...}}: counts of non-missing cells, of finite numbers among them, of
 *                               those that are none, and where the first three of these are
 *   frame:cell(row, name)       the cell's text, its quotes undone; nil where there is none
 *   frame:set(name, column [, format])   put a column behind the others, or in the place of the one
 *                               of this name; format "shortest" (default), "fixed4", "integer",
 *                               "boolean"; NaN is an empty cell. Instead of a column: an array of
 *                               texts, one per row.
 *   frame:drop(name)            leave a column out; true, or false when there is none
 *   frame:format() -> text      the file: input cells byte for byte, then the columns set
 *   frame:save(file) -> bytes   the same into an open file, without ever holding the whole text
 *   frame:select(name, text, limit) -> rows, names   the first `limit` rows whose cell in column
 *                               `name` of the input is `text`, as arrays of typed cells: integer,
 *                               number, boolean, csv.null, else text
 *   frame:close()               release the memory now (also as a to-be-closed variable)
 *
 * column, numbers, cell, format and save see what was set; select sees the input. Parsing and
 * writing something big wait for a worker where there are any.
 */
#include "bind/bridge.h"
#include "bind/l_column.h"
#include "bind/modules.h"
#include "core/csv_cell.h"
#include "core/csv_header.h"
#include "core/csv_scan.h"
#include "core/csv_sheet.h"
#include "core/number.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME "anomalyd.frame"
#define PINS "anomalyd.csv.pins"

enum { HEAVY_BYTES = 256 * 1024, MOST_SHOWN = 80, MOST_SELECTED = 100000 };

/* No text that Lua is given may be longer. */
static const size_t most_text = (size_t)1 << 36;

/* ---- pinned texts ----
 *
 * A frame reads the Lua string it was parsed from, maybe on a worker that outlives the coroutine and
 * even the frame. So the string is held by a table in the registry until the last user is gone: the
 * table maps a pin to the string, and the core says through the pin when it has let go. */

struct pin {
    atomic_bool released;
};

static void release_pin(void *owner)
{
    atomic_store(&((struct pin *)owner)->released, true);
}

/* Push the table of pins; let go of the strings that nobody reads any more. */
static void push_pins(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, PINS);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        const struct pin *pin = lua_touserdata(L, -2);

        lua_pop(L, 1);
        if (atomic_load(&pin->released)) {
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, -4);
        }
    }
}

/* Push a pin for the string at `index`. */
static struct pin *push_pin(lua_State *L, int index)
{
    struct pin *pin;

    push_pins(L);
    pin = lua_newuserdatauv(L, sizeof *pin, 0);
    atomic_init(&pin->released, true); /* until somebody has taken it */
    lua_pushvalue(L, -1);
    lua_pushvalue(L, index);
    lua_rawset(L, -4);
    lua_remove(L, -2);
    return pin;
}

/* ---- frames ---- */

/* A column of the input that was read when asked for. */
struct late {
    struct column *column;
    struct csv_facts facts;
};

struct frame {
    struct csv_sheet sheet; /* sheet.csv is NULL when closed */
    struct late *late;      /* one per input column, or NULL */
};

enum { UV_NAMES = 1, UV_PIN = 2, UVS = 2 };

static struct frame *check_frame(lua_State *L, int index)
{
    struct frame *f = luaL_checkudata(L, index, FRAME);

    luaL_argcheck(L, f->sheet.csv != NULL, index, "a frame that was closed");
    return f;
}

static int l_close(lua_State *L)
{
    struct frame *f = luaL_checkudata(L, 1, FRAME);

    if (f->late != NULL)
        for (size_t k = 0; k < f->sheet.csv->n_columns; k++)
            column_unref(f->late[k].column);
    free(f->late);
    f->late = NULL;
    csv_sheet_fini(&f->sheet);
    push_pins(L);
    return 0;
}

/* The output of the name at `index`, or NULL. */
static struct csv_output *find_output(lua_State *L, struct frame *f, int index)
{
    size_t n;
    const char *name = luaL_checklstring(L, index, &n);
    long k = csv_sheet_find(&f->sheet, name, n);

    return k < 0 ? NULL : &f->sheet.outputs[k];
}

/* ---- parse ---- */

struct parse_op {
    struct bridge_op op;
    const char *text;
    size_t size;
    struct csv_options options;
    struct pin *pin; /* NULL once the parser has it */
    struct csv *csv;
    struct fail fail;
    size_t line;
};

static void parse_work(struct bridge_op *op, struct crew *crew)
{
    struct parse_op *p = (struct parse_op *)op;
    struct pin *pin = p->pin;

    p->pin = NULL;
    p->csv = csv_parse(p->text, p->size, &p->options, crew, release_pin, pin, &p->fail, &p->line);
}

static void parse_fini(struct bridge_op *op)
{
    struct parse_op *p = (struct parse_op *)op;

    csv_unref(p->csv);
    if (p->pin != NULL)
        release_pin(p->pin);
}

static const struct bridge_type parse_type = {"csv.parse", sizeof(struct parse_op), NULL,
                                              parse_work, parse_fini};

/* Stack: text, options, pin, box. */
static int parse_done(lua_State *L, int status, lua_KContext ctx)
{
    struct parse_op *p = (struct parse_op *)ctx;
    struct frame *f;

    (void)status;
    if (p->csv == NULL) {
        bridge_fail(L, &p->fail);
        if (p->line == 0)
            return 3;
        lua_pushinteger(L, (lua_Integer)p->line);
        return 4;
    }
    f = lua_newuserdatauv(L, sizeof *f, UVS);
    memset(f, 0, sizeof *f);
    luaL_setmetatable(L, FRAME);
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, -2, UV_PIN);
    if (csv_sheet_init(&f->sheet, p->csv) != 0) {
        fail_memory(&p->fail);
        return bridge_fail(L, &p->fail);
    }
    csv_unref(p->csv); /* the frame has its own */
    p->csv = NULL;
    return 1;
}

static size_t limit_of(lua_State *L, const char *key)
{
    lua_Integer n = luaL_checkinteger(L, -1);

    if (n < 1)
        luaL_error(L, "csv.parse: option %s must be at least 1", key);
    return (size_t)n;
}

static char delimiter_of(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, -1, &n);

    if (n != 1 || strpbrk(text, "\"\r\n.+-#") != NULL || *text == 0 ||
        (*text >= '0' && *text <= '9') || ((*text | 0x20) >= 'a' && (*text | 0x20) <= 'z'))
        luaL_error(L, "csv.parse: option delimiter must be one character such as , ; | or tab");
    return *text;
}

static void read_option(lua_State *L, const char *key, struct csv_options *o)
{
    if (strcmp(key, "delimiter") == 0)
        o->delimiter = delimiter_of(L);
    else if (strcmp(key, "text_only") == 0)
        o->text_only = lua_toboolean(L, -1);
    else if (strcmp(key, "max_bytes") == 0)
        o->limits.bytes = limit_of(L, key);
    else if (strcmp(key, "max_rows") == 0)
        o->limits.rows = limit_of(L, key);
    else if (strcmp(key, "max_columns") == 0)
        o->limits.columns = limit_of(L, key);
    else if (strcmp(key, "max_row_bytes") == 0)
        o->limits.row_bytes = limit_of(L, key);
    else
        luaL_error(L, "csv.parse: there is no option %s", key);
}

static void read_options(lua_State *L, int index, struct csv_options *o)
{
    memset(o, 0, sizeof *o);
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_argerror(L, index, "an option's name must be a string");
        read_option(L, lua_tostring(L, -2), o);
        lua_pop(L, 1);
    }
}

static int l_parse(lua_State *L)
{
    struct csv_options options;
    struct parse_op *p;
    struct pin *pin;
    size_t size;
    const char *text;

    luaL_checktype(L, 1, LUA_TSTRING);
    text = lua_tolstring(L, 1, &size);
    read_options(L, 2, &options);
    lua_settop(L, 2);
    pin = push_pin(L, 1);
    p = (struct parse_op *)bridge_new(L, &parse_type);
    p->text = text;
    p->size = size;
    p->options = options;
    p->pin = pin;
    atomic_store(&pin->released, false);
    p->op.heavy = size > HEAVY_BYTES;
    return bridge_run(L, &p->op, parse_done);
}

/* ---- a column and its facts ---- */

struct column_op {
    struct bridge_op op;
    struct csv *csv;
    size_t column;
    struct late late;
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
static int run_column(lua_State *L, struct frame *f, long source, lua_KFunction done)
{
    struct column_op *c = (struct column_op *)bridge_new(L, &column_type);
    const struct late *late = f->late == NULL ? NULL : &f->late[source];

    c->csv = csv_ref(f->sheet.csv);
    c->column = (size_t)source;
    if (late != NULL && late->column != NULL) {
        c->late.column = column_ref(late->column);
        c->late.facts = late->facts;
    }
    c->op.heavy = c->late.column == NULL && f->sheet.csv->numbers[source] == NULL &&
                  f->sheet.csv->size > HEAVY_BYTES;
    return bridge_run(L, &c->op, done);
}

/* Remember what was read. */
static void keep_column(struct frame *f, const struct column_op *c)
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

static int fail_no_memory(lua_State *L)
{
    struct fail fail;

    fail_memory(&fail);
    return bridge_fail(L, &fail);
}

static int column_done(lua_State *L, int status, lua_KContext ctx)
{
    struct column_op *c = (struct column_op *)ctx;
    struct column **slot;

    (void)status;
    if (c->failed)
        return fail_no_memory(L);
    keep_column(luaL_checkudata(L, 1, FRAME), c);
    slot = column_box(L);
    *slot = c->late.column;
    c->late.column = NULL;
    return 1;
}

/* The column of cells that were set. */
static int push_set_column(lua_State *L, const struct csv_cells *cells, size_t n)
{
    struct column **slot = column_box(L);

    *slot = column_new(n);
    if (*slot == NULL)
        return fail_no_memory(L);
    for (size_t i = 0; i < n; i++)
        (*slot)->cells[i] = csv_cells_number(cells, i);
    return 1;
}

static int l_column(lua_State *L)
{
    struct frame *f = check_frame(L, 1);
    const struct csv_output *o = find_output(L, f, 2);

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
        return fail_no_memory(L);
    keep_column(luaL_checkudata(L, 1, FRAME), c);
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

static int l_numbers(lua_State *L)
{
    struct frame *f = check_frame(L, 1);
    const struct csv_output *o = find_output(L, f, 2);

    if (o == NULL)
        return 0;
    luaL_argcheck(L, o->cells == NULL, 2, "a column that was set; only the input has facts");
    lua_settop(L, 2);
    return run_column(L, f, o->source, numbers_done);
}

/* ---- cells ---- */

/* Push the text of a raw cell. */
static void push_decoded(lua_State *L, const char *raw, size_t n)
{
    luaL_Buffer b;
    char *area = luaL_buffinitsize(L, &b, n);

    luaL_pushresultsize(&b, csv_cell_decode(raw, n, area));
}

static int l_cell(lua_State *L)
{
    struct frame *f = check_frame(L, 1);
    lua_Integer row = luaL_checkinteger(L, 2);
    const struct csv_output *o = find_output(L, f, 3);
    char scratch[NUMBER_MAX];
    struct csv_span cell;

    if (o == NULL || row < 1 || (lua_Unsigned)row > f->sheet.csv->n_rows)
        return 0;
    if (o->cells != NULL) {
        size_t n;
        const char *text = csv_cells_peek(o->cells, (size_t)row - 1, scratch, &n);

        lua_pushlstring(L, text, n);
        return 1;
    }
    cell = csv_cell(f->sheet.csv, (size_t)row - 1, (size_t)o->source);
    push_decoded(L, f->sheet.csv->text + cell.start, cell.length);
    return 1;
}

/* ---- texts made by the core ---- */

struct text_op {
    struct bridge_op op;
    struct csv_sheet sheet;
    struct csv *csv;
    struct buf out;
    int fd; /* -1: into out */
    size_t written;
    struct fail fail;
    int status;
};

static void text_fini(struct bridge_op *op)
{
    struct text_op *t = (struct text_op *)op;

    csv_sheet_fini(&t->sheet);
    csv_unref(t->csv);
    buf_fini(&t->out);
    if (t->fd >= 0)
        close(t->fd);
}

static struct text_op *new_text(lua_State *L, const struct bridge_type *type)
{
    struct text_op *t = (struct text_op *)bridge_new(L, type);

    t->fd = -1;
    buf_init(&t->out, most_text);
    return t;
}

static int text_done(lua_State *L, int status, lua_KContext ctx)
{
    struct text_op *t = (struct text_op *)ctx;

    (void)status;
    if (t->status != 0)
        return bridge_fail(L, &t->fail);
    lua_pushlstring(L, t->out.data == NULL ? "" : t->out.data, t->out.len);
    buf_fini(&t->out);
    return 1;
}

/* ---- columns of our own ---- */

/* The texts in the table at `index`, one per row. */
static struct csv_cells *check_texts(lua_State *L, int index, size_t rows, struct fail *fail)
{
    size_t total = 0;
    size_t *lengths;
    struct csv_cells *cells;
    struct buf bytes;

    luaL_argcheck(L, lua_rawlen(L, index) == rows, index, "one text for each row is needed");
    for (size_t i = 1; i <= rows; i++) {
        luaL_argcheck(L, lua_rawgeti(L, index, (lua_Integer)i) == LUA_TSTRING, index,
                      "all cells must be strings");
        total += lua_rawlen(L, -1);
        lua_pop(L, 1);
    }
    luaL_argcheck(L, total < UINT32_MAX, index, "more than 4 GiB of texts");
    lengths = lua_newuserdatauv(L, (rows + 1) * sizeof *lengths, 0);
    buf_init(&bytes, UINT32_MAX);
    for (size_t i = 0; i < rows; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        lengths[i] = lua_rawlen(L, -1);
        if (buf_add(&bytes, lua_tostring(L, -1), lengths[i]) != 0) {
            buf_fini(&bytes);
            fail_memory(fail);
            return NULL;
        }
        lua_pop(L, 1);
    }
    cells = csv_cells_texts(&bytes, lengths, rows, fail);
    lua_pop(L, 1);
    return cells;
}

static struct csv_cells *check_cells(lua_State *L, int index, size_t rows, struct fail *fail)
{
    static const char *const names[] = {"shortest", "fixed4", "integer", "boolean", NULL};
    enum csv_format format;
    struct column *column;

    if (lua_type(L, index) == LUA_TTABLE)
        return check_texts(L, index, rows, fail);
    column = column_check(L, index);
    format = (enum csv_format)luaL_checkoption(L, index + 1, "shortest", names);
    luaL_argcheck(L, column->n == rows, index, "the column has another length than the frame");
    return csv_cells_numbers(column, format, fail);
}

static void forget_names(lua_State *L)
{
    lua_pushnil(L);
    lua_setiuservalue(L, 1, UV_NAMES);
}

static int l_set(lua_State *L)
{
    struct frame *f = check_frame(L, 1);
    size_t n;
    const char *name = luaL_checklstring(L, 2, &n);
    struct fail fail;
    struct csv_cells *cells;

    forget_names(L);
    cells = check_cells(L, 3, f->sheet.csv->n_rows, &fail);
    if (cells == NULL && strcmp(fail.code, "NotWhole") == 0)
        return luaL_argerror(L, 3, fail.message);
    if (cells == NULL || csv_sheet_set(&f->sheet, name, n, cells) != 0)
        return luaL_error(L, "frame:set: out of memory, or too many columns");
    lua_settop(L, 1);
    return 1;
}

static int l_drop(lua_State *L)
{
    struct frame *f = check_frame(L, 1);
    struct csv_output *o = find_output(L, f, 2);

    forget_names(L);
    if (o != NULL)
        csv_sheet_drop(&f->sheet, (size_t)(o - f->sheet.outputs));
    lua_pushboolean(L, o != NULL);
    return 1;
}

/* ---- writing ---- */

static void format_work(struct bridge_op *op, struct crew *crew)
{
    struct text_op *t = (struct text_op *)op;

    t->status = csv_sheet_text(&t->sheet, crew, &t->out, &t->fail);
    csv_sheet_fini(&t->sheet);
}

static const struct bridge_type format_type = {"frame:format", sizeof(struct text_op), NULL,
                                               format_work, text_fini};

/* A new operation that holds the sheet as it is now. */
static struct text_op *freeze(lua_State *L, struct frame *f, const struct bridge_type *type)
{
    struct text_op *t = new_text(L, type);

    if (csv_sheet_freeze(&f->sheet, &t->sheet) != 0)
        luaL_error(L, "%s: out of memory", type->name);
    t->op.heavy = f->sheet.csv->size > HEAVY_BYTES;
    return t;
}

static int l_format(lua_State *L)
{
    struct frame *f = check_frame(L, 1);

    lua_settop(L, 1);
    return bridge_run(L, &freeze(L, f, &format_type)->op, text_done);
}

static int to_file(void *ctx, const char *data, size_t n)
{
    struct text_op *t = ctx;

    while (n > 0) {
        ssize_t done = write(t->fd, data, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail_set(&t->fail, "WriteFailed", "frame:save: %s", strerror(errno));
        data += done;
        n -= (size_t)done;
        t->written += (size_t)done;
    }
    return 0;
}

static void save_work(struct bridge_op *op, struct crew *crew)
{
    struct text_op *t = (struct text_op *)op;

    t->status = csv_sheet_write(&t->sheet, crew, to_file, t, &t->fail);
    csv_sheet_fini(&t->sheet);
}

static const struct bridge_type save_type = {"frame:save", sizeof(struct text_op), NULL, save_work,
                                             text_fini};

static int save_done(lua_State *L, int status, lua_KContext ctx)
{
    const struct text_op *t = (const struct text_op *)ctx;

    (void)status;
    if (t->status != 0)
        return bridge_fail(L, &t->fail);
    lua_pushinteger(L, (lua_Integer)t->written);
    return 1;
}

static int l_save(lua_State *L)
{
    struct frame *f = check_frame(L, 1);
    const luaL_Stream *stream = luaL_checkudata(L, 2, LUA_FILEHANDLE);
    struct text_op *t;

    luaL_argcheck(L, stream->closef != NULL, 2, "a closed file");
    lua_settop(L, 2);
    t = freeze(L, f, &save_type);
    if (fflush(stream->f) != 0 || (t->fd = fcntl(fileno(stream->f), F_DUPFD_CLOEXEC, 3)) < 0) {
        fail_set(&t->fail, "WriteFailed", "frame:save: %s", strerror(errno));
        return bridge_fail(L, &t->fail);
    }
    t->op.heavy = true;
    return bridge_run(L, &t->op, save_done);
}

static void rejected_work(struct bridge_op *op, struct crew *crew)
{
    struct text_op *t = (struct text_op *)op;

    (void)crew;
    t->status = csv_rejected_text(t->csv, &t->out);
    if (t->status != 0)
        fail_memory(&t->fail);
}

static const struct bridge_type rejected_type = {"frame:rejected_text", sizeof(struct text_op),
                                                 NULL, rejected_work, text_fini};

static int l_rejected_text(lua_State *L)
{
    struct frame *f = check_frame(L, 1);
    struct text_op *t = new_text(L, &rejected_type);

    t->csv = csv_ref(f->sheet.csv);
    t->op.heavy = f->sheet.csv->size > HEAVY_BYTES;
    return bridge_run(L, &t->op, text_done);
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
        push_decoded(L, raw, n);
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

static int l_select(lua_State *L)
{
    struct frame *f = check_frame(L, 1);
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
        return fail_no_memory(L);
    memcpy(s->text, text, length);
    s->op.heavy = f->sheet.csv->size > HEAVY_BYTES;
    return bridge_run(L, &s->op, select_done);
}

/* ---- the module ---- */

static void push_names(lua_State *L, const struct csv_sheet *sheet)
{
    lua_createtable(L, (int)sheet->n, 0);
    for (size_t i = 0; i < sheet->n; i++) {
        lua_pushlstring(L, sheet->outputs[i].name, sheet->outputs[i].length);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, UV_NAMES);
}

/* The fields; all else is a method (upvalue 1). */
static int l_index(lua_State *L)
{
    struct frame *f = luaL_checkudata(L, 1, FRAME);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    const struct csv *csv = f->sheet.csv;

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    check_frame(L, 1);
    if (strcmp(key, "rows") == 0) {
        lua_pushinteger(L, (lua_Integer)csv->n_rows);
    } else if (strcmp(key, "rejected") == 0) {
        lua_pushinteger(L, (lua_Integer)csv->n_rejects);
    } else if (strcmp(key, "delimiter") == 0) {
        lua_pushlstring(L, &csv->delimiter, 1);
    } else if (strcmp(key, "names") == 0) {
        if (lua_getiuservalue(L, 1, UV_NAMES) != LUA_TTABLE)
            push_names(L, &f->sheet);
    } else {
        return 0;
    }
    return 1;
}

static int l_tostring(lua_State *L)
{
    const struct frame *f = luaL_checkudata(L, 1, FRAME);

    if (f->sheet.csv == NULL)
        lua_pushliteral(L, "frame(closed)");
    else
        lua_pushfstring(L, "frame(%I rows, %I columns)", (LUAI_UACINT)f->sheet.csv->n_rows,
                        (LUAI_UACINT)f->sheet.n);
    return 1;
}

static int l_scan_path(lua_State *L)
{
    lua_pushstring(L, csv_scan_path(luaL_optstring(L, 1, NULL)));
    return 1;
}

static const luaL_Reg methods[] = {
    {"column", l_column}, {"numbers", l_numbers},
    {"cell", l_cell},     {"set", l_set},
    {"drop", l_drop},     {"format", l_format},
    {"save", l_save},     {"close", l_close},
    {"select", l_select}, {"rejected_text", l_rejected_text},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_close},
    {"__close", l_close},
    {"__tostring", l_tostring},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"parse", l_parse},
    {"scan_path", l_scan_path},
    {NULL, NULL},
};

/* luaopen_csv, for the host's preload table and for csv.so. */
int luaopen_csv(lua_State *L)
{
    luaL_checkversion(L);
    column_register(L);
    if (luaL_newmetatable(L, FRAME)) {
        luaL_setfuncs(L, metamethods, 0);
        luaL_newlib(L, methods);
        lua_pushcclosure(L, l_index, 1);
        lua_setfield(L, -2, "__index");
        lua_pushliteral(L, FRAME);
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
