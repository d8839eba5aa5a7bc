/* moments: see moments.h. */
#include "core/moments.h"

#include <math.h>
#include <stdbool.h>

static inline void add(struct moments *m, double x)
{
    double delta = x - m->mean;

    m->count += 1;
    m->mean += delta / m->count;
    m->m2 += delta * (x - m->mean);
}

static inline bool counts(const double *cells, const double *keep, size_t i)
{
    return isfinite(cells[i]) && (keep == NULL || fabs(keep[i]) > 0);
}

void moments_add(struct moments *m, const double *cells, size_t n, const double *keep)
{
    for (size_t i = 0; i < n; i++)
        if (counts(cells, keep, i))
            add(m, cells[i]);
}

void moments_add_all(struct moments *m, const double *const *cells, size_t n_columns, size_t n,
                     const double *const *keep)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_columns; k++)
            if (counts(cells[k], keep == NULL ? NULL : keep[k], i))
                add(&m[k], cells[k][i]);
}

double moments_std(const struct moments *m)
{
    return m->count < 2 ? 0.0 : sqrt(m->m2 / m->count);
}
