/* column: see column.h. The cells or marks lie behind the struct. */
#include "core/column.h"

#include <math.h>
#include <stdlib.h>

static struct column *make(size_t n, size_t cell_size)
{
    struct column *c;

    if (n > COLUMN_MOST)
        return NULL;
    c = malloc(sizeof *c + n * cell_size);
    if (c == NULL)
        return NULL;
    atomic_init(&c->refs, 1);
    c->n = n;
    c->cells = NULL;
    c->marks = NULL;
    return c;
}

struct column *column_new(size_t n)
{
    struct column *c = make(n, sizeof *c->cells);

    if (c != NULL)
        c->cells = (double *)(c + 1);
    return c;
}

struct column *column_new_marks(size_t n)
{
    struct column *c = make(n, sizeof *c->marks);

    if (c != NULL)
        c->marks = (signed char *)(c + 1);
    return c;
}

struct column *column_ref(struct column *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void column_unref(struct column *c)
{
    if (c != NULL && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        free(c);
}

static double value_of(signed char mark)
{
    return mark == COLUMN_NO_MARK ? NAN : mark;
}

double column_cell(const struct column *c, size_t i)
{
    return c->cells != NULL ? c->cells[i] : value_of(c->marks[i]);
}

const double *column_block(const struct column *c, size_t from, size_t n, double *room)
{
    if (c->cells != NULL)
        return c->cells + from;
    for (size_t i = 0; i < n; i++)
        room[i] = value_of(c->marks[from + i]);
    return room;
}

struct column *column_wide(struct column *c)
{
    struct column *wide;

    if (c->cells != NULL)
        return column_ref(c);
    wide = column_new(c->n);
    if (wide != NULL)
        column_block(c, 0, c->n, wide->cells);
    return wide;
}
