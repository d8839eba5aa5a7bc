/* task: see task.h. */
#include "bind/task.h"

#include "run/log.h"

#include <lauxlib.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOOK_COUNT = 100000, NAME_MAX_LEN = 64 };

/* Tasks are run for so long before the sockets are looked at again. */
#define PUMP_SECONDS 0.001

#define TASKS_KEY "anomalyd.tasks"

/* Twice the seconds that a script has for its cleaning up after it was ended. */
#define MOST_GRACE 0.2

struct task {
    struct task *next_ready;
    struct task *prev, *next; /* all living tasks */
    struct tasks *tasks;
    lua_State *co;
    int anchor; /* keeps co alive: a reference in the registry */
    unsigned id;
    bool ready;
    bool urgent;
    bool cancelled;
    int nargs;         /* for the first resume; later ones carry nothing */
    struct wait *wait; /* NULL while ready or running */
    int heeds;         /* what can be read from here interrupts it; -1: nothing */
    double born;
    task_end end;
    void *ctx;
    char name[NAME_MAX_LEN];
};

/* Tasks that can go on, in the order in which they became so. */
struct line {
    struct task *first, **last;
};

struct tasks {
    struct bridge bridge; /* first: the bridge's callback finds its tasks */
    lua_State *L;
    struct carriers carriers;
    struct timer *pump;
    struct line urgent, ready;
    struct task *all;
    struct task *current;
    size_t count;
    unsigned last_id;
    double slice;
    double deadline; /* of the running slice */
    bool overran;
    char overran_at[LUA_IDSIZE + 16]; /* "scripts/routes.lua:12: " */
};

struct tasks *tasks_of(lua_State *L)
{
    struct tasks *tasks;

    lua_getfield(L, LUA_REGISTRYINDEX, TASKS_KEY);
    tasks = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return tasks;
}

/* ---- the ready queue ---- */

static void line_init(struct line *line)
{
    line->first = NULL;
    line->last = &line->first;
}

static struct task *line_take(struct line *line)
{
    struct task *task = line->first;

    if (task == NULL)
        return NULL;
    line->first = task->next_ready;
    if (line->first == NULL)
        line->last = &line->first;
    return task;
}

static void make_ready(struct task *task)
{
    struct tasks *tasks = task->tasks;
    struct line *line = task->urgent ? &tasks->urgent : &tasks->ready;

    if (task->ready)
        return;
    task->ready = true;
    task->next_ready = NULL;
    *line->last = task;
    line->last = &task->next_ready;
    timer_soon(tasks->pump);
}

/* ---- waits ---- */

static void wait_over(void *ctx)
{
    struct task *task = ctx;

    task->wait = NULL;
    make_ready(task);
}

/* bridge->start: the running task begins to wait. */
static int start_wait(lua_State *L, struct bridge_op *op, enum bridge_next next,
                      const char **message)
{
    struct tasks *tasks = tasks_of(L);
    struct task *task = tasks->current;

    if (task == NULL || task->wait != NULL) {
        *message = "only a task can wait (use task.spawn)";
        return -1;
    }
    if (task->cancelled) {
        *message = "the task was cancelled";
        return -1;
    }
    task->wait = wait_start(&tasks->carriers, op, next, wait_over, task);
    if (task->wait == NULL) {
        *message = "out of memory";
        return -1;
    }
    return 0;
}

void task_cancel(struct tasks *tasks, struct task *task)
{
    (void)tasks;
    task->cancelled = true;
    if (task->wait != NULL)
        wait_cancel(task->wait);
}

/* ---- running ---- */

void task_heed(struct task *task, int fd)
{
    task->heeds = fd;
}

/* Lua has this thread while it computes, so the loop cannot read an interrupt: look for it. */
static bool is_interrupted(const struct task *task)
{
    struct pollfd p = {task->heeds, POLLIN, 0};

    return task->heeds >= 0 && poll(&p, 1, 0) > 0;
}

