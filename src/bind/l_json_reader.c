/* l_json_reader: the Lua module `json_reader`: what lua/json.lua does before and after lua-cjson.
 *
 *   json_reader.scan(text, max_depth [, max_values]) -> marked, names, escaped | nil, kind, at, place, reason
 *   json_reader.restore(value, names, array) -> value
 *
 * scan is core/json_scan: `names` has for each object, by its number, the list of its names as they
 * stand between their quotes; `escaped` is nil, or a list of those lists in which a name has escapes
 * (one for each such name). A failure is "memory" or what the text is refused for, with the
 * places counted from 1. restore turns the marks of a decoded value into what they stand for, in
 * place; arrays get the metatable `array`, objects one of their own with their names.
 */
#include "bind/class.h"
#include "bind/modules.h"
#include "core/json_scan.h"

#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define SCAN "anomalyd.json_scan"

static const double largest_whole = 9007199254740992.0; /* 2^53 */

/* ---- scan ---- */

static int l_gc(lua_State *L)
{
    json_scan_fini(lua_touserdata(L, 1));
    return 0;
}

/* Push {list, ...} of the names of each object, and the list of those that have escapes or nil. */
static void push_names(lua_State *L, const struct json_scan *s, const char *text)
{
    const struct json_scan_name *all = (const void *)s->names.data;
    size_t n = s->names.len / sizeof *all;
    lua_Integer escaped = 0;

    lua_createtable(L, (int)(s->objects < INT32_MAX ? s->objects : INT32_MAX), 0);
    lua_pushnil(L);
    for (size_t i = 0; i < n; i++) {
        if (lua_rawgeti(L, -2, (lua_Integer)all[i].object) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -1);
            lua_rawseti(L, -4, (lua_Integer)all[i].object);
        }
        lua_pushlstring(L, text + all[i].at, all[i].len);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        if (all[i].escaped) {
            if (lua_isnil(L, -2)) {
                lua_newtable(L);
                lua_replace(L, -3);
            }
            lua_pushvalue(L, -1);
            lua_rawseti(L, -3, ++escaped);
        }
        lua_pop(L, 1);
    }
}

static int refused(lua_State *L, const struct json_scan *s, enum json_scan_result why)
{
    static const char *const kinds[] = {
        [JSON_SCAN_MEMORY] = "memory", [JSON_SCAN_UNEXPECTED] = "unexpected",
        [JSON_SCAN_STRING] = "string", [JSON_SCAN_RANGE] = "range",
        [JSON_SCAN_DEEP] = "deep",     [JSON_SCAN_MANY] = "many"};

    lua_pushnil(L);
    lua_pushstring(L, kinds[why]);
    lua_pushinteger(L, (lua_Integer)s->at + 1);
    lua_pushinteger(L, (lua_Integer)s->place + 1);
    lua_pushstring(L, s->reason);
    return 5;
}

static int l_scan(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_Integer depth = luaL_checkinteger(L, 2);
    lua_Integer most = luaL_optinteger(L, 3, LUA_MAXINTEGER);
    struct json_scan *s;
    enum json_scan_result result;

    luaL_argcheck(L, depth >= 0 && depth <= JSON_SCAN_DEPTH, 2, "max_depth");
    luaL_argcheck(L, most >= 0, 3, "max_values");
    s = class_box(L, SCAN, sizeof *s, l_gc);
    result = json_scan(s, text, len, (int)depth, (size_t)most);
    if (result != JSON_SCAN_DONE) {
        int n = refused(L, s, result);

        json_scan_fini(s);
        return n;
    }
    lua_pushlstring(L, s->marked.data, s->marked.len);
    push_names(L, s, text);
    json_scan_fini(s);
    return 3;
}

/* ---- restore ---- */

enum { AT_NAMES = 2, AT_ARRAY };

