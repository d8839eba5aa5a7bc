/* csv: delimited text as columns of numbers, every byte of it kept.
 *
 * A `struct csv` is one parsed text: where its rows lie, its columns' names, and the cells of its
 * numeric columns as doubles. It is not changed after it is made, so any thread may read it. It
 * does not copy the text. What a row, a cell, a number and a missing cell are:
 *
 * - Lines end with LF, CR LF or CR; the last may lack its end. Blank lines (nothing, or spaces and
 *   tabs) are no rows. A byte order mark is skipped.
 * - A quote at the start of a field opens a quoted field (RFC 4180), in which "" is a quote and
 *   delimiters and line ends are text. A quote elsewhere is an ordinary character.
 * - The first line that is not blank names the columns. White space around a name is not part of
 *   it. A repeated name gets ".1", ".2" ..., an empty one is "Unnamed: K" (K counts from 0), as
 *   pandas does it; the header's bytes stay as they are.
 * - A row with another number of fields than the header is rejected: kept aside, with its place.
 *   Where most rows end with a delimiter too many, that empty last field is no field.
 * - A cell is missing when it is empty or one of pandas' default words for that (csv_cell.h), with
 *   or without quotes and white space around. It is a number when number_parse says so and the
 *   value is finite. In a column whose cells are all True or False (any case of pandas) these are 1
 *   and 0.
 *
 * Own code: the libraries at hand (libcsv, and SQLite's or Arrow's readers) either visit one byte at
 * a time, keep no raw cells, or convert numbers with strtod; none comes near the speed asked for.
 */
#ifndef CORE_CSV_H
#define CORE_CSV_H

#include "core/buf.h"
#include "core/column.h"
#include "core/crew.h"
#include "core/fail.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a text may hold at most; 0 means the default. */
struct csv_limits {
    size_t bytes;     /* default 512 MiB; never above 4 GiB - 1 */
    size_t rows;      /* default 20 000 000, rejected ones included */
    size_t columns;   /* default 4096 */
    size_t row_bytes; /* default 1 MiB, the header included */
};

struct csv_options {
    char delimiter; /* 0: the one of , ; tab | that the header holds most of */
    bool text_only; /* do not read numbers ahead: for who wants a few cells */
    size_t stretch; /* bytes of a thread's share at least; 0: 1 MiB. For tests */
    struct csv_limits limits;
};

/* A run of bytes of the text. */
struct csv_span {
    uint32_t start;
    uint32_t length;
};

struct csv_reject {
    struct csv_span row; /* without its line end */
    size_t fields;       /* how many it has */
};

enum { CSV_FIRST_BAD = 3 };

/* What the cells of a column are. missing + finite + bad + (all or none) booleans = rows. */
struct csv_facts {
    size_t missing;
    size_t finite;
    size_t bad;                           /* neither missing nor a finite number */
    size_t booleans;                      /* True or False in a column of nothing else */
    size_t n_first;                       /* how many of first[] are set */
    struct csv_span first[CSV_FIRST_BAD]; /* the first bad cells */
};

struct csv_name {
    const char *text;
    size_t length;
};

struct csv {
    atomic_int refs;
    const char *text;
    size_t size;
    char delimiter;
    bool extra;             /* rows end with one delimiter more than the header */
    bool ragged;            /* but not all of them */
    struct csv_span header; /* without its line end and the byte order mark */
    size_t n_columns;
    struct csv_name *names;
    size_t n_rows;
    struct csv_span *rows; /* without their line ends */
    size_t n_rejects;
    struct csv_reject *rejects; /* in the order of the text */
    struct column **numbers;    /* per column; NULL where it was not read ahead */
    struct csv_facts *facts;    /* per column, where numbers[] is set */
    void (*release)(void *owner);
    void *owner;
    struct buf name_bytes;
};

/* Parse text[0..size-1], spread over the crew (NULL allowed) when it is big; the result does not
 * depend on the crew. The text must stay where it is until release(owner) is called, which happens
 * with the last reference, on any thread, and also when this fails. NULL with `fail` set, and
 * *line the line it is about (0: none): codes TooLarge, Empty, NotText, NulByte, NotHeader,
 * NoRowFits, UnclosedQuote, NoMemory. */
struct csv *csv_parse(const char *text, size_t size, const struct csv_options *options,
                      struct crew *crew, void (*release)(void *owner), void *owner,
                      struct fail *fail, size_t *line);

struct csv *csv_ref(struct csv *csv);
void csv_unref(struct csv *csv);

/* The number of the column of this name, or -1. */
long csv_find(const struct csv *csv, const char *name, size_t length);

/* The bytes of a cell as they came. row < n_rows, column < n_columns. Walks the row. */
struct csv_span csv_cell(const struct csv *csv, size_t row, size_t column);

/* Read a column's numbers (NaN: missing or bad) and facts; a new reference to what was read ahead,
 * else read now. NULL when memory is short. */
struct column *csv_numbers(const struct csv *csv, size_t column, struct csv_facts *facts);

/* The number of the line that the byte at `offset` is on, counted from 1, when the byte at `from`
 * (<= offset) is on line `line`. */
size_t csv_line(const struct csv *csv, size_t offset, size_t from, size_t line);

/* Append the rejected rows: "line", "reason", then the header as it came; each row as it came,
 * behind the number of its line and why it was rejected. 0, or -1 when memory is short or the
 * buffer is full. */
int csv_rejected_text(const struct csv *csv, struct buf *out);

/* The bytes of the line end behind a row or the header: "\n", "\r\n", "\r" or nothing. */
struct csv_span csv_line_end(const struct csv *csv, struct csv_span row);

#endif
