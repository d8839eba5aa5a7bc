/* iforest_walk: taking rows down ranked trees in plain C. */
#include "core/iforest_rank.h"

/* The child of place `at` that a row goes to. */
static inline uint32_t child(const struct rank_tree *tree, uint32_t mask, const uint16_t *keys,
                             uint32_t at)
{
    uint32_t place = tree->places[at];

    return 2 * at + (keys[(place & mask) * RANK_BLOCK] > place);
}

/* Eight rows down one tree together, so that the processor has more than one thing to wait for. */
static inline void walk_eight(const struct rank_tree *tree, uint32_t mask, const uint16_t *keys,
                              double *sums)
{
    uint32_t at[8] = {1, 1, 1, 1, 1, 1, 1, 1};

    for (int level = 0; level < RANK_LEVELS; level++) {
        at[0] = child(tree, mask, keys, at[0]);
        at[1] = child(tree, mask, keys + 1, at[1]);
        at[2] = child(tree, mask, keys + 2, at[2]);
        at[3] = child(tree, mask, keys + 3, at[3]);
        at[4] = child(tree, mask, keys + 4, at[4]);
        at[5] = child(tree, mask, keys + 5, at[5]);
        at[6] = child(tree, mask, keys + 6, at[6]);
        at[7] = child(tree, mask, keys + 7, at[7]);
    }
    for (int i = 0; i < 8; i++)
        sums[i] += tree->values[tree->leaves[at[i] - 256]];
}

void iforest_walk_portable(const struct rank_group *g, const uint16_t *keys, size_t n, double *sums)
{
    const uint32_t mask = ((uint32_t)1 << g->bits) - 1;

    for (size_t t = 0; t < g->n_trees; t++)
        for (size_t r = 0; r < n; r += 8)
            walk_eight(&g->trees[t], mask, keys + r, sums + r);
}
