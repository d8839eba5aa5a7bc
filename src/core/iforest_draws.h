/* iforest_draws: everything about a forest that depends on the seed and not on the data.
 *
 * Seeds of the trees, the rows each tree is grown on, and the random "targets" y that
 * scikit-learn hands to its trees (they never choose a split, but can stop a node: see
 * iforest_grow.h). The same (rows, rows per tree, trees, seed) give the same draws, so the last few
 * are kept, bounded in bytes, for the next frame of that size. Shared between threads; a set of
 * draws does not change once made.
 */
#ifndef CORE_IFOREST_DRAWS_H
#define CORE_IFOREST_DRAWS_H

#include "core/fail.h"

#include <stddef.h>
#include <stdint.h>

struct iforest_seeds {
    uint32_t bagging;  /* seeds the choice of rows */
    uint32_t state;    /* the tree's random_state */
    uint32_t splitter; /* start of the xorshift generator */
};

struct iforest_draws {
    size_t n;     /* rows there are */
    size_t m;     /* rows per tree, m <= n */
    size_t trees; /* how many */
    uint32_t random_state;
    struct iforest_seeds *seeds; /* [trees] */
    uint32_t *rows;              /* [trees * m], ascending per tree; NULL when m == n: all rows */
    double *y;                   /* [trees * m], of those rows; [n] when rows is NULL */
};

/* A shared set of draws, from the cache or fresh; give it back with iforest_draws_put. */
int iforest_draws_get(const struct iforest_draws **out, size_t n, size_t m, size_t trees,
                      uint32_t random_state, struct fail *fail);
void iforest_draws_put(const struct iforest_draws *draws);

/* Drop what the cache holds and nobody uses (benchmarks and leak checks). */
void iforest_draws_forget(void);

/* The m rows of n that a tree with this bagging seed is grown on, in the order they are drawn. */
int iforest_draws_rows(uint32_t bagging_seed, size_t n, size_t m, uint32_t *rows,
                       struct fail *fail);

#endif
