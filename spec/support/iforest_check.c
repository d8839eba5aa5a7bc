/* iforest_check: the forest and its parts against reference values, from the C side.
 *
 *   iforest_check cases FILE...     cases made by spec/fixtures/iforest/make.py
 *   iforest_check vectors FILE...   values of the generators and formulas, one a line:
 *       double SEED VALUE...        the stream of doubles
 *       upto SEED MOST VALUE...     bounded integers
 *       rows SEED N M VALUE...      the first of M rows drawn from N
 *       c K VALUE                   mean path length
 *       pow2 EXPONENT VALUE         2^EXPONENT, EXPONENT in [-2, 0]
 *       percentile Q RESULT VALUE...
 *   iforest_check paths             frames made here: every path, crew and grower against the plain
 *                                   one
 *
 * Every case is fitted and scored on every path this processor has, with 1, 2 and 8 threads. Prints
 * what differs; exits with 0 when nothing does.
 */
#include "core/crew.h"
#include "core/iforest.h"
#include "core/iforest_draws.h"
#include "core/iforest_parts.h"
#include "core/iforest_power.h"
#include "core/iforest_sample.h"
#include "core/order.h"
#include "core/rng.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 1 << 16 };

static size_t checks;
static size_t faults;

__attribute__((format(printf, 2, 3))) static void expect(int holds, const char *format, ...)
{
    va_list args;

    checks++;
    if (holds || faults++ > 20)
        return;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void *need(size_t size)
{
    void *p = calloc(size + 1, 1);

    if (p == NULL)
        abort();
    return p;
}

/* A frame and what is to come out. */
struct frame {
    const char *name;
    size_t rows;
    size_t columns;
    double **cells;
    double *scores;
    double *decisions;
    double offset;
    uint64_t hash;
    struct iforest_options options;
};

static void frame_alloc(struct frame *f)
{
    f->cells = need(f->columns * sizeof *f->cells);
    for (size_t c = 0; c < f->columns; c++)
        f->cells[c] = need(f->rows * sizeof **f->cells);
    f->scores = need(f->rows * sizeof *f->scores);
    f->decisions = need(f->rows * sizeof *f->decisions);
}

static void frame_free(struct frame *f)
{
    for (size_t c = 0; c < f->columns; c++)
        free(f->cells[c]);
    free(f->cells);
    free(f->scores);
    free(f->decisions);
}

static int same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void same_all(const struct frame *f, const char *how, const char *what, const double *found,
                     const double *wanted)
{
    for (size_t r = 0; r < f->rows; r++)
        if (!same(found[r], wanted[r])) {
            expect(0, "%s, %s: %s of row %zu is %a, not %a", f->name, how, what, r, found[r],
                   wanted[r]);
            return;
        }
    checks++;
}

static void hash_add(uint64_t *hash, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        *hash = (*hash ^ (value >> (8 * i) & 0xff)) * 0x100000001b3u;
}

static uint64_t forest_hash(const struct iforest *forest)
{
    uint64_t hash = 0xcbf29ce484222325u;
    struct iforest_tree tree;

    for (size_t t = 0; iforest_tree(forest, t, &tree) == 0; t++) {
        for (size_t i = 0; i < tree.n_nodes; i++) {
            struct iforest_node node;
            uint64_t bits;
            int leaf;

            iforest_node(forest, t, i, &node);
            leaf = node.column < 0;
            memcpy(&bits, &node.threshold, sizeof bits);
            hash_add(&hash, leaf ? (uint64_t)-2 : (uint64_t)node.column);
            hash_add(&hash, bits);
            hash_add(&hash, leaf ? UINT64_MAX : node.left);
            hash_add(&hash, leaf ? UINT64_MAX : node.right);
            hash_add(&hash, node.rows);
        }
    }
    return hash;
}

static void check_labels(const struct frame *f, const char *how, const signed char *labels)
{
    for (size_t r = 0; r < f->rows; r++)
        if (labels[r] != (f->decisions[r] < 0 ? -1 : 1)) {
            expect(0, "%s, %s: label of row %zu is %d", f->name, how, r, labels[r]);
            return;
        }
    checks++;
}

/* Fit, then score. */
static void check_apart(const struct frame *f, const char *how, struct crew *crew)
{
    const double *const *cells = (const double *const *)f->cells;
    double *scores = need(f->rows * sizeof *scores);
    struct iforest *forest = NULL;
    struct fail fail = {0};

    if (iforest_fit(&forest, cells, f->columns, f->rows, &f->options, crew, &fail) == 0) {
        struct iforest_facts facts;

        iforest_facts(forest, &facts);
        expect(same(facts.offset, f->offset), "%s, %s: offset %a, not %a", f->name, how,
               facts.offset, f->offset);
        expect(forest_hash(forest) == f->hash, "%s, %s: other trees", f->name, how);
        iforest_score(forest, cells, f->columns, f->rows, scores, crew, &fail);
        same_all(f, how, "score", scores, f->scores);
    }
    expect(forest != NULL, "%s, %s: %s", f->name, how, fail.message);
    iforest_free(forest);
    free(scores);
}

static void check_once(const struct frame *f, const char *how, struct crew *crew)
{
    const double *const *cells = (const double *const *)f->cells;
    struct iforest_result result = {need(f->rows * 8), need(f->rows * 8), need(f->rows), 0};
    struct fail fail = {0};
    int failed = iforest_fit_score(&result, cells, f->columns, f->rows, &f->options, crew, &fail);

    expect(!failed, "%s, %s: %s", f->name, how, fail.message);
    expect(same(result.offset, f->offset), "%s, %s: offset %a, not %a", f->name, how, result.offset,
           f->offset);
    same_all(f, how, "score", result.scores, f->scores);
    same_all(f, how, "decision", result.decisions, f->decisions);
    check_labels(f, how, result.labels);
    free(result.scores);
    free(result.decisions);
    free(result.labels);
}

static void check_everywhere(struct frame *f)
{
    static const int widths[] = {1, 2, 8};

    for (enum iforest_path path = IFOREST_BEST; path <= IFOREST_PLAIN; path++) {
        for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
            struct crew crew;
            char how[64];

            if (!iforest_path_usable(path))
                continue;
            f->options.path = path;
            crew_threads(&crew, widths[w]);
            snprintf(how, sizeof how, "%s, %d threads", iforest_path_name(path), widths[w]);
            check_once(f, how, &crew);
            check_apart(f, how, &crew);
        }
    }
}

