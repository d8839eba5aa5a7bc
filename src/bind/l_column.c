/* l_column: the Lua module `column`: float64 cells, NaN where missing.
 *
 *   column.new{...}            -> column      from numbers; false and "" stand for a missing cell
 *   column.moments(c, state [, keep]) -> {count, mean, M2, std}
 *   column.moments_all({c1, ...} [, states [, keeps]]) -> list: the same of several columns, faster;
 *                              a state or keep may be false
 *   column.zscore(c, mean, std)  -> column    |c - mean| / std; 0 where std is 0; NaN stays NaN
 *   column.above(c, limit)     -> column      1 where c > limit, 0 elsewhere (NaN too)
 *   column.below(c, limit)     -> column      1 where c < limit, 0 elsewhere
 *   column.both(a, b)          -> column      1 where neither is 0 or NaN
 *   column.any{c1, c2, ...}    -> column      1 where any is not 0 (NaN counts as 0)
 *   column.none{c1, ...}       -> column      1 where all are 0
 *   column.equal(c, value)     -> column      1 where c == value, 0 elsewhere
 *   column.constant(n, value)  -> column
 *   column.count(c)            -> cells that are neither 0 nor NaN
 *   column.missing(c)          -> cells that are NaN
 *   #c, c[i], c:totable()
 *
 * A column is never changed after it is made.
 */
#include "bind/l_column.h"

#include "bind/bridge.h"
#include "bind/class.h"
#include "bind/column_parts.h"
#include "bind/modules.h"

#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define COLUMN "anomalyd.column"

/* A worker splits a long column into parts of so many cells. */
enum { PART_CELLS = 65536 };

static int l_gc(lua_State *L)
{
    struct column **slot = luaL_checkudata(L, 1, COLUMN);

    column_unref(*slot);
    *slot = NULL;
    return 0;
}

static int l_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)column_check(L, 1)->n);
    return 1;
}

/* A cell, or one of the methods in upvalue 1. */
static int l_index(lua_State *L)
{
    const struct column *c = column_check(L, 1);
    lua_Integer i;
    int whole;

    if (lua_type(L, 2) != LUA_TNUMBER) {
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(1));
        return 1;
    }
    i = lua_tointegerx(L, 2, &whole);
    if (!whole || i < 1 || (lua_Unsigned)i > c->n)
        return 0;
    lua_pushnumber(L, column_cell(c, (size_t)i - 1));
    return 1;
}

static int l_tostring(lua_State *L)
{
    const struct column *c = column_check(L, 1);
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    lua_pushfstring(L, "column(%I cells:", (LUAI_UACINT)c->n);
    luaL_addvalue(&b);
    for (size_t i = 0; i < c->n && i < 5; i++) {
        lua_pushfstring(L, " %f", column_cell(c, i));
        luaL_addvalue(&b);
    }
    luaL_addstring(&b, c->n > 5 ? " ...)" : ")");
    luaL_pushresult(&b);
    return 1;
}

struct column **column_box(lua_State *L, size_t n)
{
    struct column **slot;

    /* A box is a few bytes to Lua, so columns that nobody needs would pile up behind it. */
    if (n > HEAVY_CELLS)
        lua_gc(L, LUA_GCSTEP, n > INT32_MAX ? INT32_MAX / 1024 : (int)(n * sizeof(double) / 1024));
    slot = lua_newuserdatauv(L, sizeof *slot, 0);

    *slot = NULL;
    luaL_setmetatable(L, COLUMN);
    return slot;
}

struct column *column_test(lua_State *L, int index)
{
    struct column **slot = luaL_testudata(L, index, COLUMN);

    return slot == NULL ? NULL : *slot;
}

struct column *column_check(lua_State *L, int index)
{
    struct column **slot = luaL_checkudata(L, index, COLUMN);

    luaL_argcheck(L, *slot != NULL, index, "a column that was closed");
    return *slot;
}

/* Push a fresh column of n cells, or marks. */
static struct column *push_new(lua_State *L, size_t n, bool marks)
{
    struct column **slot = column_box(L, n);

    *slot = marks ? column_new_marks(n) : column_new(n);
    if (*slot == NULL)
        luaL_error(L, "out of memory for a column of %I cells", (LUAI_UACINT)n);
    return *slot;
}

static double cell_of(lua_State *L, int index, lua_Integer i)
{
    if (lua_type(L, index) == LUA_TNUMBER)
        return lua_tonumber(L, index);
    if (lua_isnil(L, index) || (lua_isboolean(L, index) && !lua_toboolean(L, index)) ||
        (lua_type(L, index) == LUA_TSTRING && lua_rawlen(L, index) == 0))
        return NAN;
    return luaL_error(L, "column.new: cell %I is a %s, not a number", (LUAI_UACINT)i,
                      luaL_typename(L, index));
}

static int l_new(lua_State *L)
{
    lua_Integer n;
    struct column *c;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = luaL_len(L, 1);
    luaL_argcheck(L, n >= 0, 1, "a list of cells with a length below 0");
    c = push_new(L, (size_t)n, false);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_geti(L, 1, i);
        c->cells[i - 1] = cell_of(L, -1, i);
        lua_pop(L, 1);
    }
    return 1;
}

