/* rng: the two generators that scikit-learn's forest draws from, bit for bit.
 *
 * Sources: M. Matsumoto and T. Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998), with numpy's
 * legacy way of making doubles and bounded integers from it (RandomState, frozen by numpy's
 * policy); G. Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (2003).
 */
#ifndef CORE_RNG_H
#define CORE_RNG_H

#include <stdint.h>

enum { MT19937_WORDS = 624 };

struct mt19937 {
    uint32_t key[MT19937_WORDS];  /* the state */
    uint32_t word[MT19937_WORDS]; /* the outputs of this state */
    unsigned next;                /* the next one of `word` to give out */
};

/* Start from an integer (the plain seeding, not the one by an array). */
void mt19937_seed(struct mt19937 *g, uint32_t seed);

/* Make the next 624 words: word[0..623] are fresh and `next` is 0. For those who read words in
 * bulk; what was not given out of the block before is lost. */
void mt19937_refill(struct mt19937 *g);

/* 32 bits. */
uint32_t mt19937_u32(struct mt19937 *g);

/* In [0, 1) with 53 bits, from two words. */
double mt19937_double(struct mt19937 *g);

/* Uniform in 0..most, both included, by masking and trying again. Draws nothing when most is 0. */
uint32_t mt19937_upto(struct mt19937 *g, uint32_t most);

/* Marsaglia's xorshift32; 31 bits are given out, the state keeps 32 (0 counts as 1). */
static inline uint32_t xorshift_r31(uint32_t *state)
{
    uint32_t q = *state == 0 ? 1 : *state;

    q ^= q << 13;
    q ^= q >> 17;
    q ^= q << 5;
    *state = q;
    return q & 0x7fffffff;
}

/* Uniform enough in lo..hi-1 (hi > lo): a plain modulo, one draw even when there is one choice. */
static inline uint32_t xorshift_pick(uint32_t *state, uint32_t lo, uint32_t hi)
{
    return lo + xorshift_r31(state) % (hi - lo);
}

/* Between lo and hi; the order of the operations is part of the promise. */
static inline double xorshift_between(uint32_t *state, double lo, double hi)
{
    return (hi - lo) * xorshift_r31(state) / 2147483647.0 + lo;
}

#endif
