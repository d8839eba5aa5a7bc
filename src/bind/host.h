/* host: the lua_State, its memory limit, and everything the Lua side of the program stands on.
 *
 * Owns the loop, the worker pool, the HTTP transfers and the tasks. lua/boot.lua is the first Lua
 * file it runs, as a task, with the command line; from there Lua decides.
 */
#ifndef BIND_HOST_H
#define BIND_HOST_H

#include "bind/task.h"
#include "core/fail.h"

#include <stdbool.h>
#include <stddef.h>

struct host {
    lua_State *L;
    struct loop *loop;
    struct pool *pool; /* computes: as many threads as processors */
    struct pool *disk; /* waits for the disk: more, so that writes are made durable side by side */
    struct multi *multi;
    struct tasks *tasks;
    struct notify *notify; /* NULL until the first host.notify */
    size_t lua_bytes;
    size_t lua_limit; /* Lua's memory may not pass this; a task that tries fails alone */
    int exit_code;
    int signals_seen; /* SIGTERM and SIGINT: the second one forces */
    int on_signal;    /* registry reference of the Lua function, or LUA_NOREF */
    char root[4096];  /* the directory that holds lua/ */
};

/* A host with its libraries open. NULL and `fail` otherwise. */
struct host *host_new(struct fail *fail);
void host_free(struct host *host);

/* Run lua/boot.lua with the arguments and then the loop, until host.exit(). The exit code. */
int host_run(struct host *host, int argc, char **argv);

/* End the loop with this exit code. */
void host_exit(struct host *host, int code);

/* The host of a state. */
struct host *host_of(lua_State *L);

#endif
