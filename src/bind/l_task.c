/* l_task: the Lua module `task` of the host: start tasks, sleep, wait for each other.
 *
 *   task.spawn(fn, ...)     -> id    run fn(...) as a task of its own; its failure is logged
 *   task.start(fn, ...)     -> job   the same, but its failure is for who asks
 *     job:wait([seconds]) -> true when it has ended, false when the time was over
 *     job:failure()       -> nil when it ended well or still runs, else the error with its traceback
 *     job:id()            -> the task's number
 *   task.sleep(seconds)              let others run meanwhile
 *   task.signal()           -> signal
 *     signal:wait([seconds]) -> true when it was fired, false when the time was over
 *     signal:fire()                  wake all that wait now
 *   task.id()               -> number of the running task, or nil
 *   task.cancel(id)         -> true when such a task lived: it gets an error from its wait
 *   task.list()             -> {{id, name, waits, age}, ...}
 */
#include "bind/class.h"
#include "bind/modules.h"
#include "bind/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIGNAL "anomalyd.signal"
#define JOB "anomalyd.job"

/* ---- sleep ---- */

static enum bridge_next sleep_step(struct bridge_op *op)
{
    return op->steps == 0 ? BRIDGE_SLEEP : BRIDGE_DONE;
}

static const struct bridge_type sleep_type = {"task.sleep", sizeof(struct bridge_op), sleep_step,
                                              NULL, NULL};

