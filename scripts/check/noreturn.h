/* Told to the static analyzer only: these raise, so nothing after a call of them runs. lauxlib.h
 * declares them as returning int, for `return luaL_error(...)`. */
#include <lua.h>

#include <lauxlib.h>

int lua_error(lua_State *L) __attribute__((noreturn));
int luaL_error(lua_State *L, const char *format, ...) __attribute__((noreturn));
int luaL_argerror(lua_State *L, int arg, const char *message) __attribute__((noreturn));
int luaL_typeerror(lua_State *L, int arg, const char *name) __attribute__((noreturn));