static int l_constant(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    double value = luaL_checknumber(L, 2);
    bool marks = isnan(value) || fabs(value) == 1 || (value == 0 && !signbit(value));
    struct column *c;

    luaL_argcheck(L, n >= 0, 1, "a count of cells cannot be negative");
    c = push_new(L, (size_t)n, marks);
    if (marks)
        memset(c->marks, isnan(value) ? COLUMN_NO_MARK : (int)value, c->n);
    else
        for (size_t i = 0; i < c->n; i++)
            c->cells[i] = value;
    return 1;
}

/* ---- one column from others, cell by cell: on a worker when it is long ---- */

struct map_op {
    struct bridge_op op;
    struct column **in; /* references */
    size_t n_in;
    struct column *out; /* cells or marks, as `map` sets them */
    double x, y;
    void (*map)(const struct map_op *m, size_t from, size_t n); /* at most BLOCK_CELLS */
};

static void map_part(void *ctx, size_t i)
{
    const struct map_op *m = ctx;
    size_t end = least(m->out->n, (i + 1) * PART_CELLS);

    for (size_t from = i * PART_CELLS; from < end; from += BLOCK_CELLS)
        m->map(m, from, least(end - from, BLOCK_CELLS));
}

static void map_work(struct bridge_op *op, struct crew *crew)
{
    struct map_op *m = (struct map_op *)op;

    crew_each(crew, (m->out->n + PART_CELLS - 1) / PART_CELLS, map_part, m);
}

static void map_fini(struct bridge_op *op)
{
    struct map_op *m = (struct map_op *)op;

    for (size_t i = 0; i < m->n_in; i++)
        column_unref(m->in[i]);
    free(m->in);
    column_unref(m->out);
}

static const struct bridge_type map_type = {"column", sizeof(struct map_op), NULL, map_work,
                                            map_fini};

static int map_done(lua_State *L, int status, lua_KContext ctx)
{
    struct map_op *m = (struct map_op *)ctx;
    struct column **slot = column_box(L, m->out->n);

    (void)status;
    *slot = m->out;
    m->out = NULL;
    return 1;
}

static void map_zscore(const struct map_op *m, size_t from, size_t n)
{
    double room[BLOCK_CELLS];
    const double *c = column_block(m->in[0], from, n, room);
    double *out = m->out->cells + from;

    for (size_t i = 0; i < n; i++)
        out[i] = isnan(c[i]) ? NAN : m->y > 0 ? fabs(c[i] - m->x) / m->y : 0.0;
}

static void map_above(const struct map_op *m, size_t from, size_t n)
{
    double room[BLOCK_CELLS];
    const double *c = column_block(m->in[0], from, n, room);
    signed char *out = m->out->marks + from;

    for (size_t i = 0; i < n; i++)
        out[i] = c[i] > m->x;
}

static void map_below(const struct map_op *m, size_t from, size_t n)
{
    double room[BLOCK_CELLS];
    const double *c = column_block(m->in[0], from, n, room);
    signed char *out = m->out->marks + from;

    for (size_t i = 0; i < n; i++)
        out[i] = c[i] < m->x;
}

static void map_equal(const struct map_op *m, size_t from, size_t n)
{
    double room[BLOCK_CELLS];
    const double *c = column_block(m->in[0], from, n, room);
    signed char *out = m->out->marks + from;

    for (size_t i = 0; i < n; i++)
        out[i] = c[i] == m->x;
}

/* Note in `set` which cells are neither 0 nor NaN. */
static void add_set(const struct column *c, size_t from, size_t n, signed char *set)
{
    if (c->marks != NULL)
        for (size_t i = 0; i < n; i++)
            set[i] |= c->marks[from + i] & 1;
    else
        for (size_t i = 0; i < n; i++)
            set[i] |= fabs(c->cells[from + i]) > 0;
}

static void map_any(const struct map_op *m, size_t from, size_t n)
{
    signed char *out = m->out->marks + from;

    memset(out, 0, n);
    for (size_t k = 0; k < m->n_in; k++)
        add_set(m->in[k], from, n, out);
}

static void map_none(const struct map_op *m, size_t from, size_t n)
{
    signed char *out = m->out->marks + from;

    map_any(m, from, n);
    for (size_t i = 0; i < n; i++)
        out[i] = !out[i];
}

static void map_both(const struct map_op *m, size_t from, size_t n)
{
    signed char *out = m->out->marks + from;
    signed char set[BLOCK_CELLS] = {0};

    memset(out, 0, n);
    add_set(m->in[0], from, n, out);
    add_set(m->in[1], from, n, set);
    for (size_t i = 0; i < n; i++)
        out[i] &= set[i];
}

/* Push the box of an operation with room for n_in inputs; the first is `c`. The result is a column
 * of marks unless `map` is map_zscore. */
