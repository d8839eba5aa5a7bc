/* task: coroutines that wait on the event loop, and the one lua_resume of the program.
 *
 * A task runs a Lua function in a coroutine of its own. When it waits (see bridge.h) it yields, and
 * is resumed from the pump, never from inside a callback, with nothing but a light pointer: its
 * results are built by its own continuation, where running out of memory is an error of that task
 * and of nobody else. Between two waits a task may compute for a slice; past that a count hook
 * raises an error in it (it never yields: Lua 5.4.4 has bugs there).
 *
 * Everything here belongs to the loop's thread.
 */
#ifndef BIND_TASK_H
#define BIND_TASK_H

#include "bind/wait.h"

#include <lua.h>

struct task;
struct tasks;

/* The scheduler of a lua_State. Puts the bridge into its registry. Must be made before any
 * coroutine, which inherit its hook. NULL when memory is short. */
struct tasks *tasks_new(lua_State *L, const struct carriers *carriers);

/* Cancels and forgets what still runs. After lua_close, so that boxes are still valid before it. */
void tasks_free(struct tasks *tasks);

/* How long a task may compute without waiting, in seconds. */
void tasks_slice(struct tasks *tasks, double seconds);

/* How many tasks live. */
size_t tasks_count(const struct tasks *tasks);

/* Called when a task has ended, or is forgotten by tasks_free: failed is NULL, or the error's text
 * with its traceback. No Lua. */
typedef void (*task_end)(void *ctx, const char *failed);

/* Start a task with the function and its `nargs` arguments on top of L's stack, which are popped.
 * It first runs from the pump. `end` may be NULL: then a failure is logged. Raises when memory is
 * short, so call it protected. `name` (copied, cut) is what the console shows. */
struct task *task_spawn(lua_State *L, struct tasks *tasks, int nargs, const char *name,
                        task_end end, void *ctx);

/* The same from C: calls `push(L, arg)`, which pushes the function and returns the number of
 * arguments above it, protected. An urgent task goes before all others whenever it can go on: for
 * what somebody waits for and is short. 0, or -1 with the reason logged. */
int task_start(struct tasks *tasks, int (*push)(lua_State *L, void *arg), void *arg,
               const char *name, bool urgent, task_end end, void *ctx);

/* The task that runs now, or NULL. */
struct task *task_current(struct tasks *tasks);
unsigned task_id(const struct task *task);

/* A living task by its number, or NULL. */
struct task *task_find(struct tasks *tasks, unsigned id);

/* End a waiting task's wait with an error in it; one that is ready gets it at its next wait. */
void task_cancel(struct tasks *tasks, struct task *task);

/* From now on the task, which runs, is interrupted while it computes as soon as something can be read
 * from `fd` (or its other end is gone); -1: no more. */
void task_heed(struct task *task, int fd);

/* Visit living tasks: fn(ctx, id, name, what it waits for or "", seconds it lives). */
void tasks_each(struct tasks *tasks,
                void (*fn)(void *ctx, unsigned id, const char *name, const char *waits, double age),
                void *ctx);

/* The scheduler of a state. */
struct tasks *tasks_of(lua_State *L);

#endif
