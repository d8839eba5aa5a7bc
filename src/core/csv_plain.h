/* csv_plain: numbers of the plainest form, eight digits at a time.
 *
 * Most cells of a data file are a handful of digits with a point. Such a cell is loaded as one to
 * three words that end where it ends, the point is closed up, and the digits are summed by three
 * multiplications. Up to 2^53 the digits and the power of ten are exact doubles, so the one division
 * rounds once: the result is the nearest double. Longer numbers go the general way.
 */
#ifndef CORE_CSV_PLAIN_H
#define CORE_CSV_PLAIN_H

#include "core/number.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PLAIN_BYTES(x) (UINT64_C(0x0101010101010101) * (x))

extern const double csv_plain_powers[16];

/* The first byte in memory is the lowest of the word. */
static inline uint64_t plain_load(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* A word whose first `8 - n` bytes count as zeros; 1 <= n <= 8. Digits become 0..9. */
static inline uint64_t plain_digits(const char *end, size_t n)
{
    return (plain_load(end - 8) ^ PLAIN_BYTES(0x30)) & (~UINT64_C(0) << (64 - 8 * n));
}

/* The top bit of each byte that holds a point, exactly so for the lowest of them. */
static inline uint64_t plain_points(uint64_t digits)
{
    uint64_t z = digits ^ PLAIN_BYTES('.' ^ 0x30);

    return (z - PLAIN_BYTES(1)) & ~z & PLAIN_BYTES(0x80);
}

static inline bool plain_valid(uint64_t digits)
{
    return (((digits + PLAIN_BYTES(0x76)) | digits) & PLAIN_BYTES(0x80)) == 0;
}

/* The number that eight digits write, the first being the lowest byte. */
static inline uint64_t plain_sum(uint64_t digits)
{
    digits = digits * 10 + (digits >> 8);
    return (((digits & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x000F424000000064)) +
            (((digits >> 16) & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x0000271000000001))) >>
           32;
}

/* Take byte i out of the word: those before it move up by one. */
static inline uint64_t plain_close_up(uint64_t digits, unsigned i)
{
    uint64_t below = digits & ((UINT64_C(1) << (8 * i)) - 1);
    uint64_t above = digits >> (8 * i) >> 8 << 8 << (8 * i);

    return above | below << 8;
}

static inline bool plain_short(const char *end, size_t n, double *value)
{
    uint64_t digits = plain_digits(end, n);
    uint64_t points = plain_points(digits);
    unsigned decimals = 0;

    if (points != 0) {
        unsigned i = (unsigned)__builtin_ctzll(points) >> 3;

        if (n == 1)
            return false;
        decimals = 7 - i;
        digits = plain_close_up(digits, i);
    }
    *value = (double)(int64_t)plain_sum(digits) / csv_plain_powers[decimals];
    return plain_valid(digits);
}

static inline bool plain_long(const char *end, size_t n, double *value)
{
    uint64_t high = plain_digits(end - 8, n - 8);
    uint64_t low = plain_digits(end, 8);
    uint64_t points = plain_points(low);
    unsigned decimals = 0;
    uint64_t sum;

    if (points != 0) {
        unsigned i = (unsigned)__builtin_ctzll(points) >> 3;

        decimals = 7 - i;
        low = plain_close_up(low, i) | high >> 56;
        high <<= 8;
    } else if ((points = plain_points(high)) != 0) {
        unsigned i = (unsigned)__builtin_ctzll(points) >> 3;

        decimals = 15 - i;
        high = plain_close_up(high, i);
    }
    sum = plain_sum(high) * 100000000 + plain_sum(low);
    *value = sum <= UINT64_C(1) << 53 ? (double)(int64_t)sum / csv_plain_powers[decimals]
                                      : number_scaled(sum, -(int64_t)decimals);
    return plain_valid(high) && plain_valid(low);
}

/* 17 to 24 bytes, as long as the digits make no more than 64 bits. */
static inline bool plain_longest(const char *end, size_t n, double *value)
{
    uint64_t high = plain_digits(end - 16, n - 16);
    uint64_t middle = plain_digits(end - 8, 8);
    uint64_t low = plain_digits(end, 8);
    uint64_t points = plain_points(low);
    unsigned i, decimals = 0;

    if (points != 0) {
        i = (unsigned)__builtin_ctzll(points) >> 3;
        decimals = 7 - i;
        low = plain_close_up(low, i) | middle >> 56;
        middle = middle << 8 | high >> 56;
        high <<= 8;
    } else if ((points = plain_points(middle)) != 0) {
        i = (unsigned)__builtin_ctzll(points) >> 3;
        decimals = 15 - i;
        middle = plain_close_up(middle, i) | high >> 56;
        high <<= 8;
    } else if ((points = plain_points(high)) != 0) {
        i = (unsigned)__builtin_ctzll(points) >> 3;
        decimals = 23 - i;
        high = plain_close_up(high, i);
    }
    if (!plain_valid(high) || !plain_valid(middle) || !plain_valid(low))
        return false;
    high = plain_sum(high);
    if (high > 1843) /* 1844 * 10^16 is beyond 2^64 */
        return false;
    *value = number_scaled(high * UINT64_C(10000000000000000) + plain_sum(middle) * 100000000 +
                               plain_sum(low),
                           -(int64_t)decimals);
    return true;
}

/* How many bytes before the end of a cell may be read. */
enum { PLAIN_REACH = 24 };

/* The number in raw[0..n-1] when it is written in the plainest way: digits and at most one point
 * behind an optional "-", 24 bytes at most. False: look closer (*value may have been set). The
 * PLAIN_REACH bytes before raw + n must be readable. */
static inline bool plain_number(const char *raw, size_t n, double *value)
{
    const char *end = raw + n;
    bool negative, ok;

    if (n == 0)
        return false;
    negative = *raw == '-';
    n -= negative;
    if (n - 1 < 8)
        ok = plain_short(end, n, value);
    else if (n - 1 < 16)
        ok = plain_long(end, n, value);
    else if (n - 1 < 24)
        ok = plain_longest(end, n, value);
    else
        return false;
    if (negative)
        *value = -*value;
    return ok;
}

#endif
