/* csv_walk: the rows of a stretch of text, their numbers read on the way.
 *
 * A text is walked in one stretch or, on several threads, in many. A stretch other than the first
 * begins behind a line end and supposes that this is where a row begins; whoever put the stretches
 * together checks that the one before it stopped there.
 */
#ifndef CORE_CSV_WALK_H
#define CORE_CSV_WALK_H

#include "core/csv.h"

enum csv_walk_error {
    CSV_WALK_OK,
    CSV_WALK_OPEN_QUOTE, /* at `where` */
    CSV_WALK_LONG_ROW,   /* begins at `where` */
    CSV_WALK_ROWS,       /* the row that is one too many begins at `where` */
    CSV_WALK_MEMORY
};

/* What all stretches share. Each writes its own slots of rows[] and cells[]. */
struct csv_walk {
    const char *text;
    size_t size;
    char delimiter;
    bool carriage_return; /* the text holds some */
    bool quotes;          /* the text holds some */
    bool extra;           /* take rows that end with one delimiter more */
    size_t n_columns;
    size_t row_bytes; /* the limit */
    struct csv_span *rows;
    double *const *cells; /* per column; NULL: not wanted */
};

struct csv_stretch {
    size_t begin; /* bytes: rows that begin in begin..end-1 */
    size_t end;
    size_t slot; /* the first row's place in rows[] and cells[] */
    size_t most; /* stop after so many rows, rejected ones included */
    /* results */
    size_t n_rows;
    size_t n_extra;          /* how many of the rows end with a delimiter more */
    size_t stop;             /* where the next row begins */
    struct csv_facts *facts; /* per column, added to; the caller's */
    struct csv_reject *rejects;
    size_t n_rejects;
    size_t cap_rejects;
    enum csv_walk_error error;
    size_t where;
};

/* Walk it. rejects is allocated here and freed by the caller. */
void csv_walk(const struct csv_walk *walk, struct csv_stretch *stretch);

/* Count a cell's kind into the facts; gives the number to store. */
double csv_walk_judge(const char *text, struct csv_span cell, struct csv_facts *facts);

#endif
