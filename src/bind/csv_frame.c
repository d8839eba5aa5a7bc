/* csv_frame: see csv_frame.h. Here: texts that stay as long as they are read, the life of a frame,
 * its cells, the columns put into it, its fields. */
#include "bind/csv_frame.h"

#include "bind/class.h"
#include "bind/l_column.h"
#include "core/csv_cell.h"
#include "core/number.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define FRAME "anomalyd.frame"
#define PINS "anomalyd.csv.pins"

/* ---- pinned texts ----
 *
 * A frame reads the Lua string it was parsed from, maybe on a worker that outlives the coroutine and
 * even the frame. So the string is held by a table in the registry until the last user is gone: the
 * table maps a pin to the string, and the core says through the pin when it has let go. */

void csv_pin_release(void *owner)
{
    atomic_store(&((struct csv_pin *)owner)->released, true);
}

/* Push the table of pins; let go of the strings that nobody reads any more. */
static void push_pins(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, PINS);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        const struct csv_pin *pin = lua_touserdata(L, -2);

        lua_pop(L, 1);
        if (atomic_load(&pin->released)) {
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, -4);
        }
    }
}

struct csv_pin *csv_pin_push(lua_State *L, int index)
{
    struct csv_pin *pin;

    push_pins(L);
    pin = lua_newuserdatauv(L, sizeof *pin, 0);
    atomic_init(&pin->released, false);
    lua_pushvalue(L, -1);
    lua_pushvalue(L, index);
    lua_rawset(L, -4);
    lua_remove(L, -2);
    return pin;
}

/* ---- frames ---- */

enum { UV_NAMES = 1, UVS = 1 };

struct csv_frame *csv_frame_check(lua_State *L, int index)
{
    struct csv_frame *f = luaL_checkudata(L, index, FRAME);

    luaL_argcheck(L, f->sheet.csv != NULL, index, "a frame that was closed");
    return f;
}

int csv_frame_push(lua_State *L, struct csv *csv)
{
    struct csv_frame *f = lua_newuserdatauv(L, sizeof *f, UVS);

    memset(f, 0, sizeof *f);
    luaL_setmetatable(L, FRAME);
    return csv_sheet_init(&f->sheet, csv);
}

static int l_close(lua_State *L)
{
    struct csv_frame *f = luaL_checkudata(L, 1, FRAME);

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
struct csv_output *csv_frame_output(lua_State *L, struct csv_frame *f, int index)
{
    size_t n;
    const char *name = luaL_checklstring(L, index, &n);
    long k = csv_sheet_find(&f->sheet, name, n);

    return k < 0 ? NULL : &f->sheet.outputs[k];
}

int csv_frame_no_memory(lua_State *L)
{
    struct fail fail;

    fail_memory(&fail);
    return bridge_fail(L, &fail);
}

/* ---- cells ---- */

/* Push the text of a raw cell. */
void csv_frame_push_text(lua_State *L, const char *raw, size_t n)
{
    luaL_Buffer b;
    char *area = luaL_buffinitsize(L, &b, n);

    luaL_pushresultsize(&b, csv_cell_decode(raw, n, area));
}

static int l_cell(lua_State *L)
{
    struct csv_frame *f = csv_frame_check(L, 1);
    lua_Integer row = luaL_checkinteger(L, 2);
    const struct csv_output *o = csv_frame_output(L, f, 3);
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
    csv_frame_push_text(L, f->sheet.csv->text + cell.start, cell.length);
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
    struct csv_frame *f = csv_frame_check(L, 1);
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
    struct csv_frame *f = csv_frame_check(L, 1);
    struct csv_output *o = csv_frame_output(L, f, 2);

    forget_names(L);
    if (o != NULL)
        csv_sheet_drop(&f->sheet, (size_t)(o - f->sheet.outputs));
    lua_pushboolean(L, o != NULL);
    return 1;
}

/* ---- the type ---- */

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
    struct csv_frame *f = luaL_checkudata(L, 1, FRAME);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    const struct csv *csv = f->sheet.csv;

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    csv_frame_check(L, 1);
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
    const struct csv_frame *f = luaL_checkudata(L, 1, FRAME);

    if (f->sheet.csv == NULL)
        lua_pushliteral(L, "frame(closed)");
    else
        lua_pushfstring(L, "frame(%I rows, %I columns)", (LUAI_UACINT)f->sheet.csv->n_rows,
                        (LUAI_UACINT)f->sheet.n);
    return 1;
}

static const luaL_Reg methods[] = {
    {"column", csv_read_column},
    {"numbers", csv_read_numbers},
    {"select", csv_read_select},
    {"cell", l_cell},
    {"set", l_set},
    {"drop", l_drop},
    {"format", csv_write_format},
    {"save", csv_write_save},
    {"rejected_text", csv_write_rejected},
    {"close", l_close},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_close},          {"__close", l_close}, {"__index", l_index},
    {"__tostring", l_tostring}, {NULL, NULL},
};

void csv_frame_register(lua_State *L)
{
    column_register(L);
    class_define(L, FRAME, metamethods, methods);
}
