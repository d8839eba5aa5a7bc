/* iforest_power: from sums of path lengths to scores, 2^x to the last bit of the C library's pow().
 */
#ifndef CORE_IFOREST_POWER_H
#define CORE_IFOREST_POWER_H

#include <stddef.h>

/* sums[i] = -pow(2, -(sums[i] / scale)); -0.5 where scale is 0. */
typedef void iforest_finish(double *sums, size_t n, double scale);
iforest_finish iforest_power;
iforest_finish iforest_power_avx512;

#endif