/* Note where it was: a script that catches the error is ended elsewhere, but this is to blame. */
static void first_overrun(lua_State *L, struct tasks *tasks, double now)
{
    tasks->overran = true;
    tasks->deadline = now + (tasks->slice < MOST_GRACE ? tasks->slice : MOST_GRACE) / 2;
    /* In a hook the script's own function is level 0. */
    luaL_where(L, 0);
    snprintf(tasks->overran_at, sizeof tasks->overran_at, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
}

/* The runaway guard. The first error may be caught and reported, within half a slice more; after
 * that the hook raises at every instruction, which no loop around a pcall survives. */
static void on_count(lua_State *L, lua_Debug *ar)
{
    struct tasks *tasks = tasks_of(L);
    double now = loop_now();
    bool interrupted;

    (void)ar;
    if (tasks->current == NULL)
        return;
    interrupted = !tasks->overran && is_interrupted(tasks->current);
    if (now < tasks->deadline && !interrupted)
        return;
    if (tasks->overran)
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    else
        first_overrun(L, tasks, now);
    if (interrupted)
        lua_pushfstring(L, "%sinterrupted", tasks->overran_at);
    else
        lua_pushfstring(L, "%sscript ran too long: %d ms without waiting", tasks->overran_at,
                        (int)(tasks->slice * 1000));
    lua_error(L);
}

static void unlink_task(struct task *task)
{
    if (task->prev != NULL)
        task->prev->next = task->next;
    else
        task->tasks->all = task->next;
    if (task->next != NULL)
        task->next->prev = task->prev;
    task->tasks->count--;
}

/* Protected: arg 1 is the task whose coroutine failed; gives the error's text with a traceback. */
static int l_failure(lua_State *L)
{
    struct task *task = lua_touserdata(L, 1);
    const char *text;

    lua_xmove(task->co, L, 1);
    text = luaL_tolstring(L, -1, NULL);
    /* A text that already carries a traceback comes from a handler that made one. */
    if (text != NULL && strstr(text, "\nstack traceback:") != NULL)
        lua_pushstring(L, text);
    else
        luaL_traceback(L, task->co, text, 0);
    return 1;
}

static void report(struct task *task)
{
    lua_State *L = task->tasks->L;
    const char *text;

    lua_pushcfunction(L, l_failure);
    lua_pushlightuserdata(L, task);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        text = "an error that could not be described (out of memory?)";
    else
        text = lua_tostring(L, -1);
    if (task->end != NULL)
        task->end(task->ctx, text);
    else
        log_line(LOG_ERROR, "task %u (%s) failed: %.900s", task->id, task->name, text);
    lua_pop(L, 1);
}

static void task_over(struct task *task, bool failed)
{
    lua_State *L = task->tasks->L;

    if (failed)
        report(task);
    else if (task->end != NULL)
        task->end(task->ctx, NULL);
    /* Runs the to-be-closed variables of one that failed; its errors have nowhere to go. */
    lua_resetthread(task->co);
    unlink_task(task);
    luaL_unref(L, LUA_REGISTRYINDEX, task->anchor);
    free(task);
}

/* Did the coroutine yield because of a wait (and not by a stray coroutine.yield)? */
static bool is_wait(struct task *task, int n)
{
    return task->wait != NULL && n >= 1 &&
           lua_touserdata(task->co, -n) == (const void *)&bridge_sentinel;
}

static void run(struct task *task)
{
    struct tasks *tasks = task->tasks;
    lua_State *co = task->co;
    int n = 0;
    int status;
    int nargs = task->nargs;

    task->nargs = 0;
    tasks->current = task;
    tasks->overran = false;
    tasks->deadline = loop_now() + tasks->slice;
    lua_sethook(co, on_count, LUA_MASKCOUNT, HOOK_COUNT);
    status = lua_resume(co, tasks->L, nargs, &n);
    tasks->current = NULL;
    if (status == LUA_YIELD && is_wait(task, n)) {
        lua_pop(co, n);
        return;
    }
    if (status == LUA_YIELD) {
        lua_settop(co, 0);
        lua_pushliteral(co, "coroutine.yield was called outside a coroutine.wrap or resume");
    }
    task_over(task, status != LUA_OK);
}

/* Urgent tasks first; the others for a while. What is left goes on when the loop has looked at its
 * sockets, so that a request does not wait behind a crowd of tasks that became ready together. */
static void pump(void *ctx)
{
    struct tasks *tasks = ctx;
    double until = loop_now() + PUMP_SECONDS;
    struct task *task;

    do {
        task = line_take(&tasks->urgent);
        if (task == NULL)
            task = line_take(&tasks->ready);
        if (task == NULL)
            return;
        task->ready = false;
        run(task);
    } while (loop_now() < until);
    timer_start(tasks->pump, 0);
}

/* ---- starting ---- */

static struct task *spawn(lua_State *L, struct tasks *tasks, int nargs, const char *name,
                          bool urgent, task_end end, void *ctx)
{
    struct task *task;
    lua_State *co;
    int anchor;

    luaL_checkstack(L, 4, "a new task");
    co = lua_newthread(L);
    if (!lua_checkstack(co, nargs + 8))
        luaL_error(L, "out of memory for a task");
    anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    task = calloc(1, sizeof *task);
    if (task == NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, anchor);
        luaL_error(L, "out of memory for a task");
    }
    lua_xmove(L, co, nargs + 1);
    task->tasks = tasks;
    task->co = co;
    task->nargs = nargs;
    task->anchor = anchor;
    task->id = ++tasks->last_id;
    task->urgent = urgent;
    task->heeds = -1;
    task->born = loop_now();
    task->end = end;
    task->ctx = ctx;
    snprintf(task->name, sizeof task->name, "%s", name);
    task->next = tasks->all;
    if (tasks->all != NULL)
        tasks->all->prev = task;
    tasks->all = task;
    tasks->count++;
    make_ready(task);
    return task;
}

