/* iforest_fuzz: arbitrary cells and shapes; every path gives what the plain one gives.
 *
 * The first 8 bytes choose columns, trees, rows per tree, contamination, seed, and how the rest is
 * read: as doubles of any bits, as small integers (many ties), or as even steps.
 */
#include "core/iforest.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 8, MOST_CELLS = 4096, MOST_COLUMNS = 80 };

struct shape {
    struct iforest_options options;
    size_t columns;
    size_t rows;
    int kind;
};

static struct shape shape_of(const uint8_t *head, size_t size)
{
    struct shape s = {.columns = 1 + head[0] % MOST_COLUMNS, .kind = head[6] % 3};
    size_t cells = size / (s.kind == 0 ? 8 : s.kind == 1 ? 1 : 2);

    iforest_defaults(&s.options);
    s.options.n_estimators = 1 + head[1] % 24;
    s.options.max_samples = head[2] < 128 ? 0 : (size_t)(head[2] - 127) * 4;
    s.options.contamination = head[3] % 51 / 100.0;
    s.options.random_state = (uint32_t)head[4] << 24 | head[5];
    if (head[7] % 4 == 0)
        s.columns = 1 + head[0] % 3;
    if (cells > MOST_CELLS)
        cells = MOST_CELLS;
    s.rows = cells / s.columns;
    return s;
}

static double cell_of(const uint8_t *data, size_t i, int kind)
{
    double value;
    int16_t step;

    if (kind == 1)
        return data[i] == 255 ? NAN : data[i] % 16;
    if (kind == 2) {
        memcpy(&step, data + 2 * i, sizeof step);
        return step * 0x1p-9;
    }
    memcpy(&value, data + 8 * i, sizeof value);
    return value;
}

static void differ(void)
{
    abort();
}

/* Scores, decisions and labels of a frame, one behind the other. */
static size_t room_of(const struct shape *s)
{
    return s->rows * (2 * sizeof(double) + 1);
}

static signed char *labels_of(const struct shape *s, double *out)
{
    return (signed char *)(out + 2 * s->rows);
}

/* One frame, fitted and scored in one go by a path. */
static double run(const struct shape *s, const double *const *cells, enum iforest_path path,
                  double *out)
{
    struct iforest_result result = {out, out + s->rows, labels_of(s, out), 0};
    struct iforest_options options = s->options;
    struct fail fail;

    options.path = path;
    if (iforest_fit_score(&result, cells, s->columns, s->rows, &options, NULL, &fail) != 0)
        differ();
    return result.offset;
}

/* Fit first, then score, on two threads; against the same numbers. */
static void run_apart(const struct shape *s, const double *const *cells, enum iforest_path path,
                      double offset, const double *wanted, double *scores)
{
    struct iforest_options options = s->options;
    struct iforest *forest;
    struct iforest_facts facts;
    struct crew crew;

    crew_threads(&crew, 2);
    options.path = path;
    if (iforest_fit(&forest, cells, s->columns, s->rows, &options, &crew, NULL) != 0 ||
        iforest_score(forest, cells, s->columns, s->rows, scores, &crew, NULL) != 0)
        differ();
    iforest_facts(forest, &facts);
    if (memcmp(scores, wanted, s->rows * sizeof *scores) != 0 || facts.offset != offset)
        differ();
    iforest_free(forest);
}

static void check(const struct shape *s, const double *const *cells)
{
    double *wanted = malloc(room_of(s) + 1);
    double *found = malloc(room_of(s) + 1);
    double offset;

    if (wanted == NULL || found == NULL)
        abort();
    offset = run(s, cells, IFOREST_PLAIN, wanted);
    for (size_t r = 0; r < s->rows; r++)
        if (!(wanted[r] >= -1 && wanted[r] < 0) ||
            (labels_of(s, wanted)[r] < 0) != (wanted[s->rows + r] < 0))
            differ();
    for (enum iforest_path path = IFOREST_PORTABLE; path < IFOREST_PLAIN; path++) {
        if (!iforest_path_usable(path))
            continue;
        if (run(s, cells, path, found) != offset || memcmp(found, wanted, room_of(s)) != 0)
            differ();
        run_apart(s, cells, path, offset, wanted, found);
    }
    free(wanted);
    free(found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const double *columns[MOST_COLUMNS];
    struct shape s;
    double *cells;

    if (size < HEAD)
        return 0;
    s = shape_of(data, size - HEAD);
    cells = malloc(s.columns * s.rows * sizeof *cells + 1);
    if (cells == NULL)
        abort();
    for (size_t i = 0; i < s.columns * s.rows; i++)
        cells[i] = cell_of(data + HEAD, i, s.kind);
    for (size_t c = 0; c < s.columns; c++)
        columns[c] = cells + c * s.rows;
    check(&s, columns);
    free(cells);
    return 0;
}
