/* iforest_score: scoring a frame block by block, on one thread or several. */
#include "core/iforest_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PART_ROWS = 16384, BLOCK = 512 };

struct job {
    const struct iforest *forest;
    const struct iforest_frame *frame;
    double *scores;
};

int iforest_path_usable(enum iforest_path path)
{
    return path == IFOREST_BEST || path == IFOREST_PORTABLE || path == IFOREST_PLAIN;
}

const char *iforest_path_name(enum iforest_path path)
{
    static const char *const names[] = {"best", "portable", "avx2", "avx512", "plain"};

    return names[path];
}

int iforest_parts_prepare(struct iforest *f, struct fail *fail)
{
    (void)fail;
    f->path = IFOREST_PLAIN;
    return 0;
}

void iforest_parts_unprepare(struct iforest *f)
{
    (void)f;
}

void iforest_parts_finish(const struct iforest *f, double *sums, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sums[i] = -pow(2.0, f->scale > 0 ? -(sums[i] / f->scale) : -1.0);
}

/* One row down one tree. */
static double walk(const struct iforest *f, const struct iforest_frame *frame, size_t t, size_t row)
{
    const struct grown_node *node = f->trees[t];

    while (node->feature >= 0) {
        uint32_t column = f->input.used[node->feature];
        float cell = iforest_input_cell(frame->columns[column][row], f->input.medians[column]);

        node = cell <= node->threshold ? node + 1 : f->trees[t] + node->right;
    }
    return grow_leaf_value(node->depth, node->rows);
}

static void score_part(void *ctx, size_t part)
{
    const struct job *job = ctx;
    size_t from = part * PART_ROWS;
    size_t to = from + PART_ROWS < job->frame->n_rows ? from + PART_ROWS : job->frame->n_rows;

    for (size_t r = from; r < to; r++) {
        double sum = 0;

        for (size_t t = 0; t < job->forest->n_trees; t++)
            sum += walk(job->forest, job->frame, t, r);
        job->scores[r] = sum;
    }
    iforest_parts_finish(job->forest, job->scores + from, to - from);
}

void iforest_parts_score(const struct iforest *f, const struct iforest_frame *frame, double *scores,
                         struct crew *crew)
{
    struct job job = {f, frame, scores};

    crew_each(crew, (frame->n_rows + PART_ROWS - 1) / PART_ROWS, score_part, &job);
}
