/* iforest_rank: see iforest_rank.h. */
#include "core/iforest_rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 256, DIGIT = 11, DIGITS = 1 << DIGIT, MOST_BUCKETS = 8192 };
enum { ALWAYS_LEFT = 0xffff };

/* A threshold of the group: where it stands and its value as a number of the same order. */
struct entry {
    uint32_t key;
    uint32_t slot; /* tree * PLACES + place */
};

/* The layout of a group in the making. */
struct layout {
    struct rank_group *group;
    const uint32_t *features; /* forest's feature -> group's */
    struct entry *entries;
    struct entry *spare;
    size_t n_entries;
};

/* The largest float32 that is not above the threshold: for a float32 cell, cell <= threshold
 * exactly when cell <= this. */
static float round_down(double threshold)
{
    float f = (float)threshold;

    return f > threshold ? nextafterf(f, -INFINITY) : f;
}

static uint32_t key_of(float value)
{
    float v = value == 0 ? 0.0f : value;
    uint32_t bits;

    memcpy(&bits, &v, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static float value_of(uint32_t key)
{
    uint32_t bits = key >> 31 ? key & 0x7fffffffu : ~key;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The number of a value in the tree's list; the list is short, and the same few come again. */
static uint8_t value_number(struct rank_tree *tree, double value)
{
    size_t i = 0;

    while (i < tree->n_values && tree->values[i] != value)
        i++;
    if (i == tree->n_values)
        tree->values[tree->n_values++] = value;
    return (uint8_t)i;
}

/* Lay out the subtree of nodes[i] at place p of this level. A leaf above the bottom sends every
 * row left from there on, so one leaf place is enough. */
static void lay(struct layout *l, size_t t, const struct grown_node *nodes, uint32_t i, uint32_t p,
                unsigned level)
{
    struct rank_tree *tree = &l->group->trees[t];

    if (nodes[i].feature < 0) {
        tree->leaves[(p << (RANK_LEVELS - level)) - PLACES] =
            value_number(tree, grow_leaf_value(nodes[i].depth, nodes[i].rows));
        return;
    }
    tree->places[p] = (uint16_t)l->features[nodes[i].feature];
    l->entries[l->n_entries++] =
        (struct entry){key_of(round_down(nodes[i].threshold)), (uint32_t)(t * PLACES + p)};
    lay(l, t, nodes, i + 1, 2 * p, level + 1);
    lay(l, t, nodes, nodes[i].right, 2 * p + 1, level + 1);
}

static void lay_tree(struct layout *l, size_t t, const struct grown_node *nodes)
{
    struct rank_tree *tree = &l->group->trees[t];

    memset(tree->places, 0xff, sizeof tree->places);
    memset(tree->leaves, 0, sizeof tree->leaves);
    tree->n_values = 0;
    lay(l, t, nodes, 0, 1, 0);
}

static uint32_t feature_of(const struct layout *l, const struct entry *e)
{
    return l->group->trees[e->slot / PLACES].places[e->slot % PLACES];
}

/* One pass of a radix sort, stable: by the digit at `shift` of the key, or by feature. */
static void sort_pass(struct layout *l, unsigned shift, int by_feature)
{
    uint32_t ends[DIGITS + 1] = {0};
    struct entry *from = l->entries;
    struct entry *to = l->spare;

    for (size_t i = 0; i < l->n_entries; i++)
        ends[1 + (by_feature ? feature_of(l, &from[i]) : from[i].key >> shift & (DIGITS - 1))]++;
    for (uint32_t d = 0; d < DIGITS; d++)
        ends[d + 1] += ends[d];
    for (size_t i = 0; i < l->n_entries; i++)
        to[ends[by_feature ? feature_of(l, &from[i]) : from[i].key >> shift & (DIGITS - 1)]++] =
            from[i];
    l->entries = to;
    l->spare = from;
}

/* Fill the table that leads cells near their ranks. 0 or -1. */
static int index_feature(struct rank_feature *f)
{
    uint32_t places = 16;
    uint32_t most = 0;
    uint32_t seen = 0;

    while (places < 4 * f->count && places < MOST_BUCKETS)
        places *= 2;
    f->lo = f->at[0];
    f->hi = f->at[f->count - 1];
    f->scale = (float)places / (f->hi - f->lo);
    f->last = (float)(places - 1);
    f->base = malloc((places + 1) * sizeof *f->base);
    if (f->base == NULL)
        return -1;
    for (uint32_t p = 0; p < places; p++) {
        uint32_t before = seen;

        f->base[p] = (uint16_t)seen;
        while (seen < f->count && rank_place(f, f->at[seen]) == p)
            seen++;
        most = seen - before > most ? seen - before : most;
    }
    while ((uint32_t)1 << f->steps <= most)
        f->steps++;
    return 0;
}

/* Take the run of entries of feature f that begins at `from`: its distinct thresholds, and its
 * places' final numbers. 0 or -1; *to is where the run ends. */
static int take_feature(struct layout *l, uint32_t f, size_t from, size_t *to)
{
    struct rank_group *g = l->group;
    struct rank_feature *feature = &g->features[f];
    size_t end = from;

    while (end < l->n_entries && feature_of(l, &l->entries[end]) == f)
        end++;
    *to = end;
    if (end == from)
        return 0;
    /* Room for twice the run: the search may look 2^steps - 1 <= 2 * count behind a place. */
    feature->at = malloc((3 * (end - from) + 1) * sizeof *feature->at);
    if (feature->at == NULL)
        return -1;
    for (size_t i = from; i < end; i++) {
        uint32_t slot = l->entries[i].slot;

        if (i == from || l->entries[i].key != l->entries[i - 1].key)
            feature->at[feature->count++] = value_of(l->entries[i].key);
        g->trees[slot / PLACES].places[slot % PLACES] =
            (uint16_t)((feature->count - 1) << g->bits | f);
    }
    for (size_t i = feature->count; i < 3 * (end - from) + 1; i++)
        feature->at[i] = INFINITY;
    return index_feature(feature);
}

/* Which features the trees split on. */
struct census {
    uint32_t *number;                /* [n_used]: ours for the forest's, or UINT32_MAX */
    uint32_t feature[RANK_FEATURES]; /* the forest's for ours */
    size_t splits[RANK_FEATURES];    /* in the trees counted so far */
    uint32_t n_features;
    unsigned bits;
};

/* Count a tree's splits. -1: it cannot be ranked. */
static int count_tree(struct census *c, const struct grown_node *nodes, size_t n_nodes)
{
    for (size_t i = 0; i < n_nodes; i++) {
        int32_t f = nodes[i].feature;

        if (nodes[i].depth > RANK_LEVELS)
            return -1;
        if (f < 0)
            continue;
        if (c->number[f] == UINT32_MAX) {
            if (c->n_features == RANK_FEATURES)
                return -1;
            c->number[f] = c->n_features;
            c->feature[c->n_features++] = (uint32_t)f;
        }
        c->splits[c->number[f]]++;
    }
    return 0;
}

/* How many of the trees from `first` on can share 16 bits; at least one. *splits: all of theirs. */
static size_t group_size(struct census *c, struct grown_node *const *trees,
                         const struct iforest_tree *facts, size_t first, size_t n_trees,
                         size_t *splits)
{
    size_t most = (size_t)(ALWAYS_LEFT - 1) >> c->bits;
    size_t t;

    memset(c->splits, 0, sizeof c->splits);
    *splits = 0;
    for (t = first; t < n_trees; t++) {
        count_tree(c, trees[t], facts[t].n_nodes);
        for (uint32_t f = 0; f < c->n_features; f++)
            if (c->splits[f] > most)
                return t - first;
        *splits += facts[t].n_nodes / 2;
    }
    return t - first;
}

/* Fill a group from its trees. 0 or -1; what was allocated is in the group either way. */
static int fill_group(struct rank_group *g, const struct census *c, size_t splits,
                      struct grown_node *const *trees, const struct iforest_input *input)
{
    struct entry *memory = malloc((2 * splits + 1) * sizeof *memory);
    struct layout l = {g, c->number, memory, memory, 0};
    size_t from = 0;
    int failed;

    g->bits = c->bits;
    g->n_features = c->n_features;
    g->features = calloc(g->n_features + 1, sizeof *g->features);
    g->trees = aligned_alloc(64, g->n_trees * sizeof *g->trees);
    failed = memory == NULL || g->features == NULL || g->trees == NULL;
    for (size_t t = 0; t < g->n_trees && !failed; t++)
        lay_tree(&l, t, trees[t]);
    if (!failed) {
        l.spare = memory + splits;
        for (unsigned shift = 0; shift < 32; shift += DIGIT)
            sort_pass(&l, shift, 0);
        sort_pass(&l, 0, 1);
    }
    for (uint32_t f = 0; f < c->n_features && !failed; f++) {
        g->features[f].column = input->used[c->feature[f]];
        g->features[f].median = input->medians[g->features[f].column];
        failed = take_feature(&l, f, from, &from) != 0;
    }
    free(memory);
    return failed ? -1 : 0;
}

/* Cut the trees into groups and fill them. 0 or -1. */
static int fill(struct iforest_ranked *r, struct census *c, struct grown_node *const *trees,
                const struct iforest_tree *facts, size_t n_trees, const struct iforest_input *input)
{
    for (size_t t = 0; t < n_trees; t += r->groups[r->n_groups - 1].n_trees) {
        size_t splits;
        size_t size = group_size(c, trees, facts, t, n_trees, &splits);
        struct rank_group *more = realloc(r->groups, (r->n_groups + 1) * sizeof *more);

        if (more == NULL)
            return -1;
        r->groups = more;
        more[r->n_groups] = (struct rank_group){.n_trees = size};
        if (fill_group(&more[r->n_groups++], c, splits, trees + t, input) != 0)
            return -1;
    }
    return 0;
}

struct iforest_ranked *iforest_rank_new(struct grown_node *const *trees,
                                        const struct iforest_tree *facts, size_t n_trees,
                                        const struct iforest_input *input)
{
    struct iforest_ranked *r = calloc(1, sizeof *r);
    struct census c = {.number = malloc(input->n_used * sizeof *c.number)};
    int failed = r == NULL || c.number == NULL;

    if (!failed)
        memset(c.number, 0xff, input->n_used * sizeof *c.number);
    for (size_t t = 0; t < n_trees && !failed; t++)
        failed = count_tree(&c, trees[t], facts[t].n_nodes) != 0;
    while ((uint32_t)1 << c.bits < c.n_features)
        c.bits++;
    failed = failed || fill(r, &c, trees, facts, n_trees, input) != 0;
    free(c.number);
    if (!failed)
        return r;
    iforest_rank_free(r);
    return NULL;
}

void iforest_rank_free(struct iforest_ranked *ranked)
{
    if (ranked == NULL)
        return;
    for (size_t i = 0; i < ranked->n_groups; i++) {
        struct rank_group *g = &ranked->groups[i];

        for (size_t f = 0; g->features != NULL && f < g->n_features; f++) {
            free(g->features[f].at);
            free(g->features[f].base);
        }
        free(g->features);
        free(g->trees);
    }
    free(ranked->groups);
    free(ranked);
}

/* Round by round over all rows, so that the searches of different rows run side by side. */
void iforest_rank_keys(const struct rank_feature *f, unsigned bits, const double *cells, size_t n,
                       uint16_t *keys)
{
    float x[RANK_BLOCK];
    uint32_t at[RANK_BLOCK];

    for (size_t r = 0; r < n; r++) {
        x[r] = iforest_input_cell(cells[r], f->median);
        at[r] = f->base[rank_place(f, x[r])];
    }
    for (uint32_t step = (uint32_t)1 << f->steps >> 1; step > 0; step >>= 1)
        for (size_t r = 0; r < n; r++)
            at[r] += f->at[at[r] + step - 1] < x[r] ? step : 0;
    for (size_t r = 0; r < n; r++)
        keys[r] = (uint16_t)(at[r] << bits);
}
