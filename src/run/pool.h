/* pool: the worker threads, which run functions of the core and never see Lua.
 *
 * Jobs are submitted and finished on the loop's thread; `work` runs on a worker and may spread
 * itself further over idle workers through the crew it is given.
 */
#ifndef RUN_POOL_H
#define RUN_POOL_H

#include "core/crew.h"
#include "core/fail.h"
#include "run/loop.h"

struct pool;

/* Embedded in the submitter's record, which must live until `done` was called. */
struct pool_job {
    void (*work)(struct pool_job *job, struct crew *crew); /* on a worker */
    void (*done)(struct pool_job *job);                    /* on the loop's thread */
    struct pool_job *next;                                 /* the pool's own */
};

/* A pool of as many workers as there are processors. One is started when there is more to do than
 * the started ones can begin. NULL and `fail` when the kernel gives no eventfd. */
struct pool *pool_new(struct loop *loop, struct fail *fail);

/* Have `threads` workers instead; only before the first job. */
void pool_width(struct pool *pool, int threads);

/* Ends the workers after the jobs that were submitted; their `done` is still called. */
void pool_free(struct pool *pool);

/* Run the job when a worker is free, in the order of submission. Never fails: where no thread can
 * be started the job runs here, at once. */
void pool_submit(struct pool *pool, struct pool_job *job);

/* How many workers there may be, and how many jobs are submitted but not done. */
int pool_threads(const struct pool *pool);
size_t pool_pending(const struct pool *pool);

#endif
