/* number_exact: see number_exact.h.
 *
 * Both sides are made whole numbers and compared. A point midway between two doubles has at most
 * 767 significant digits, so digits beyond MOST_DIGITS only matter by being zero or not.
 */
#include "core/number_exact.h"

#include <stdbool.h>
#include <stddef.h>

/* 770 digits have 2558 bits; 5^1094 has 2541, times a 54 bit number; the shifts only bring the
 * smaller side up to the larger. */
enum { MOST_DIGITS = 770, LIMBS = 96 };

struct whole {
    uint32_t limbs[LIMBS]; /* least significant first */
    int n;                 /* limbs in use; the top one is not 0 */
};

static void multiply_add(struct whole *x, uint32_t factor, uint32_t addend)
{
    uint64_t carry = addend;

    for (int i = 0; i < x->n; i++) {
        carry += (uint64_t)x->limbs[i] * factor;
        x->limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0 && x->n < LIMBS)
        x->limbs[x->n++] = (uint32_t)carry;
}

static void multiply_power_5(struct whole *x, int64_t power)
{
    for (; power >= 13; power -= 13)
        multiply_add(x, 1220703125, 0); /* 5^13 */
    for (; power > 0; power--)
        multiply_add(x, 5, 0);
}

static void shift_left(struct whole *x, int64_t bits)
{
    int words = (int)(bits / 32);

    multiply_add(x, UINT32_C(1) << (bits % 32), 0);
    if (words > LIMBS - x->n)
        words = LIMBS - x->n;
    for (int i = x->n - 1; i >= 0; i--)
        x->limbs[i + words] = x->limbs[i];
    for (int i = 0; i < words; i++)
        x->limbs[i] = 0;
    x->n += words;
}

static int compare(const struct whole *a, const struct whole *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (int i = a->n - 1; i >= 0; i--)
        if (a->limbs[i] != b->limbs[i])
            return a->limbs[i] < b->limbs[i] ? -1 : 1;
    return 0;
}

/* Take up to MOST_DIGITS digits into x. Returns how many were left out; *rest tells whether any of
 * those was not 0. */
static int64_t take_digits(struct whole *x, const char *text, const char *end, bool *rest)
{
    int taken = 0;
    int64_t left = 0;

    *rest = false;
    for (const char *p = text; p < end; p++) {
        if (*p == '.')
            continue;
        if (taken == MOST_DIGITS) {
            left++;
            *rest |= *p != '0';
        } else if (taken > 0 || *p != '0') {
            multiply_add(x, 10, (uint32_t)(*p - '0'));
            taken++;
        }
    }
    return left;
}

int number_exact_compare(const char *text, const char *end, int64_t exponent, uint64_t odd,
                         int power)
{
    struct whole decimal = {.n = 0};
    struct whole binary = {{(uint32_t)odd, (uint32_t)(odd >> 32)}, odd >> 32 != 0 ? 2 : 1};
    bool rest;
    int side;

    exponent += take_digits(&decimal, text, end, &rest);
    if (exponent >= 0)
        multiply_power_5(&decimal, exponent);
    else
        multiply_power_5(&binary, -exponent);
    if (exponent >= power)
        shift_left(&decimal, exponent - power);
    else
        shift_left(&binary, power - exponent);
    side = compare(&decimal, &binary);
    return side == 0 && rest ? 1 : side;
}
