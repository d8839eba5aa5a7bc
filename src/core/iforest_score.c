/* iforest_score: scoring a frame block by block, on one thread or several. */
#include "core/iforest_parts.h"
#include "core/iforest_power.h"
#include "core/iforest_rank.h"

#include <stdlib.h>
#include <string.h>

enum { PART_ROWS = 32 * RANK_BLOCK };

struct job {
    const struct iforest *forest;
    const struct iforest_frame *frame;
    double *scores;
};

static const struct {
    const char *name;
    iforest_keys *keys;
    iforest_walk *walk;
    iforest_finish *finish;
} paths[] = {
    [IFOREST_BEST] = {"best", NULL, NULL, iforest_power},
    [IFOREST_PORTABLE] = {"portable", iforest_rank_keys, iforest_walk_portable, iforest_power},
#if defined(__x86_64__)
    [IFOREST_AVX2] = {"avx2", iforest_rank_keys, iforest_walk_avx2, iforest_power},
    [IFOREST_AVX512] = {"avx512", iforest_rank_keys_avx512, iforest_walk_avx512,
                        iforest_power_avx512},
#else
    [IFOREST_AVX2] = {"avx2", NULL, NULL, NULL},
    [IFOREST_AVX512] = {"avx512", NULL, NULL, NULL},
#endif
    [IFOREST_PLAIN] = {"plain", NULL, NULL, iforest_power},
};

int iforest_path_usable(enum iforest_path path)
{
#if defined(__x86_64__)
    if (path == IFOREST_AVX2)
        return __builtin_cpu_supports("avx2");
    if (path == IFOREST_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512vbmi");
#endif
    return path != IFOREST_AVX2 && path != IFOREST_AVX512;
}

const char *iforest_path_name(enum iforest_path path)
{
    return paths[path].name;
}

void iforest_parts_prepare(struct iforest *f)
{
    f->path = f->options.path;
    if (f->path == IFOREST_BEST)
        for (f->path = IFOREST_AVX512; !iforest_path_usable(f->path);)
            f->path--;
    if (f->path == IFOREST_PLAIN || f->n_trees == 0)
        return;
    f->ranked = iforest_rank_new(f->trees, f->facts, f->n_trees, &f->input);
    if (f->ranked == NULL)
        f->path = IFOREST_PLAIN;
}

void iforest_parts_unprepare(struct iforest *f)
{
    iforest_rank_free(f->ranked);
    f->ranked = NULL;
}

void iforest_parts_finish(const struct iforest *f, double *sums, size_t n)
{
    paths[f->path].finish(sums, n, f->scale);
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

static void sum_plain(const struct job *job, size_t from, size_t n, double *sums)
{
    for (size_t r = 0; r < n; r++)
        for (size_t t = 0; t < job->forest->n_trees; t++)
            sums[r] += walk(job->forest, job->frame, t, from + r);
}

static void sum_ranked(const struct job *job, size_t from, size_t n, double *sums)
{
    const struct iforest_ranked *ranked = job->forest->ranked;
    uint16_t keys[RANK_FEATURES * RANK_BLOCK];

    for (size_t i = 0; i < ranked->n_groups; i++) {
        const struct rank_group *g = &ranked->groups[i];

        for (size_t f = 0; f < g->n_features; f++) {
            uint16_t *k = keys + f * RANK_BLOCK;
            size_t pad = (n + 63) / 64 * 64 - n;

            if (g->features[f].count == 0)
                continue;
            paths[job->forest->path].keys(&g->features[f], g->bits,
                                          job->frame->columns[g->features[f].column] + from, n, k);
            memset(k + n, 0, pad * sizeof *k);
        }
        paths[job->forest->path].walk(g, keys, n, sums);
    }
}

static void score_part(void *ctx, size_t part)
{
    const struct job *job = ctx;
    size_t from = part * PART_ROWS;
    size_t to = from + PART_ROWS < job->frame->n_rows ? from + PART_ROWS : job->frame->n_rows;

    for (; from < to; from += RANK_BLOCK) {
        size_t n = to - from < RANK_BLOCK ? to - from : RANK_BLOCK;
        double sums[RANK_BLOCK] = {0};

        if (job->forest->ranked != NULL)
            sum_ranked(job, from, n, sums);
        else
            sum_plain(job, from, n, sums);
        iforest_parts_finish(job->forest, sums, n);
        memcpy(job->scores + from, sums, n * sizeof *sums);
    }
}

void iforest_parts_score(const struct iforest *f, const struct iforest_frame *frame, double *scores,
                         struct crew *crew)
{
    struct job job = {f, frame, scores};

    crew_each(crew, (frame->n_rows + PART_ROWS - 1) / PART_ROWS, score_part, &job);
}
