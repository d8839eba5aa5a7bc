/* moments: count, mean and M2 of a stream of values, by Welford's recurrence.
 *
 * Source: B. P. Welford, "Note on a method for calculating corrected sums of squares and products",
 * Technometrics 4 (1962). One value at a time, in order: the same order gives the same bits.
 */
#ifndef CORE_MOMENTS_H
#define CORE_MOMENTS_H

#include <stddef.h>

struct moments {
    double count; /* a whole number, unless old observations are made to fade */
    double mean;
    double m2; /* sum of squared deviations from the mean; called M2 in Lua and JSON */
};

/* Fold the finite values of cells[0..n-1] into m, in order. Where `keep` is not NULL, only cells
 * whose keep[i] is not 0 (and not NaN) count. */
void moments_add(struct moments *m, const double *cells, size_t n, const double *keep);

/* The same for some columns side by side: a value waits for the one before it in its column, so
 * several columns take hardly longer than one. `keep` is NULL, or holds NULL for columns all of
 * whose cells count. */
void moments_add_all(struct moments *m, const double *const *cells, size_t n_columns, size_t n,
                     const double *const *keep);

/* sqrt(M2 / count); 0.0 while count < 2 (the population's deviation, as the baseline uses it). */
double moments_std(const struct moments *m);

#endif
