/* csv_query: what is asked of a parsed text: a column by name, a cell, a column that was not read
 * ahead, the number of a line, the rejected rows. See csv.h. */
#include "core/csv.h"

#include "core/csv_cell.h"
#include "core/csv_header.h"
#include "core/csv_scan.h"
#include "core/csv_walk.h"

#include <math.h>
#include <string.h>

long csv_find(const struct csv *csv, const char *name, size_t length)
{
    for (size_t k = 0; k < csv->n_columns; k++)
        if (csv->names[k].length == length && memcmp(csv->names[k].text, name, length) == 0)
            return (long)k;
    return -1;
}

struct csv_span csv_cell(const struct csv *csv, size_t row, size_t column)
{
    size_t p = csv->rows[row].start;
    size_t end = p + csv->rows[row].length;
    size_t stop = csv_field_end(csv, p, end);

    for (; column > 0; column--) {
        p = stop + 1;
        stop = csv_field_end(csv, p, end);
    }
    return (struct csv_span){(uint32_t)p, (uint32_t)(stop - p)};
}

/* True and False are numbers in a column of nothing else: judge again. */
static void read_booleans(const struct csv *csv, size_t column, double *cells)
{
    for (size_t i = 0; i < csv->n_rows; i++) {
        struct csv_span cell = csv_cell(csv, i, column);

        csv_cell_kind(csv->text + cell.start, cell.length, &cells[i]);
    }
}

struct column *csv_numbers(const struct csv *csv, size_t column, struct csv_facts *facts)
{
    struct column *c;

    if (csv->numbers[column] != NULL) {
        *facts = csv->facts[column];
        return column_ref(csv->numbers[column]);
    }
    memset(facts, 0, sizeof *facts);
    c = column_new(csv->n_rows);
    if (c == NULL)
        return NULL;
    for (size_t i = 0; i < csv->n_rows; i++)
        c->cells[i] = csv_walk_judge(csv->text, csv_cell(csv, i, column), facts);
    if (facts->booleans == facts->bad && facts->bad > 0 && facts->finite == 0) {
        read_booleans(csv, column, c->cells);
        facts->bad = 0;
        facts->n_first = 0;
    } else {
        facts->booleans = 0;
    }
    return c;
}

size_t csv_line(const struct csv *csv, size_t offset, size_t from, size_t line)
{
    struct csv_survey survey = {.lines = line};

    csv_scan_survey(csv->text + from, offset - from, &survey);
    return survey.lines;
}

struct csv_span csv_line_end(const struct csv *csv, struct csv_span row)
{
    size_t p = (size_t)row.start + row.length;
    uint32_t n = 0;

    if (p < csv->size)
        n = csv->text[p] == '\r' && p + 1 < csv->size && csv->text[p + 1] == '\n' ? 2 : 1;
    return (struct csv_span){(uint32_t)p, n};
}

/* ---- the rejected rows ---- */

static int add_span(const struct csv *csv, struct csv_span span, struct buf *out)
{
    return buf_add(out, csv->text + span.start, span.length);
}

/* Append a line's end as it came, or a line feed where the text ended without one. */
static int add_line_end(const struct csv *csv, struct csv_span row, struct buf *out)
{
    struct csv_span end = csv_line_end(csv, row);

    return end.length == 0 ? buf_addc(out, '\n') : add_span(csv, end, out);
}

int csv_rejected_text(const struct csv *csv, struct buf *out)
{
    size_t place = 0, line = 1;

    if (buf_addf(out, "line%creason%c", csv->delimiter, csv->delimiter) != 0 ||
        add_span(csv, csv->header, out) != 0 || add_line_end(csv, csv->header, out) != 0)
        return -1;
    for (size_t i = 0; i < csv->n_rejects; i++) {
        const struct csv_reject *r = &csv->rejects[i];

        line = csv_line(csv, r->row.start, place, line);
        place = r->row.start;
        if (buf_addf(out, "%zu%c%zu fields instead of %zu%c", line, csv->delimiter, r->fields,
                     csv->n_columns, csv->delimiter) != 0 ||
            add_span(csv, r->row, out) != 0 || add_line_end(csv, r->row, out) != 0)
            return -1;
    }
    return 0;
}
