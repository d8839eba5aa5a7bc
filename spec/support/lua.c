/* lua: a plain Lua interpreter, built with our flags. A build with sanitizers needs their runtime
 * in the process before the modules are loaded; here it is linked in, where preloading it would
 * also reach every program that a spec starts.
 *
 *     build/asan/spec/lua FILE [ARG...]
 */
#include <lua.h>

#include <dlfcn.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

/* Modules stay where they are when the state is closed: what they leaked is reported after that,
 * and by then their functions must still have names. */
__attribute__((visibility("default"))) int dlclose(void *handle)
{
    (void)handle;
    return 0;
}

static int traceback(lua_State *L)
{
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

/* Runs with argc and argv on the stack, protected. */
static int run(lua_State *L)
{
    int argc = (int)lua_tointeger(L, 1);
    char **argv = lua_touserdata(L, 2);

    luaL_openlibs(L);
    lua_createtable(L, argc, 0);
    for (int i = 1; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - 1);
    }
    lua_setglobal(L, "arg");
    lua_pushcfunction(L, traceback);
    if (luaL_loadfile(L, argv[1]) != LUA_OK)
        return lua_error(L);
    for (int i = 2; i < argc; i++)
        lua_pushstring(L, argv[i]);
    if (lua_pcall(L, argc - 2, 0, -argc) != LUA_OK)
        return lua_error(L);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: lua FILE [ARG...]\n", stderr);
        return 2;
    }
    lua_State *L = luaL_newstate();
    if (L == NULL) {
        fputs("lua: no memory\n", stderr);
        return 1;
    }
    lua_pushcfunction(L, run);
    lua_pushinteger(L, argc);
    lua_pushlightuserdata(L, argv);
    int status = lua_pcall(L, 2, 0, 0);
    if (status != LUA_OK)
        fprintf(stderr, "lua: %s\n", luaL_tolstring(L, -1, NULL));
    lua_close(L);
    return status == LUA_OK ? 0 : 1;
}
