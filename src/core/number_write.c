/* number_write: double to text; see number.h. */
#include "core/number.h"
#include "core/number_powers.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { MANTISSA = 52, BIAS = 1075, MOST_DIGITS = 17 };

/* A positive decimal: digits * 10^exponent. */
struct decimal {
    uint64_t digits;
    int exponent;
};

/* Floors of logarithms, exact for every exponent a double can have. */
static int floor_log10_pow2(int e)
{
    return (e * 1262611) >> 22;
}

/* floor(log10(3/4 * 2^e)): where the double below is half as far away. */
static int floor_log10_pow2_low(int e)
{
    return (e * 1262611 - 524031) >> 22;
}

static int floor_log2_pow10(int e)
{
    return (e * 1741647) >> 19;
}

/* The upper 64 of the 192 bits of g * c, with the lowest bit set when any lower one is. */
static uint64_t times_odd(struct power g, uint64_t c)
{
    uint128 low = (uint128)g.low * c;
    uint128 high = (uint128)g.high * c + (uint64_t)(low >> 64);

    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

static struct power power_above(int e)
{
    struct power g = number_powers[e - POWERS_MIN];

    if (e > POWERS_EXACT && ++g.low == 0)
        g.high++;
    return g;
}

/* The shortest decimal in the interval of c * 2^q, the nearest one where there are several: the
 * algorithm of Giulietti. */
static struct decimal schubfach(uint64_t c, int q, bool lower_closer)
{
    uint64_t odd = c & 1; /* an odd mantissa's interval is open */
    int k = lower_closer ? floor_log10_pow2_low(q) : floor_log10_pow2(q);
    int h = q + floor_log2_pow10(-k) + 1;
    struct power g = power_above(-k);
    uint64_t lower = times_odd(g, (4 * c - 2 + lower_closer) << h) + odd;
    uint64_t value = times_odd(g, (4 * c) << h);
    uint64_t upper = times_odd(g, (4 * c + 2) << h) - odd;
    uint64_t s = value / 4;
    uint64_t middle = 4 * s + 2;
    bool below, above;

    if (s >= 10) {
        uint64_t tens = s / 10;

        below = lower <= 40 * tens;
        above = 40 * tens + 40 <= upper;
        if (below != above)
            return (struct decimal){tens + above, k + 1};
    }
    below = lower <= 4 * s;
    above = 4 * s + 4 <= upper;
    if (below != above)
        return (struct decimal){s + above, k};
    return (struct decimal){s + (value > middle || (value == middle && (s & 1))), k};
}

/* Where a decimal's digits are: text[first..last-1], no zero at either end, zeros behind. */
struct digits {
    char text[64];
    int first;
    int last;
};

static uint64_t in_memory_order(uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
}

static void put_word(char *out, uint64_t digits)
{
    uint64_t word = in_memory_order(digits + UINT64_C(0x3030303030303030));

    memcpy(out, &word, sizeof word);
}

/* Spread v (not 0, below 10^17) over text[0..16]. */
static void spread(struct digits *d, uint64_t v)
{
    uint64_t upper = v / 100000000;
    uint64_t low = number_digits8((uint32_t)(v % 100000000));
    uint64_t middle = number_digits8((uint32_t)(upper % 100000000));
    uint32_t top = (uint32_t)(upper / 100000000);

    memset(d->text + MOST_DIGITS, '0', sizeof d->text - MOST_DIGITS);
    d->text[0] = (char)('0' + top);
    put_word(d->text + 1, middle);
    put_word(d->text + 9, low);
    if (top != 0)
        d->first = 0;
    else
        d->first = middle != 0 ? 1 + __builtin_ctzll(middle) / 8 : 9 + __builtin_ctzll(low) / 8;
    if (low != 0)
        d->last = 17 - __builtin_clzll(low) / 8;
    else
        d->last = middle != 0 ? 9 - __builtin_clzll(middle) / 8 : 1;
}

/* Copy all the digits there can be: a fixed number of bytes is two moves. */
static void copy_digits(char *out, const char *digits)
{
    memcpy(out, digits, MOST_DIGITS);
}

static char *put_exponent(char *out, int e)
{
    *out++ = 'e';
    *out++ = e < 0 ? '-' : '+';
    if (e < 0)
        e = -e;
    if (e >= 100)
        *out++ = (char)('0' + e / 100);
    *out++ = (char)('0' + e / 10 % 10);
    *out++ = (char)('0' + e % 10);
    return out;
}

/* Lay out the digits with the point behind `point` of them, as Python's repr. */
static char *lay_out(char *out, const struct digits *d, int point)
{
    const char *digits = d->text + d->first;
    int n = d->last - d->first;

    if (point > 0 && point <= 16) {
        copy_digits(out, digits);
        out[point] = '.';
        copy_digits(out + point + 1, digits + point);
        return out + (n > point ? n + 1 : point + 2);
    }
    if (point <= 0 && point > -4) {
        memcpy(out, "0.000", 5);
        copy_digits(out + 2 - point, digits);
        return out + 2 - point + n;
    }
    out[0] = digits[0];
    out[1] = '.';
    copy_digits(out + 2, digits + 1);
    return put_exponent(out + (n > 1 ? n + 1 : 1), point - 1);
}

static char *put_decimal(char *out, struct decimal v)
{
    struct digits d;

    spread(&d, v.digits);
    return lay_out(out, &d, MOST_DIGITS - d.first + v.exponent);
}

static char *put(char *out, const char *text, size_t n)
{
    memcpy(out, text, n);
    return out + n;
}

static char *put_special(char *out, double x)
{
    if (isnan(x))
        return put(out, "nan", 3);
    if (isinf(x))
        return put(out, "inf", 3);
    return put(out, "0.0", 3);
}

size_t number_shortest(double x, char *out)
{
    char *p = out;
    uint64_t bits, mantissa;
    int exponent;

    memcpy(&bits, &x, sizeof bits);
    if (bits >> 63 != 0 && !isnan(x))
        *p++ = '-';
    mantissa = bits & ((UINT64_C(1) << MANTISSA) - 1);
    exponent = (int)(bits >> MANTISSA) & 0x7FF;
    if (exponent == 0x7FF || x == 0)
        return (size_t)(put_special(p, x) - out);
    if (exponent == 0)
        return (size_t)(put_decimal(p, schubfach(mantissa, 1 - BIAS, false)) - out);
    return (size_t)(put_decimal(p, schubfach(mantissa | UINT64_C(1) << MANTISSA, exponent - BIAS,
                                             mantissa == 0 && exponent > 1)) -
                    out);
}

double number_round4(double x)
{
    return rint(x * 10000) / 10000;
}

size_t number_fixed4(double x, char *out)
{
    double scaled = rint(x * 10000);
    char *p = out;

    /* Up to 15 digits no two decimals read as one double, so the rounded one is the shortest. */
    if (!(fabs(scaled) < 1e15) || scaled == 0)
        return number_shortest(scaled / 10000, out);
    if (scaled < 0)
        *p++ = '-';
    return (size_t)(put_decimal(p, (struct decimal){(uint64_t)fabs(scaled), -4}) - out);
}
