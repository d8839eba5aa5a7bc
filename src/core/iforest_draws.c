/* iforest_draws: see iforest_draws.h. */
#include "core/iforest_draws.h"

#include "core/iforest_sample.h"
#include "core/rng.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_SLOTS = 16, CACHE_BYTES = 768 * 1024, LARGEST_SEED = 2147483646 };

/* The draws with what the cache needs to know. `draws` is first. */
struct entry {
    struct iforest_draws draws;
    atomic_size_t refs;
    size_t bytes;
};

static struct {
    pthread_mutex_t lock;
    struct entry *slots[CACHE_SLOTS]; /* the latest used first; each holds a reference */
    size_t bytes;
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void entry_unref(struct entry *e)
{
    if (e == NULL || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(e->draws.seeds);
    free(e->draws.rows);
    free(e->draws.y);
    free(e);
}

static int entry_is(const struct entry *e, size_t n, size_t m, size_t trees, uint32_t seed)
{
    return e != NULL && e->draws.n == n && e->draws.m == m && e->draws.trees == trees &&
           e->draws.random_state == seed;
}

/* Move slots[0..at-1] up by one and put e at the front. Under the lock. */
static void cache_front(size_t at, struct entry *e)
{
    memmove(cache.slots + 1, cache.slots, at * sizeof cache.slots[0]);
    cache.slots[0] = e;
}

static struct entry *cache_find(size_t n, size_t m, size_t trees, uint32_t seed)
{
    struct entry *found = NULL;

    pthread_mutex_lock(&cache.lock);
    for (size_t i = 0; i < CACHE_SLOTS && found == NULL; i++) {
        if (!entry_is(cache.slots[i], n, m, trees, seed))
            continue;
        found = cache.slots[i];
        atomic_fetch_add_explicit(&found->refs, 1, memory_order_relaxed);
        cache_front(i, found);
    }
    pthread_mutex_unlock(&cache.lock);
    return found;
}

/* Take the last used entry out of the cache; NULL when it is empty. Under the lock. */
static struct entry *cache_drop(void)
{
    for (size_t i = CACHE_SLOTS; i-- > 0;) {
        struct entry *e = cache.slots[i];

        if (e == NULL)
            continue;
        cache.slots[i] = NULL;
        cache.bytes -= e->bytes;
        return e;
    }
    return NULL;
}

static void cache_keep(struct entry *e)
{
    struct entry *gone[CACHE_SLOTS + 1];
    size_t n_gone = 0;

    if (e->bytes > CACHE_BYTES)
        return;
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    pthread_mutex_lock(&cache.lock);
    while (cache.bytes + e->bytes > CACHE_BYTES || cache.slots[CACHE_SLOTS - 1] != NULL)
        gone[n_gone++] = cache_drop();
    cache_front(CACHE_SLOTS - 1, e);
    cache.bytes += e->bytes;
    pthread_mutex_unlock(&cache.lock);
    while (n_gone > 0)
        entry_unref(gone[--n_gone]);
}

void iforest_draws_forget(void)
{
    struct entry *e;

    do {
        pthread_mutex_lock(&cache.lock);
        e = cache_drop();
        pthread_mutex_unlock(&cache.lock);
        entry_unref(e);
    } while (e != NULL);
}

/* A seed's own state is the first draw of its generator. g is left where that draw leaves it. */
static uint32_t state_of(struct mt19937 *g, uint32_t seed)
{
    mt19937_seed(g, seed);
    return mt19937_upto(g, LARGEST_SEED);
}

static void draw_seeds(struct iforest_draws *d)
{
    struct mt19937 g;

    mt19937_seed(&g, d->random_state);
    for (size_t t = 0; t < d->trees; t++)
        d->seeds[t].bagging = mt19937_upto(&g, LARGEST_SEED);
    for (size_t t = 0; t < d->trees; t++) {
        d->seeds[t].state = state_of(&g, d->seeds[t].bagging);
        d->seeds[t].splitter = state_of(&g, d->seeds[t].state);
    }
}

static int draw_rows(struct iforest_draws *d, struct fail *fail)
{
    void *scratch = malloc(iforest_sample_scratch(d->n, d->m));
    struct mt19937 g;

    if (scratch == NULL)
        return fail_memory(fail);
    for (size_t t = 0; t < d->trees; t++) {
        mt19937_seed(&g, d->seeds[t].bagging);
        iforest_sample_set(&g, d->n, d->m, d->rows + t * d->m, scratch);
    }
    free(scratch);
    return 0;
}

/* y[i] = value of row order[i]. One walk along the stream: the places in the order of their rows,
 * by a counting sort on the block of the stream that a row's value lies in. */
static int draw_y_of_rows(struct iforest_draws *d, struct fail *fail)
{
    enum { ROWS = MT19937_WORDS / 2 };
    size_t places = d->trees * d->m;
    size_t blocks = d->n / ROWS + 1;
    uint32_t *ends = calloc(blocks + 1, sizeof *ends);
    uint32_t *order = malloc(places * sizeof *order);
    struct mt19937 g;

    if (ends == NULL || order == NULL) {
        free(ends);
        free(order);
        return fail_memory(fail);
    }
    for (size_t i = 0; i < places; i++)
        ends[d->rows[i] / ROWS + 1]++;
    for (size_t b = 0; b < blocks; b++)
        ends[b + 1] += ends[b];
    for (size_t i = 0; i < places; i++)
        order[ends[d->rows[i] / ROWS]++] = (uint32_t)i;
    mt19937_seed(&g, d->random_state);
    for (size_t b = 0, k = 0; k < places; b++) {
        mt19937_refill(&g);
        for (; k < ends[b]; k++) {
            g.next = 2 * (d->rows[order[k]] % ROWS);
            d->y[order[k]] = mt19937_double(&g);
        }
    }
    free(ends);
    free(order);
    return 0;
}

static void draw_y_of_all(struct iforest_draws *d)
{
    struct mt19937 g;

    mt19937_seed(&g, d->random_state);
    for (size_t i = 0; i < d->n; i++)
        d->y[i] = mt19937_double(&g);
}

static struct entry *entry_new(size_t n, size_t m, size_t trees, uint32_t seed)
{
    struct entry *e = calloc(1, sizeof *e);
    size_t places = m == n ? n : trees * m;

    if (e == NULL || m > UINT32_MAX / trees) {
        free(e);
        return NULL;
    }
    atomic_init(&e->refs, 1);
    e->draws = (struct iforest_draws){
        .n = n,
        .m = m,
        .trees = trees,
        .random_state = seed,
        .seeds = calloc(trees, sizeof *e->draws.seeds),
        .rows = m == n ? NULL : malloc(places * sizeof *e->draws.rows),
        .y = malloc(places * sizeof *e->draws.y),
    };
    e->bytes = sizeof *e + trees * sizeof *e->draws.seeds + places * sizeof *e->draws.y +
               (m == n ? 0 : places * sizeof *e->draws.rows);
    if (e->draws.seeds == NULL || e->draws.y == NULL || (m < n && e->draws.rows == NULL)) {
        entry_unref(e);
        return NULL;
    }
    return e;
}

int iforest_draws_get(const struct iforest_draws **out, size_t n, size_t m, size_t trees,
                      uint32_t random_state, struct fail *fail)
{
    struct entry *e = cache_find(n, m, trees, random_state);
    int failed = 0;

    if (e == NULL) {
        e = entry_new(n, m, trees, random_state);
        if (e == NULL)
            return fail_memory(fail);
        draw_seeds(&e->draws);
        if (m == n)
            draw_y_of_all(&e->draws);
        else
            failed = draw_rows(&e->draws, fail) != 0 || draw_y_of_rows(&e->draws, fail) != 0;
        if (failed) {
            entry_unref(e);
            return -1;
        }
        cache_keep(e);
    }
    *out = &e->draws;
    return 0;
}

void iforest_draws_put(const struct iforest_draws *draws)
{
    entry_unref((struct entry *)draws);
}

int iforest_draws_rows(uint32_t bagging_seed, size_t n, size_t m, uint32_t *rows, struct fail *fail)
{
    void *scratch = malloc(iforest_sample_scratch(n, m));
    struct mt19937 g;

    if (scratch == NULL)
        return fail_memory(fail);
    mt19937_seed(&g, bagging_seed);
    iforest_sample_ordered(&g, n, m, rows, scratch);
    free(scratch);
    return 0;
}