static double *cell_of(struct frame *f, size_t row, size_t i)
{
    if (i < f->columns)
        return &f->cells[i][row];
    return i == f->columns ? &f->scores[row] : &f->decisions[row];
}

static void check_case(const char *name)
{
    FILE *file = fopen(name, "r");
    struct frame f = {.name = name};
    int fields = 0;

    iforest_defaults(&f.options);
    if (file != NULL)
        fields = fscanf(file, "%zu %zu %zu %la %" SCNu32 " %zu %la %" SCNx64, &f.rows, &f.columns,
                        &f.options.n_estimators, &f.options.contamination, &f.options.random_state,
                        &f.options.max_samples, &f.offset, &f.hash);
    expect(fields == 8, "%s: cannot be read", name);
    if (fields != 8)
        return;
    frame_alloc(&f);
    for (size_t r = 0; r < f.rows; r++)
        for (size_t i = 0; i < f.columns + 2; i++)
            fields += fscanf(file, "%la", cell_of(&f, r, i));
    fclose(file);
    expect((size_t)fields == 8 + f.rows * (f.columns + 2), "%s: is cut off", name);
    check_everywhere(&f);
    frame_free(&f);
}

/* A frame of some kind, from a generator of its own. */
static double made_cell(struct mt19937 *g, int kind, size_t column)
{
    double u = mt19937_double(g);

    if (kind == 0)
        return u * (double)(column + 1) - 3;
    if (kind == 1)
        return floor(u * 5);
    if (kind == 2)
        return exp(40 * u * u) * (column % 2 == 0 ? 1 : -1);
    if (kind == 3)
        return u < 0.1 ? NAN : u;
    if (kind == 4)
        return column % 3 == 1 ? 5 : 16777216 + floor(u * 64) / 8;
    return u < 0.01 ? INFINITY : u < 0.02 ? -1e300 : u * 1e-40;
}

static void check_made(size_t rows, size_t columns, int kind, uint32_t seed, size_t max_samples,
                       size_t trees)
{
    struct frame f = {.name = "made", .rows = rows, .columns = columns};
    struct iforest_result result = {0};
    struct iforest *forest = NULL;
    struct mt19937 g;
    char name[96];

    snprintf(name, sizeof name, "made: %zu x %zu, kind %d, seed %" PRIu32 ", %zu samples", rows,
             columns, kind, seed, max_samples);
    f.name = name;
    frame_alloc(&f);
    mt19937_seed(&g, seed);
    for (size_t c = 0; c < columns; c++)
        for (size_t r = 0; r < rows; r++)
            f.cells[c][r] = made_cell(&g, kind, c);
    iforest_defaults(&f.options);
    f.options.path = IFOREST_PLAIN;
    f.options.random_state = seed;
    f.options.n_estimators = trees;
    f.options.max_samples = max_samples;
    result.scores = f.scores;
    result.decisions = f.decisions;
    expect(iforest_fit_score(&result, (const double *const *)f.cells, columns, rows, &f.options,
                             NULL, NULL) == 0 &&
               iforest_fit(&forest, (const double *const *)f.cells, columns, rows, &f.options, NULL,
                           NULL) == 0,
           "%s: cannot be fitted", name);
    f.offset = result.offset;
    f.hash = forest_hash(forest);
    iforest_free(forest);
    check_everywhere(&f);
    frame_free(&f);
}

