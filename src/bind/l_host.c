/* l_host: the Lua module `host`: what the Lua side asks of the program it runs in.
 *
 *   host.root, host.version, host.sentinel   (the first value of a yield that is a wait)
 *   host.exit(code)                     end the loop; the process ends with this code
 *   host.on_signal(fn)                  fn("SIGTERM" | "SIGINT" | "SIGHUP") as a task; a second
 *                                       SIGTERM or SIGINT ends the process at once
 *   host.configure{workers, slice, lua_memory}
 *   host.log(level, message, fields)    fields: {name = text | number | boolean, ...}
 *   host.log_setup{level, json, stderr} host.log_level() -> name
 *   host.now() -> seconds, never jumps  host.time() -> seconds since 1970
 *   host.utc([seconds]) -> "2026-02-27T01:56:54.825950"
 *   host.stats() -> {tasks, lua_memory, workers, jobs, memory}
 *   host.is_terminal(0 | 1 | 2)         host.pid() -> number     host.uid() -> number
 *   host.notify{ready, reloading, stopping = boolean, status = text, extend = seconds}
 *       -> true when a service manager listens, false when none does | nil, message, code
 *   host.make_directory(path) -> true (also when it is there) | nil, message
 *   host.trim()                         give freed memory back to the system; waits for a worker
 *   host.compiled(md5) -> the binary chunk of the file of the library whose text has this MD5,
 *       nil when there is none; without an argument that of the probe (see compiled.h)
 */
#include "bind/compiled.h"
#include "bind/host.h"
#include "bind/modules.h"
#include "run/log.h"
#include "run/notify.h"

#include "paths.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FIELDS = 32 };

static int l_exit(lua_State *L)
{
    host_exit(host_of(L), (int)luaL_optinteger(L, 1, 0));
    return 0;
}

static int l_on_signal(lua_State *L)
{
    struct host *host = host_of(L);

    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, host->on_signal);
    host->on_signal = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* The number on top of the stack, a field of the table at 1. */
static double number_in(lua_State *L, const char *name, double least, double most)
{
    double value = lua_tonumber(L, -1);

    if (!lua_isnumber(L, -1) || !(value >= least && value <= most))
        luaL_argerror(L, 1,
                      lua_pushfstring(L, "%s must be a number from %f to %f", name, least, most));
    return value;
}

static int l_configure(lua_State *L)
{
    struct host *host = host_of(L);

    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getfield(L, 1, "workers") != LUA_TNIL)
        pool_width(host->pool, (int)number_in(L, "workers", 1, 64));
    if (lua_getfield(L, 1, "slice") != LUA_TNIL)
        tasks_slice(host->tasks, number_in(L, "slice", 0.001, 1e9));
    if (lua_getfield(L, 1, "lua_memory") != LUA_TNIL)
        host->lua_limit = host->lua_bytes + (size_t)number_in(L, "lua_memory", 0, 0x1p53);
    return 0;
}

/* ---- log ---- */

static enum log_level check_level(lua_State *L, int index)
{
    int level = log_level_named(luaL_checkstring(L, index));

    luaL_argcheck(L, level >= 0, index, "debug, info, warning, error or critical");
    return (enum log_level)level;
}

/* Turn the table at 3 into fields whose texts stay alive on the stack. Sorted by name, so that
 * lines can be compared. */
static size_t get_fields(lua_State *L, struct log_field *fields)
{
    size_t n = 0;

    lua_pushnil(L);
    while (n < MAX_FIELDS && lua_next(L, 3)) {
        size_t at = n;

        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 1);
            continue;
        }
        while (at > 0 && strcmp(fields[at - 1].name, lua_tostring(L, -2)) > 0) {
            fields[at] = fields[at - 1];
            at--;
        }
        fields[at].name = lua_tostring(L, -2);
        fields[at].raw = lua_isboolean(L, -1) ||
                         (lua_type(L, -1) == LUA_TNUMBER && isfinite(lua_tonumber(L, -1)));
        fields[at].value = luaL_tolstring(L, -1, NULL);
        lua_remove(L, -2);
        lua_pushvalue(L, -2); /* the key again for lua_next; name and text stay below it */
        n++;
    }
    return n;
}

static int l_log(lua_State *L)
{
    enum log_level level = check_level(L, 1);
    const char *message = luaL_checkstring(L, 2);
    struct log_field fields[MAX_FIELDS];
    size_t n = 0;

    lua_settop(L, 3);
    if (level < log_current())
        return 0;
    if (lua_istable(L, 3)) {
        luaL_checkstack(L, 3 * MAX_FIELDS + 4, "too many log fields");
        n = get_fields(L, fields);
    }
    log_write(level, message, fields, n);
    return 0;
}

static int l_log_setup(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getfield(L, 1, "level") != LUA_TNIL)
        log_threshold(check_level(L, -1));
    if (lua_getfield(L, 1, "json") != LUA_TNIL)
        log_json(lua_toboolean(L, -1));
    if (lua_getfield(L, 1, "stderr") != LUA_TNIL)
        log_output(lua_toboolean(L, -1) ? stderr : stdout);
    return 0;
}

static int l_log_level(lua_State *L)
{
    lua_pushstring(L, log_level_name(log_current()));
    return 1;
}

/* ---- time ---- */

