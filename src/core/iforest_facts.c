/* iforest_facts: what a forest tells about itself: its trees, and why a row got its score. */
#include "core/iforest_draws.h"
#include "core/iforest_parts.h"

void iforest_facts(const struct iforest *forest, struct iforest_facts *facts)
{
    *facts = (struct iforest_facts){.n_estimators = forest->options.n_estimators,
                                    .max_samples = forest->m,
                                    .n_rows = forest->n_rows,
                                    .n_columns = forest->input.n_columns,
                                    .n_used = forest->input.n_used,
                                    .n_nodes = forest->n_nodes,
                                    .max_depth = forest->max_depth,
                                    .contamination = forest->options.contamination,
                                    .offset = forest->offset,
                                    .random_state = forest->options.random_state,
                                    .path = forest->path};
}

int iforest_tree(const struct iforest *forest, size_t t, struct iforest_tree *tree)
{
    if (t >= forest->n_trees)
        return -1;
    *tree = forest->facts[t];
    return 0;
}

void iforest_node(const struct iforest *forest, size_t t, size_t i, struct iforest_node *node)
{
    const struct grown_node *grown = &forest->trees[t][i];
    int leaf = grown->feature < 0;

    *node = (struct iforest_node){.threshold = grown->threshold,
                                  .column = -1,
                                  .left = leaf ? 0 : (uint32_t)i + 1,
                                  .right = grown->right,
                                  .rows = grown->rows,
                                  .depth = grown->depth};
    if (!leaf)
        node->column = (int32_t)forest->input.used[grown->feature];
}

int iforest_rows(const struct iforest *forest, size_t t, uint32_t *rows, struct fail *fail)
{
    if (t >= forest->n_trees)
        return fail_set(fail, "BadArgument", "tree: there are %zu trees", forest->n_trees);
    return iforest_draws_rows(forest->facts[t].bagging_seed, forest->n_rows, forest->m, rows, fail);
}

/* Take the row down one tree; each split's change of the expected path length goes to its column.
 */
static void explain_tree(const struct iforest *f, const struct grown_node *nodes,
                         const double *cells, double *shares)
{
    size_t i = 0;

    while (nodes[i].feature >= 0) {
        uint32_t column = f->input.used[nodes[i].feature];
        float cell = iforest_input_cell(cells[column], f->input.medians[column]);
        size_t child = cell <= nodes[i].threshold ? i + 1 : nodes[i].right;

        shares[column] += iforest_c(nodes[i].rows) - 1 - iforest_c(nodes[child].rows);
        i = child;
    }
}

int iforest_explain(const struct iforest *forest, const double *cells, size_t n_columns,
                    double *shares, struct fail *fail)
{
    if (n_columns != forest->input.n_columns)
        return fail_set(fail, "BadArgument",
                        "columns: there are %zu, but the forest was fitted on %zu", n_columns,
                        forest->input.n_columns);
    for (size_t c = 0; c < n_columns; c++)
        shares[c] = 0;
    for (size_t t = 0; t < forest->n_trees; t++)
        explain_tree(forest, forest->trees[t], cells, shares);
    for (size_t c = 0; c < n_columns && forest->n_trees > 0; c++)
        shares[c] /= (double)forest->n_trees;
    return 0;
}
