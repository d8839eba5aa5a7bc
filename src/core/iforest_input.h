/* iforest_input: what a forest makes of a frame's cells.
 *
 * Which columns take part, what a missing cell counts as, and the one rounding to float32.
 */
#ifndef CORE_IFOREST_INPUT_H
#define CORE_IFOREST_INPUT_H

#include "core/crew.h"
#include "core/fail.h"

#include <stddef.h>
#include <stdint.h>

struct iforest_input {
    size_t n_columns;
    size_t n_used;
    uint32_t *used;  /* [n_used]: column of each feature, ascending */
    double *medians; /* [n_columns]; NaN: the column has no value. Without `all`, columns that
                        miss nothing may have 0 here */
};

/* Look at a frame: its usable columns and their medians; `all`: those of columns that miss nothing
 * too. 0 or -1. */
int iforest_input_init(struct iforest_input *input, const double *const *columns, size_t n_columns,
                       size_t n_rows, int all, struct crew *crew, struct fail *fail);
void iforest_input_fini(struct iforest_input *input);

/* A cell as the forest sees it. */
static inline float iforest_input_cell(double cell, double median)
{
    double v = cell == cell ? cell : median;

    v = v < 0x1.fffffep+127 ? v : 0x1.fffffep+127;
    v = v > -0x1.fffffep+127 ? v : -0x1.fffffep+127;
    return (float)v;
}

#endif