/* The quick powers against the C library's. */
static void check_powers(void)
{
#if defined(__x86_64__)
    enum { RUN = 509 };
    struct mt19937 g;
    double wanted[RUN];
    double found[RUN];

    mt19937_seed(&g, 9);
    for (int i = 0; i < 4000 && iforest_path_usable(IFOREST_AVX512); i++) {
        for (int k = 0; k < RUN; k++)
            wanted[k] = found[k] =
                mt19937_double(&g) * (i % 9 == 0 ? 90 : 3) + (i % 2 == 0 ? 0.3 : 0);
        iforest_power(wanted, RUN, 1.25);
        iforest_power_avx512(found, RUN, 1.25);
        expect(memcmp(wanted, found, sizeof wanted) == 0, "powers of run %d differ", i);
    }
#endif
}

static void check_paths(void)
{
    static const size_t columns[] = {1, 2, 3, 4, 7, 11, 15, 20, 23, 31, 63, 70};
    uint32_t seed = 1;

    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        check_made(600, columns[i], 0, seed++, 0, 20);
    for (int kind = 0; kind < 6; kind++) {
        check_made(1, 3, kind, seed++, 0, 10);
        check_made(90, 3, kind, seed++, 0, 100);
        check_made(1500, 5, kind, seed++, 0, 30);
        check_made(700, 2, kind, seed++, 100, 30);
        check_made(500, 2, kind, seed++, 400, 10);
    }
    check_made(3000, 1, 0, seed++, 0, 700); /* more thresholds than 16 bits hold */
    check_made(26000, 3, 0, seed++, 0, 10);
    check_powers();
}

/* Read the next number of a line; 0 at its end. */
static int number(char **at, double *value)
{
    char *end;

    *value = strtod(*at, &end);
    if (end == *at)
        return 0;
    *at = end;
    return 1;
}

static void check_stream(char *at, const char *line, int doubles)
{
    struct mt19937 g;
    double most = 0;
    double seed;
    double v;

    number(&at, &seed);
    if (!doubles)
        number(&at, &most);
    mt19937_seed(&g, (uint32_t)seed);
    while (number(&at, &v))
        expect(same(v, doubles ? mt19937_double(&g) : mt19937_upto(&g, (uint32_t)most)),
               "%.40s...: another number", line);
}

static void check_rows(char *at, const char *line)
{
    struct mt19937 g;
    double seed;
    double n;
    double m;
    double v;
    uint32_t *rows;
    void *scratch;

    number(&at, &seed);
    number(&at, &n);
    number(&at, &m);
    rows = need((size_t)m * sizeof *rows);
    scratch = need(iforest_sample_scratch((size_t)n, (size_t)m));
    mt19937_seed(&g, (uint32_t)seed);
    iforest_sample_ordered(&g, (size_t)n, (size_t)m, rows, scratch);
    for (size_t i = 0; number(&at, &v); i++)
        expect(rows[i] == (uint32_t)v, "%.40s...: another row", line);
    free(rows);
    free(scratch);
}

static void check_percentile(char *at, const char *line)
{
    double values[LINE / 2];
    size_t n = 0;
    double wanted;
    double q;

    number(&at, &q);
    number(&at, &wanted);
    while (number(&at, &values[n]))
        n++;
    expect(same(order_percentile(values, n, q), wanted), "%.40s...: another percentile", line);
}

static void check_formula(char *at, const char *line)
{
    struct iforest forest = {.scale = 1};
    double wanted;
    double x;

    number(&at, &x);
    number(&at, &wanted);
    if (line[0] == 'c') {
        expect(same(iforest_c((size_t)x), wanted), "%.40s: another c", line);
        return;
    }
    x = -x;
    iforest_parts_finish(&forest, &x, 1);
    expect(same(-x, wanted), "%.40s: another power", line);
}

static void check_vectors(const char *name)
{
    static char line[LINE];
    FILE *file = fopen(name, "r");

    expect(file != NULL, "%s: cannot be read", name);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *at = line + strcspn(line, " ");

        if (strncmp(line, "double ", 7) == 0)
            check_stream(at, line, 1);
        else if (strncmp(line, "upto ", 5) == 0)
            check_stream(at, line, 0);
        else if (strncmp(line, "rows ", 5) == 0)
            check_rows(at, line);
        else if (strncmp(line, "percentile ", 11) == 0)
            check_percentile(at, line);
        else if (strncmp(line, "c ", 2) == 0 || strncmp(line, "pow2 ", 5) == 0)
            check_formula(at, line);
        else
            expect(0, "%s: cannot be understood: %.40s", name, line);
    }
    if (file != NULL)
        fclose(file);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    for (int i = 2; i < argc && strcmp(what, "cases") == 0; i++)
        check_case(argv[i]);
    for (int i = 2; i < argc && strcmp(what, "vectors") == 0; i++)
        check_vectors(argv[i]);
    if (strcmp(what, "paths") == 0)
        check_paths();
    iforest_draws_forget();
    printf("%zu checks, %zu faults\n", checks, faults);
    return checks == 0 || faults > 0;
}
