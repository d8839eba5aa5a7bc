/* torture: calls of the C modules in which Lua's n-th allocation and all after it fail, for every n
 * until the call gets by without meeting its limit.
 *
 *     build/spec/torture CPATH CASES.lua        (see spec/support/torture_cases.lua)
 *
 * Each failing call must end in an error that speaks of memory, and the same call must succeed
 * afterwards in the same state. Built with the sanitizers, a leak or a use of freed memory ends the
 * program as well. Prints a line per case: its name and how many calls failed. */
#include <dlfcn.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ALLOCATIONS = 5000 };

/* Modules stay loaded from one state to the next, and have names in a report of leaks. */
__attribute__((visibility("default"))) int dlclose(void *handle)
{
    (void)handle;
    return 0;
}

struct budget {
    bool on;
    bool met; /* an allocation was refused */
    long left;
};

static void *allocate(void *ud, void *block, size_t old, size_t size)
{
    struct budget *budget = ud;
    bool grows = size > 0 && (block == NULL || size > old);

    if (size == 0) {
        free(block);
        return NULL;
    }
    if (grows && budget->on && budget->left-- <= 0) {
        budget->met = true;
        return NULL;
    }
    return realloc(block, size);
}

static void die(lua_State *L, const char *name, long n, const char *what)
{
    fprintf(stderr, "torture: %s, allocation %ld: %s: %s\n", name, n, what,
            L == NULL ? "" : luaL_tolstring(L, -1, NULL));
    exit(1);
}

/* A state in which the stack holds the function of one case. */
static lua_State *prepare(struct budget *budget, char **argv, const char *name)
{
    lua_State *L = lua_newstate(allocate, budget);

    if (L == NULL)
        die(NULL, name, 0, "no state");
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_pushstring(L, argv[1]);
    lua_setfield(L, -2, "cpath");
    lua_pop(L, 1);
    if (luaL_dofile(L, argv[2]) != LUA_OK)
        die(L, name, 0, "the cases");
    lua_getfield(L, -1, name);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK || !lua_isfunction(L, -1))
        die(L, name, 0, "the case's beginning");
    return L;
}

/* One call with n allocations allowed. Whether it met the limit. */
static bool call(struct budget *budget, char **argv, const char *name, long n)
{
    lua_State *L = prepare(budget, argv, name);
    int status;

    lua_pushvalue(L, -1);
    *budget = (struct budget){.on = true, .left = n};
    status = lua_pcall(L, 0, 0, 0);
    budget->on = false;
    if (status != LUA_OK && !budget->met)
        die(L, name, n, "failed with memory at hand");
    if (status != LUA_OK && strstr(luaL_tolstring(L, -1, NULL), "memory") == NULL)
        die(L, name, n, "an error that does not speak of memory");
    if (status != LUA_OK)
        lua_pop(L, 2);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK)
        die(L, name, n, "cannot be called again");
    lua_close(L);
    return budget->met;
}

static void run(struct budget *budget, char **argv, const char *name)
{
    long n = 0;

    while (call(budget, argv, name, n))
        if (++n > MOST_ALLOCATIONS)
            die(NULL, name, n, "no end");
    printf("%s %ld\n", name, n);
}

int main(int argc, char **argv)
{
    struct budget budget = {.on = false}, other = {.on = false};
    lua_State *names;

    if (argc != 3) {
        fprintf(stderr, "usage: torture CPATH CASES.lua\n");
        return 2;
    }
    names = prepare(&budget, argv, "a column");
    for (lua_pushnil(names); lua_next(names, 1); lua_pop(names, 1))
        run(&other, argv, lua_tostring(names, -2));
    lua_close(names);
    return 0;
}
