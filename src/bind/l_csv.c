/* l_csv: the Lua module `csv`: delimited text as columns, every byte of it kept.
 *
 *   csv.parse(text | file [, options]) -> frame | nil, message, code, line
 *     options: delimiter (default: the one of , ; tab | that the header holds most of),
 *     max_bytes (512 MiB), max_rows (20 000 000), max_columns (4096), max_row_bytes (1 MiB),
 *     text_only (true: do not read numbers ahead, for who wants a few cells)
 *     codes: Empty NotText NulByte NotHeader NoRowFits UnclosedQuote TooLarge NoMemory; `line` is
 *     the line the message is about, where there is one
 *   csv.file(path [, most]) -> file | nil, message, code   a file's bytes, at most 512 MiB or `most`,
 *                               for csv.parse: outside Lua's memory, and without a copy where that
 *                               is safe (file_text.h). Codes: NoFile TooLarge NoMemory
 *   #file, file:md5() -> hex, file:close()
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
#include "bind/csv_frame.h"
#include "bind/modules.h"
#include "core/csv_scan.h"

#include <string.h>

/* ---- parse ---- */

struct parse_op {
    struct bridge_op op;
    const char *text;
    size_t size;
    struct csv_options options;
    void (*release)(void *owner); /* NULL once the parser has it */
    void *owner;
    struct csv *csv;
    struct fail fail;
    size_t line;
};

static void parse_work(struct bridge_op *op, struct crew *crew)
{
    struct parse_op *p = (struct parse_op *)op;
    void (*release)(void *owner) = p->release;

    p->release = NULL;
    p->csv = csv_parse(p->text, p->size, &p->options, crew, release, p->owner, &p->fail, &p->line);
}

static void parse_fini(struct bridge_op *op)
{
    struct parse_op *p = (struct parse_op *)op;

    csv_unref(p->csv);
    if (p->release != NULL)
        p->release(p->owner);
}

static void release_file(void *owner)
{
    file_text_unref(owner);
}

static const struct bridge_type parse_type = {"csv.parse", sizeof(struct parse_op), NULL,
                                              parse_work, parse_fini};

static int parse_done(lua_State *L, int status, lua_KContext ctx)
{
    struct parse_op *p = (struct parse_op *)ctx;

    (void)status;
    if (p->csv == NULL) {
        bridge_fail(L, &p->fail);
        if (p->line == 0)
            return 3;
        lua_pushinteger(L, (lua_Integer)p->line);
        return 4;
    }
    if (csv_frame_push(L, p->csv) != 0)
        return csv_frame_no_memory(L);
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

/* Push the box of an operation that parses the file or the text at 1. */
static struct parse_op *parse_new(lua_State *L)
{
    struct parse_op *p = (struct parse_op *)bridge_new(L, &parse_type);
    struct file_text *file = csv_file_test(L, 1);

    if (file != NULL) {
        p->text = file->bytes;
        p->size = file->size;
        p->owner = file_text_ref(file);
        p->release = release_file;
    } else {
        p->text = lua_tolstring(L, 1, &p->size);
        p->owner = csv_pin_push(L, 1);
        p->release = csv_pin_release;
        lua_pop(L, 1);
    }
    return p;
}

static int l_parse(lua_State *L)
{
    struct csv_options options;
    struct parse_op *p;

    if (csv_file_test(L, 1) == NULL)
        luaL_checktype(L, 1, LUA_TSTRING);
    read_options(L, 2, &options);
    lua_settop(L, 2);
    p = parse_new(L);
    p->options = options;
    p->op.heavy = p->size > CSV_HEAVY_BYTES;
    return bridge_run(L, &p->op, parse_done);
}

/* ---- the module ---- */

static int l_scan_path(lua_State *L)
{
    lua_pushstring(L, csv_scan_path(luaL_optstring(L, 1, NULL)));
    return 1;
}

static const luaL_Reg functions[] = {
    {"file", csv_file_open},
    {"parse", l_parse},
    {"scan_path", l_scan_path},
    {NULL, NULL},
};

/* luaopen_csv, for the host's preload table and for csv.so. */
int luaopen_csv(lua_State *L)
{
    luaL_checkversion(L);
    csv_frame_register(L);
    csv_file_register(L);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
