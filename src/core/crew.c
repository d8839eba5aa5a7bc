/* crew: see crew.h. */
#include "core/crew.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MAX_THREADS = 64 };

struct share {
    atomic_size_t next;
    size_t n;
    void (*fn)(void *ctx, size_t i);
    void *ctx;
};

static void *take_parts(void *arg)
{
    struct share *s = arg;
    size_t i;

    while ((i = atomic_fetch_add(&s->next, 1)) < s->n)
        s->fn(s->ctx, i);
    return NULL;
}

static void threads_each(struct crew *crew, size_t n, void (*fn)(void *ctx, size_t i), void *ctx)
{
    struct share s = {.n = n, .fn = fn, .ctx = ctx};
    pthread_t threads[MAX_THREADS];
    int started = 0;

    while (started < crew->width - 1 && started < MAX_THREADS &&
           pthread_create(&threads[started], NULL, take_parts, &s) == 0)
        started++;
    take_parts(&s);
    while (started > 0)
        pthread_join(threads[--started], NULL);
}

void crew_threads(struct crew *crew, int width)
{
    crew->width = width < 1 ? 1 : width;
    crew->each = threads_each;
}

int crew_width(const struct crew *crew)
{
    return crew == NULL ? 1 : crew->width;
}

void crew_each(struct crew *crew, size_t n, void (*fn)(void *ctx, size_t i), void *ctx)
{
    if (crew != NULL && crew->width > 1 && n > 1) {
        crew->each(crew, n, fn, ctx);
        return;
    }
    for (size_t i = 0; i < n; i++)
        fn(ctx, i);
}
