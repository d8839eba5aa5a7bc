/* iforest_options: see iforest_options.h. */
#include "bind/iforest_options.h"

#include "bind/l_column.h"

#include <lauxlib.h>
#include <string.h>

size_t iforest_options_columns(lua_State *L, int arg, size_t *rows)
{
    lua_Integer n;

    luaL_argexpected(L, lua_istable(L, arg), arg, "columns: a table of columns");
    n = luaL_len(L, arg);
    luaL_argcheck(L, n >= 1, arg, "columns: at least one is needed");
    luaL_argcheck(L, n <= INT32_MAX, arg, "columns: too many");
    for (lua_Integer i = 1; i <= n; i++) {
        const struct column *c;

        lua_geti(L, arg, i);
        c = column_test(L, -1);
        if (c == NULL)
            luaL_argerror(L, arg,
                          lua_pushfstring(L, "columns: number %I is a %s, not a column",
                                          (LUAI_UACINT)i, luaL_typename(L, -1)));
        if (i > 1 && c->n != *rows)
            luaL_argerror(L, arg,
                          lua_pushfstring(L, "columns: number %I has %I cells, the first has %I",
                                          (LUAI_UACINT)i, (LUAI_UACINT)c->n, (LUAI_UACINT)*rows));
        *rows = c->n;
        lua_pop(L, 1);
    }
    return (size_t)n;
}

/* Push options[name]; its type. */
static int option(lua_State *L, int arg, const char *name)
{
    if (lua_isnoneornil(L, arg)) {
        lua_pushnil(L);
        return LUA_TNIL;
    }
    return lua_getfield(L, arg, name);
}

static int is_auto(lua_State *L)
{
    return lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "auto") == 0;
}

/* A whole number in least..most, or the default. */
static lua_Integer whole_option(lua_State *L, int arg, const char *name, lua_Integer least,
                                lua_Integer most, lua_Integer otherwise)
{
    lua_Integer value = otherwise;
    int whole = 1;

    if (option(L, arg, name) != LUA_TNIL) {
        value = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : (whole = 0);
        if (!whole || value < least || value > most)
            luaL_argerror(L, arg,
                          lua_pushfstring(L, "%s must be a whole number from %I to %I", name,
                                          (LUAI_UACINT)least, (LUAI_UACINT)most));
    }
    lua_pop(L, 1);
    return value;
}

/* Rows per tree; 0 for "auto". A float is a share of the rows, as in scikit-learn. */
static size_t samples_option(lua_State *L, int arg, size_t rows)
{
    size_t samples = 0;
    int type = option(L, arg, "max_samples");

    if (type == LUA_TNUMBER && lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1)
        samples = (size_t)lua_tointeger(L, -1);
    else if (type == LUA_TNUMBER && !lua_isinteger(L, -1) && lua_tonumber(L, -1) > 0 &&
             lua_tonumber(L, -1) <= 1)
        samples = (size_t)(lua_tonumber(L, -1) * (double)rows);
    else if (type != LUA_TNIL && !is_auto(L))
        luaL_argerror(L, arg,
                      "max_samples must be \"auto\", a whole number from 1, or a share of "
                      "the rows as a float in (0, 1]");
    else
        type = LUA_TNIL;
    lua_pop(L, 1);
    return type != LUA_TNIL && samples == 0 ? 1 : samples;
}

static double contamination_option(lua_State *L, int arg, double otherwise)
{
    double value = otherwise;

    if (option(L, arg, "contamination") != LUA_TNIL) {
        value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        if (!is_auto(L) && !(value > 0 && value <= 0.5))
            luaL_argerror(L, arg, "contamination must be in (0, 0.5], or \"auto\"");
    }
    lua_pop(L, 1);
    return value;
}

/* Which instructions score: for tests and benchmarks. */
static enum iforest_path path_option(lua_State *L, int arg)
{
    enum iforest_path path = IFOREST_BEST;

    if (option(L, arg, "path") != LUA_TNIL) {
        const char *name = lua_tostring(L, -1);

        for (path = IFOREST_PLAIN; path > IFOREST_BEST; path--)
            if (name != NULL && strcmp(name, iforest_path_name(path)) == 0)
                break;
        if (name == NULL || (path == IFOREST_BEST && strcmp(name, "best") != 0))
            luaL_argerror(L, arg,
                          "path must be \"best\", \"portable\", \"avx2\", \"avx512\" or \"plain\"");
        luaL_argcheck(L, iforest_path_usable(path), arg, "path: this processor does not have it");
    }
    lua_pop(L, 1);
    return path;
}

void iforest_options_read(lua_State *L, int arg, size_t rows, struct iforest_options *o)
{
    iforest_defaults(o);
    luaL_argexpected(L, lua_isnoneornil(L, arg) || lua_istable(L, arg), arg, "options: a table");
    o->n_estimators =
        (size_t)whole_option(L, arg, "n_estimators", 1, 1000000, (lua_Integer)o->n_estimators);
    o->random_state =
        (uint32_t)whole_option(L, arg, "random_state", 0, UINT32_MAX, o->random_state);
    o->max_samples = samples_option(L, arg, rows);
    o->contamination = contamination_option(L, arg, o->contamination);
    o->path = path_option(L, arg);
}

int iforest_options_threads(lua_State *L, int arg)
{
    return (int)whole_option(L, arg, "threads", 1, 64, 1);
}
