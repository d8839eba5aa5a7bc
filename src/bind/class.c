/* class: see class.h. */
#include "bind/class.h"

#include <string.h>

/* Hide the metatable on top of the stack from scripts. */
static void hide(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable");
}

void class_define(lua_State *L, const char *name, const luaL_Reg *metamethods,
                  const luaL_Reg *methods)
{
    if (luaL_newmetatable(L, name)) {
        lua_newtable(L);
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "__index");
        luaL_setfuncs(L, metamethods, 1);
        hide(L, name);
    }
    lua_pop(L, 1);
}

void *class_box(lua_State *L, const char *name, size_t size, lua_CFunction gc)
{
    void *box = lua_newuserdatauv(L, size, 0);

    memset(box, 0, size);
    if (luaL_newmetatable(L, name)) {
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
        hide(L, name);
    }
    lua_setmetatable(L, -2);
    return box;
}
