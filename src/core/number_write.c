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

static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                            "25262728293031323334353637383940414243444546474849"
                            "50515253545556575859606162636465666768697071727374"
                            "75767778798081828384858687888990919293949596979899";

/* Write v's digits so that they end before `end`; returns where they begin. */
static char *digits_before(char *end, uint64_t v)
{
    while (v >= 100) {
        end -= 2;
        memcpy(end, pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (v >= 10) {
        end -= 2;
        memcpy(end, pairs + v * 2, 2);
    } else {
        *--end = (char)('0' + v);
    }
    return end;
}

static char *put_exponent(char *out, int e)
{
    char digits[4];
    char *first;

    *out++ = 'e';
    *out++ = e < 0 ? '-' : '+';
    if (e < 0)
        e = -e;
    first = digits_before(digits + sizeof digits, (uint64_t)e);
    if (e < 10)
        *--first = '0';
    memcpy(out, first, (size_t)(digits + sizeof digits - first));
    return out + (digits + sizeof digits - first);
}

static char *put(char *out, const char *text, int n)
{
    memcpy(out, text, (size_t)n);
    return out + n;
}

static char *zeros(char *out, int n)
{
    memset(out, '0', (size_t)n);
    return out + n;
}

/* Lay out n digits with the point behind `point` of them, as Python's repr. */
static char *lay_out(char *out, const char *digits, int n, int point)
{
    if (point > 16 || point < -3) {
        *out++ = digits[0];
        if (n > 1) {
            *out++ = '.';
            out = put(out, digits + 1, n - 1);
        }
        return put_exponent(out, point - 1);
    }
    if (point <= 0)
        return put(zeros(put(out, "0.", 2), -point), digits, n);
    if (point >= n)
        return put(zeros(put(out, digits, n), point - n), ".0", 2);
    out = put(out, digits, point);
    *out++ = '.';
    return put(out, digits + point, n - point);
}

static char *put_decimal(char *out, struct decimal d)
{
    char digits[MOST_DIGITS + 3];
    char *end = digits + sizeof digits;
    char *first = digits_before(end, d.digits);
    int point = (int)(end - first) + d.exponent;

    while (end - first > 1 && end[-1] == '0')
        end--;
    return lay_out(out, first, (int)(end - first), point);
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
