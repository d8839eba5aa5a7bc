/* iforest: the isolation forest, equal to scikit-learn's to the last bit.
 *
 * Source: F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation Forest", ICDM 2008; the numbers are those
 * of scikit-learn 1.2 to 1.5, IsolationForest(n_estimators, max_samples, contamination,
 * random_state) without bootstrap and with all features, fitted on a dense table.
 *
 * Input is column-major: columns[c][r] is the cell of row r in column c, n_columns pointers to
 * n_rows doubles each, read and never changed. A NaN is a missing cell and takes the median that
 * its column had in the frame the forest was fitted on (pandas' median: the middle value, or half
 * the sum of the two middle ones). Values beyond float32, infinities included, count as the
 * largest float32 of their sign; all work is done on float32 cells, as scikit-learn does it.
 * A column that had no value at all when the forest was fitted is left out of it, as if it did not
 * exist. A constant column stays: it can never split, but scikit-learn spends draws on it, so
 * leaving it out would give other trees. A frame without rows or without a usable column makes a
 * forest that knows nothing: every score is -0.5, every decision 0 and every label 1.
 *
 * A forest does not change once it is fitted: any number of threads may score with it. Results do
 * not depend on the crew, on the code path or on the compiler. Functions that can fail return 0 or
 * -1 and fill `fail` (may be NULL): codes "NoMemory", "BadArgument", "Unsupported".
 */
#ifndef CORE_IFOREST_H
#define CORE_IFOREST_H

#include "core/crew.h"
#include "core/fail.h"

#include <stddef.h>
#include <stdint.h>

/* Which instructions do the scoring. All give the same bits. */
enum iforest_path {
    IFOREST_BEST,     /* the fastest this processor has */
    IFOREST_PORTABLE, /* plain C */
    IFOREST_AVX2,
    IFOREST_AVX512, /* needs AVX-512 F, BW, DQ, VL and VBMI */
    IFOREST_PLAIN   /* nothing but the reference's algorithm, step by step: the others' yardstick */
};

struct iforest_options {
    size_t n_estimators;   /* trees, >= 1 */
    size_t max_samples;    /* rows a tree is grown on, cut to the rows there are; 0: at most 256 */
    double contamination;  /* share of the fitted rows to flag, (0, 0.5]; 0: offset is -0.5 */
    uint32_t random_state; /* the seed */
    enum iforest_path path;
};

struct iforest; /* opaque; free with iforest_free */

/* 100 trees, at most 256 rows each, contamination 0.05, seed 42, the best path. */
void iforest_defaults(struct iforest_options *options);

/* Can this processor take this path? */
int iforest_path_usable(enum iforest_path path);

/* "portable", "avx2", ...; the name of the path that IFOREST_BEST stands for here when asked. */
const char *iforest_path_name(enum iforest_path path);

/* Grow a forest; *out is the caller's. `options` NULL means the defaults. Exactness against
 * scikit-learn is tested for any max_samples; beyond 256 rows per tree the deep trees are scored
 * node by node, which is slower. Rows of one frame: below 2^32 - 1. Unless contamination is 0, 8
 * bytes a row are needed for a while to find the offset. */
int iforest_fit(struct iforest **out, const double *const *columns, size_t n_columns, size_t n_rows,
                const struct iforest_options *options, struct crew *crew, struct fail *fail);

/* Release a forest; NULL is allowed. */
void iforest_free(struct iforest *forest);

/* scores[r] in [-1, 0), lower is more isolated (score_samples). n_columns must be that of fit. */
int iforest_score(const struct iforest *forest, const double *const *columns, size_t n_columns,
                  size_t n_rows, double *scores, struct crew *crew, struct fail *fail);

/* From scores: decisions[r] = scores[r] - offset, labels[r] = -1 where that is below 0, else 1.
 * Either output may be NULL; decisions may be the scores themselves. */
void iforest_decide(double offset, const double *scores, size_t n_rows, double *decisions,
                    signed char *labels);

/* What fit_score fills; the arrays are the caller's, n_rows long; decisions and labels may be
 * NULL. */
struct iforest_result {
    double *scores;
    double *decisions;
    signed char *labels; /* -1 or 1 */
    double offset;
};

/* Fit on a frame and score its own rows in one pass over them: the same bits as fit followed by
 * score and decide, for less than half the work. */
int iforest_fit_score(struct iforest_result *result, const double *const *columns, size_t n_columns,
                      size_t n_rows, const struct iforest_options *options, struct crew *crew,
                      struct fail *fail);

/* Why one row got its score: shares[c] is by how many steps the splits on column c shortened the
 * row's path, on average over the trees, against what was to be expected.
 *
 * Definition: at a node with k rows of its tree's sample, depth + c(k) is the path length to be
 * expected there (c: Liu, Ting, Zhou 2008, equation 1). A split on column c that leads the row
 * from a node of k rows to a child of k' rows changes it by 1 + c(k') - c(k); shares[c] is minus
 * the mean over the trees of the sum of these changes over the row's splits on c. The shares add
 * up to c(max_samples) minus the row's mean path length, so that
 * score = -2^((sum of shares) / c(max_samples) - 1), up to rounding. Attributing the change of a
 * node's estimate to the column that made it is A. Saabas, "Interpreting random forests" (2014).
 * Positive: the column isolated the row. Columns that took no part get 0.
 *
 * `cells` holds the row's n_columns cells; `shares` n_columns doubles. */
int iforest_explain(const struct iforest *forest, const double *cells, size_t n_columns,
                    double *shares, struct fail *fail);

/* What a forest is, for people and tests. */
struct iforest_facts {
    size_t n_estimators;
    size_t max_samples; /* rows per tree */
    size_t n_rows;      /* rows it was fitted on */
    size_t n_columns;
    size_t n_used; /* columns that took part */
    size_t n_nodes;
    int max_depth; /* the limit, not the deepest tree */
    double contamination;
    double offset;
    uint32_t random_state;
    enum iforest_path path; /* the one that scores */
};
void iforest_facts(const struct iforest *forest, struct iforest_facts *facts);

/* One node; a tree's nodes are numbered in the order they were grown, left before right. */
struct iforest_node {
    double threshold; /* go left where the cell is at most this; -2 in a leaf, as scikit-learn */
    int32_t column;   /* -1: a leaf */
    uint32_t left;    /* 0 in a leaf */
    uint32_t right;
    uint32_t rows; /* of the sample */
    uint32_t depth;
};

struct iforest_tree {
    uint32_t bagging_seed;  /* seeds the choice of rows */
    uint32_t tree_state;    /* scikit-learn's random_state of the tree */
    uint32_t splitter_seed; /* where the splitter's generator starts */
    size_t n_nodes;
};

/* The facts of tree t (t < n_estimators; no trees when the forest knows nothing: returns -1). */
int iforest_tree(const struct iforest *forest, size_t t, struct iforest_tree *tree);

/* Node i of tree t; both must exist. */
void iforest_node(const struct iforest *forest, size_t t, size_t i, struct iforest_node *node);

/* The rows (from 0) tree t was grown on, in the order they were drawn: max_samples numbers. */
int iforest_rows(const struct iforest *forest, size_t t, uint32_t *rows, struct fail *fail);

/* c(k): the mean path length of an unsuccessful search among k keys. */
double iforest_c(size_t k);

#endif
