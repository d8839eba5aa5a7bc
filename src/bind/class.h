/* class: how every userdata type of the modules is made known to Lua, and what they have in common.
 *
 * A type is made once in a state. Its metatable is hidden from scripts (getmetatable gives the
 * type's name), so that none can call a __gc or put another method in. Its methods are the __index,
 * or the first upvalue of the __index that the type brings itself, where lua/complete.lua finds
 * them too.
 */
#ifndef BIND_CLASS_H
#define BIND_CLASS_H

#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>

/* Make the type `name`, unless it is there. The metamethods have the table of the methods as their
 * upvalue 1. luaL_setmetatable(L, name) then makes a userdata one of the type. */
void class_define(lua_State *L, const char *name, const luaL_Reg *metamethods,
                  const luaL_Reg *methods);

/* Push a zeroed userdata of a type that has nothing but a __gc, and return it: for what C alone
 * owns while a Lua error may come. Raises when memory is short. */
void *class_box(lua_State *L, const char *name, size_t size, lua_CFunction gc);

#endif
