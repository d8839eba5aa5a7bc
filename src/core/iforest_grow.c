/* iforest_grow: see iforest_grow.h. */
#include "core/iforest_grow.h"

#include "core/iforest.h"
#include "core/rng.h"

#include <stdlib.h>
#include <string.h>

/* The reference's epsilon, and the largest tree the quick grower's bounds were made for. */
static const double EPSILON = 0x1p-52;
enum { QUICK_ROWS = 256, MAX_STACK = 66 };

/* A node waiting to be grown. */
struct waiting {
    uint32_t start;
    uint32_t end;
    uint32_t depth;
    uint32_t parent;    /* whose right child it is; UINT32_MAX for the root and left children */
    uint32_t constants; /* features known to be constant */
    double impurity;    /* exact: as the parent computed it; quick: the sum of y, any order */
};

/* A tree in the making. */
struct growth {
    struct grower *g;
    const struct grow_input *in;
    uint32_t random; /* the splitter's generator */
    size_t n_waiting;
    struct waiting waiting[MAX_STACK];
};

/* A split that was found. */
struct split {
    uint32_t feature;
    uint32_t pos; /* the first row of the right child */
    uint32_t constants;
    double threshold;
};

int grow_max_depth(size_t m)
{
    int depth = 1;

    while (depth < 63 && (size_t)1 << depth < m)
        depth++;
    return depth;
}

double grow_leaf_value(size_t depth, size_t k)
{
    return (double)(depth + 1) + iforest_c(k) - 1.0;
}

int grower_init(struct grower *g, size_t m, size_t d, int values, struct fail *fail)
{
    *g = (struct grower){.m = m, .d = d};
    if (m > UINT32_MAX / 4 || d > UINT32_MAX / 4)
        return fail_set(fail, "BadArgument", "%zu rows per tree are more than a tree can hold", m);
    g->nodes = malloc(2 * m * sizeof *g->nodes);
    g->rows = malloc(2 * m * sizeof *g->rows);
    g->cells = malloc(m * sizeof *g->cells);
    g->features = malloc(2 * d * sizeof *g->features);
    g->values = values ? malloc(m * sizeof *g->values) : NULL;
    if (g->nodes == NULL || g->rows == NULL || g->cells == NULL || g->features == NULL ||
        (values && g->values == NULL)) {
        grower_fini(g);
        return fail_memory(fail);
    }
    g->constants = g->features + d;
    return 0;
}

void grower_fini(struct grower *g)
{
    free(g->nodes);
    free(g->rows);
    free(g->cells);
    free(g->features);
    free(g->values);
    *g = (struct grower){0};
}

static void push(struct growth *t, struct waiting w)
{
    t->waiting[t->n_waiting++] = w;
}

/* Number the node that was taken from the stack and write it as a leaf. */
static struct grown_node *number(struct growth *t, const struct waiting *w)
{
    struct grower *g = t->g;
    struct grown_node *node = &g->nodes[g->n_nodes];

    if (w->parent != UINT32_MAX)
        g->nodes[w->parent].right = (uint32_t)g->n_nodes;
    g->n_nodes++;
    *node = (struct grown_node){-2, w->end - w->start, 0, -1, w->depth};
    return node;
}

static void leave(struct growth *t, const struct waiting *w)
{
    double value;

    if (t->g->values == NULL)
        return;
    value = grow_leaf_value(w->depth, w->end - w->start);
    for (uint32_t i = w->start; i < w->end; i++)
        t->g->values[t->g->rows[i]] = value;
}

static void quick_leave(struct growth *t, const struct waiting *w)
{
    double value;

    if (t->g->values == NULL)
        return;
    value = grow_leaf_value(w->depth, w->end - w->start);
    for (uint32_t i = w->start; i < w->end; i++)
        t->g->values[t->g->bytes[i]] = value;
}

static void swap(uint32_t *a, uint32_t *b)
{
    uint32_t was = *a;

    *a = *b;
    *b = was;
}

