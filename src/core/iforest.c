/* iforest: see iforest.h. */
#include "core/iforest.h"

#include "core/iforest_draws.h"
#include "core/iforest_parts.h"
#include "core/order.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void iforest_defaults(struct iforest_options *options)
{
    *options =
        (struct iforest_options){.n_estimators = 100, .contamination = 0.05, .random_state = 42};
}

static int check(const struct iforest_frame *frame, const struct iforest_options *o,
                 struct fail *fail)
{
    if (o->n_estimators < 1 || o->n_estimators > INT32_MAX)
        return fail_set(fail, "BadArgument", "n_estimators must be at least 1");
    if (!(o->contamination >= 0 && o->contamination <= 0.5))
        return fail_set(fail, "BadArgument", "contamination must be in (0, 0.5], or 0 for auto");
    if (frame->n_columns < 1 || frame->n_columns > INT32_MAX)
        return fail_set(fail, "BadArgument", "columns: at least one is needed");
    if (frame->n_rows > UINT32_MAX - 1)
        return fail_set(fail, "BadArgument", "columns: %zu rows are too many for one forest",
                        frame->n_rows);
    if (!iforest_path_usable(o->path))
        return fail_set(fail, "Unsupported", "path: this processor has no %s",
                        iforest_path_name(o->path));
    return 0;
}

static void release(struct iforest *f)
{
    for (size_t t = 0; f->trees != NULL && t < f->n_trees; t++)
        free(f->trees[t]);
    free(f->trees);
    free(f->facts);
    iforest_input_fini(&f->input);
    iforest_parts_unprepare(f);
}

void iforest_free(struct iforest *forest)
{
    if (forest == NULL)
        return;
    release(forest);
    free(forest);
}

static double offset_of(const struct iforest *f, const double *scores, size_t n)
{
    if (f->options.contamination <= 0 || n == 0)
        return -0.5;
    return order_percentile(scores, n, 100.0 * f->options.contamination);
}

/* Grow on a frame and, where scores are wanted, score it and find the offset. */
static int fit(struct iforest *f, const struct iforest_frame *frame, int keep, double *scores,
               struct crew *crew, struct fail *fail)
{
    int summed;

    if (iforest_parts_grow(f, frame, keep, scores, &summed, crew, fail) != 0)
        return -1;
    if (keep || !summed)
        iforest_parts_prepare(f);
    if (scores == NULL)
        return 0;
    if (summed)
        iforest_parts_finish(f, scores, frame->n_rows);
    else
        iforest_parts_score(f, frame, scores, crew);
    f->offset = offset_of(f, scores, frame->n_rows);
    return 0;
}

/* The offset of a forest that is kept needs the scores of its own rows for a while. */
static int fit_kept(struct iforest *f, const struct iforest_frame *frame, struct crew *crew,
                    struct fail *fail)
{
    int wanted = f->options.contamination > 0 && frame->n_rows > 0;
    double *scores = wanted ? malloc(frame->n_rows * sizeof *scores) : NULL;
    int failed;

    if (wanted && scores == NULL)
        return fail_memory(fail);
    failed = fit(f, frame, 1, scores, crew, fail);
    free(scores);
    return failed;
}

int iforest_fit(struct iforest **out, const double *const *columns, size_t n_columns, size_t n_rows,
                const struct iforest_options *options, struct crew *crew, struct fail *fail)
{
    struct iforest_frame frame = {columns, n_columns, n_rows};
    struct iforest *f = calloc(1, sizeof *f);

    *out = NULL;
    if (f == NULL)
        return fail_memory(fail);
    iforest_defaults(&f->options);
    if (options != NULL)
        f->options = *options;
    if (check(&frame, &f->options, fail) != 0 || fit_kept(f, &frame, crew, fail) != 0) {
        iforest_free(f);
        return -1;
    }
    *out = f;
    return 0;
}

int iforest_fit_score(struct iforest_result *result, const double *const *columns, size_t n_columns,
                      size_t n_rows, const struct iforest_options *options, struct crew *crew,
                      struct fail *fail)
{
    struct iforest_frame frame = {columns, n_columns, n_rows};
    struct iforest f = {0};
    int failed;

    iforest_defaults(&f.options);
    if (options != NULL)
        f.options = *options;
    if (check(&frame, &f.options, fail) != 0)
        return -1;
    failed = fit(&f, &frame, 0, result->scores, crew, fail);
    result->offset = f.offset;
    release(&f);
    if (failed)
        return -1;
    iforest_decide(result->offset, result->scores, n_rows, result->decisions, result->labels);
    return 0;
}

int iforest_score(const struct iforest *forest, const double *const *columns, size_t n_columns,
                  size_t n_rows, double *scores, struct crew *crew, struct fail *fail)
{
    struct iforest_frame frame = {columns, n_columns, n_rows};

    if (n_columns != forest->input.n_columns)
        return fail_set(fail, "BadArgument",
                        "columns: there are %zu, but the forest was fitted on %zu", n_columns,
                        forest->input.n_columns);
    iforest_parts_score(forest, &frame, scores, crew);
    return 0;
}

void iforest_decide(double offset, const double *scores, size_t n_rows, double *decisions,
                    signed char *labels)
{
    for (size_t r = 0; r < n_rows; r++) {
        double decision = scores[r] - offset;

        if (decisions != NULL)
            decisions[r] = decision;
        if (labels != NULL)
            labels[r] = decision < 0 ? -1 : 1;
    }
}
