/* l_console_client: the Lua module `console_client` of the host: the other end of the console.
 *
 *   console_client.connect(path) -> connection | nil, message, code
 *       codes: "NotFound" (nothing there), "NobodyListens", "AccessDenied", "NotOurs" (the other
 *       end runs neither as our user nor as root), "ConnectFailed"
 *   console_client.spawn(argument, ...) -> connection | nil, message, code
 *       starts this program with the arguments; the other end is its descriptor 3
 *   connection:send(kind, text) -> true | nil, message, code
 *   connection:receive([seconds]) -> kind, text
 *       | nil, "closed" | "interrupted" (SIGINT) | "ended" (SIGTERM, SIGHUP) | "late"
 *   connection:close()
 *
 *   console_client.append(path, text) -> true, or false: add to a file of mode 0600, made with its
 *       directories (0700) when it is missing
 *
 * These calls block: the client has nothing else to do. The first one takes the signals over.
 */
#include "bind/bridge.h"
#include "bind/class.h"
#include "bind/modules.h"
#include "core/fail.h"
#include "core/frame.h"
#include "run/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTION "anomalyd.console_connection"

enum { MAX_FRAME = 128 << 20, READ_SIZE = 65536, SERVED_FD = 3, MAX_ARGUMENTS = 32 };

struct connection {
    int fd;
    char *bytes; /* what was read and not taken yet */
    size_t have, room;
};

static struct connection *new_connection(lua_State *L)
{
    struct connection *c = lua_newuserdatauv(L, sizeof *c, 0);

    *c = (struct connection){.fd = -1};
    luaL_setmetatable(L, CONNECTION);
    return c;
}

static struct connection *check_connection(lua_State *L)
{
    struct connection *c = luaL_checkudata(L, 1, CONNECTION);

    luaL_argcheck(L, c->fd >= 0, 1, "the connection was closed");
    return c;
}

static int l_close(lua_State *L)
{
    struct connection *c = luaL_checkudata(L, 1, CONNECTION);

    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    free(c->bytes);
    c->bytes = NULL;
    c->have = c->room = 0;
    return 0;
}

/* ---- connecting ---- */

static int say_no(lua_State *L, const char *code, const char *path, const char *why)
{
    struct fail fail;

    fail_set(&fail, code, "%s: %s", path, why);
    return bridge_fail(L, &fail);
}

/* In a directory where others may write, somebody else may have put a socket of that name. */
static bool is_ours(int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == geteuid() || who.uid == 0 || geteuid() == 0);
}

static const char *connect_code(int error)
{
    return error == ENOENT || error == ENOTDIR ? "NotFound"
           : error == ECONNREFUSED             ? "NobodyListens"
           : error == EACCES                   ? "AccessDenied"
                                               : "ConnectFailed";
}

static int l_connect(lua_State *L)
{
    size_t len;
    const char *path = luaL_checklstring(L, 1, &len);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct connection *c = new_connection(L);

    if (len >= sizeof address.sun_path)
        return say_no(L, "ConnectFailed", path, "too long for a socket");
    memcpy(address.sun_path, path, len);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        return say_no(L, connect_code(errno), path, strerror(errno));
    if (!is_ours(c->fd))
        return say_no(L, "NotOurs", path, "belongs to another user");
    interrupt_catch();
    return 1;
}

/* In the child: the socket as descriptor 3, no terminal, and no life beyond its parent's. */
static void become(int fd, char **argv)
{
    int null = open("/dev/null", O_RDONLY);

    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (null >= 0 && dup2(null, 0) == 0 && dup2(fd, SERVED_FD) == SERVED_FD) {
        fcntl(SERVED_FD, F_SETFD, 0);
        execv("/proc/self/exe", argv);
    }
    _exit(127);
}

