/* number_exact: the last word of the number reader, for texts of more than 19 digits that lie so
 * near the middle between two doubles that 64 bits cannot tell the side. */
#ifndef CORE_NUMBER_EXACT_H
#define CORE_NUMBER_EXACT_H

#include <stdint.h>

/* The decimal is the digits in text[0..end), points skipped, leading zeros removed, as one whole
 * number, times 10^exponent. Is it above (1), below (-1) or at (0) odd * 2^power? Both sides must
 * be of about the same size, and within the range of a double. */
int number_exact_compare(const char *text, const char *end, int64_t exponent, uint64_t odd,
                         int power);

#endif
