/* iforest_rank: a forest of shallow trees laid out for scoring.
 *
 * Trees of at most 8 levels become complete heaps without child pointers: 255 inner places and 256
 * leaf places. For each feature the distinct thresholds of all trees are sorted; a cell becomes its
 * rank, the number of thresholds below it, once for the whole forest, and an inner place the
 * position of its threshold: cell > threshold exactly when rank > position. Position and feature
 * share 16 bits, position << bits | feature, and a cell's key is rank << bits; the low bits cannot
 * change an unsigned comparison of the two. So scoring touches small numbers only, less than a
 * kilobyte per tree.
 */
#ifndef CORE_IFOREST_RANK_H
#define CORE_IFOREST_RANK_H

#include "core/iforest.h"
#include "core/iforest_grow.h"
#include "core/iforest_input.h"

#include <stddef.h>
#include <stdint.h>

enum {
    RANK_LEVELS = 8,    /* deeper trees cannot be ranked */
    RANK_FEATURES = 64, /* nor forests that split on more features */
    RANK_BLOCK = 512    /* rows that are scored together */
};

/* A feature's thresholds, and a table that leads a cell near to its rank. */
struct rank_feature {
    uint32_t column;
    double median;
    uint32_t count; /* distinct thresholds; 0: no key is needed */
    uint32_t steps; /* of the search behind the table */
    float *at;      /* [count], ascending, then infinities for the search to run into */
    float lo;       /* a cell's place in the table: (cell - lo) * scale, cut to 0..last */
    float hi;
    float scale;
    float last;
    uint16_t *base; /* [last + 1]: thresholds of the places before; one more may be read */
};

struct rank_tree {
    _Alignas(64) uint16_t places[256]; /* [1..255]; the children of i are 2 i and 2 i + 1 */
    uint8_t leaves[256];               /* which of the values */
    double values[256];                /* the distinct values of the leaves */
    size_t n_values;
};

/* Trees that share their ranks: all of them, unless one feature has too many thresholds. */
struct rank_group {
    unsigned bits;
    size_t n_features;
    struct rank_feature *features;
    size_t n_trees;
    struct rank_tree *trees;
};

struct iforest_ranked {
    size_t n_groups;
    struct rank_group *groups;
};

/* Lay out the trees; NULL when memory is short or they cannot be ranked, which is no error: the
 * trees themselves will do. */
struct iforest_ranked *iforest_rank_new(struct grown_node *const *trees,
                                        const struct iforest_tree *facts, size_t n_trees,
                                        const struct iforest_input *input);
void iforest_rank_free(struct iforest_ranked *ranked);

/* The table's place for a cell. Never falls as the cell grows, whatever the rounding does. */
static inline uint32_t rank_place(const struct rank_feature *f, float cell)
{
    float t = cell < f->hi ? cell : f->hi;

    t = ((t > f->lo ? t : f->lo) - f->lo) * f->scale;
    return (uint32_t)(t < f->last ? t : f->last);
}

/* keys[r] for n <= RANK_BLOCK cells. */
typedef void iforest_keys(const struct rank_feature *f, unsigned bits, const double *cells,
                          size_t n, uint16_t *keys);
iforest_keys iforest_rank_keys;
iforest_keys iforest_rank_keys_avx512;

/* The counts of features for which a walk has an instance of its loop; the next larger one serves. */
#define RANK_WIDTHS(EACH)                                                                          \
    EACH(1) EACH(2) EACH(4) EACH(8) EACH(12) EACH(16) EACH(20) EACH(24) EACH(32) EACH(64)

/* Add to sums[0..n-1] what each tree of the group gives, in the trees' order, for rows with these
 * keys[feature * RANK_BLOCK + r]; n <= RANK_BLOCK. Keys and sums up to the next multiple of 64 may
 * be read and written. */
typedef void iforest_walk(const struct rank_group *g, const uint16_t *keys, size_t n, double *sums);
iforest_walk iforest_walk_portable;
iforest_walk iforest_walk_avx2;
iforest_walk iforest_walk_avx512;

#endif
