/* iforest_grow: one tree, grown as scikit-learn's random splitter grows it, draw for draw.
 *
 * The tree is grown on random "targets" y. With one feature tried per split they never choose one,
 * but a node whose y are all but equal is not split any further, and whether that happens hangs on
 * the last bits of sums taken in the reference's own row order. So there are two growers: the exact
 * one keeps that order and those sums; the quick one keeps neither, proves for each node that the
 * stop cannot fire there, and leaves the tree to the exact one in the rare case that it cannot
 * prove it. A tree without that stop depends on the set of rows in each node only.
 */
#ifndef CORE_IFOREST_GROW_H
#define CORE_IFOREST_GROW_H

#include "core/fail.h"

#include <stddef.h>
#include <stdint.h>

/* A node as it is kept: its left child is the next one. */
struct grown_node {
    double threshold;
    uint32_t rows;
    uint32_t right;  /* 0 in a leaf */
    int32_t feature; /* -1 in a leaf */
    uint32_t depth;
};

/* What a tree is grown on. */
struct grow_input {
    size_t m;        /* rows, >= 1 */
    size_t d;        /* features, >= 1 */
    const float *x;  /* x[f * m + i], finite */
    const double *y; /* [m] */
    uint32_t splitter;
    int max_depth;
};

/* Memory to grow in, and the last tree grown. One thread at a time. */
struct grower {
    size_t m;
    size_t d;
    int exact_only;           /* never take the quick one (tests) */
    struct grown_node *nodes; /* the tree; room for 2 m */
    size_t n_nodes;
    double *values; /* [m]: the leaf value each row came to; NULL: not wanted */
    /* private */
    uint32_t *rows;
    uint8_t bytes[256]; /* the rows, of a tree that has no more */
    float *cells;
    uint32_t *features;
    uint32_t *constants;
};

/* Make room for trees of up to m rows and d features. `values`: also want those. 0 or -1. */
int grower_init(struct grower *g, size_t m, size_t d, int values, struct fail *fail);
void grower_fini(struct grower *g);

/* Grow a tree into g->nodes and g->values. */
void grower_grow(struct grower *g, const struct grow_input *in);

/* ceil(log2(max(m, 2))): how deep a tree of m rows may be. */
int grow_max_depth(size_t m);

/* What a leaf of k rows at this depth adds to a row's sum of path lengths. */
double grow_leaf_value(size_t depth, size_t k);

#endif
