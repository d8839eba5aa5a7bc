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

/* ---- the shortest decimal: Dragonbox ----
 *
 * See number.h for the source, whose names these are. A double is two_fc / 2 * 2^e, its
 * neighbours' midpoints are one unit of two_fc away. Scaled by a power of ten (phi) so that the
 * interval between them is 100 to 999 wide, it is z at its upper end and delta wide: a multiple of
 * 1000 in it is shorter than all else, and a multiple of 100 is always there.
 */

enum { KAPPA = 2, SMALL = 100, BIG = 1000 };

/* 10^e to 128 bits, rounded up. */
static struct power phi_of(int e)
{
    struct power g = number_powers[e - POWERS_MIN];

    if (e > POWERS_EXACT && ++g.low == 0)
        g.high++;
    return g;
}

/* The upper 128 of the 192 bits of u * phi. */
static uint128 times_upper(uint64_t u, struct power phi)
{
    return (uint128)u * phi.high + (uint64_t)((uint128)u * phi.low >> 64);
}

/* Of two_f * phi * 2^beta / 2^128: is the whole part odd, and is it all there is? */
static bool is_odd(uint64_t two_f, struct power phi, int beta, bool *is_whole)
{
    uint128 low = (uint128)two_f * phi.low;
    uint64_t high = two_f * phi.high + (uint64_t)(low >> 64);

    *is_whole = (high << beta | (uint64_t)low >> (64 - beta)) == 0;
    return (high >> (64 - beta) & 1) != 0;
}

/* The double is as good as in the middle of `ones` and the one below it: which of them is nearer is
 * told by its fraction. */
static uint64_t nearer(uint64_t ones, uint32_t dist, uint64_t two_fc, struct power phi, int beta)
{
    bool approx_odd = ((dist ^ (SMALL / 2)) & 1) != 0, is_whole;

    if (is_odd(two_fc, phi, beta, &is_whole) != approx_odd)
        return ones - 1;
    return ones - (is_whole && (ones & 1) != 0);
}

/* Of the mantissa f, not a power of two, times 2^e. */
static struct decimal shortest(uint64_t f, int e)
{
    bool even = (f & 1) == 0; /* then the midpoints read back as the double */
    int k = floor_log10_pow2(e) - KAPPA;
    int beta = e + floor_log2_pow10(-k);
    struct power phi = phi_of(-k);
    uint32_t delta = (uint32_t)(phi.high >> (63 - beta));
    uint128 z = times_upper((2 * f | 1) << beta, phi);
    uint64_t tens = (uint64_t)(z >> 64) / BIG;
    uint32_t r = (uint32_t)((uint64_t)(z >> 64) - BIG * tens);
    bool is_short = r < delta, is_whole;
    uint32_t dist;
    uint64_t ones;

    if (r == delta) {
        bool odd = is_odd(2 * f - 1, phi, beta, &is_whole);

        is_short = odd || (is_whole && even);
    } else if (r == 0 && (uint64_t)z == 0 && !even) {
        /* The upper end itself, which is not in the interval. */
        is_short = false;
        tens--;
        r = BIG;
    }
    /* With a digit more, the one nearest to the middle of the interval. Computed in any case: a
     * wrong guess of the processor would cost more. */
    dist = r - delta / 2 + SMALL / 2;
    ones = 10 * tens + dist / SMALL;
    if (dist % SMALL == 0 && !is_short)
        ones = nearer(ones, dist, 2 * f, phi, beta);
    return (struct decimal){is_short ? 10 * tens : ones, k + KAPPA};
}

/* Of 2^(MANTISSA + e), below which the doubles are twice as dense; it has an even mantissa. */
static struct decimal shortest_of_power(int e)
{
    int k = floor_log10_pow2_low(e);
    int beta = e + floor_log2_pow10(-k);
    uint64_t phi = phi_of(-k).high;
    int shift = 64 - MANTISSA - 1 - beta;
    uint64_t lower = (phi - (phi >> (MANTISSA + 2))) >> shift;
    uint64_t upper = (phi + (phi >> (MANTISSA + 1))) >> shift;
    uint64_t ones;

    lower += e < 2 || e > 3; /* elsewhere the lower end is no whole number */
    if (upper / 10 * 10 >= lower)
        return (struct decimal){upper / 10 * 10, k};
    ones = ((phi >> (shift - 1)) + 1) / 2;
    if (e == -77)
        ones -= ones & 1; /* a tie */
    else
        ones += ones < lower;
    return (struct decimal){ones, k};
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
        return put_decimal(out, shortest(mantissa, 1 - BIAS));
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
        end = put_normal(end, shortest(mantissa | hidden, exponent - BIAS));
    else
        end = put_normal(end, exponent > 1 ? shortest_of_power(exponent - BIAS)
                                           : shortest(hidden, exponent - BIAS));
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