static struct map_op *map_new(lua_State *L, struct column *c, size_t n_in,
                              void (*map)(const struct map_op *m, size_t from, size_t n))
{
    struct map_op *m = (struct map_op *)bridge_new(L, &map_type);

    m->map = map;
    m->in = calloc(n_in, sizeof(struct column *));
    m->out = map == map_zscore ? column_new(c->n) : column_new_marks(c->n);
    if (m->in == NULL || m->out == NULL)
        luaL_error(L, "out of memory for a column of %I cells", (LUAI_UACINT)c->n);
    m->in[m->n_in++] = column_ref(c);
    m->op.heavy = c->n > HEAVY_CELLS;
    return m;
}

static int l_zscore(lua_State *L)
{
    struct column *c = column_check(L, 1);
    double mean = luaL_checknumber(L, 2);
    double std = luaL_checknumber(L, 3);
    struct map_op *m = map_new(L, c, 1, map_zscore);

    m->x = mean;
    m->y = std;
    return bridge_run(L, &m->op, map_done);
}

/* A column and a number. */
static int run_compare(lua_State *L, void (*map)(const struct map_op *m, size_t from, size_t n))
{
    struct column *c = column_check(L, 1);
    double x = luaL_checknumber(L, 2);
    struct map_op *m = map_new(L, c, 1, map);

    m->x = x;
    return bridge_run(L, &m->op, map_done);
}

static int l_above(lua_State *L)
{
    return run_compare(L, map_above);
}

static int l_below(lua_State *L)
{
    return run_compare(L, map_below);
}

static int l_equal(lua_State *L)
{
    return run_compare(L, map_equal);
}

static int l_both(lua_State *L)
{
    struct column *a = column_check(L, 1);
    struct column *b = column_check(L, 2);
    struct map_op *m;

    luaL_argcheck(L, a->n == b->n, 2, "the columns differ in length");
    m = map_new(L, a, 2, map_both);
    m->in[m->n_in++] = column_ref(b);
    return bridge_run(L, &m->op, map_done);
}

/* The column on top of the stack, the k-th of the table at 1. */
static struct column *check_listed(lua_State *L, lua_Integer k)
{
    struct column *c = column_test(L, -1);

    if (c == NULL)
        luaL_argerror(L, 1,
                      lua_pushfstring(L, "element %I is a %s, not a column", (LUAI_UACINT)k,
                                      luaL_typename(L, -1)));
    return c;
}

/* The columns of the table at 1. */
static int run_list(lua_State *L, void (*map)(const struct map_op *m, size_t from, size_t n))
{
    lua_Integer n;
    struct column *first;
    struct map_op *m;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = luaL_len(L, 1);
    luaL_argcheck(L, n >= 1, 1, "at least one column");
    luaL_argcheck(L, n <= MOST_COLUMNS, 1, "at most 65536 columns");
    lua_geti(L, 1, 1);
    first = check_listed(L, 1);
    m = map_new(L, first, (size_t)n, map);
    for (lua_Integer k = 2; k <= n; k++) {
        struct column *c;

        lua_geti(L, 1, k);
        c = check_listed(L, k);
        luaL_argcheck(L, c->n == first->n, 1, "the columns differ in length");
        m->in[m->n_in++] = column_ref(c);
        lua_pop(L, 1);
    }
    return bridge_run(L, &m->op, map_done);
}

static int l_any(lua_State *L)
{
    return run_list(L, map_any);
}

static int l_none(lua_State *L)
{
    return run_list(L, map_none);
}

static int l_count(lua_State *L)
{
    const struct column *c = column_check(L, 1);
    lua_Integer count = 0;

    if (c->marks != NULL)
        for (size_t i = 0; i < c->n; i++)
            count += c->marks[i] & 1;
    else
        for (size_t i = 0; i < c->n; i++)
            count += fabs(c->cells[i]) > 0;
    lua_pushinteger(L, count);
    return 1;
}

static int l_missing(lua_State *L)
{
    const struct column *c = column_check(L, 1);
    lua_Integer count = 0;

    for (size_t i = 0; i < c->n; i++)
        count += isnan(column_cell(c, i)) != 0;
    lua_pushinteger(L, count);
    return 1;
}

static int l_totable(lua_State *L)
{
    const struct column *c = column_check(L, 1);

    lua_createtable(L, c->n > INT32_MAX ? 0 : (int)c->n, 0);
    for (size_t i = 0; i < c->n; i++) {
        lua_pushnumber(L, column_cell(c, i));
        lua_seti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"new", l_new},
    {"constant", l_constant},
    {"moments", column_moments},
    {"moments_all", column_moments_all},
    {"zscore", l_zscore},
    {"above", l_above},
    {"below", l_below},
    {"both", l_both},
    {"equal", l_equal},
    {"any", l_any},
    {"none", l_none},
    {"count", l_count},
    {"missing", l_missing},
    {"totable", l_totable},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_gc},       {"__close", l_gc},          {"__len", l_len},
    {"__index", l_index}, {"__tostring", l_tostring}, {NULL, NULL},
};

void column_register(lua_State *L)
{
    class_define(L, COLUMN, metamethods, functions);
}

/* luaopen_column, for the host's preload table and for column.so. */
int luaopen_column(lua_State *L)
{
    luaL_checkversion(L);
    column_register(L);
    luaL_newlib(L, functions);
    return 1;
}
