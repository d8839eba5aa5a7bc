/* csv_cell: what the text of one cell means.
 *
 * Missing words (pandas' default): the empty text, #N/A, #N/A N/A, #NA, -1.#IND, -1.#QNAN, -NaN,
 * -nan, 1.#IND, 1.#QNAN, <NA>, N/A, NA, NULL, NaN, n/a, nan, null. Words for booleans: True, TRUE,
 * true, False, FALSE, false.
 */
#ifndef CORE_CSV_CELL_H
#define CORE_CSV_CELL_H

#include "core/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum csv_kind {
    CSV_MISSING,
    CSV_NUMBER,  /* finite; *value is set */
    CSV_BOOLEAN, /* *value is 1 or 0 */
    CSV_TEXT     /* all else, infinities too */
};

/* Judge the raw bytes of a cell, quotes included. *value is NaN unless said otherwise above. A cell
 * with a quote inside its quotes is text. */
enum csv_kind csv_cell_kind(const char *raw, size_t n, double *value);

/* Take spaces and tabs off both ends; moves *raw, gives the new length. */
size_t csv_cell_trim_blanks(const char **raw, size_t n);

/* Take white space (spaces and tabs) and one pair of quotes off a cell; moves *raw, gives the new
 * length. */
size_t csv_cell_trim(const char **raw, size_t n);

/* Write the cell's text with its quotes undone, white space kept, at `out`, which has room for n
 * bytes. Returns its length. */
size_t csv_cell_decode(const char *raw, size_t n, char *out);

/* Append a text as a cell: in quotes when it holds the delimiter, a quote, or a line end, or begins
 * or ends with white space. 0 or -1 as buf_add. */
int csv_cell_encode(const char *text, size_t n, char delimiter, struct buf *out);

#endif
