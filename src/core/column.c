/* column: see column.h. */
#include "core/column.h"

#include <stdlib.h>

struct column *column_new(size_t n)
{
    struct column *c;

    if (n > COLUMN_MOST)
        return NULL;
    c = malloc(sizeof *c + n * sizeof(double));
    if (c == NULL)
        return NULL;
    atomic_init(&c->refs, 1);
    c->n = n;
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