struct task *task_spawn(lua_State *L, struct tasks *tasks, int nargs, const char *name,
                        task_end end, void *ctx)
{
    return spawn(L, tasks, nargs, name, false, end, ctx);
}

struct start {
    struct tasks *tasks;
    int (*push)(lua_State *L, void *arg);
    void *arg;
    const char *name;
    bool urgent;
    task_end end;
    void *ctx;
};

static int l_start(lua_State *L)
{
    struct start *s = lua_touserdata(L, 1);
    int nargs = s->push(L, s->arg);

    spawn(L, s->tasks, nargs, s->name, s->urgent, s->end, s->ctx);
    return 0;
}

int task_start(struct tasks *tasks, int (*push)(lua_State *L, void *arg), void *arg,
               const char *name, bool urgent, task_end end, void *ctx)
{
    struct start s = {tasks, push, arg, name, urgent, end, ctx};
    lua_State *L = tasks->L;

    lua_pushcfunction(L, l_start);
    lua_pushlightuserdata(L, &s);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
        return 0;
    log_line(LOG_ERROR, "cannot start %s: %s", name, lua_tostring(L, -1));
    lua_pop(L, 1);
    return -1;
}

/* ---- the rest ---- */

struct tasks *tasks_new(lua_State *L, const struct carriers *carriers)
{
    struct tasks *tasks = calloc(1, sizeof *tasks);

    if (tasks == NULL)
        return NULL;
    tasks->bridge.abi = BRIDGE_ABI;
    tasks->bridge.start = start_wait;
    tasks->L = L;
    tasks->carriers = *carriers;
    line_init(&tasks->urgent);
    line_init(&tasks->ready);
    tasks->slice = 0.2;
    tasks->pump = timer_new(carriers->loop, pump, tasks);
    if (tasks->pump == NULL) {
        free(tasks);
        return NULL;
    }
    lua_pushlightuserdata(L, &tasks->bridge);
    lua_setfield(L, LUA_REGISTRYINDEX, BRIDGE_KEY);
    lua_pushlightuserdata(L, tasks);
    lua_setfield(L, LUA_REGISTRYINDEX, TASKS_KEY);
    /* Hooks are per coroutine and inherited from the one that makes it. */
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_COUNT);
    return tasks;
}

void tasks_free(struct tasks *tasks)
{
    struct task *task, *next;

    if (tasks == NULL)
        return;
    /* First all waits: ending one puts its task on the ready list, which links tasks. */
    for (task = tasks->all; task != NULL; task = task->next)
        if (task->wait != NULL)
            wait_cancel(task->wait);
    for (task = tasks->all; task != NULL; task = next) {
        next = task->next;
        if (task->end != NULL)
            task->end(task->ctx, NULL);
        free(task);
    }
    lua_sethook(tasks->L, NULL, 0, 0);
    timer_free(tasks->pump);
    free(tasks);
}

void tasks_slice(struct tasks *tasks, double seconds)
{
    tasks->slice = seconds;
}

size_t tasks_count(const struct tasks *tasks)
{
    return tasks->count;
}

struct task *task_current(struct tasks *tasks)
{
    return tasks->current;
}

unsigned task_id(const struct task *task)
{
    return task->id;
}

struct task *task_find(struct tasks *tasks, unsigned id)
{
    struct task *task = tasks->all;

    while (task != NULL && task->id != id)
        task = task->next;
    return task;
}

void tasks_each(struct tasks *tasks,
                void (*fn)(void *ctx, unsigned id, const char *name, const char *waits, double age),
                void *ctx)
{
    double now = loop_now();

    for (const struct task *t = tasks->all; t != NULL; t = t->next)
        fn(ctx, t->id, t->name, t->wait != NULL ? wait_name(t->wait) : "", now - t->born);
}
