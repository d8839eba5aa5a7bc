/* number_read: text to double; see number.h. */
#include "core/number.h"
#include "core/number_exact.h"
#include "core/number_powers.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { MANTISSA = 52, BIAS = 1023, MOST_EXACT = 19, EXPONENT_LIMIT = 100000000 };

/* A number as it was read: digits * 10^exponent. */
struct decimal {
    uint64_t digits;   /* wraps when there are more than MOST_EXACT of them */
    int64_t exponent;  /* of the last digit */
    int64_t count;     /* digits, leading zeros included */
    const char *first; /* the run of digits, with the point in it */
    const char *end;
    bool negative;
};

static const double small_powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static double from_bits(uint64_t bits)
{
    double x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t to_bits(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') <= 9;
}

static bool is_white(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The top 128 bits of w * 10^exponent (w normalised), exact enough to round: the lower half of the
 * power is only looked at where it could change a kept bit. */
static uint128 times_power(uint64_t w, int64_t exponent)
{
    const struct power *p = &number_powers[exponent - POWERS_MIN];
    uint128 product = (uint128)w * p->high;

    if (((product >> 64) & 0x1FF) == 0x1FF)
        product += ((uint128)w * p->low) >> 64;
    return product;
}

/* Below the normal range there are fewer bits to keep. `bits` holds one more than the mantissa. */
static double subnormal(uint64_t bits, int shift)
{
    if (shift >= 64)
        return 0;
    bits >>= shift;
    bits = (bits + (bits & 1)) >> 1;
    return from_bits(bits); /* a carry out of the mantissa is the smallest normal number */
}

/* The double nearest to w * 10^exponent, for any w: the algorithm of Eisel and Lemire. */
static double nearest(uint64_t w, int64_t exponent)
{
    uint128 product;
    uint64_t high, low, bits;
    int zeros, top, power;

    if (w == 0 || exponent < -342)
        return 0;
    if (exponent > 308)
        return INFINITY;
    zeros = __builtin_clzll(w);
    product = times_power(w << zeros, exponent);
    high = (uint64_t)(product >> 64);
    low = (uint64_t)product;
    top = (int)(high >> 63);
    bits = high >> (top + 64 - MANTISSA - 3); /* 53 bits and the one to round by */
    power = (int)((217706 * exponent) >> 16) + 63 + top - zeros + BIAS;
    if (power <= 0)
        return subnormal(bits, 1 - power);
    /* A tie is only possible for these exponents; it goes to even: drop the bit that rounds up. */
    if (low <= 1 && exponent >= -4 && exponent <= 23 && (bits & 3) == 1 &&
        bits << (top + 64 - MANTISSA - 3) == high)
        bits &= ~UINT64_C(1);
    bits = (bits + (bits & 1)) >> 1;
    if (bits >> (MANTISSA + 1) != 0) {
        bits >>= 1;
        power++;
    }
    if (power >= 2 * BIAS + 1)
        return INFINITY;
    return from_bits((uint64_t)power << MANTISSA | (bits & ~(UINT64_C(1) << MANTISSA)));
}

/* The first MOST_EXACT significant digits of d; *dropped is how many follow them. */
static uint64_t leading_digits(const struct decimal *d, int64_t *dropped)
{
    uint64_t w = 0;
    int taken = 0;

    *dropped = 0;
    for (const char *p = d->first; p < d->end; p++) {
        if (*p == '.')
            continue;
        if (taken == MOST_EXACT) {
            (*dropped)++;
        } else if (taken > 0 || *p != '0') {
            w = w * 10 + (uint64_t)(*p - '0');
            taken++;
        }
    }
    return w;
}

/* The value lies between `low` and the next double: choose by the middle between the two. */
static double choose(const struct decimal *d, double low)
{
    uint64_t bits = to_bits(low);
    uint64_t mantissa = bits & ((UINT64_C(1) << MANTISSA) - 1);
    int power = (int)(bits >> MANTISSA);
    int side;

    if (power == 0)
        power = 1;
    else
        mantissa |= UINT64_C(1) << MANTISSA;
    side = number_exact_compare(d->first, d->end, d->exponent, mantissa * 2 + 1,
                                power - BIAS - MANTISSA - 1);
    if (side > 0 || (side == 0 && (mantissa & 1) != 0))
        bits++; /* the next double; beyond the largest one, infinity */
    return from_bits(bits);
}

static double long_value(const struct decimal *d)
{
    int64_t dropped;
    uint64_t w = leading_digits(d, &dropped);
    double low = nearest(w, d->exponent + dropped);

    if (dropped == 0 || low == nearest(w + 1, d->exponent + dropped))
        return low;
    return choose(d, low);
}

double number_scaled(uint64_t digits, int64_t exponent)
{
    /* Both operands are exact, so one operation rounds once. */
    if (digits <= UINT64_C(1) << (MANTISSA + 1) && exponent >= -22 && exponent <= 22)
        return exponent < 0 ? (double)(int64_t)digits / small_powers[-exponent]
                            : (double)(int64_t)digits * small_powers[exponent];
    return nearest(digits, exponent);
}

/* Read digits into d; returns where they end. */
static const char *read_digits(const char *p, const char *end, struct decimal *d)
{
    uint64_t digits = d->digits;

    for (; p < end && is_digit(*p); p++)
        digits = digits * 10 + (uint64_t)(*p - '0');
    d->digits = digits;
    return p;
}

/* Read "e-12" at p; NULL when it is malformed. */
static const char *read_exponent(const char *p, const char *end, int64_t *exponent)
{
    bool negative;
    int64_t e = 0;

    p++;
    negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end || !is_digit(*p))
        return NULL;
    for (; p < end && is_digit(*p); p++)
        if (e < EXPONENT_LIMIT * INT64_C(1000000))
            e = e * 10 + (*p - '0');
    *exponent += negative ? -e : e;
    return p;
}

/* Read the digits, point and exponent of a number that fills p..end. */
static bool read_decimal(const char *p, const char *end, struct decimal *d)
{
    d->digits = 0;
    d->exponent = 0;
    d->first = p;
    p = read_digits(p, end, d);
    d->count = p - d->first;
    if (p < end && *p == '.') {
        const char *point = p++;

        p = read_digits(p, end, d);
        d->exponent = -(p - point - 1);
        d->count -= d->exponent;
    }
    d->end = p;
    if (d->count == 0)
        return false;
    if (p < end && (*p | 0x20) == 'e')
        p = read_exponent(p, end, &d->exponent);
    return p == end;
}

static bool is_word(const char *text, size_t n, const char *word)
{
    if (n != strlen(word))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((text[i] | 0x20) != word[i])
            return false;
    return true;
}

enum number_kind number_parse(const char *text, size_t n, double *out)
{
    const char *p = text;
    const char *end = text + n;
    struct decimal d;

    *out = NAN;
    while (p < end && is_white(*p))
        p++;
    while (end > p && is_white(end[-1]))
        end--;
    d.negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (read_decimal(p, end, &d))
        *out = d.count > MOST_EXACT ? long_value(&d) : number_scaled(d.digits, d.exponent);
    else if (is_word(p, (size_t)(end - p), "inf") || is_word(p, (size_t)(end - p), "infinity"))
        *out = INFINITY;
    else
        return NUMBER_NOT;
    if (d.negative)
        *out = -*out;
    return isinf(*out) ? NUMBER_INFINITE : NUMBER_FINITE;
}
