/* csv_memory: fail every allocation of a Lua script in turn, Lua's own and those of the modules it
 * loads, and see that nothing crashes and nothing is lost.
 *
 *     build/spec/csv_memory SCRIPT.lua
 *
 * The script is run with memory enough (it must succeed), then with the first allocation failing,
 * then the second, and so on; then again with two failing in a row, because Lua collects garbage
 * after the first and tries once more. After each run the Lua state is closed and every block must
 * be free again. Prints "N allocations: M runs failed, 0 leaked"; exit code 1 when a block was
 * lost, or no failure showed. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* glibc's own, behind the names that this program defines anew for itself and its modules. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static bool watched;      /* the script is running */
static long allocations;  /* how many it has made */
static long refusal = -1; /* the first of them to refuse; -1: none */
static long refusals = 1; /* how many to refuse */
static long blocks;       /* taken and not given back, since the program began */

static bool refused(void)
{
    long n;

    if (!watched)
        return false;
    n = allocations++;
    if (refusal < 0 || n < refusal || n >= refusal + refusals)
        return false;
    errno = ENOMEM;
    return true;
}

static void *counted(void *p)
{
    blocks += p != NULL;
    return p;
}

__attribute__((visibility("default"))) void *malloc(size_t n)
{
    return refused() ? NULL : counted(__libc_malloc(n));
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
    return refused() ? NULL : counted(__libc_calloc(n, size));
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t n)
{
    void *grown;

    if (refused())
        return NULL;
    grown = __libc_realloc(p, n);
    blocks += p == NULL && grown != NULL;
    return grown;
}

__attribute__((visibility("default"))) void free(void *p)
{
    blocks -= p != NULL;
    __libc_free(p);
}

static void must(lua_State *L, int status)
{
    if (status == LUA_OK)
        return;
    fprintf(stderr, "csv_memory: %s\n", lua_tostring(L, -1));
    exit(2);
}

/* A state with the script's function on its stack, its modules loaded: a call with "load" does that
 * and is not watched. */
static lua_State *prepare(const char *script, const char *cpath)
{
    lua_State *L = luaL_newstate();

    if (L == NULL)
        exit(2);
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_pushstring(L, cpath);
    lua_setfield(L, -2, "cpath");
    must(L, luaL_loadfile(L, script));
    lua_pushvalue(L, -1);
    lua_pushliteral(L, "load");
    must(L, lua_pcall(L, 1, 0, 0));
    return L;
}

/* Run the script in a fresh state, refusing from allocation number `refuse` on. Gives whether it came
 * to its end. */
static bool run(const char *script, const char *cpath, long refuse)
{
    lua_State *L = prepare(script, cpath);
    bool good;

    allocations = 0;
    refusal = refuse;
    watched = true;
    good = lua_pcall(L, 0, 0, 0) == LUA_OK;
    watched = false;
    if (refuse < 0 && !good)
        must(L, LUA_ERRRUN);
    lua_close(L);
    return good;
}

int main(int argc, char **argv)
{
    const char *cpath = argc > 2 ? argv[2] : "build/lua/?.so";
    long total, kept, before, failed = 0, leaks = 0;

#if defined(__SANITIZE_ADDRESS__)
    puts("not with a sanitizer, which has allocators of its own");
    return 0;
#endif
    if (argc < 2) {
        fprintf(stderr, "usage: csv_memory SCRIPT.lua [CPATH]\n");
        return 2;
    }
    prepare(argv[1], cpath); /* stays, so that the modules are loaded once only */
    run(argv[1], cpath, -1); /* what the C library allocates once and keeps */
    before = blocks;
    run(argv[1], cpath, -1);
    kept = blocks - before;
    total = allocations;
    for (long i = 0; i < total * 2; i++) {
        refusals = i < total ? 1 : 2;
        before = blocks;
        failed += !run(argv[1], cpath, i % total);
        if (blocks - before != kept) {
            fprintf(stderr, "csv_memory: %ld blocks lost when allocation %ld failed\n",
                    blocks - before - kept, i % total + 1);
            leaks++;
        }
    }
    printf("%ld allocations: %ld runs failed, %ld leaked\n", total, failed, leaks);
    return leaks == 0 && failed > 0 ? 0 : 1;
}
