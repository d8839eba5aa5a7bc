/* l_watch: the Lua module `watch` of the host: changes below a directory become tasks.
 *
 *   watch.open(path, fn) -> watcher | nil, message, code
 *     fn{kind, name} runs as a task for each change: kind "written", "found", "removed", "rescan" or
 *     "blind" (see run/watch.h), name relative to the path
 *     watcher:close()      also when it is collected
 */
#include "bind/class.h"
#include "bind/host.h"
#include "bind/modules.h"
#include "run/watch.h"

#define WATCHER "anomalyd.watcher"

/* In the userdata: never moves. */
struct watcher {
    struct watch *watch;
    struct tasks *tasks;
    int fn; /* registry reference */
};

struct change {
    const struct watcher *watcher;
    enum watch_change kind;
    const char *name;
};

static int push_change(lua_State *L, void *arg)
{
    static const char *const kinds[] = {"written", "found", "removed", "rescan", "blind"};
    const struct change *c = arg;

    lua_rawgeti(L, LUA_REGISTRYINDEX, c->watcher->fn);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, kinds[c->kind]);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, c->name);
    lua_setfield(L, -2, "name");
    return 1;
}

static void on_change(enum watch_change kind, const char *name, void *ctx)
{
    struct change c = {ctx, kind, name};

    if (c.watcher->fn != LUA_NOREF)
        task_start(c.watcher->tasks, push_change, &c, "watch", false, NULL, NULL);
}

static int l_close(lua_State *L)
{
    struct watcher *w = luaL_checkudata(L, 1, WATCHER);

    watch_free(w->watch);
    w->watch = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, w->fn);
    w->fn = LUA_NOREF;
    return 0;
}

static int l_open(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct watcher *w;
    struct fail fail;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    w = lua_newuserdatauv(L, sizeof *w, 0);
    w->watch = NULL;
    w->fn = LUA_NOREF;
    w->tasks = tasks_of(L);
    luaL_setmetatable(L, WATCHER);
    lua_pushvalue(L, 2);
    w->fn = luaL_ref(L, LUA_REGISTRYINDEX);
    w->watch = watch_new(loop_base(host_of(L)->loop), path, on_change, w, &fail);
    if (w->watch == NULL)
        return bridge_fail(L, &fail);
    return 1;
}

static const luaL_Reg methods[] = {
    {"close", l_close},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"open", l_open},
    {NULL, NULL},
};

int luaopen_watch(lua_State *L)
{
    luaL_checkversion(L);
    class_define(L, WATCHER, metamethods, methods);
    luaL_newlib(L, functions);
    return 1;
}
