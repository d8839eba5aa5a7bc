/* l_console_server: the Lua module `console_server` of the host: the console's socket; events become tasks.
 *
 *   console_server.open(fn) -> server
 *     fn(event, peer, a, b) runs as a task for each event of a peer (a number):
 *       "open", uid, pid        "frame", kind (a letter), text        "close"
 *     server:listen(path, own) -> true | nil, message, code       see run/unixd.h
 *     server:adopt(fd)         take a connected socket
 *     server:send(peer, kind, text) -> true, or false when the peer is gone
 *     server:finish(peer)      close its connection when everything is sent
 *     server:heed(peer)        from now on the running task is also interrupted, while it computes,
 *                              as soon as the peer sends anything or is gone
 *     server:close()
 */
#include "bind/class.h"
#include "bind/host.h"
#include "bind/modules.h"
#include "run/unixd.h"

#include <fcntl.h>

#define SERVER "anomalyd.console_server"

/* In the userdata: never moves. */
struct console {
    struct unixd *unixd;
    struct tasks *tasks;
    int fn; /* registry reference */
};

struct happening {
    const struct console *console;
    const char *event;
    unsigned peer;
    const struct frame *frame;
    uid_t uid;
    pid_t pid;
};

static int push_happening(lua_State *L, void *arg)
{
    const struct happening *h = arg;

    lua_rawgeti(L, LUA_REGISTRYINDEX, h->console->fn);
    lua_pushstring(L, h->event);
    lua_pushinteger(L, h->peer);
    if (h->frame != NULL) {
        lua_pushlstring(L, &h->frame->kind, 1);
        lua_pushlstring(L, h->frame->text, h->frame->len);
    } else {
        lua_pushinteger(L, (lua_Integer)h->uid);
        lua_pushinteger(L, (lua_Integer)h->pid);
    }
    return 4;
}

static void tell(struct happening h)
{
    if (h.console->fn != LUA_NOREF)
        task_start(h.console->tasks, push_happening, &h, "console", true, NULL, NULL);
}

static void on_open(unsigned peer, uid_t uid, pid_t pid, void *ctx)
{
    tell((struct happening){.console = ctx, .event = "open", .peer = peer, .uid = uid, .pid = pid});
}

static void on_frame(unsigned peer, const struct frame *frame, void *ctx)
{
    tell((struct happening){.console = ctx, .event = "frame", .peer = peer, .frame = frame});
}

static void on_close(unsigned peer, void *ctx)
{
    tell((struct happening){.console = ctx, .event = "close", .peer = peer});
}

static struct console *check_console(lua_State *L)
{
    struct console *c = luaL_checkudata(L, 1, SERVER);

    luaL_argcheck(L, c->unixd != NULL, 1, "the console was closed");
    return c;
}

static unsigned check_peer(lua_State *L)
{
    return (unsigned)luaL_checkinteger(L, 2);
}

static int l_listen(lua_State *L)
{
    struct console *c = check_console(L);
    const char *path = luaL_checkstring(L, 2);
    struct fail fail;

    if (unixd_listen(c->unixd, path, lua_toboolean(L, 3), &fail) != 0)
        return bridge_fail(L, &fail);
    lua_pushboolean(L, true);
    return 1;
}

static int l_adopt(lua_State *L)
{
    struct console *c = check_console(L);
    int fd = (int)luaL_checkinteger(L, 2);

    luaL_argcheck(L, fcntl(fd, F_GETFD) >= 0, 2, "no open file");
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    lua_pushboolean(L, unixd_adopt(c->unixd, fd) == 0);
    return 1;
}

static int l_send(lua_State *L)
{
    struct console *c = check_console(L);
    unsigned peer = check_peer(L);
    size_t n_kind, len;
    const char *kind = luaL_checklstring(L, 3, &n_kind);
    const char *text = luaL_checklstring(L, 4, &len);

    luaL_argcheck(L, n_kind == 1, 3, "one letter");
    lua_pushboolean(L, unixd_send(c->unixd, peer, *kind, text, len) == 0);
    return 1;
}

static int l_finish(lua_State *L)
{
    unixd_finish(check_console(L)->unixd, check_peer(L));
    return 0;
}

static int l_heed(lua_State *L)
{
    struct console *c = check_console(L);

    task_heed(task_current(c->tasks), unixd_fd(c->unixd, check_peer(L)));
    return 0;
}

static int l_close(lua_State *L)
{
    struct console *c = luaL_checkudata(L, 1, SERVER);

    unixd_free(c->unixd);
    c->unixd = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, c->fn);
    c->fn = LUA_NOREF;
    return 0;
}

static int l_open(lua_State *L)
{
    struct console *c;
    struct unixd_owner owner = {on_open, on_frame, on_close, NULL};

    luaL_checktype(L, 1, LUA_TFUNCTION);
    c = lua_newuserdatauv(L, sizeof *c, 0);
    c->unixd = NULL;
    c->fn = LUA_NOREF;
    c->tasks = tasks_of(L);
    luaL_setmetatable(L, SERVER);
    lua_pushvalue(L, 1);
    c->fn = luaL_ref(L, LUA_REGISTRYINDEX);
    owner.ctx = c;
    c->unixd = unixd_new(loop_base(host_of(L)->loop), &owner);
    if (c->unixd == NULL)
        return luaL_error(L, "out of memory");
    return 1;
}

static const luaL_Reg methods[] = {
    {"listen", l_listen}, {"adopt", l_adopt}, {"send", l_send}, {"finish", l_finish},
    {"heed", l_heed},     {"close", l_close}, {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"open", l_open},
    {NULL, NULL},
};

int luaopen_console_server(lua_State *L)
{
    luaL_checkversion(L);
    class_define(L, SERVER, metamethods, methods);
    luaL_newlib(L, functions);
    return 1;
}
