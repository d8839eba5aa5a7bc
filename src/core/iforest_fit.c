/* iforest_fit: growing all trees of a forest, on one thread or several. */
#include "core/iforest_draws.h"
#include "core/iforest_parts.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* AHEAD: a sampled row's cell is asked for so many rows before it is needed. */
enum { BATCH_BYTES = 512 * 1024, AHEAD = 24 };

/* One call. Each part grows a run of trees. */
struct job {
    struct iforest *forest;
    const struct iforest_frame *frame;
    const struct iforest_draws *draws;
    const float *x; /* [n_used * m] when every tree sees the same rows */
    double *sums;   /* wanted sums of path lengths; then there is one part */
    int keep;
    size_t parts;
    atomic_size_t n_nodes;
    atomic_int failed;
};

/* The cells of feature f in rows[0..m-1]; NULL: in all rows. */
static void gather_feature(const struct job *job, size_t f, const uint32_t *rows, float *x)
{
    const struct iforest_input *input = &job->forest->input;
    const double *cells = job->frame->columns[input->used[f]];
    double median = input->medians[input->used[f]];
    size_t m = job->forest->m;

    for (size_t i = 0; i < m && rows == NULL; i++)
        x[i] = iforest_input_cell(cells[i], median);
    for (size_t i = 0; i < m && rows != NULL; i++) {
        __builtin_prefetch(&cells[rows[i + AHEAD < m ? i + AHEAD : m - 1]]);
        x[i] = iforest_input_cell(cells[rows[i]], median);
    }
}

/* The cells that the trees from..to-1 are grown on, x[(tree * features + feature) * m + i]. Column
 * by column: a tree's rows are far apart, and so a column is fetched once for many trees. */
static void gather(const struct job *job, size_t from, size_t to, float *x)
{
    size_t m = job->forest->m;
    size_t d = job->forest->input.n_used;

    for (size_t f = 0; f < d; f++)
        for (size_t t = from; t < to; t++)
            gather_feature(job, f, job->draws->rows + t * m, x + ((t - from) * d + f) * m);
}

/* Put the tree just grown into the forest. */
static int keep_tree(struct job *job, size_t t, const struct grower *g)
{
    struct iforest *f = job->forest;

    f->facts[t] = (struct iforest_tree){.bagging_seed = job->draws->seeds[t].bagging,
                                        .tree_state = job->draws->seeds[t].state,
                                        .splitter_seed = job->draws->seeds[t].splitter,
                                        .n_nodes = g->n_nodes};
    f->trees[t] = malloc(g->n_nodes * sizeof *g->nodes);
    if (f->trees[t] == NULL)
        return -1;
    memcpy(f->trees[t], g->nodes, g->n_nodes * sizeof *g->nodes);
    atomic_fetch_add_explicit(&job->n_nodes, g->n_nodes, memory_order_relaxed);
    return 0;
}

static int grow_tree(struct job *job, size_t t, struct grower *g, const float *x)
{
    const struct iforest *f = job->forest;
    const struct iforest_draws *draws = job->draws;
    struct grow_input in = {.m = f->m,
                            .d = f->input.n_used,
                            .x = x,
                            .y = draws->rows == NULL ? draws->y : draws->y + t * f->m,
                            .splitter = draws->seeds[t].splitter,
                            .max_depth = f->max_depth};

    grower_grow(g, &in);
    if (job->sums != NULL)
        for (size_t i = 0; i < f->m; i++)
            job->sums[i] += g->values[i];
    return job->keep ? keep_tree(job, t, g) : 0;
}

/* Trees whose cells are gathered together: as many as fit into BATCH_BYTES. */
static size_t batch_of(size_t tree_cells, size_t trees)
{
    size_t batch = BATCH_BYTES / sizeof(float) / tree_cells;

    if (batch < 1)
        batch = 1;
    return batch < trees ? batch : trees;
}

static int grow_run(struct job *job, size_t from, size_t to)
{
    const struct iforest *f = job->forest;
    size_t cells = f->m * f->input.n_used;
    size_t batch = batch_of(cells, to - from);
    float *x = job->x == NULL ? malloc(batch * cells * sizeof *x) : NULL;
    struct grower g = {0};
    int failed = job->x == NULL && x == NULL;

    if (!failed)
        failed = grower_init(&g, f->m, f->input.n_used, job->sums != NULL, NULL);
    g.exact_only = f->options.path == IFOREST_PLAIN;
    for (size_t t = from; t < to && !failed; t++) {
        size_t k = (t - from) % batch;

        if (x != NULL && k == 0)
            gather(job, t, t + batch < to ? t + batch : to, x);
        failed = grow_tree(job, t, &g, x != NULL ? x + k * cells : job->x);
    }
    grower_fini(&g);
    free(x);
    return failed;
}

static void grow_part(void *ctx, size_t part)
{
    struct job *job = ctx;
    size_t trees = job->forest->n_trees;

    if (grow_run(job, trees * part / job->parts, trees * (part + 1) / job->parts) != 0)
        atomic_store(&job->failed, 1);
}

/* All trees, once the draws are there. */
static int grow_all(struct job *job, struct crew *crew)
{
    struct iforest *f = job->forest;
    float *shared = NULL;

    if (job->draws->rows == NULL) {
        shared = malloc(f->m * f->input.n_used * sizeof *shared);
        if (shared == NULL)
            return -1;
        for (size_t i = 0; i < f->input.n_used; i++)
            gather_feature(job, i, NULL, shared + i * f->m);
        job->x = shared;
    }
    job->parts = job->sums != NULL ? 1 : (size_t)crew_width(crew) * 4;
    if (crew_width(crew) == 1)
        job->parts = 1;
    crew_each(crew, job->parts, grow_part, job);
    free(shared);
    f->n_nodes = job->n_nodes;
    return job->failed ? -1 : 0;
}

static size_t rows_per_tree(const struct iforest *f, size_t n)
{
    size_t m = f->options.max_samples == 0 ? 256 : f->options.max_samples;

    return m < n ? m : n;
}

int iforest_parts_grow(struct iforest *f, const struct iforest_frame *frame, int keep, double *sums,
                       int *summed, struct crew *crew, struct fail *fail)
{
    struct job job = {.forest = f, .frame = frame};
    int failed;

    *summed = 0;
    f->n_rows = frame->n_rows;
    f->offset = -0.5;
    if (iforest_input_init(&f->input, frame->columns, frame->n_columns, frame->n_rows, keep, crew,
                           fail) != 0)
        return -1;
    if (frame->n_rows == 0 || f->input.n_used == 0)
        return 0;
    f->m = rows_per_tree(f, frame->n_rows);
    f->n_trees = f->options.n_estimators;
    f->max_depth = grow_max_depth(f->m);
    f->scale = (double)f->n_trees * iforest_c(f->m);
    if (sums != NULL && f->m == frame->n_rows) {
        job.sums = sums;
        memset(sums, 0, f->m * sizeof *sums);
        *summed = 1;
    }
    job.keep = keep || job.sums == NULL;
    f->facts = calloc(f->n_trees, sizeof *f->facts);
    f->trees = calloc(f->n_trees, sizeof *f->trees);
    if (f->facts == NULL || f->trees == NULL)
        return fail_memory(fail);
    if (iforest_draws_get(&job.draws, frame->n_rows, f->m, f->n_trees, f->options.random_state,
                          fail) != 0)
        return -1;
    failed = grow_all(&job, crew);
    iforest_draws_put(job.draws);
    return failed ? fail_memory(fail) : 0;
}
