/* fields: see fields.h. */
#include "bind/fields.h"

#include <lauxlib.h>
#include <string.h>

static int wrong(lua_State *L, struct fields f, const char *name, const char *wanted)
{
    return luaL_error(L, "%s: '%s' must be %s, not a %s", f.function, name, wanted,
                      luaL_typename(L, -1));
}

const char *fields_bytes(lua_State *L, struct fields f, const char *name, size_t *len)
{
    const char *text = NULL;

    *len = 0;
    lua_getfield(L, f.index, name);
    if (lua_type(L, -1) == LUA_TSTRING)
        text = lua_tolstring(L, -1, len);
    else if (!lua_isnil(L, -1))
        wrong(L, f, name, "a string");
    lua_pop(L, 1);
    return text;
}

const char *fields_string(lua_State *L, struct fields f, const char *name)
{
    size_t len;
    const char *text = fields_bytes(L, f, name, &len);

    if (text != NULL && strlen(text) != len)
        luaL_error(L, "%s: '%s' holds a zero byte", f.function, name);
    return text;
}

const char *fields_need(lua_State *L, struct fields f, const char *name)
{
    const char *text = fields_string(L, f, name);

    if (text == NULL)
        luaL_error(L, "%s: '%s' is missing", f.function, name);
    return text;
}

double fields_number(lua_State *L, struct fields f, const char *name, double otherwise)
{
    double value = otherwise;

    lua_getfield(L, f.index, name);
    if (lua_type(L, -1) == LUA_TNUMBER)
        value = lua_tonumber(L, -1);
    else if (!lua_isnil(L, -1))
        wrong(L, f, name, "a number");
    lua_pop(L, 1);
    if (!(value >= 0))
        luaL_error(L, "%s: '%s' must be 0 or more", f.function, name);
    return value;
}

size_t fields_size(lua_State *L, struct fields f, const char *name)
{
    double value = fields_number(L, f, name, 0);

    return value < 0x1p40 ? (size_t)value : (size_t)1 << 40;
}

bool fields_boolean(lua_State *L, struct fields f, const char *name)
{
    bool value;

    lua_getfield(L, f.index, name);
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
        wrong(L, f, name, "true or false");
    value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* The text at the top of the stack goes into the keeper (popped) and is returned. */
static const char *keep(lua_State *L, struct fields f, const char *name, int keeper)
{
    size_t len;
    const char *text;

    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
        wrong(L, f, name, "pairs of strings");
    text = lua_tolstring(L, -1, &len);
    if (strlen(text) != len)
        luaL_error(L, "%s: '%s' holds a zero byte", f.function, name);
    lua_rawseti(L, keeper, luaL_len(L, keeper) + 1);
    return text;
}

static size_t count(lua_State *L, int table)
{
    size_t n = 0;

    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1))
        n++;
    return n;
}

struct filling {
    struct fields f;
    const char *name;
    bool header;
    int table;
    int keeper;
    struct exchange_header *list;
    size_t n;
};

/* Name and value are the two values at the top of the stack; pops both. */
static void take(lua_State *L, struct filling *fill)
{
    struct exchange_header *pair = &fill->list[fill->n];

    pair->value = keep(L, fill->f, fill->name, fill->keeper);
    pair->name = keep(L, fill->f, fill->name, fill->keeper);
    if (fill->header && !headers_valid(pair->name, pair->value))
        luaL_error(L, "%s: '%s' holds a name or value that cannot be sent as a header",
                   fill->f.function, fill->name);
    fill->n++;
}

static void take_list(lua_State *L, struct filling *fill, lua_Integer n)
{
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_geti(L, fill->table, i) != LUA_TTABLE)
            wrong(L, fill->f, fill->name, "a list of {name, value}");
        lua_geti(L, -1, 1);
        lua_geti(L, -2, 2);
        take(L, fill);
        lua_pop(L, 1);
    }
}

static void take_map(lua_State *L, struct filling *fill)
{
    for (lua_pushnil(L); lua_next(L, fill->table) != 0;) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        take(L, fill);
    }
}

struct exchange_header *fields_pairs(lua_State *L, struct fields f, const char *name, bool header,
                                     size_t *n)
{
    struct filling fill = {f, name, header, 0, 0, NULL, 0};
    lua_Integer listed;

    *n = 0;
    lua_getfield(L, f.index, name);
    if (lua_isnil(L, -1))
        return NULL;
    if (!lua_istable(L, -1))
        wrong(L, f, name, "a table");
    fill.table = lua_gettop(L);
    listed = luaL_len(L, fill.table);
    lua_newtable(L);
    fill.keeper = lua_gettop(L);
    fill.list = lua_newuserdatauv(L, (count(L, fill.table) + 1) * sizeof *fill.list, 1);
    lua_pushvalue(L, fill.keeper);
    lua_setiuservalue(L, -2, 1);
    if (listed > 0)
        take_list(L, &fill, listed);
    else
        take_map(L, &fill);
    lua_replace(L, fill.table);
    lua_settop(L, fill.table);
    *n = fill.n;
    return fill.list;
}
