/* pool_check: the worker pool of the event runtime: many jobs, crews inside jobs, one thread, none
 * left behind. Prints "fine" and ends with 0, or says what was wrong. */
#include "run/loop.h"
#include "run/pool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { JOBS = 500, PARTS = 1000, NESTED = 20 };

struct job {
    struct pool_job job;
    atomic_size_t sum;
    struct crew *crew; /* while it works */
    bool nested;
    bool done;
};

struct jobs {
    struct loop *loop;
    struct pool *pool;
    struct job *list;
    size_t n, left;
};

static struct jobs jobs;
static atomic_size_t wrongly_nice;

static void complain(const char *what, size_t got, size_t wanted)
{
    fprintf(stderr, "pool_check: %s: %zu, not %zu\n", what, got, wanted);
    exit(1);
}

static void add(void *ctx, size_t i)
{
    struct job *job = ctx;

    atomic_fetch_add(&job->sum, i + 1);
}

/* A part that shares out its own work in turn. */
static void add_nested(void *ctx, size_t i)
{
    struct job *job = ctx;

    (void)i;
    crew_each(job->crew, PARTS, add, job);
}

static int nice_of(pid_t thread)
{
    return getpriority(PRIO_PROCESS, (id_t)thread);
}

static void work(struct pool_job *pool_job, struct crew *crew)
{
    struct job *job = (struct job *)pool_job;
    int wanted = nice_of(getpid()) + 5;

    if (nice_of(gettid()) != (wanted > 19 ? 19 : wanted))
        atomic_fetch_add(&wrongly_nice, 1);
    job->crew = crew;
    if (job->nested)
        crew_each(crew, NESTED, add_nested, job);
    else
        crew_each(crew, PARTS, add, job);
    crew_each(crew, 0, add, job);
}

static void done(struct pool_job *pool_job)
{
    struct job *job = (struct job *)pool_job;

    job->done = true;
    if (--jobs.left == 0)
        loop_stop(jobs.loop);
}

static void check_jobs(void)
{
    size_t once = (size_t)PARTS * (PARTS + 1) / 2;

    for (size_t i = 0; i < jobs.n; i++) {
        struct job *job = &jobs.list[i];
        size_t wanted = job->nested ? NESTED * once : once;

        if (!job->done)
            complain("a job that never ended", i, jobs.n);
        if (atomic_load(&job->sum) != wanted)
            complain("a job's sum", atomic_load(&job->sum), wanted);
    }
}

/* `n` jobs on a pool of `width` threads; `run` them to their end or leave them to pool_free. */
static void round_of(size_t n, int width, bool run)
{
    struct fail fail;

    jobs.loop = loop_new(&fail);
    jobs.pool = jobs.loop == NULL ? NULL : pool_new(jobs.loop, &fail);
    jobs.list = calloc(n, sizeof *jobs.list);
    if (jobs.pool == NULL || jobs.list == NULL)
        complain("no pool", 0, 1);
    jobs.n = jobs.left = n;
    pool_width(jobs.pool, width);
    for (size_t i = 0; i < n; i++) {
        jobs.list[i].job.work = work;
        jobs.list[i].job.done = done;
        jobs.list[i].nested = i % 50 == 0;
        pool_submit(jobs.pool, &jobs.list[i].job);
    }
    if (pool_pending(jobs.pool) != n)
        complain("jobs pending", pool_pending(jobs.pool), n);
    if (run)
        loop_run(jobs.loop);
    if (run && pool_pending(jobs.pool) != 0)
        complain("jobs left", pool_pending(jobs.pool), 0);
    pool_free(jobs.pool);
    check_jobs();
    loop_free(jobs.loop);
    free(jobs.list);
}

static void check_width(void)
{
    static const int widths[][2] = {{-1, 1}, {0, 1}, {1, 1}, {3, 3}, {64, 64}, {100000, 64}};
    struct fail fail;
    struct loop *loop = loop_new(&fail);
    struct pool *pool = loop == NULL ? NULL : pool_new(loop, &fail);

    if (pool == NULL)
        complain("no pool", 0, 1);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        pool_width(pool, widths[i][0]);
        if (pool_threads(pool) != widths[i][1])
            complain("threads", (size_t)pool_threads(pool), (size_t)widths[i][1]);
    }
    pool_free(pool);
    loop_free(loop);
    pool_free(NULL);
}

int main(void)
{
    check_width();
    round_of(1, 1, true);
    round_of(JOBS, 1, true);
    round_of(JOBS, 4, true);
    round_of(JOBS, 64, true);
    round_of(JOBS / 5, 3, false);
    if (wrongly_nice != 0)
        complain("jobs on a worker with another priority than the loop's and 5", wrongly_nice, 0);
    puts("fine");
    return 0;
}
