/* csv_cells: the inside of a computed column, for csv_sheet. */
#ifndef CORE_CSV_CELLS_H
#define CORE_CSV_CELLS_H

#include "core/csv_sheet.h"
#include "core/number.h"

#include <string.h>

struct csv_cells {
    atomic_int refs;
    enum csv_format format;
    size_t n;
    size_t room; /* no cell takes more bytes */
    /* one of these: */
    struct column *column;
    int32_t *small;       /* fixed4: ten thousandths; integer: the number */
    unsigned char *flags; /* boolean: 0, 1, CSV_NO_FLAG */
    struct buf bytes;     /* texts, */
    size_t *ends;         /* and where each ends */
};

/* What stands for a missing cell and, in fixed4, for a negative number that rounds to zero. */
#define CSV_NO_SMALL INT32_MIN
#define CSV_MINUS_ZERO (INT32_MIN + 1)
enum { CSV_NO_FLAG = 2 };

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Write digits; a number in one of the formats for numbers. */
char *csv_cells_put_whole(char *out, uint64_t v);
char *csv_cells_put_number(char *out, double x, enum csv_format format);

/* Four characters, the first in the lowest byte. */
static inline void cells_put_4(char *out, uint32_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    memcpy(out, &word, sizeof word);
}

/* Ten thousandths as a decimal with at least one place. */
static inline char *cells_put_fixed4(char *out, int32_t v)
{
    const uint32_t zeros = UINT32_C(0x30303030);
    uint32_t u = v == CSV_MINUS_ZERO ? 0 : v < 0 ? 0 - (uint32_t)v : (uint32_t)v;
    uint64_t digits;
    uint32_t whole, places;
    int skip = 0; /* leading zeros */

    *out = '-';
    out += v < 0;
    if (u >= 100000000) {
        out = csv_cells_put_whole(out, u / 100000000);
        digits = number_digits8(u % 100000000);
        whole = (uint32_t)digits;
    } else {
        digits = number_digits8(u);
        whole = (uint32_t)digits;
        skip = __builtin_ctz(whole | UINT32_C(1) << 24) >> 3;
    }
    places = (uint32_t)(digits >> 32);
    cells_put_4(out, (whole + zeros) >> (8 * skip));
    out += 4 - skip;
    *out++ = '.';
    cells_put_4(out, places + zeros);
    return out + 4 - (__builtin_clz(places | 1) >> 3);
}

static inline char *cells_put_integer(char *out, int32_t v)
{
    uint32_t u = v < 0 ? 0 - (uint32_t)v : (uint32_t)v;

    *out = '-';
    out += v < 0;
    if (u >= 10)
        return csv_cells_put_whole(out, u);
    *out = (char)('0' + u);
    return out + 1;
}

static inline char *cells_put_flag(char *out, unsigned char flag)
{
    static const char words[3][8] = {"False", "True", ""};

    memcpy(out, words[flag], sizeof words[flag]);
    return out + (flag == CSV_NO_FLAG ? 0 : 5 - flag);
}

/* Write a cell of no text at `out`, where there is `room`; gives the end. */
static inline char *csv_cells_put(const struct csv_cells *c, size_t row, char *out)
{
    if (c->flags != NULL)
        return cells_put_flag(out, c->flags[row]);
    if (c->small == NULL) {
        double x = c->column->cells[row];

        if (c->format == CSV_SHORTEST && x == x)
            return out + number_shortest(x, out);
        return csv_cells_put_number(out, x, c->format);
    }
    if (c->small[row] == CSV_NO_SMALL)
        return out;
    return c->format == CSV_FIXED4 ? cells_put_fixed4(out, c->small[row])
                                   : cells_put_integer(out, c->small[row]);
}

#endif
