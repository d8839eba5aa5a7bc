/* iforest_parts: the inside of a forest, shared by the files that make and use one. */
#ifndef CORE_IFOREST_PARTS_H
#define CORE_IFOREST_PARTS_H

#include "core/iforest.h"
#include "core/iforest_grow.h"
#include "core/iforest_input.h"

struct iforest_ranked;

struct iforest {
    struct iforest_options options;
    enum iforest_path path; /* the one that scores */
    size_t m;               /* rows per tree; 0: the forest knows nothing */
    size_t n_rows;
    size_t n_trees; /* options.n_estimators, or 0 when it knows nothing */
    size_t n_nodes;
    int max_depth;
    double offset;
    double scale; /* n_estimators * c(m): what a sum of path lengths is divided by */
    struct iforest_input input;
    struct iforest_tree *facts;    /* [n_trees] */
    struct grown_node **trees;     /* [n_trees] */
    struct iforest_ranked *ranked; /* the trees as the fast paths see them; NULL: plain */
};

/* The frame a call is about. */
struct iforest_frame {
    const double *const *columns;
    size_t n_columns;
    size_t n_rows;
};

/* Grow the trees of a frame into `f`, whose options are set and all else zero; the caller frees it
 * whatever comes back. Where every tree sees every row and `sums` is not NULL, sums[r] becomes the
 * sum of row r's path lengths and *summed 1, else *summed 0. `keep` 0: only those sums are
 * wanted, if they can be had. */
int iforest_parts_grow(struct iforest *f, const struct iforest_frame *frame, int keep, double *sums,
                       int *summed, struct crew *crew, struct fail *fail);

/* The score of a row whose path lengths add up to `sum`, in place for n rows. */
void iforest_parts_finish(const struct iforest *f, double *sums, size_t n);

/* Make ready to score by the path that the options ask for; by the plain one where the trees are too
 * deep, or memory too short, for another. */
void iforest_parts_prepare(struct iforest *f);
void iforest_parts_unprepare(struct iforest *f);

/* scores[r] for all rows of a frame. */
void iforest_parts_score(const struct iforest *f, const struct iforest_frame *frame, double *scores,
                         struct crew *crew);

#endif
