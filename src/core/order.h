/* order: order statistics of a column without sorting or copying it.
 *
 * A few passes over the values and a fixed few kilobytes, however many values there are. NaN is
 * left out; infinities count.
 */
#ifndef CORE_ORDER_H
#define CORE_ORDER_H

#include <stddef.h>

/* The median of the values that are not NaN, as pandas computes it: the middle value or
 * (a + b) / 2 of the two middle ones. NaN when there is no value. */
double order_median(const double *values, size_t n);

/* numpy's percentile, method "linear" (numpy 1.22 and later), of n >= 1 values without NaN; q in
 * 0..100. */
double order_percentile(const double *values, size_t n, double q);

#endif
