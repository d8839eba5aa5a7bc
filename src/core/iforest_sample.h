/* iforest_sample: m rows of n without replacement, as numpy and scikit-learn choose them.
 *
 * Three methods by the ratio m / n: a legacy shuffle of all rows (0.01 < ratio < 0.99), drawing
 * until the row is new (below that), and a reservoir (above).
 */
#ifndef CORE_IFOREST_SAMPLE_H
#define CORE_IFOREST_SAMPLE_H

#include "core/rng.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes of scratch that either function needs for these numbers. */
size_t iforest_sample_scratch(size_t n, size_t m);

/* rows[0..m-1] in the order of the draws; 1 <= m <= n < 2^32. The generator is one just seeded. */
void iforest_sample_ordered(struct mt19937 *g, size_t n, size_t m, uint32_t *rows, void *scratch);

/* The same rows, ascending; faster. */
void iforest_sample_set(struct mt19937 *g, size_t n, size_t m, uint32_t *rows, void *scratch);

#endif