/* The number on top as it shall be: whole ones up to 2^53 as integers, others as doubles. */
static void settle_number(lua_State *L, int fraction)
{
    lua_Number x = lua_tonumber(L, -1);
    int whole = !fraction && x >= -largest_whole && x <= largest_whole && floor(x) == x;

    if (lua_isinteger(L, -1)) {
        lua_Integer i = lua_tointeger(L, -1);

        if (whole && i >= -(lua_Integer)largest_whole && i <= (lua_Integer)largest_whole)
            return;
        whole = 0;
    }
    if (whole)
        lua_pushinteger(L, (lua_Integer)x);
    else
        lua_pushnumber(L, x);
    lua_replace(L, -2);
}

/* The value on top, which is no table: a mark becomes its number. */
static void settle(lua_State *L)
{
    size_t n;
    const char *text;

    if (lua_type(L, -1) == LUA_TNUMBER) {
        settle_number(L, 0);
        return;
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        return;
    text = lua_tolstring(L, -1, &n);
    if (n == 0 || text[0] != '\xff')
        return;
    if (lua_stringtonumber(L, text + 1) == 0)
        lua_pushnil(L);
    else
        settle_number(L, strpbrk(text, ".eE") != NULL);
    lua_replace(L, -2);
}

static void restore(lua_State *L);

/* A table or another value on top, made what it stands for. */
static void restore_value(lua_State *L)
{
    if (lua_istable(L, -1))
        restore(L);
    else
        settle(L);
}

static void restore_array(lua_State *L)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);

    lua_pushvalue(L, AT_ARRAY);
    lua_setmetatable(L, -2);
    if (lua_rawgeti(L, -1, 1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "\xff") == 0) {
        lua_pop(L, 1);
        lua_pushnil(L);
        lua_rawseti(L, -2, 1);
        return;
    }
    lua_pop(L, 1);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        restore_value(L);
        lua_rawseti(L, -2, i);
    }
}

/* Of a name that was given twice the first place counts. The list is on top. */
static void drop_repeated(lua_State *L)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1), kept = 0;

    lua_newtable(L);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -2, i);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pushvalue(L, -2);
            lua_pushboolean(L, 1);
            lua_rawset(L, -5);
            lua_pushvalue(L, -2);
            lua_rawseti(L, -5, ++kept);
        }
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
    while (n > kept) {
        lua_pushnil(L);
        lua_rawseti(L, -2, n--);
    }
}

static void restore_object(lua_State *L)
{
    lua_Integer number, fields = 0;

    lua_pushliteral(L, "\xff");
    if (lua_rawget(L, -2) != LUA_TNUMBER) {
        lua_pop(L, 1);
        return;
    }
    number = (lua_Integer)lua_tonumber(L, -1);
    lua_pop(L, 1);
    lua_pushliteral(L, "\xff");
    lua_pushnil(L);
    lua_rawset(L, -3);
    for (lua_pushnil(L); lua_next(L, -2) != 0; fields++) {
        restore_value(L);
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4); /* a field that is there may be given another value */
    }
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "object");
    lua_setfield(L, -2, "__json");
    lua_rawgeti(L, AT_NAMES, number);
    if (lua_istable(L, -1) && (lua_Integer)lua_rawlen(L, -1) != fields)
        drop_repeated(L);
    lua_setfield(L, -2, "__keys");
    lua_setmetatable(L, -2);
}

/* The table on top. As deep as cjson was allowed to go. */
static void restore(lua_State *L)
{
    luaL_checkstack(L, 12, "json");
    if (lua_rawlen(L, -1) > 0)
        restore_array(L);
    else
        restore_object(L);
}

static int l_restore(lua_State *L)
{
    luaL_checkany(L, 1);
    luaL_checktype(L, AT_NAMES, LUA_TTABLE);
    luaL_checktype(L, AT_ARRAY, LUA_TTABLE);
    lua_settop(L, AT_ARRAY);
    lua_pushvalue(L, 1);
    restore_value(L);
    return 1;
}

static const luaL_Reg functions[] = {{"scan", l_scan}, {"restore", l_restore}, {NULL, NULL}};

int luaopen_json_reader(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
