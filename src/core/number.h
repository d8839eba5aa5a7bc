/* number: doubles as text and back, the same on every machine and in every locale.
 *
 * Reading is correctly rounded: what strtod gives in the C locale, without its looseness (no hex,
 * no "nan(...)") and at several times its speed. Writing gives the fewest digits that read back to
 * the same double, laid out as Python's repr, so that files and JSON agree with what Python writes.
 * Pure functions; nothing allocates; any thread may call them.
 *
 * Sources: D. Lemire, "Number parsing at a gigabyte per second" (2021); N. Mushtak and D. Lemire,
 * "Fast number parsing without fallback" (2022); J. Jeon, "Dragonbox: A New Floating-Point
 * Binary-to-Decimal Conversion Algorithm" (2020). Own code, because no library of the distribution
 * has a C interface to either: libdouble-conversion is C++ and slower, fast_float is C++ and not
 * packaged for this release.
 */
#ifndef CORE_NUMBER_H
#define CORE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

/* Room that a writer may need. The longest text, "-2.2250738585072014e-308", has 24 bytes, but the
 * writers copy in blocks and may scribble over all of it. */
enum { NUMBER_MAX = 64 };

/* What number_parse found. */
enum number_kind {
    NUMBER_NOT = 0,     /* no number; *out is NaN */
    NUMBER_FINITE = 1,  /* a finite double */
    NUMBER_INFINITE = 2 /* "inf" or "infinity", or digits beyond the range of a double; *out is
                           that infinity */
};

/* Write x as the shortest decimal that reads back: "20.0", "1e-05", "1e+16", "-0.0", "nan", "inf",
 * "-inf". A positional layout is used for 1e-4 <= |x| < 1e16. `out` has room for NUMBER_MAX bytes
 * and is not terminated. Returns the length. */
size_t number_shortest(double x, char *out);

/* Write x rounded to 4 decimals as numpy.round does (x * 10000, half to even, / 10000; so a value
 * above 1.8e304 becomes "inf"), then as number_shortest: "0.188", "1.0". */
size_t number_fixed4(double x, char *out);

/* The value that number_fixed4 writes. */
double number_round4(double x);

/* Read text[0..n-1]: the whole of it must be one number. Taken: white space around it, a sign,
 * digits with at most one point ("1", "1.", ".5"), an exponent ("1e-5", "1E+5"), and inf or infinity
 * in any case. Not taken: an empty text, nan, hex, underscores, "%", thousands separators, a decimal
 * comma. *out is the nearest double, ties to even, as strtod; too small becomes 0. Never reads
 * text[n]. */
enum number_kind number_parse(const char *text, size_t n, double *out);

/* The double nearest to digits * 10^exponent, ties to even; infinity when it is too large. */
double number_scaled(uint64_t digits, int64_t exponent);

/* Eight decimal digits, one to a byte, the first in the lowest byte. v < 10^8. */
static inline uint64_t number_digits8(uint32_t v)
{
    uint64_t x, tens;

    x = v / 10000 | (uint64_t)(v % 10000) << 32;
    tens = (x * 10486 >> 20) & UINT64_C(0x0000007F0000007F); /* each half / 100 */
    x = tens | (x - 100 * tens) << 16;
    tens = (x * 103 >> 10) & UINT64_C(0x000F000F000F000F); /* each quarter / 10 */
    return tens | (x - 10 * tens) << 8;
}

#endif
