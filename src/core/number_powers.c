/* number_powers: see number_powers.h.
 *
 * Computed when the program or module is loaded, in some 20 microseconds, by exact arithmetic: a
 * table of 1300 literals that nobody can check by eye is not in the source.
 */
#include "core/number_powers.h"

#include <string.h>

/* 5^326 has 757 bits; 2^1023 / 5^343 still has 226. */
enum { LIMBS = 32, BITS = LIMBS * 32 };

struct power number_powers[POWERS_MAX - POWERS_MIN + 1];

/* The top 128 bits of a limb array (least significant first) whose top bit is at `top`. */
static struct power top_bits(const uint32_t *limbs, int top)
{
    struct power p = {0, 0};

    for (int i = 0; i < 128; i++) {
        int bit = top - i;
        uint64_t set = bit < 0 ? 0 : (limbs[bit / 32] >> (bit % 32)) & 1;

        if (i < 64)
            p.high |= set << (63 - i);
        else
            p.low |= set << (127 - i);
    }
    return p;
}

static int top_bit(const uint32_t *limbs)
{
    int i = LIMBS - 1;

    while (limbs[i] == 0)
        i--;
    return i * 32 + 31 - __builtin_clz(limbs[i]);
}

static void times_5(uint32_t *limbs)
{
    uint64_t carry = 0;

    for (int i = 0; i < LIMBS; i++) {
        carry += (uint64_t)limbs[i] * 5;
        limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

static void over_5(uint32_t *limbs)
{
    uint64_t rest = 0;

    for (int i = LIMBS - 1; i >= 0; i--) {
        rest = rest << 32 | limbs[i];
        limbs[i] = (uint32_t)(rest / 5);
        rest %= 5;
    }
}

/* 10^e and 5^e have the same significand. */
__attribute__((constructor)) static void fill_powers(void)
{
    uint32_t limbs[LIMBS] = {1};

    for (int e = 0; e <= POWERS_MAX; e++) {
        number_powers[e - POWERS_MIN] = top_bits(limbs, top_bit(limbs));
        times_5(limbs);
    }
    /* floor(floor(x / 5) / 5) = floor(x / 25): repeated division loses nothing of the quotient. */
    memset(limbs, 0, sizeof limbs);
    limbs[LIMBS - 1] = UINT32_C(1) << 31;
    for (int e = -1; e >= POWERS_MIN; e--) {
        struct power *p = &number_powers[e - POWERS_MIN];

        over_5(limbs);
        *p = top_bits(limbs, top_bit(limbs));
        p->low++; /* never exact, so up; the low word is never all ones in this range */
    }
}
