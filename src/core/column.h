/* column: a run of float64 cells, shared by reference count.
 *
 * NaN is a missing cell. Filled once by whoever makes it and not changed after it is shared, so
 * worker threads may read it while Lua holds it. Any thread may take and drop references.
 */
#ifndef CORE_COLUMN_H
#define CORE_COLUMN_H

#include <stdatomic.h>
#include <stddef.h>

/* More cells than any machine has room for in one batch. */
#define COLUMN_MOST ((size_t)1 << 31)

struct column {
    atomic_size_t refs;
    size_t n;
    double cells[];
};

/* A column of n cells with one reference, cells not set. NULL when memory is short or n passes
 * COLUMN_MOST. */
struct column *column_new(size_t n);

/* One more reference; returns its argument. */
struct column *column_ref(struct column *c);

/* Drop a reference; the last one frees. NULL is allowed. */
void column_unref(struct column *c);

#endif
