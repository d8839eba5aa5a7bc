/* iforest_sample: see iforest_sample.h. */
#include "core/iforest_sample.h"

#include <stdlib.h>
#include <string.h>

enum method { SHUFFLE, TRACKING, RESERVOIR };

static enum method method_of(size_t n, size_t m)
{
    double ratio = (double)m / (double)n;

    if (ratio > 0.01 && ratio < 0.99)
        return SHUFFLE;
    return ratio < 0.2 ? TRACKING : RESERVOIR;
}

/* Tracking keeps the chosen rows in an open hash of at least twice as many slots. */
static size_t hash_slots(size_t m)
{
    size_t slots = 64;

    while (slots < 2 * m)
        slots *= 2;
    return slots;
}

size_t iforest_sample_scratch(size_t n, size_t m)
{
    if (method_of(n, m) == TRACKING)
        return hash_slots(m) * sizeof(uint32_t);
    return n * (sizeof(uint32_t) + 1); /* the draws or the permutation, and the flags */
}

/* Put row + 1 into the hash; 0 when it was there. */
static int hash_add(uint32_t *slots, size_t count, uint32_t row)
{
    size_t i = (row * 2654435761u) & (count - 1);

    while (slots[i] != 0) {
        if (slots[i] == row + 1)
            return 0;
        i = (i + 1) & (count - 1);
    }
    slots[i] = row + 1;
    return 1;
}

static void track(struct mt19937 *g, size_t n, size_t m, uint32_t *rows, uint32_t *slots)
{
    size_t count = hash_slots(m);

    memset(slots, 0, count * sizeof *slots);
    for (size_t i = 0; i < m; i++)
        do
            rows[i] = mt19937_upto(g, (uint32_t)(n - 1));
        while (!hash_add(slots, count, rows[i]));
}

static void reserve(struct mt19937 *g, size_t n, size_t m, uint32_t *rows)
{
    for (size_t i = 0; i < m; i++)
        rows[i] = (uint32_t)i;
    for (size_t i = m; i < n; i++) {
        uint32_t j = mt19937_upto(g, (uint32_t)i);

        if (j < m)
            rows[j] = (uint32_t)i;
    }
}

static void shuffle(struct mt19937 *g, size_t n, size_t m, uint32_t *rows, uint32_t *p)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint32_t)i;
    for (size_t i = n - 1; i >= 1; i--) {
        uint32_t j = mt19937_upto(g, (uint32_t)i);
        uint32_t row = p[i];

        p[i] = p[j];
        p[j] = row;
    }
    memcpy(rows, p, m * sizeof *rows);
}

void iforest_sample_ordered(struct mt19937 *g, size_t n, size_t m, uint32_t *rows, void *scratch)
{
    enum method method = method_of(n, m);

    if (method == SHUFFLE)
        shuffle(g, n, m, rows, scratch);
    else if (method == TRACKING)
        track(g, n, m, rows, scratch);
    else
        reserve(g, n, m, rows);
}

/* draws[i] = upto(i) for i = from down to `to`, reading the generator's words in bulk. A word that
 * is too large is overwritten by the next one: no branch depends on the draw. */
static void draw_down(struct mt19937 *g, size_t from, size_t to, uint32_t *draws)
{
    size_t i = from;

    while (i >= to) {
        uint32_t mask = UINT32_MAX >> __builtin_clz((uint32_t)i);
        size_t last = (mask >> 1) + 1; /* the smallest i of this mask */
        unsigned k;

        if (last < to)
            last = to;
        if (g->next == MT19937_WORDS)
            mt19937_refill(g);
        for (k = g->next; k < MT19937_WORDS && i >= last; k++) {
            uint32_t v = g->word[k] & mask;

            draws[i] = v;
            i -= v <= i;
        }
        g->next = k;
    }
}

/* The swaps of the shuffle with i < m only reorder the first m places, so the set is known after
 * i = m. flags[p] says whether the row that stands at p then is one of the sample; walking the
 * swaps backwards gives that for the places before any swap, which are the rows themselves. */
static void shuffle_set(struct mt19937 *g, size_t n, size_t m, uint32_t *rows, uint32_t *draws)
{
    unsigned char *flags = (unsigned char *)(draws + n);
    size_t found = 0;

    draw_down(g, n - 1, m, draws);
    memset(flags, 1, m);
    memset(flags + m, 0, n - m);
    for (size_t i = m; i < n; i++) {
        unsigned char flag = flags[draws[i]];

        flags[draws[i]] = 0;
        flags[i] = flag;
    }
    for (size_t i = 0; i < n && found < m; i++) {
        rows[found] = (uint32_t)i;
        found += flags[i];
    }
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

void iforest_sample_set(struct mt19937 *g, size_t n, size_t m, uint32_t *rows, void *scratch)
{
    if (method_of(n, m) == SHUFFLE) {
        shuffle_set(g, n, m, rows, scratch);
        return;
    }
    iforest_sample_ordered(g, n, m, rows, scratch);
    qsort(rows, m, sizeof *rows, ascending);
}
