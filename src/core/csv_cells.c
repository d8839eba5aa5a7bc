/* csv_cells: the cells of computed columns, see csv_sheet.h.
 *
 * A scored file of a million rows has a dozen of these columns. Flags as bytes and 4-decimal numbers
 * as whole ten thousandths take a third of the memory, and are written several times as fast.
 */
#include "core/csv_cells.h"

#include "core/csv_cell.h"
#include "core/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_ROOM = 16, FLAG_ROOM = 8, BLOCK = 512 };

static struct csv_cells *new_cells(enum csv_format format, size_t n, size_t room)
{
    struct csv_cells *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    atomic_init(&c->refs, 1);
    c->format = format;
    c->n = n;
    c->room = room;
    return c;
}

struct csv_cells *csv_cells_ref(struct csv_cells *c)
{
    if (c != NULL)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void csv_cells_unref(struct csv_cells *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    column_unref(c->column);
    free(c->small);
    free(c->flags);
    buf_fini(&c->bytes);
    free(c->ends);
    free(c);
}

static int fill_flags(struct csv_cells *c, const struct column *column)
{
    double room[BLOCK];

    c->flags = malloc(c->n + 1);
    if (c->flags == NULL)
        return -1;
    for (size_t from = 0; from < c->n; from += BLOCK) {
        size_t n = least(c->n - from, BLOCK);
        const double *cells = column_block(column, from, n, room);

        for (size_t i = 0; i < n; i++)
            c->flags[from + i] = isnan(cells[i]) ? CSV_NO_FLAG : fabs(cells[i]) > 0;
    }
    return 0;
}

/* Adding and taking away this rounds a double below 2^51 to a whole one, half to even, as rint
 * does, and needs no call. */
static const double whole = 0x1.8p52;

/* The cells as whole numbers of 31 bits (fixed4: as ten thousandths). Do all fit? */
static bool as_small(const double *cells, size_t n, bool fixed4, int32_t *small)
{
    double factor = fixed4 ? 10000 : 1;
    bool fit = true;

    for (size_t i = 0; i < n; i++) {
        double scaled = cells[i] * factor;
        double rounded = (scaled + whole) - whole;
        bool fits = fabs(rounded) < INT32_MAX;
        int32_t v = (int32_t)(fits ? rounded : 0);

        fit = fit && (fits || isnan(scaled));
        v = fixed4 && v == 0 && signbit(scaled) ? CSV_MINUS_ZERO : v;
        small[i] = isnan(scaled) ? CSV_NO_SMALL : v;
    }
    return fit;
}

/* 1: done, 0: some cell does not fit, -1: no memory. */
static int fill_small(struct csv_cells *c, const struct column *column)
{
    double room[BLOCK];

    c->small = malloc((c->n + 1) * sizeof *c->small);
    if (c->small == NULL)
        return -1;
    for (size_t from = 0; from < c->n; from += BLOCK) {
        size_t n = least(c->n - from, BLOCK);
        const double *cells = column_block(column, from, n, room);

        if (!as_small(cells, n, c->format == CSV_FIXED4, c->small + from)) {
            free(c->small);
            c->small = NULL;
            return 0;
        }
    }
    return 1;
}

static int check_whole(const struct column *column, struct fail *fail)
{
    char text[NUMBER_MAX];

    for (size_t i = 0; column->marks == NULL && i < column->n; i++) {
        double x = column->cells[i];

        if (!isnan(x) && (x != rint(x) || !(fabs(x) < 0x1p63)))
            return fail_set(fail, "NotWhole", "cell %zu is %.*s, no whole number", i + 1,
                            (int)number_shortest(x, text), text);
    }
    return 0;
}

/* Fill c from the column. 0 or -1. */
static int fill(struct csv_cells *c, struct column *column)
{
    int status = 0;

    if (c->format == CSV_BOOLEANS)
        return fill_flags(c, column);
    if (c->format != CSV_SHORTEST)
        status = fill_small(c, column);
    if (status < 0)
        return -1;
    if (status > 0) {
        c->room = SMALL_ROOM;
        return 0;
    }
    c->column = column_wide(column);
    return c->column == NULL ? -1 : 0;
}

struct csv_cells *csv_cells_numbers(struct column *column, enum csv_format format,
                                    struct fail *fail)
{
    size_t room = format == CSV_BOOLEANS ? FLAG_ROOM : NUMBER_MAX;
    struct csv_cells *c;

    if (format == CSV_INTEGER && check_whole(column, fail) != 0)
        return NULL;
    c = new_cells(format, column->n, room);
    if (c == NULL || fill(c, column) != 0) {
        csv_cells_unref(c);
        fail_memory(fail);
        return NULL;
    }
    return c;
}

struct csv_cells *csv_cells_texts(struct buf *bytes, const size_t *lengths, size_t n,
                                  struct fail *fail)
{
    struct csv_cells *c = new_cells(CSV_TEXTS, n, 0);
    size_t end = 0;

    if (c != NULL)
        c->ends = malloc((n + 1) * sizeof *c->ends);
    if (c == NULL || c->ends == NULL) {
        csv_cells_unref(c);
        buf_fini(bytes);
        fail_memory(fail);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        c->ends[i] = end += lengths[i];
    c->bytes = *bytes;
    buf_init(bytes, bytes->max);
    return c;
}

static struct csv_span text_at(const struct csv_cells *c, size_t row)
{
    size_t start = row == 0 ? 0 : c->ends[row - 1];

    return (struct csv_span){(uint32_t)start, (uint32_t)(c->ends[row] - start)};
}

double csv_cells_number(const struct csv_cells *c, size_t row)
{
    if (c->column != NULL)
        return c->format == CSV_FIXED4 ? number_round4(c->column->cells[row])
                                       : c->column->cells[row];
    if (c->flags != NULL)
        return c->flags[row] == CSV_NO_FLAG ? NAN : c->flags[row];
    if (c->small == NULL || c->small[row] == CSV_NO_SMALL)
        return NAN;
    if (c->small[row] == CSV_MINUS_ZERO && c->format == CSV_FIXED4)
        return -0.0;
    return c->format == CSV_FIXED4 ? c->small[row] / 10000.0 : c->small[row];
}

/* ---- writing ---- */

char *csv_cells_put_whole(char *out, uint64_t v)
{
    char digits[20];
    char *p = digits + sizeof digits;

    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    memcpy(out, p, (size_t)(digits + sizeof digits - p));
    return out + (digits + sizeof digits - p);
}

char *csv_cells_put_number(char *out, double x, enum csv_format format)
{
    if (isnan(x))
        return out;
    if (format == CSV_INTEGER) {
        int64_t v = (int64_t)x;

        *out = '-';
        return csv_cells_put_whole(out + (v < 0), v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    }
    return out + (format == CSV_FIXED4 ? number_fixed4(x, out) : number_shortest(x, out));
}

const char *csv_cells_peek(const struct csv_cells *c, size_t row, char *scratch, size_t *length)
{
    struct csv_span cell;

    if (c->format != CSV_TEXTS) {
        *length = (size_t)(csv_cells_put(c, row, scratch) - scratch);
        return scratch;
    }
    cell = text_at(c, row);
    *length = cell.length;
    return cell.length == 0 ? "" : c->bytes.data + cell.start;
}

int csv_cells_write(const struct csv_cells *c, size_t row, char delimiter, struct buf *out)
{
    char scratch[NUMBER_MAX];
    size_t n;
    const char *text = csv_cells_peek(c, row, scratch, &n);

    return c->format == CSV_TEXTS ? csv_cell_encode(text, n, delimiter, out)
                                  : buf_add(out, text, n);
}
