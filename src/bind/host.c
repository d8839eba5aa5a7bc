/* host: see host.h. */
#include "bind/host.h"

#include "bind/modules.h"
#include "run/log.h"
#include "run/notify.h"

#include "paths.h"

#include <limits.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST_KEY "anomalyd.host"

enum { DISK_THREADS = 16 };

struct host *host_of(lua_State *L)
{
    struct host *host;

    lua_getfield(L, LUA_REGISTRYINDEX, HOST_KEY);
    host = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return host;
}

/* Lua's allocator: the C library's, with a count and a ceiling. Shrinking never fails. */
static void *allocate(void *ud, void *block, size_t old, size_t size)
{
    struct host *host = ud;
    void *p;

    if (block == NULL)
        old = 0;
    if (size == 0) {
        free(block);
        host->lua_bytes -= old;
        return NULL;
    }
    if (size > old && size - old > host->lua_limit - host->lua_bytes)
        return NULL;
    p = realloc(block, size);
    if (p != NULL)
        host->lua_bytes = host->lua_bytes - old + size;
    return p;
}

static const luaL_Reg modules[] = {
    {"column", luaopen_column},
    {"console_client", luaopen_console_client},
    {"console_server", luaopen_console_server},
    {"csv", luaopen_csv},
    {"digest", luaopen_digest},
    {"directory", luaopen_directory},
    {"host", luaopen_host},
    {"http", luaopen_http},
    {"iforest", luaopen_iforest},
    {"line_edit", luaopen_line_edit},
    {"json_reader", luaopen_json_reader},
    {"json_writer", luaopen_json_writer},
    {"number", luaopen_number},
    {"s3_call", luaopen_s3_call},
    {"server", luaopen_server},
    {"sigv4", luaopen_sigv4},
    {"certificate", luaopen_certificate},
    {"task", luaopen_task},
    {"watch", luaopen_watch},
    {NULL, NULL},
};

static int l_open(lua_State *L)
{
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (const luaL_Reg *m = modules; m->name != NULL; m++) {
        lua_pushcfunction(L, m->func);
        lua_setfield(L, -2, m->name);
    }
    return 0;
}

/* Is lua/boot.lua in `dir`? Then that is the root. */
static bool try_root(struct host *host, const char *dir)
{
    char path[PATH_MAX + 16];

    snprintf(path, sizeof path, "%s/lua/boot.lua", dir);
    return access(path, R_OK) == 0 && realpath(dir, host->root) != NULL;
}

/* The directory that holds lua/boot.lua: the source tree above the program, share/anomalyd of the
 * prefix it is installed under, or the one it was built for. */
static int find_root(struct host *host, struct fail *fail)
{
    /* build/anomalyd, build/KIND/anomalyd, PREFIX/bin/anomalyd */
    static const char *const places[] = {"/..", "/../..", "/../share/anomalyd"};
    char exe[PATH_MAX], dir[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 32);
    char *slash;

    exe[n < 0 ? 0 : n] = '\0';
    slash = strrchr(exe, '/');
    for (size_t i = 0; slash != NULL && i < sizeof places / sizeof *places; i++) {
        snprintf(slash, 32, "%s", places[i]);
        if (try_root(host, exe))
            return 0;
    }
    snprintf(dir, sizeof dir, "%s/..", ANOMALYD_LUA_DIR);
    if (try_root(host, dir))
        return 0;
    return fail_set(fail, "NoRoot",
                    "lua/boot.lua is neither beside the program nor in %s: install again",
                    ANOMALYD_LUA_DIR);
}

static int open_state(struct host *host, struct fail *fail)
{
    const struct carriers carriers = {host->loop, host->pool, host->disk, host->multi};

    host->L = lua_newstate(allocate, host);
    if (host->L == NULL)
        return fail_memory(fail);
    lua_pushlightuserdata(host->L, host);
    lua_setfield(host->L, LUA_REGISTRYINDEX, HOST_KEY);
    lua_pushcfunction(host->L, l_open);
    if (lua_pcall(host->L, 0, 0, 0) != LUA_OK)
        return fail_set(fail, "NoLua", "cannot open Lua's libraries: %s",
                        lua_tostring(host->L, -1));
    host->tasks = tasks_new(host->L, &carriers);
    return host->tasks == NULL ? fail_memory(fail) : 0;
}

