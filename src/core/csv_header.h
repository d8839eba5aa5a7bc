/* csv_header: the first line of a text: delimiter, columns' names, and whether it is a header. */
#ifndef CORE_CSV_HEADER_H
#define CORE_CSV_HEADER_H

#include "core/csv.h"

/* Where a quoted field that opens at text[open] ends: the offset behind its closing quote, or
 * `size` + 1 when it never closes. */
size_t csv_quoted_end(const char *text, size_t size, size_t open);

/* Where the field that begins at p ends: the offset of the delimiter behind it, or `end`. */
size_t csv_field_end(const struct csv *csv, size_t p, size_t end);

/* How many fields the bytes p..end-1 hold. */
size_t csv_count_fields(const struct csv *csv, size_t p, size_t end);

/* Find the header in csv->text, fill in csv->delimiter (`delimiter`, or recognised when that is 0),
 * header, names and n_columns. Gives the offset of the line behind it, 0 on failure (`fail` and
 * *line set). */
size_t csv_header_read(struct csv *csv, char delimiter, const struct csv_limits *limits,
                       struct fail *fail, size_t *line);

#endif
