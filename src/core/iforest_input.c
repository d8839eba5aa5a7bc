/* iforest_input: see iforest_input.h. */
#include "core/iforest_input.h"

#include "core/order.h"

#include <math.h>
#include <stdlib.h>

struct look {
    const double *const *columns;
    size_t n_rows;
    int all;
    double *medians;
};

static size_t count_missing(const double *cells, size_t n)
{
    size_t missing = 0;

    for (size_t i = 0; i < n; i++)
        missing += cells[i] != cells[i];
    return missing;
}

/* Where the two middle values are the two infinities, half their sum once they are clamped. */
static double median_of(const double *cells, size_t n)
{
    double median = order_median(cells, n);

    return isnan(median) ? 0 : median;
}

static void look_at(void *ctx, size_t c)
{
    const struct look *look = ctx;
    size_t missing = count_missing(look->columns[c], look->n_rows);

    look->medians[c] = 0;
    if (missing == look->n_rows)
        look->medians[c] = NAN;
    else if (missing > 0 || look->all)
        look->medians[c] = median_of(look->columns[c], look->n_rows);
}

int iforest_input_init(struct iforest_input *input, const double *const *columns, size_t n_columns,
                       size_t n_rows, int all, struct crew *crew, struct fail *fail)
{
    struct look look = {columns, n_rows, all, NULL};

    *input = (struct iforest_input){.n_columns = n_columns};
    if (n_columns == 0)
        return 0;
    input->used = calloc(n_columns, sizeof *input->used);
    input->medians = look.medians = calloc(n_columns, sizeof *input->medians);
    if (input->used == NULL || input->medians == NULL) {
        iforest_input_fini(input);
        return fail_memory(fail);
    }
    crew_each(crew, n_columns, look_at, &look);
    for (size_t c = 0; c < n_columns; c++)
        if (!isnan(input->medians[c]))
            input->used[input->n_used++] = (uint32_t)c;
    return 0;
}

void iforest_input_fini(struct iforest_input *input)
{
    free(input->used);
    free(input->medians);
    *input = (struct iforest_input){0};
}