static int l_now(lua_State *L)
{
    lua_pushnumber(L, loop_now());
    return 1;
}

static double wall_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)(t.tv_nsec / 1000) / 1e6;
}

static int l_time(lua_State *L)
{
    lua_pushnumber(L, wall_clock());
    return 1;
}

static int l_utc(lua_State *L)
{
    double now = luaL_optnumber(L, 1, wall_clock());
    time_t seconds;
    int micros;
    struct tm tm;
    char text[64];
    size_t n;

    luaL_argcheck(L, now > -62135596801.0 && now < 253402300800.0, 1,
                  "a time from the year 1 to the year 9999, in seconds since 1970");
    seconds = (time_t)floor(now);
    micros = (int)((now - (double)seconds) * 1e6 + 0.5);
    if (micros > 999999)
        micros = 999999;
    gmtime_r(&seconds, &tm);
    n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%06d", micros);
    lua_pushstring(L, text);
    return 1;
}

/* ---- the process ---- */

/* Resident memory in bytes, 0 where the kernel does not say. */
static double resident(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long size = 0, pages = 0;

    if (f == NULL)
        return 0;
    if (fscanf(f, "%lu %lu", &size, &pages) != 2)
        pages = 0;
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int l_stats(lua_State *L)
{
    struct host *host = host_of(L);

    lua_createtable(L, 0, 5);
    lua_pushinteger(L, (lua_Integer)tasks_count(host->tasks));
    lua_setfield(L, -2, "tasks");
    lua_pushinteger(L, (lua_Integer)host->lua_bytes);
    lua_setfield(L, -2, "lua_memory");
    lua_pushinteger(L, pool_threads(host->pool));
    lua_setfield(L, -2, "workers");
    lua_pushinteger(L, (lua_Integer)pool_pending(host->pool));
    lua_setfield(L, -2, "jobs");
    lua_pushinteger(L, (lua_Integer)resident());
    lua_setfield(L, -2, "memory");
    return 1;
}

static bool flag_of(lua_State *L, const char *name)
{
    bool set;

    lua_getfield(L, 1, name);
    set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

static int l_notify(lua_State *L)
{
    struct host *host = host_of(L);
    struct notify_news news = {0};
    struct fail fail = {0};

    luaL_checktype(L, 1, LUA_TTABLE);
    news.ready = flag_of(L, "ready");
    news.reloading = flag_of(L, "reloading");
    news.stopping = flag_of(L, "stopping");
    lua_getfield(L, 1, "extend");
    news.extend = luaL_optnumber(L, -1, 0);
    lua_getfield(L, 1, "status");
    news.status = luaL_optstring(L, -1, NULL);
    if (host->notify == NULL)
        host->notify = notify_new(host->loop, &fail);
    if (host->notify == NULL || notify_say(host->notify, &news, &fail) != 0) {
        lua_pushnil(L);
        lua_pushstring(L, fail.message);
        lua_pushstring(L, fail.code);
        return 3;
    }
    lua_pushboolean(L, notify_heard(host->notify));
    return 1;
}

static int l_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

static int l_make_directory(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);

    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        lua_pushnil(L);
        lua_pushfstring(L, "cannot make the directory %s: %s", path, strerror(errno));
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int l_pid(lua_State *L)
{
    lua_pushinteger(L, getpid());
    return 1;
}

static int l_uid(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)geteuid());
    return 1;
}

static void trim_work(struct bridge_op *op, struct crew *crew)
{
    (void)op;
    (void)crew;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

static const struct bridge_type trim_type = {"host.trim", sizeof(struct bridge_op), NULL, trim_work,
                                             NULL};

static int trim_done(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

static int l_trim(lua_State *L)
{
    struct bridge_op *op = bridge_new(L, &trim_type);

    op->heavy = true;
    return bridge_run(L, op, trim_done);
}

static int l_compiled(lua_State *L)
{
    size_t length = 0;
    const char *md5 = luaL_optlstring(L, 1, compiled_probe, &length);
    const char *chunk;

    luaL_argcheck(L, strlen(md5) == COMPILED_MD5, 1, "32 hexadecimal digits");
    chunk = compiled_find(md5, &length);
    if (chunk == NULL)
        return 0;
    lua_pushlstring(L, chunk, length);
    return 1;
}

static const luaL_Reg functions[] = {
    {"exit", l_exit},
    {"on_signal", l_on_signal},
    {"configure", l_configure},
    {"log", l_log},
    {"log_setup", l_log_setup},
    {"log_level", l_log_level},
    {"now", l_now},
    {"time", l_time},
    {"utc", l_utc},
    {"stats", l_stats},
    {"notify", l_notify},
    {"is_terminal", l_is_terminal},
    {"pid", l_pid},
    {"uid", l_uid},
    {"make_directory", l_make_directory},
    {"compiled", l_compiled},
    {"trim", l_trim},
    {NULL, NULL},
};

int luaopen_host(lua_State *L)
{
    luaL_checkversion(L);
    luaL_newlib(L, functions);
    lua_pushstring(L, host_of(L)->root);
    lua_setfield(L, -2, "root");
    lua_pushliteral(L, ANOMALYD_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushlightuserdata(L, (void *)&bridge_sentinel);
    lua_setfield(L, -2, "sentinel");
    return 1;
}
