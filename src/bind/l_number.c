/* l_number: the Lua module `number`: doubles as text, the same on every machine and in any locale.
 *
 *   number.shortest(x)  -> text       fewest digits that read back, laid out as Python's repr:
 *                                     "20.0", "1e-05", "1e+16", "nan", "inf"
 *   number.fixed4(x)    -> text       x rounded to 4 decimals as numpy does, written as above
 *   number.round4(x)    -> x rounded to 4 decimals, as a number
 *   number.parse(text)  -> number     correctly rounded; nil when the whole text is not one number
 *                                     (white space around it is allowed, inf and infinity are read)
 */
#include "bind/modules.h"
#include "core/number.h"

static int l_shortest(lua_State *L)
{
    char text[NUMBER_MAX];
    size_t n = number_shortest(luaL_checknumber(L, 1), text);

    lua_pushlstring(L, text, n);
    return 1;
}

static int l_fixed4(lua_State *L)
{
    char text[NUMBER_MAX];
    size_t n = number_fixed4(luaL_checknumber(L, 1), text);

    lua_pushlstring(L, text, n);
    return 1;
}

static int l_round4(lua_State *L)
{
    lua_pushnumber(L, number_round4(luaL_checknumber(L, 1)));
    return 1;
}

static int l_parse(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    double x;

    if (number_parse(text, n, &x) == NUMBER_NOT)
        lua_pushnil(L);
    else
        lua_pushnumber(L, x);
    return 1;
}

static const luaL_Reg functions[] = {
    {"shortest", l_shortest}, {"fixed4", l_fixed4}, {"round4", l_round4},
    {"parse", l_parse},       {NULL, NULL},
};

/* luaopen_number, for the host's preload table and for number.so. */
int luaopen_number(lua_State *L)
{
    luaL_checkversion(L);
    luaL_newlib(L, functions);
    return 1;
}
