/* column_moments: column.moments and column.moments_all, see l_column.c: the values of columns folded
 * into the moments before them, on a worker when they are many. */
#include "bind/bridge.h"
#include "bind/column_parts.h"
#include "bind/l_column.h"
#include "core/moments.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

/* So many columns are folded at once: enough to hide how long one addition takes. */
enum { SIDE_BY_SIDE = 4 };

/* A number of the state at `index`, the argument `arg`. */
static double field(lua_State *L, int index, int arg, const char *name)
{
    double value;

    lua_getfield(L, index, name);
    value = lua_tonumber(L, -1);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TNUMBER)
        luaL_argerror(L, arg,
                      lua_pushfstring(L, "%s is a %s, not a number", name, luaL_typename(L, -1)));
    lua_pop(L, 1);
    return value;
}

static void set_count(lua_State *L, double count)
{
    if (count == floor(count) && count <= 0x1p53)
        lua_pushinteger(L, (lua_Integer)count);
    else
        lua_pushnumber(L, count);
    lua_setfield(L, -2, "count");
}

struct moments_op {
    struct bridge_op op;
    size_t n;                      /* columns */
    size_t rows;                   /* of each */
    struct column **cells, **keep; /* references; a keep may be NULL */
    struct moments *m;
};

static void moments_work(struct bridge_op *op, struct crew *crew)
{
    struct moments_op *f = (struct moments_op *)op;
    size_t step;

    (void)crew; /* one value after the other: that is what makes the bits the same */
    for (size_t first = 0; first < f->n; first += SIDE_BY_SIDE) {
        size_t width = least(f->n - first, SIDE_BY_SIDE);

        for (size_t from = 0; from < f->rows; from += step) {
            double room[2 * SIDE_BY_SIDE][BLOCK_CELLS];
            const double *cells[SIDE_BY_SIDE], *keep[SIDE_BY_SIDE];

            step = least(f->rows - from, BLOCK_CELLS);
            for (size_t k = 0; k < width; k++) {
                const struct column *kept = f->keep[first + k];

                cells[k] = column_block(f->cells[first + k], from, step, room[2 * k]);
                keep[k] = kept == NULL ? NULL : column_block(kept, from, step, room[2 * k + 1]);
            }
            moments_add_all(f->m + first, cells, width, step, keep);
        }
    }
}

static void moments_fini(struct bridge_op *op)
{
    struct moments_op *f = (struct moments_op *)op;

    for (size_t k = 0; k < f->n; k++) {
        column_unref(f->cells[k]);
        column_unref(f->keep[k]);
    }
    free(f->cells);
    free(f->keep);
    free(f->m);
}

static const struct bridge_type moments_type = {"column.moments", sizeof(struct moments_op), NULL,
                                                moments_work, moments_fini};

static void push_moments(lua_State *L, const struct moments *m)
{
    lua_createtable(L, 0, 4);
    set_count(L, m->count);
    lua_pushnumber(L, m->mean);
    lua_setfield(L, -2, "mean");
    lua_pushnumber(L, m->m2);
    lua_setfield(L, -2, "M2");
    lua_pushnumber(L, moments_std(m));
    lua_setfield(L, -2, "std");
}

static int moments_done(lua_State *L, int status, lua_KContext ctx)
{
    push_moments(L, ((struct moments_op *)ctx)->m);
    (void)status;
    return 1;
}

static int moments_all_done(lua_State *L, int status, lua_KContext ctx)
{
    const struct moments_op *f = (struct moments_op *)ctx;

    (void)status;
    lua_createtable(L, (int)f->n, 0);
    for (size_t k = 0; k < f->n; k++) {
        push_moments(L, &f->m[k]);
        lua_rawseti(L, -2, (lua_Integer)k + 1);
    }
    return 1;
}

/* Push the box of an operation on n columns, which are then added with moments_take. */
static struct moments_op *moments_new(lua_State *L, size_t n)
{
    struct moments_op *f = (struct moments_op *)bridge_new(L, &moments_type);

    f->cells = calloc(n, sizeof(struct column *));
    f->keep = calloc(n, sizeof(struct column *));
    f->m = calloc(n, sizeof *f->m);
    if (f->cells == NULL || f->keep == NULL || f->m == NULL)
        luaL_error(L, "out of memory for the moments of %I columns", (LUAI_UACINT)n);
    return f;
}

/* Add the column, state and keep at `at`, `at` + 1 and `at` + 2. */
static void moments_take(lua_State *L, struct moments_op *f, int at)
{
    struct column *c = column_check(L, at);
    struct column *keep = lua_toboolean(L, at + 2) ? column_check(L, at + 2) : NULL;
    struct moments *m = &f->m[f->n];

    if (lua_toboolean(L, at + 1)) {
        luaL_checktype(L, at + 1, LUA_TTABLE);
        m->count = field(L, at + 1, 2, "count");
        m->mean = field(L, at + 1, 2, "mean");
        m->m2 = field(L, at + 1, 2, "M2");
    }
    if (f->n == 0)
        f->rows = c->n;
    luaL_argcheck(L, c->n == f->rows, 1, "the columns differ in length");
    luaL_argcheck(L, keep == NULL || keep->n == c->n, 3, "keep has another length than the column");
    luaL_argcheck(L, m->count >= 0 && isfinite(m->count), 2, "count must be a number >= 0");
    f->cells[f->n] = column_ref(c);
    f->keep[f->n++] = keep == NULL ? NULL : column_ref(keep);
    f->op.heavy = f->n * f->rows > HEAVY_CELLS;
}

int column_moments(lua_State *L)
{
    struct moments_op *f;

    lua_settop(L, 3);
    f = moments_new(L, 1);
    moments_take(L, f, 1);
    return bridge_run(L, &f->op, moments_done);
}

/* The k-th elements of the three lists are at `at` and behind. */
static void check_elements(lua_State *L, int at, lua_Integer k)
{
    static const char *const kinds[] = {"a column", "a table or false", "a column or false"};
    const bool right[] = {column_test(L, at) != NULL,
                          !lua_toboolean(L, at + 1) || lua_istable(L, at + 1),
                          !lua_toboolean(L, at + 2) || column_test(L, at + 2) != NULL};

    for (int i = 0; i < 3; i++)
        if (!right[i])
            luaL_argerror(L, i + 1,
                          lua_pushfstring(L, "element %I is a %s, not %s", (LUAI_UACINT)k,
                                          luaL_typename(L, at + i), kinds[i]));
}

int column_moments_all(lua_State *L)
{
    struct moments_op *f;
    lua_Integer n;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = luaL_len(L, 1);
    luaL_argcheck(L, n >= 1 && n <= MOST_COLUMNS, 1, "from 1 to 65536 columns");
    lua_settop(L, 3);
    for (int list = 2; list <= 3; list++)
        if (!lua_isnil(L, list))
            luaL_checktype(L, list, LUA_TTABLE);
    f = moments_new(L, (size_t)n);
    for (lua_Integer k = 1; k <= n; k++) {
        int at = lua_gettop(L) + 1;

        for (int list = 1; list <= 3; list++) {
            if (lua_isnil(L, list))
                lua_pushnil(L);
            else
                lua_geti(L, list, k);
        }
        check_elements(L, at, k);
        moments_take(L, f, at);
        lua_settop(L, at - 1);
    }
    return bridge_run(L, &f->op, moments_all_done);
}