/* The cells of the node's rows, and their range. */
static void range_of(const struct growth *t, const struct waiting *w, uint32_t f, float *lo,
                     float *hi)
{
    const float *x = t->in->x + (size_t)f * t->in->m;
    const uint32_t *rows = t->g->rows;
    float *cells = t->g->cells;
    float least = x[rows[w->start]];
    float most = least;

    for (uint32_t i = w->start; i < w->end; i++) {
        float v = x[rows[i]];

        cells[i] = v;
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    *lo = least;
    *hi = most;
}

/* The reference's partition: its order of the rows is part of the result. */
static uint32_t partition(const struct growth *t, const struct waiting *w, double threshold)
{
    uint32_t *rows = t->g->rows;
    float *cells = t->g->cells;
    uint32_t p = w->start;
    uint32_t e = w->end;

    while (p < e) {
        float cell = cells[p];

        if (cell <= threshold) {
            p++;
            continue;
        }
        e--;
        cells[p] = cells[e];
        cells[e] = cell;
        swap(&rows[p], &rows[e]);
    }
    return e;
}

/* The cells of the node's rows go to g->cells, and their range is returned. */
static void quick_range(const struct growth *t, const struct waiting *w, uint32_t f, float *lo,
                        float *hi)
{
    const float *x = t->in->x + (size_t)f * t->in->m;
    const uint8_t *rows = t->g->bytes + w->start;
    float *cells = t->g->cells;
    uint32_t k = w->end - w->start;
    float least = x[rows[0]];
    float most = least;

    for (uint32_t i = 0; i < k; i++) {
        float v = x[rows[i]];

        cells[i] = v;
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    *lo = least;
    *hi = most;
}

/* Rows that go left stay in front, the others come behind them. */
static uint32_t quick_partition(const struct growth *t, const struct waiting *w, double threshold)
{
    uint8_t *rows = t->g->bytes + w->start;
    const float *cells = t->g->cells;
    uint32_t k = w->end - w->start;
    uint8_t right[QUICK_ROWS];
    uint32_t nl = 0;

    for (uint32_t i = 0; i < k; i++) {
        uint8_t row = rows[i];

        rows[nl] = row;
        right[i - nl] = row;
        nl += cells[i] <= threshold;
    }
    memcpy(rows + nl, right, k - nl);
    return w->start + nl;
}

/* Look for a feature that splits the node. Draws are made as the reference makes them: the first
 * `known` of g->features are constant here, the next `found` are newly seen to be. 1 and *s, or 0
 * with s->constants set. */
static inline __attribute__((always_inline)) int
find_split(struct growth *t, const struct waiting *w, struct split *s, int quick)
{
    uint32_t *features = t->g->features;
    uint32_t known = w->constants;
    uint32_t left = (uint32_t)t->in->d; /* features[left..] were tried */
    uint32_t found = 0;
    uint32_t drawn = 0;
    uint32_t visited = 0;
    int split = 0;

    while (!split && left > known + found && (visited < 1 || visited <= found + drawn)) {
        uint32_t j = xorshift_pick(&t->random, drawn, left - found);
        float lo;
        float hi;

        visited++;
        if (j < known) {
            swap(&features[drawn++], &features[j]);
            continue;
        }
        j += found;
        s->feature = features[j];
        if (quick)
            quick_range(t, w, s->feature, &lo, &hi);
        else
            range_of(t, w, s->feature, &lo, &hi);
        if (hi <= lo + 1e-7f) {
            swap(&features[j], &features[known + found++]);
            continue;
        }
        swap(&features[--left], &features[j]);
        s->threshold = xorshift_between(&t->random, lo, hi);
        if (s->threshold == hi)
            s->threshold = lo;
        s->pos = quick ? quick_partition(t, w, s->threshold) : partition(t, w, s->threshold);
        split = s->pos > w->start && s->pos < w->end;
    }
    s->constants = known + found;
    return split;
}

/* After a node was looked at: the order of the known constants is put back and the new ones are
 * remembered. */
static void restore_features(struct growth *t, uint32_t known, uint32_t constants)
{
    struct grower *g = t->g;

    memcpy(g->features, g->constants, known * sizeof *g->features);
    memcpy(g->constants + known, g->features + known, (constants - known) * sizeof *g->features);
}

/* Sum of y and of its squares over rows[from..to-1], in that order. */
static void sums_of(const struct growth *t, uint32_t from, uint32_t to, double *sum,
                    double *squares)
{
    double s = 0;
    double q = 0;

    for (uint32_t i = from; i < to; i++) {
        double y = t->in->y[t->g->rows[i]];

        s += y;
        q += y * y;
    }
    *sum = s;
    *squares = q;
}

/* The children's impurities as the reference computes them; 0 when its gain says "no split". */
static int impurities(const struct growth *t, const struct waiting *w, uint32_t pos, double sum,
                      double squares, double *left, double *right)
{
    double k = w->end - w->start;
    double nl = pos - w->start;
    double nr = w->end - pos;
    double gain;
    double sl;
    double ql;

    sums_of(t, w->start, pos, &sl, &ql);
    if (nl > nr) {
        sl = sum;
        for (uint32_t i = w->end; i-- > pos;)
            sl -= t->in->y[t->g->rows[i]];
    }
    *left = ql / nl - (sl / nl) * (sl / nl);
    *right = (squares - ql) / nr - ((sum - sl) / nr) * ((sum - sl) / nr);
    gain = k / (double)t->in->m * (w->impurity - nr / k * *right - nl / k * *left);
    return gain + EPSILON >= 0;
}

static void exact_node(struct growth *t, struct waiting w)
{
    struct grown_node *node = number(t, &w);
    struct split s = {0};
    double squares;
    double right;
    double left;
    double sum;
    int split;

    sums_of(t, w.start, w.end, &sum, &squares);
    if (w.parent == UINT32_MAX && w.depth == 0)
        w.impurity = squares / node->rows - (sum / node->rows) * (sum / node->rows);
    if (w.depth >= (uint32_t)t->in->max_depth || node->rows < 2 || w.impurity <= EPSILON) {
        leave(t, &w);
        return;
    }
    split = find_split(t, &w, &s, 0);
    if (split)
        split = impurities(t, &w, s.pos, sum, squares, &left, &right);
    restore_features(t, w.constants, s.constants);
    if (!split) {
        leave(t, &w);
        return;
    }
    node->threshold = s.threshold;
    node->feature = (int32_t)s.feature;
    push(t, (struct waiting){s.pos, w.end, w.depth + 1, (uint32_t)(node - t->g->nodes), s.constants,
                             right});
    push(t, (struct waiting){w.start, s.pos, w.depth + 1, UINT32_MAX, s.constants, left});
}

static void begin(struct growth *t)
{
    struct grower *g = t->g;

    g->n_nodes = 0;
    t->random = t->in->splitter;
    t->n_waiting = 0;
    for (uint32_t i = 0; i < t->in->m; i++)
        g->rows[i] = i;
    for (uint32_t i = 0; i < t->in->d; i++)
        g->features[i] = i;
    push(t, (struct waiting){0, (uint32_t)t->in->m, 0, UINT32_MAX, 0, 0});
}

static void grow_exact(struct grower *g, const struct grow_input *in)
{
    struct growth t = {.g = g, .in = in};

    begin(&t);
    while (t.n_waiting > 0)
        exact_node(&t, t.waiting[--t.n_waiting]);
}

/* The quick grower. It stores the rows of a tree as bytes and splits them without branches, in an
 * order of its own.
 *
 * What has to be proved, for y in [0, 1), m <= 256 rows and u = 2^-53: the reference's sums of k
 * values err by at most k^2 u, so a node's impurity, which its parent of at most m rows computed,
 * errs by at most 3 m^2 u / k, and a gain by at most 3 m u + 8 k^2 u / m.
 *
 * Impurity: two rows whose y differ by e make the true impurity at least e^2 / (2 k). With
 * e^2 > 5e-11 that is above 3 m^2 u / k + 2^-52, and the node is split further.
 * Gain: the true one is nl nr / (k m) (mean left - mean right)^2. Above 2e-12, six times the
 * largest error, the computed one is not negative. The means are had from sums in any order, which
 * is far more exact than that. */
static const double APART = 5e-11;
static const double GAINED = 2e-12;

static double quick_sum(const struct growth *t, uint32_t from, uint32_t to)
{
    double sum = 0;

    for (uint32_t i = from; i < to; i++)
        sum += t->in->y[t->g->bytes[i]];
    return sum;
}

/* Is it certain that the reference splits here too? *left becomes the sum of y of the left rows. */
static int is_gain(const struct growth *t, const struct waiting *w, uint32_t pos, double *left)
{
    double nl = pos - w->start;
    double nr = w->end - pos;
    double sum = w->impurity;
    double apart;

    if (nl <= nr)
        *left = quick_sum(t, w->start, pos);
    else
        *left = sum - quick_sum(t, pos, w->end);
    apart = *left * nr - (sum - *left) * nl;
    return apart * apart > GAINED * (double)t->in->m * (nl + nr) * nl * nr;
}

/* 1, or 0 when the tree has to be grown the exact way. */
static int quick_node(struct growth *t, struct waiting w)
{
    struct grown_node *node = number(t, &w);
    const uint8_t *rows = t->g->bytes + w.start;
    struct split s = {0};
    double left;
    double apart;

    if (w.depth >= (uint32_t)t->in->max_depth || node->rows < 2) {
        quick_leave(t, &w);
        return 1;
    }
    apart = t->in->y[rows[0]] - t->in->y[rows[1]];
    if (apart * apart <= APART)
        return 0;
    if (!find_split(t, &w, &s, 1)) {
        restore_features(t, w.constants, s.constants);
        quick_leave(t, &w);
        return 1;
    }
    restore_features(t, w.constants, s.constants);
    if (!is_gain(t, &w, s.pos, &left))
        return 0;
    node->threshold = s.threshold;
    node->feature = (int32_t)s.feature;
    push(t, (struct waiting){s.pos, w.end, w.depth + 1, (uint32_t)(node - t->g->nodes), s.constants,
                             w.impurity - left});
    push(t, (struct waiting){w.start, s.pos, w.depth + 1, UINT32_MAX, s.constants, left});
    return 1;
}

static int grow_quick(struct grower *g, const struct grow_input *in)
{
    struct growth t = {.g = g, .in = in};

    begin(&t);
    for (uint32_t i = 0; i < in->m; i++)
        g->bytes[i] = (uint8_t)i;
    t.waiting[0].impurity = quick_sum(&t, 0, (uint32_t)in->m);
    while (t.n_waiting > 0)
        if (!quick_node(&t, t.waiting[--t.n_waiting]))
            return 0;
    return 1;
}

void grower_grow(struct grower *g, const struct grow_input *in)
{
    if (in->m > QUICK_ROWS || g->exact_only || !grow_quick(g, in))
        grow_exact(g, in);
}
