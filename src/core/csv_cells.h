/* csv_cells: the inside of a computed column, for csv_sheet. */
#ifndef CORE_CSV_CELLS_H
#define CORE_CSV_CELLS_H

#include "core/csv_sheet.h"

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

/* Write a cell of no text at `out`, where there is `room`; gives the end. */
char *csv_cells_put(const struct csv_cells *cells, size_t row, char *out);

#endif
