/* csv_sheet: a parsed text with columns of our own, written back.
 *
 * Input cells are written byte for byte as they came: quotes, spaces, delimiter, line ends, byte
 * order mark. Where nothing of the input is replaced or left out, whole rows are copied. Computed
 * cells stand behind them, or in the place of the input column of the same name:
 *
 *   shortest  fewest digits that read back, as Python's repr
 *   fixed4    rounded to 4 decimals (half to even), then shortest
 *   integer   a whole number without a point
 *   boolean   True where not 0, else False
 *   texts     as given, in quotes where needed
 *
 * NaN is an empty cell in every format. Where the input's rows end with a delimiter more than the
 * header, the header is written with one more too (an unnamed column), so that all rows are of one
 * length for any reader.
 *
 * A sheet belongs to one thread; csv_sheet_freeze gives a copy that another may write.
 */
#ifndef CORE_CSV_SHEET_H
#define CORE_CSV_SHEET_H

#include "core/csv.h"

enum csv_format { CSV_SHORTEST, CSV_FIXED4, CSV_INTEGER, CSV_BOOLEANS, CSV_TEXTS };

/* The cells of a computed column, shared by reference count; made small where they can be. */
struct csv_cells;

struct csv_output {
    char *name; /* owned by the sheet */
    size_t length;
    long source;             /* the input column, or -1 */
    struct csv_cells *cells; /* what replaces it or was added; NULL: the input's own */
};

struct csv_sheet {
    struct csv *csv;
    size_t n;
    struct csv_output *outputs;
    bool whole_rows; /* all input columns stand first, as they came */
};

/* Numbers as cells. Keeps a reference to `column` only where no smaller form holds them. In the
 * integer format all must be whole and below 2^63: else NULL with code "NotWhole". */
struct csv_cells *csv_cells_numbers(struct column *column, enum csv_format format,
                                    struct fail *fail);

/* Texts as cells: n of them, each `lengths[i]` bytes, one behind the other in `bytes` (taken over:
 * its memory is freed with the cells, or at once on failure). `lengths` is copied. */
struct csv_cells *csv_cells_texts(struct buf *bytes, const size_t *lengths, size_t n,
                                  struct fail *fail);

/* One more reference, or one less; NULL is allowed. */
struct csv_cells *csv_cells_ref(struct csv_cells *cells);
void csv_cells_unref(struct csv_cells *cells);

/* The number in a cell of a numeric format (NaN: none, or a text). */
double csv_cells_number(const struct csv_cells *cells, size_t row);

/* A cell's text, without the quotes it may get in a file, and its length: in `scratch` (which has
 * room for NUMBER_MAX bytes) or in the cells' own memory. */
const char *csv_cells_peek(const struct csv_cells *cells, size_t row, char *scratch,
                           size_t *length);

/* Append one cell as it will be written. 0 or -1 as buf_add. */
int csv_cells_write(const struct csv_cells *cells, size_t row, char delimiter, struct buf *out);

/* A sheet with the input's columns; takes its own reference to csv. 0 or -1 (memory). */
int csv_sheet_init(struct csv_sheet *sheet, struct csv *csv);
void csv_sheet_fini(struct csv_sheet *sheet);

/* Which output has this name, or -1. */
long csv_sheet_find(const struct csv_sheet *sheet, const char *name, size_t length);

/* Put cells under a name: in the place of the column that has it, or behind all others. Takes over
 * the caller's reference to cells, also on failure. 0 or -1 (memory, or too many columns). */
int csv_sheet_set(struct csv_sheet *sheet, const char *name, size_t length,
                  struct csv_cells *cells);

/* Leave out column k. */
void csv_sheet_drop(struct csv_sheet *sheet, size_t k);

/* An equal sheet of its own, sharing cells and text. 0 or -1 (memory). */
int csv_sheet_freeze(const struct csv_sheet *sheet, struct csv_sheet *copy);

/* Write all: the header and every row, handed to sink in order in runs of bytes that it must use
 * before it returns; not 0 from sink stops. The crew (NULL allowed) formats several runs at once;
 * the bytes do not depend on it. 0, or -1 with `fail` set ("NoMemory"), or what sink returned. */
int csv_sheet_write(const struct csv_sheet *sheet, struct crew *crew,
                    int (*sink)(void *ctx, const char *data, size_t n), void *ctx,
                    struct fail *fail);

/* The same into a buffer. */
int csv_sheet_text(const struct csv_sheet *sheet, struct crew *crew, struct buf *out,
                   struct fail *fail);

#endif