struct host *host_new(struct fail *fail)
{
    struct host *host = calloc(1, sizeof *host);

    if (host == NULL) {
        fail_memory(fail);
        return NULL;
    }
    host->lua_limit = SIZE_MAX;
    host->on_signal = LUA_NOREF;
    if (find_root(host, fail) == 0 && (host->loop = loop_new(fail)) != NULL &&
        (host->pool = pool_new(host->loop, fail)) != NULL &&
        (host->disk = pool_new(host->loop, fail)) != NULL &&
        (host->multi = multi_new(host->loop, 64, fail)) != NULL && open_state(host, fail) == 0) {
        pool_width(host->disk, DISK_THREADS);
        return host;
    }
    host_free(host);
    return NULL;
}

void host_free(struct host *host)
{
    if (host == NULL)
        return;
    /* Tasks first: what a worker still has is then nobody's wait, and ends with its job. */
    tasks_free(host->tasks);
    pool_free(host->pool);
    pool_free(host->disk);
    if (host->L != NULL)
        lua_close(host->L);
    multi_free(host->multi);
    notify_free(host->notify);
    loop_free(host->loop);
    free(host);
}

void host_exit(struct host *host, int code)
{
    host->exit_code = code;
    loop_stop(host->loop);
}

/* ---- signals ---- */

static int push_signal(lua_State *L, void *arg)
{
    int signo = *(int *)arg;

    lua_rawgeti(L, LUA_REGISTRYINDEX, host_of(L)->on_signal);
    lua_pushstring(L, signo == SIGHUP ? "SIGHUP" : signo == SIGINT ? "SIGINT" : "SIGTERM");
    return 1;
}

static void on_signal(int signo, void *ctx)
{
    struct host *host = ctx;

    if (signo != SIGHUP && ++host->signals_seen > 1) {
        log_line(LOG_WARNING, "second signal: stopping at once");
        host_exit(host, 1);
    } else if (host->on_signal != LUA_NOREF) {
        task_start(host->tasks, push_signal, &signo, "signal", true, NULL, NULL);
    } else if (signo != SIGHUP) {
        host_exit(host, 128 + signo);
    }
}

/* ---- boot ---- */

struct boot {
    struct host *host;
    int argc;
    char **argv;
};

static int push_boot(lua_State *L, void *arg)
{
    const struct boot *boot = arg;
    char path[sizeof boot->host->root + 16];

    snprintf(path, sizeof path, "%s/lua/boot.lua", boot->host->root);
    if (luaL_loadfilex(L, path, "t") != LUA_OK)
        lua_error(L);
    luaL_checkstack(L, boot->argc, "too many arguments");
    for (int i = 1; i < boot->argc; i++)
        lua_pushstring(L, boot->argv[i]);
    return boot->argc - 1;
}

/* The boot task is the program's main function: when it fails there is nothing left to do. */
static void boot_ended(void *ctx, const char *failed)
{
    if (failed == NULL)
        return;
    fprintf(stderr, "anomalyd: %s\n", failed);
    host_exit(ctx, 1);
}

int host_run(struct host *host, int argc, char **argv)
{
    struct boot boot = {host, argc, argv};

    signal(SIGPIPE, SIG_IGN);
    if (loop_on_signal(host->loop, SIGTERM, on_signal, host) != 0 ||
        loop_on_signal(host->loop, SIGINT, on_signal, host) != 0 ||
        loop_on_signal(host->loop, SIGHUP, on_signal, host) != 0) {
        fprintf(stderr, "anomalyd: cannot watch for signals\n");
        return 1;
    }
    if (task_start(host->tasks, push_boot, &boot, "boot", false, boot_ended, host) != 0)
        return 1;
    loop_run(host->loop);
    return host->exit_code;
}