static int nothing(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

static int l_sleep(lua_State *L)
{
    double seconds = luaL_checknumber(L, 1);
    struct bridge_op *op = bridge_new(L, &sleep_type);

    op->delay = seconds;
    return bridge_run(L, op, nothing);
}

/* ---- signals ---- */

struct signal {
    int refs; /* of the loop's thread only */
    struct waiter *first;
};

struct waiter {
    struct bridge_op op;
    struct signal *signal;
    struct waiter *next, **link;
    bool fired;
};

static void signal_unref(struct signal *s)
{
    if (--s->refs == 0)
        free(s);
}

static void waiter_unlink(struct waiter *w)
{
    if (w->link == NULL)
        return;
    *w->link = w->next;
    if (w->next != NULL)
        w->next->link = w->link;
    w->link = NULL;
}

static enum bridge_next waiter_step(struct bridge_op *op)
{
    struct waiter *w = (struct waiter *)op;

    if (op->steps == 0)
        return BRIDGE_PARK;
    waiter_unlink(w);
    return BRIDGE_DONE;
}

static void waiter_fini(struct bridge_op *op)
{
    struct waiter *w = (struct waiter *)op;

    waiter_unlink(w);
    if (w->signal != NULL)
        signal_unref(w->signal);
}

static const struct bridge_type waiter_type = {"signal", sizeof(struct waiter), waiter_step, NULL,
                                               waiter_fini};

static int waited(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    lua_pushboolean(L, ((struct waiter *)ctx)->fired);
    return 1;
}

static struct signal *check_signal(lua_State *L)
{
    return *(struct signal **)luaL_checkudata(L, 1, SIGNAL);
}

/* Wait at most `seconds` (0: for ever) until the signal is fired, then go on with k. */
static int wait_for(lua_State *L, struct signal *s, double seconds, lua_KFunction k)
{
    struct waiter *w = (struct waiter *)bridge_new(L, &waiter_type);

    w->op.delay = seconds;
    w->signal = s;
    s->refs++;
    w->next = s->first;
    w->link = &s->first;
    if (w->next != NULL)
        w->next->link = &w->next;
    s->first = w;
    return bridge_run(L, &w->op, k);
}

static int l_wait(lua_State *L)
{
    return wait_for(L, check_signal(L), luaL_optnumber(L, 2, 0), waited);
}

static void fire(struct signal *s)
{
    while (s->first != NULL) {
        struct waiter *w = s->first;

        waiter_unlink(w);
        w->fired = true;
        wait_wake(&w->op);
    }
}

static int l_fire(lua_State *L)
{
    fire(check_signal(L));
    return 0;
}

static int l_signal_gc(lua_State *L)
{
    struct signal **box = luaL_checkudata(L, 1, SIGNAL);

    if (*box != NULL)
        signal_unref(*box);
    *box = NULL;
    return 0;
}

static int l_signal(lua_State *L)
{
    struct signal **box = lua_newuserdatauv(L, sizeof *box, 0);

    *box = NULL;
    luaL_setmetatable(L, SIGNAL);
    *box = calloc(1, sizeof **box);
    if (*box == NULL)
        return luaL_error(L, "out of memory");
    (*box)->refs = 1;
    return 1;
}

/* ---- tasks ---- */

enum { TASK_NAME = 96 };

/* A task is named after the place of its function, which is at 1. */
static void name_task(lua_State *L, char name[TASK_NAME])
{
    lua_Debug ar;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_pushvalue(L, 1);
    lua_getinfo(L, ">S", &ar);
    snprintf(name, TASK_NAME, "%s:%d", ar.short_src, ar.linedefined);
}

static int l_spawn(lua_State *L)
{
    char name[TASK_NAME];

    name_task(L, name);
    lua_pushinteger(L, task_id(task_spawn(L, tasks_of(L), lua_gettop(L) - 1, name, NULL, NULL)));
    return 1;
}

/* ---- jobs ---- */

/* A task whose end can be waited for. Its handle has one reference, the task another. */
struct job {
    int refs;
    unsigned id;
    bool ended;
    char *failed; /* NULL: it ended well */
    struct signal *signal;
};

static void job_unref(struct job *job)
{
    if (--job->refs > 0)
        return;
    signal_unref(job->signal);
    free(job->failed);
    free(job);
}

static void job_ended(void *ctx, const char *failed)
{
    struct job *job = ctx;

    job->ended = true;
    if (failed != NULL)
        job->failed = strdup(failed);
    fire(job->signal);
    job_unref(job);
}

static struct job *check_job(lua_State *L)
{
    return *(struct job **)luaL_checkudata(L, 1, JOB);
}

static int l_job_gc(lua_State *L)
{
    struct job **box = luaL_checkudata(L, 1, JOB);

    if (*box != NULL)
        job_unref(*box);
    *box = NULL;
    return 0;
}

static int job_waited(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    lua_pushboolean(L, check_job(L)->ended);
    return 1;
}

static int l_job_wait(lua_State *L)
{
    struct job *job = check_job(L);
    double seconds = luaL_optnumber(L, 2, 0);

    if (job->ended)
        return job_waited(L, LUA_OK, 0);
    return wait_for(L, job->signal, seconds, job_waited);
}

static int l_job_failure(lua_State *L)
{
    lua_pushstring(L, check_job(L)->failed);
    return 1;
}

static int l_job_id(lua_State *L)
{
    lua_pushinteger(L, check_job(L)->id);
    return 1;
}

static struct job *job_new(void)
{
    struct job *job = calloc(1, sizeof *job);

    if (job != NULL)
        job->signal = calloc(1, sizeof *job->signal);
    if (job == NULL || job->signal == NULL) {
        free(job);
        return NULL;
    }
    job->refs = job->signal->refs = 1;
    return job;
}

static int l_start(lua_State *L)
{
    char name[TASK_NAME];
    struct job **box;

    name_task(L, name);
    box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    luaL_setmetatable(L, JOB);
    *box = job_new();
    if (*box == NULL)
        return luaL_error(L, "out of memory");
    lua_insert(L, 1);
    (*box)->id = task_id(task_spawn(L, tasks_of(L), lua_gettop(L) - 2, name, job_ended, *box));
    (*box)->refs++;
    lua_settop(L, 1);
    return 1;
}

/* ---- the rest ---- */

static int l_id(lua_State *L)
{
    struct task *task = task_current(tasks_of(L));

    if (task == NULL)
        return 0;
    lua_pushinteger(L, task_id(task));
    return 1;
}

static int l_cancel(lua_State *L)
{
    struct tasks *tasks = tasks_of(L);
    struct task *task = task_find(tasks, (unsigned)luaL_checkinteger(L, 1));

    if (task != NULL)
        task_cancel(tasks, task);
    lua_pushboolean(L, task != NULL);
    return 1;
}

static void add_row(void *ctx, unsigned id, const char *name, const char *waits, double age)
{
    lua_State *L = ctx;

    lua_createtable(L, 0, 4);
    lua_pushinteger(L, id);
    lua_setfield(L, -2, "id");
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, waits);
    lua_setfield(L, -2, "waits");
    lua_pushnumber(L, age);
    lua_setfield(L, -2, "age");
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static int l_list(lua_State *L)
{
    lua_newtable(L);
    tasks_each(tasks_of(L), add_row, L);
    return 1;
}

static const luaL_Reg functions[] = {
    {"spawn", l_spawn}, {"start", l_start}, {"sleep", l_sleep},   {"signal", l_signal},
    {"id", l_id},       {"list", l_list},   {"cancel", l_cancel}, {NULL, NULL},
};

static const luaL_Reg job_methods[] = {
    {"wait", l_job_wait},
    {"failure", l_job_failure},
    {"id", l_job_id},
    {NULL, NULL},
};

static const luaL_Reg signal_methods[] = {
    {"wait", l_wait},
    {"fire", l_fire},
    {NULL, NULL},
};

static const luaL_Reg job_metamethods[] = {{"__gc", l_job_gc}, {NULL, NULL}};

static const luaL_Reg signal_metamethods[] = {{"__gc", l_signal_gc}, {NULL, NULL}};

int luaopen_task(lua_State *L)
{
    luaL_checkversion(L);
    class_define(L, SIGNAL, signal_metamethods, signal_methods);
    class_define(L, JOB, job_metamethods, job_methods);
    luaL_newlib(L, functions);
    return 1;
}
