/* moments: see moments.h. */
#include "core/moments.h"

#include <math.h>

void moments_add(struct moments *m, const double *cells, size_t n, const double *keep)
{
    for (size_t i = 0; i < n; i++) {
        double delta;

        if (!isfinite(cells[i]) || (keep != NULL && !(fabs(keep[i]) > 0)))
            continue;
        m->count += 1;
        delta = cells[i] - m->mean;
        m->mean += delta / m->count;
        m->m2 += delta * (cells[i] - m->mean);
    }
}

double moments_std(const struct moments *m)
{
    return m->count < 2 ? 0.0 : sqrt(m->m2 / m->count);
}
