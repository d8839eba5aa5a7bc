/* column: a run of float64 cells, shared by reference count.
 *
 * NaN is a missing cell. Filled once by whoever makes it and not changed after it is shared, so
 * worker threads may read it while Lua holds it. Any thread may take and drop references.
 *
 * A column of flags or labels holds nothing but -1, 0, 1 and NaN, and keeps each in a byte, its
 * mark: an eighth of the memory to touch. Its values are the same doubles to whoever reads them
 * through column_cell, column_block or column_wide.
 */
#ifndef CORE_COLUMN_H
#define CORE_COLUMN_H

#include <stdatomic.h>
#include <stddef.h>

/* More cells than any machine has room for in one batch. */
#define COLUMN_MOST ((size_t)1 << 31)

/* The mark of a missing cell. The lowest bit of a mark says whether its value is 1 or -1. */
enum { COLUMN_NO_MARK = 2 };

struct column {
    atomic_size_t refs;
    size_t n;
    double *cells;      /* NULL in a column of marks */
    signed char *marks; /* -1, 0, 1, COLUMN_NO_MARK; NULL in any other */
};

/* A column of n cells or of n marks with one reference, not set. NULL when memory is short or n
 * passes COLUMN_MOST. */
struct column *column_new(size_t n);
struct column *column_new_marks(size_t n);

/* One more reference; returns its argument. */
struct column *column_ref(struct column *c);

/* Drop a reference; the last one frees. NULL is allowed. */
void column_unref(struct column *c);

/* The value of one cell. */
double column_cell(const struct column *c, size_t i);

/* The values of cells from..from+n-1: the column's own, or laid out in `room`, which has room for
 * n. */
const double *column_block(const struct column *c, size_t from, size_t n, double *room);

/* A reference to a column of the same values that has cells: this one or a new one. NULL when
 * memory is short. */
struct column *column_wide(struct column *c);

#endif