static int l_spawn(lua_State *L)
{
    char name[] = "anomalyd";
    char *argv[MAX_ARGUMENTS + 2] = {name};
    int n = lua_gettop(L), pair[2];
    struct connection *c;
    pid_t pid;

    luaL_argcheck(L, n <= MAX_ARGUMENTS, MAX_ARGUMENTS, "too many arguments");
    for (int i = 1; i <= n; i++)
        argv[i] = (char *)luaL_checkstring(L, i);
    c = new_connection(L);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return say_no(L, "ConnectFailed", "a pair of sockets", strerror(errno));
    c->fd = pair[0];
    pid = fork();
    if (pid == 0)
        become(pair[1], argv);
    close(pair[1]);
    if (pid < 0)
        return say_no(L, "ConnectFailed", "another process", strerror(errno));
    interrupt_catch();
    return 1;
}

/* ---- frames ---- */

static int write_all(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;

    while (n > 0) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

        if (done < 0 && errno != EINTR)
            return -1;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return 0;
}

static int l_send(lua_State *L)
{
    struct connection *c = check_connection(L);
    size_t n_kind, len;
    const char *kind = luaL_checklstring(L, 2, &n_kind);
    const char *text = luaL_checklstring(L, 3, &len);
    uint8_t head[FRAME_HEAD];

    luaL_argcheck(L, n_kind == 1, 2, "one letter");
    luaL_argcheck(L, len <= MAX_FRAME, 3, "too long");
    frame_head(head, *kind, len);
    if (write_all(c->fd, head, sizeof head) != 0 || write_all(c->fd, text, len) != 0)
        return say_no(L, "Closed", "the console", strerror(errno));
    lua_pushboolean(L, true);
    return 1;
}

/* Read what is there. 0, or -1 at the end or without memory. */
static int read_more(struct connection *c)
{
    ssize_t n;

    if (c->room - c->have < READ_SIZE) {
        size_t room = c->room * 2 + READ_SIZE;
        char *bytes = realloc(c->bytes, room);

        if (bytes == NULL)
            return -1;
        c->bytes = bytes;
        c->room = room;
    }
    n = recv(c->fd, c->bytes + c->have, c->room - c->have, MSG_DONTWAIT);
    if (n > 0)
        c->have += (size_t)n;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)) ? 0 : -1;
}

static int nothing(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int l_receive(lua_State *L)
{
    struct connection *c = check_connection(L);
    double seconds = luaL_optnumber(L, 2, -1);
    struct frame frame;
    long long taken;

    while ((taken = frame_read(c->bytes, c->have, MAX_FRAME, &frame)) == 0) {
        enum interrupt what = interrupt_wait(c->fd, seconds);

        if (what == INTERRUPT_BREAK)
            return nothing(L, "interrupted");
        if (what == INTERRUPT_END)
            return nothing(L, "ended");
        if (what == INTERRUPT_LATE)
            return nothing(L, "late");
        if (what == INTERRUPT_READY && read_more(c) != 0)
            return nothing(L, "closed");
    }
    if (taken < 0)
        return nothing(L, "closed");
    lua_pushlstring(L, &frame.kind, 1);
    lua_pushlstring(L, frame.text, frame.len);
    c->have -= (size_t)taken;
    memmove(c->bytes, c->bytes + taken, c->have);
    return 2;
}

/* ---- the history's file ---- */

/* Make the directories that `path` stands in. */
static void make_directories(const char *path)
{
    char dir[4096];

    snprintf(dir, sizeof dir, "%s", path);
    for (char *slash = strchr(dir + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(dir, 0700);
        *slash = '/';
    }
}

static int l_append(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(path, flags, 0600);

    if (fd < 0 && errno == ENOENT) {
        make_directories(path);
        fd = open(path, flags, 0600);
    }
    lua_pushboolean(L, fd >= 0 && fchmod(fd, 0600) == 0 && write(fd, text, len) == (ssize_t)len);
    if (fd >= 0)
        close(fd);
    return 1;
}

static const luaL_Reg methods[] = {
    {"send", l_send},
    {"receive", l_receive},
    {"close", l_close},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"connect", l_connect},
    {"spawn", l_spawn},
    {"append", l_append},
    {NULL, NULL},
};

int luaopen_console_client(lua_State *L)
{
    luaL_checkversion(L);
    class_define(L, CONNECTION, metamethods, methods);
    luaL_newlib(L, functions);
    return 1;
}
