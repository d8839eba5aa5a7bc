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

/* A number of 192 bits. */
struct wide {
    uint128 high;
    uint64_t low;
};

static struct wide times(struct power g, uint64_t c)
{
    uint128 low = (uint128)g.low * c;

    return (struct wide){(uint128)g.high * c + (uint64_t)(low >> 64), (uint64_t)low};
}

/* g * 2^n, 0 < n < 64. */
static struct wide shifted(struct power g, int n)
{
    uint128 top = g.high >> (64 - n); /* not g.high << n: that would provide for n of 64 and more */

    return (struct wide){top << 64 | g.high << n | g.low >> (64 - n), g.low << n};
}

static uint128 high_of_sum(struct wide a, struct wide b)
{
    return a.high + b.high + (a.low + b.low < a.low);
}

static uint128 high_of_difference(struct wide a, struct wide b)
{
    return a.high - b.high - (a.low < b.low);
}

/* The upper 64 of 192 bits, with the lowest bit set when any lower one is. */
static uint64_t odd_when_cut(uint128 high)
{
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
__attribute__((always_inline)) static inline struct decimal schubfach(uint64_t c, int q,
                                                                      bool lower_closer)
{
    uint64_t odd = c & 1; /* an odd mantissa's interval is open */
    int k = lower_closer ? floor_log10_pow2_low(q) : floor_log10_pow2(q);
    int h = q + floor_log2_pow10(-k) + 1;
    struct power g = power_above(-k);
    /* The ends of the interval are half the distance of two doubles away: 2 where c is 4 * c. */
    struct wide exact = times(g, (4 * c) << h);
    uint64_t lower =
        odd_when_cut(high_of_difference(exact, shifted(g, h + 1 - lower_closer))) + odd;
    uint64_t value = odd_when_cut(exact.high);
    uint64_t upper = odd_when_cut(high_of_sum(exact, shifted(g, h + 1))) - odd;
    uint64_t s = value / 4;
    uint64_t tens = s / 10;
    /* Is there one number with a digit less in the interval, one with all digits, or two? */
    bool tens_above = 40 * tens + 40 <= upper;
    bool short_one = s >= 10 && (lower <= 40 * tens) != tens_above;
    bool below = lower <= 4 * s;
    bool above = 4 * s + 4 <= upper;
    bool nearer = value + (s & 1) > 4 * s + 2; /* the one above; even at a tie */
    uint64_t ones = s + (below != above ? above : nearer);

    return (struct decimal){short_one ? 10 * (tens + tens_above) : ones, k};
}

static const uint64_t powers[] = {
    UINT64_C(1),
    UINT64_C(10),
    UINT64_C(100),
    UINT64_C(1000),
    UINT64_C(10000),
    UINT64_C(100000),
    UINT64_C(1000000),
    UINT64_C(10000000),
    UINT64_C(100000000),
    UINT64_C(1000000000),
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    UINT64_C(10000000000000000),
    UINT64_C(100000000000000000),
};

/* How many decimal digits v has; 0 < v < 10^17. */
static int count_digits(uint64_t v)
{
    int about = ((64 - __builtin_clzll(v)) * 1233) >> 12; /* log10, maybe one too few */

    return about + (v >= powers[about]);
}

/* Up to 17 digits as characters, in registers: 8, 8 and 1. The first is the lowest byte. */
struct digits {
    uint64_t first;
    uint64_t middle;
    uint64_t last;
    int n; /* without the zeros at the end */
};

/* The digits of v, which has 17 of them. */
static struct digits spread(uint64_t v)
{
    const uint64_t zeros = UINT64_C(0x3030303030303030);
    uint32_t rest;
    struct digits d;

    rest = (uint32_t)(v % 1000000000);
    d.first = number_digits8((uint32_t)(v / 1000000000));
    d.middle = number_digits8(rest / 10);
    d.last = rest % 10;
    if (d.middle != 0)
        d.n = MOST_DIGITS - (d.last == 0) * (1 + __builtin_clzll(d.middle) / 8);
    else
        d.n = d.last != 0 ? MOST_DIGITS : 8 - __builtin_clzll(d.first) / 8;
    d.first += zeros;
    d.middle += zeros;
    d.last += '0';
    return d;
}

/* Store a word of characters, the lowest byte first. */
static void store(char *out, uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(out, &word, sizeof word);
}

/* All 17 digits, and zeros up to 24. */
static void store_digits(char *out, const struct digits *d)
{
    store(out, d->first);
    store(out + 8, d->middle);
    store(out + 16, d->last | UINT64_C(0x3030303030303000));
}

/* The word with a point behind its first n characters, 0 <= n <= 7; its last one falls out. */
static uint64_t insert_point(uint64_t word, int n)
{
    uint64_t kept = (UINT64_C(1) << (8 * n)) - 1;

    return (word & kept) | (uint64_t)'.' << (8 * n) | (word & ~kept) << 8;
}

/* Put n zeros before the digits, 0 <= n <= 4. */
static void insert_zeros(struct digits *d, int n)
{
    const uint64_t zeros = UINT64_C(0x30303030);
    uint64_t kept = (UINT64_C(1) << (8 * n)) - 1;

    d->last = d->last << (8 * n) | d->middle >> 1 >> (63 - 8 * n);
    d->middle = d->middle << (8 * n) | d->first >> 1 >> (63 - 8 * n);
    d->first = d->first << (8 * n) | (zeros & kept);
    d->n += n;
}

/* Digits with a point behind the first `point` of them, -3 <= point <= 16. Nothing is read back that
 * was just written, which would wait for the store, and the usual sizes take the same way, because a
 * wrong guess of the processor costs as much as all the rest. */
static char *lay_out_positional(char *out, struct digits *d, int point)
{
    int leading = point < 1 ? 1 - point : 0;

    insert_zeros(d, leading);
    point += leading;
    if (point < 8) {
        store(out, insert_point(d->first, point));
        store(out + 8, d->middle << 8 | d->first >> 56);
        store(out + 16, d->last << 8 | d->middle >> 56);
    } else if (point < 16) {
        store(out, d->first);
        store(out + 8, insert_point(d->middle, point - 8));
        store(out + 16, d->last << 8 | d->middle >> 56);
    } else {
        store_digits(out, d);
        out[16] = '.';
        store(out + 17, d->last);
    }
    if (d->n > point)
        return out + d->n + 1;
    out[point + 1] = '0';
    return out + point + 2;
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

/* Lay out v * 10^(point - 17), v of 17 digits, as Python's repr does. */
static char *put_17(char *out, uint64_t v, int point)
{
    struct digits d = spread(v);

    if (point > -4 && point <= 16)
        return lay_out_positional(out, &d, point);
    store_digits(out + 1, &d);
    out[0] = out[1];
    out[1] = '.';
    return put_exponent(out + (d.n > 1 ? d.n + 1 : 1), point - 1);
}

static char *put_decimal(char *out, struct decimal v)
{
    int count = count_digits(v.digits);

    return put_17(out, v.digits * powers[MOST_DIGITS - count], count + v.exponent);
}

/* The same for a normal double's: it has 16 or 17 digits, because its mantissa is at least 2^52 and
 * the power of ten within a factor of ten of the one of two. Which, is not worth a jump. */
static char *put_normal(char *out, struct decimal v)
{
    bool short_by_one = v.digits < UINT64_C(10000000000000000);

    return put_17(out, short_by_one ? v.digits * 10 : v.digits,
                  MOST_DIGITS - short_by_one + v.exponent);
}

/* What is no normal number. */
static char *put_rare(char *out, uint64_t mantissa, int exponent)
{
    if (exponent == 0 && mantissa != 0)
        return put_decimal(out, schubfach(mantissa, 1 - BIAS, false));
    memcpy(out, exponent == 0 ? "0.0" : mantissa != 0 ? "nan" : "inf", 3);
    return out + 3;
}

size_t number_shortest(double x, char *out)
{
    const uint64_t hidden = UINT64_C(1) << MANTISSA;
    uint64_t bits, mantissa;
    int exponent;
    char *end;

    memcpy(&bits, &x, sizeof bits);
    mantissa = bits & (hidden - 1);
    exponent = (int)(bits >> MANTISSA) & 0x7FF;
    *out = '-';
    end = out + (bits >> 63);
    if (exponent == 0 || exponent == 0x7FF)
        end = put_rare(x == x ? end : out, mantissa, exponent);
    else if (mantissa != 0)
        end = put_normal(end, schubfach(mantissa | hidden, exponent - BIAS, false));
    else
        end = put_normal(end, schubfach(hidden, exponent - BIAS, exponent > 1));
    return (size_t)(end - out);
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
