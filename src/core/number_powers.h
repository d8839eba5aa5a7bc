/* number_powers: powers of ten to 128 bits, shared by the number reader and writer.
 *
 * 10^e = significand * 2^(floor(log2(10^e)) - 127), the significand normalised so that its top bit
 * is set. It is exact for 0 <= e <= 55, rounded down above and rounded up below 0: what the proofs
 * of both algorithms ask for (the writer adds the last bit itself above 55).
 */
#ifndef CORE_NUMBER_POWERS_H
#define CORE_NUMBER_POWERS_H

#include <stdint.h>

enum { POWERS_MIN = -343, POWERS_MAX = 326, POWERS_EXACT = 55 };

struct power {
    uint64_t high;
    uint64_t low;
};

/* number_powers[e - POWERS_MIN] for e in POWERS_MIN..POWERS_MAX; filled before main. */
extern struct power number_powers[POWERS_MAX - POWERS_MIN + 1];

__extension__ typedef unsigned __int128 uint128;

#endif
