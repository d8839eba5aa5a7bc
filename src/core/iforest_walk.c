/* iforest_walk: taking rows down ranked trees in plain C. */
#include "core/iforest_rank.h"

/* The child of place `at` that a row goes to. */
static inline uint32_t child(const struct rank_tree *tree, uint32_t mask, const uint16_t *keys,
                             uint32_t at)
{
    uint32_t place = tree->places[at];

    return 2 * at + (keys[(place & mask) * RANK_BLOCK] > place);
}

/* Four rows down one tree together, so that the processor has more than one thing to wait for. */
static inline void walk_four(const struct rank_tree *tree, uint32_t mask, const uint16_t *keys,
                             double *sums)
{
    uint32_t a = 1;
    uint32_t b = 1;
    uint32_t c = 1;
    uint32_t d = 1;

    for (int level = 0; level < RANK_LEVELS; level++) {
        a = child(tree, mask, keys, a);
        b = child(tree, mask, keys + 1, b);
        c = child(tree, mask, keys + 2, c);
        d = child(tree, mask, keys + 3, d);
    }
    sums[0] += tree->values[tree->leaves[a - 256]];
    sums[1] += tree->values[tree->leaves[b - 256]];
    sums[2] += tree->values[tree->leaves[c - 256]];
    sums[3] += tree->values[tree->leaves[d - 256]];
}

void iforest_walk_portable(const struct rank_group *g, const uint16_t *keys, size_t n, double *sums)
{
    const uint32_t mask = ((uint32_t)1 << g->bits) - 1;

    for (size_t t = 0; t < g->n_trees; t++)
        for (size_t r = 0; r < n; r += 4)
            walk_four(&g->trees[t], mask, keys + r, sums + r);
}
