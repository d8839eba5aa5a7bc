/* pool: see pool.h. One lock guards the queue, the finished list and the open shares. */
#include "run/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_THREADS = 64, WORKER_NICE = 5 };

/* A crew_each under way: any idle worker may take parts of it. */
struct share {
    struct share *next;
    void (*fn)(void *ctx, size_t i);
    void *ctx;
    size_t n;
    atomic_size_t taken;
    size_t helpers; /* workers inside, under the pool's lock */
};

struct list {
    struct pool_job *first, **last;
};

struct pool {
    struct crew crew; /* first: a crew_each finds the pool from it */
    struct event *event;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* there is something to do */
    pthread_cond_t left; /* a helper left a share */
    struct list queue;
    struct list finished;
    struct share *shares;
    size_t pending; /* the loop's thread only */
    bool ending;
    int eventfd;
    int n_threads; /* grows to the most jobs and parts that there were to do at once */
    pthread_t threads[MAX_THREADS];
};

static void list_init(struct list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void list_put(struct list *list, struct pool_job *job)
{
    job->next = NULL;
    *list->last = job;
    list->last = &job->next;
}

static struct pool_job *list_take(struct list *list)
{
    struct pool_job *job = list->first;

    if (job == NULL)
        return NULL;
    list->first = job->next;
    if (list->first == NULL)
        list->last = &list->first;
    return job;
}

static void *worker(void *arg);

static void take_parts(struct share *s)
{
    size_t i;

    while ((i = atomic_fetch_add(&s->taken, 1)) < s->n)
        s->fn(s->ctx, i);
}

static struct share *open_share(struct pool *pool)
{
    struct share *s = pool->shares;

    while (s != NULL && atomic_load(&s->taken) >= s->n)
        s = s->next;
    return s;
}

/* Called with the lock held; gives it up while the parts run. */
static void help(struct pool *pool, struct share *s)
{
    s->helpers++;
    pthread_mutex_unlock(&pool->lock);
    take_parts(s);
    pthread_mutex_lock(&pool->lock);
    s->helpers--;
    pthread_cond_broadcast(&pool->left);
}

static void unlink_share(struct pool *pool, struct share *s)
{
    struct share **p = &pool->shares;

    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
}

/* See that `wanted` threads are there, or as many as may be and can be had. Called with the lock
 * held. */
static void start_threads(struct pool *pool, size_t wanted)
{
    while (!pool->ending && pool->n_threads < pool->crew.width &&
           (size_t)pool->n_threads < wanted &&
           pthread_create(&pool->threads[pool->n_threads], NULL, worker, pool) == 0)
        pool->n_threads++;
}

/* crew->each: the caller works too, and waits only for parts that somebody has begun. */
static void pool_each(struct crew *crew, size_t n, void (*fn)(void *ctx, size_t i), void *ctx)
{
    struct pool *pool = (struct pool *)crew;
    struct share s = {.fn = fn, .ctx = ctx, .n = n};

    pthread_mutex_lock(&pool->lock);
    s.next = pool->shares;
    pool->shares = &s;
    start_threads(pool, n);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    take_parts(&s);
    pthread_mutex_lock(&pool->lock);
    unlink_share(pool, &s);
    while (s.helpers > 0)
        pthread_cond_wait(&pool->left, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

static void announce(struct pool *pool)
{
    const uint64_t one = 1;

    while (write(pool->eventfd, &one, sizeof one) == -1 && errno == EINTR)
        continue;
}

/* Called with the lock held; gives it up while the job runs. */
static void run_job(struct pool *pool, struct pool_job *job)
{
    bool first;

    pthread_mutex_unlock(&pool->lock);
    job->work(job, &pool->crew);
    pthread_mutex_lock(&pool->lock);
    first = pool->finished.first == NULL;
    list_put(&pool->finished, job);
    if (first)
        announce(pool);
}

/* Where the system counts it per thread (Linux), the loop's thread goes before the workers. */
static void step_back(void)
{
#ifdef __linux__
    setpriority(PRIO_PROCESS, (id_t)gettid(),
                getpriority(PRIO_PROCESS, (id_t)getpid()) + WORKER_NICE);
#endif
}

static void *worker(void *arg)
{
    struct pool *pool = arg;

    step_back();
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct share *s = open_share(pool);
        struct pool_job *job = s == NULL ? list_take(&pool->queue) : NULL;

        if (s != NULL)
            help(pool, s);
        else if (job != NULL)
            run_job(pool, job);
        else if (pool->ending)
            break;
        else
            pthread_cond_wait(&pool->wake, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void deliver(evutil_socket_t fd, short what, void *arg)
{
    struct pool *pool = arg;
    struct pool_job *job, *next;
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof count) == -1 && errno != EAGAIN)
        return;
    pthread_mutex_lock(&pool->lock);
    job = pool->finished.first;
    list_init(&pool->finished);
    pthread_mutex_unlock(&pool->lock);
    for (; job != NULL; job = next) {
        next = job->next;
        pool->pending--;
        job->done(job);
    }
}

void pool_width(struct pool *pool, int threads)
{
    pool->crew.width = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
}

struct pool *pool_new(struct loop *loop, struct fail *fail)
{
    struct pool *pool = calloc(1, sizeof *pool);

    if (pool == NULL) {
        fail_memory(fail);
        return NULL;
    }
    pool->crew.each = pool_each;
    list_init(&pool->queue);
    list_init(&pool->finished);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->left, NULL);
    pool->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (pool->eventfd >= 0)
        pool->event =
            event_new(loop_base(loop), pool->eventfd, EV_READ | EV_PERSIST, deliver, pool);
    if (pool->event == NULL || event_add(pool->event, NULL) != 0) {
        fail_set(fail, "NoEventfd", "the kernel gives no eventfd (too many open files?)");
        pool_free(pool);
        return NULL;
    }
    pool_width(pool, (int)sysconf(_SC_NPROCESSORS_ONLN));
    return pool;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    while (pool->n_threads > 0)
        pthread_join(pool->threads[--pool->n_threads], NULL);
    if (pool->eventfd >= 0 && pool->event != NULL)
        deliver(pool->eventfd, EV_READ, pool);
    if (pool->event != NULL)
        event_free(pool->event);
    if (pool->eventfd >= 0)
        close(pool->eventfd);
    pthread_cond_destroy(&pool->left);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void pool_submit(struct pool *pool, struct pool_job *job)
{
    pthread_mutex_lock(&pool->lock);
    start_threads(pool, ++pool->pending);
    if (pool->n_threads == 0) {
        run_job(pool, job);
    } else {
        list_put(&pool->queue, job);
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
}

int pool_threads(const struct pool *pool)
{
    return pool->crew.width;
}

size_t pool_pending(const struct pool *pool)
{
    return pool->pending;
}
