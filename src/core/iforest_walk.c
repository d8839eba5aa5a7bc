/* iforest_walk: taking rows down ranked trees in plain C. */
#include "core/iforest_rank.h"

/* Rows taken down together, so that the processor has more than one thing to wait for. */
enum { ABREAST = 8 };

void iforest_walk_portable(const struct rank_group *g, const uint16_t *keys, size_t n, double *sums)
{
    const uint32_t mask = ((uint32_t)1 << g->bits) - 1;

    for (size_t t = 0; t < g->n_trees; t++) {
        const struct rank_tree *tree = &g->trees[t];

        for (size_t r = 0; r < n; r += ABREAST) {
            uint32_t at[ABREAST];

            for (int k = 0; k < ABREAST; k++)
                at[k] = 1;
            for (int level = 0; level < RANK_LEVELS; level++) {
                for (int k = 0; k < ABREAST; k++) {
                    uint32_t place = tree->places[at[k]];

                    at[k] = 2 * at[k] + (keys[(place & mask) * RANK_BLOCK + r + k] > place);
                }
            }
            for (int k = 0; k < ABREAST; k++)
                sums[r + k] += tree->values[tree->leaves[at[k] - 256]];
        }
    }
}
