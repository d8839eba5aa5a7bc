/* csv_fuzz: the CSV reader against a plain one, against itself on threads, and through the writer.
 *
 * The first byte of the input chooses the delimiter; the rest is the text. */
#include "check.h"

#include "core/csv_cell.h"
#include "core/csv_scan.h"
#include "core/csv_sheet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void backwards(struct crew *crew, size_t n, void (*fn)(void *ctx, size_t i), void *ctx)
{
    (void)crew;
    while (n > 0)
        fn(ctx, --n);
}

static void let_go(void *owner)
{
    (*(int *)owner)++;
}

/* ---- the plain reader: one byte at a time ---- */

/* Step over the line at p; counts its fields and tells where it ends, and whether it is blank. */
static size_t plain_line(const struct csv *csv, size_t p, size_t *end, size_t *fields, bool *blank)
{
    bool quoted = false, first = true;

    *fields = 1;
    *blank = true;
    for (; p < csv->size; p++) {
        char c = csv->text[p];

        if (quoted) {
            if (c == '"' && p + 1 < csv->size && csv->text[p + 1] == '"')
                p++;
            else
                quoted = c != '"';
            continue;
        }
        if (c == '\n' || c == '\r')
            break;
        *blank = *blank && (c == ' ' || c == '\t') && c != csv->delimiter;
        quoted = first && c == '"';
        first = c == csv->delimiter;
        *fields += first;
    }
    *end = p;
    if (p < csv->size && csv->text[p] == '\r' && p + 1 < csv->size && csv->text[p + 1] == '\n')
        p++;
    return p < csv->size ? p + 1 : p;
}

/* Do the rows of csv lie where the plain reader finds them? */
static void check_rows(const struct csv *csv)
{
    size_t p = csv->header.start, end, fields, row = 0, rejects = 0;
    bool blank;

    p = plain_line(csv, p, &end, &fields, &blank);
    CHECK(end == csv->header.start + csv->header.length && fields == csv->n_columns);
    while (p < csv->size) {
        size_t start = p;
        bool fits;

        p = plain_line(csv, p, &end, &fields, &blank);
        fits = fields == csv->n_columns ||
               (csv->extra && fields == csv->n_columns + 1 && csv->text[end - 1] == csv->delimiter);
        if (blank)
            continue;
        if (fits) {
            CHECK(csv->rows[row].start == start && csv->rows[row].length == end - start);
            row++;
        } else {
            CHECK(csv->rejects[rejects].row.start == start);
            CHECK(csv->rejects[rejects].fields == fields);
            rejects++;
        }
    }
    CHECK(row == csv->n_rows && rejects == csv->n_rejects);
}

/* ---- numbers and facts ---- */

static bool same_cell(double a, double b)
{
    return isnan(a) ? isnan(b) : memcmp(&a, &b, sizeof a) == 0;
}

static void check_column(const struct csv *csv, size_t k)
{
    struct csv_facts facts, again = {0};
    struct column *c = csv_numbers(csv, k, &facts);

    CHECK(c != NULL && c->n == csv->n_rows);
    for (size_t i = 0; i < csv->n_rows; i++) {
        struct csv_span cell = csv_cell(csv, i, k);
        double x;
        enum csv_kind kind = csv_cell_kind(csv->text + cell.start, cell.length, &x);

        again.missing += kind == CSV_MISSING;
        again.finite += kind == CSV_NUMBER;
        CHECK(same_cell(x, c->cells[i]) || (kind == CSV_BOOLEAN && isnan(c->cells[i])));
    }
    CHECK(facts.missing == again.missing && facts.finite == again.finite);
    CHECK(facts.missing + facts.finite + facts.bad + facts.booleans == csv->n_rows);
    column_unref(c);
}

/* ---- the writer ---- */

static int gather(void *ctx, const char *data, size_t n)
{
    return buf_add(ctx, data, n);
}

/* What the untouched sheet must be: header and rows with their line ends. */
static void untouched(const struct csv *csv, struct buf *out)
{
    struct csv_span end = csv_line_end(csv, csv->header);

    if (csv->size >= 3 && memcmp(csv->text, "\xef\xbb\xbf", 3) == 0)
        CHECK(buf_add(out, csv->text, 3) == 0);
    CHECK(buf_add(out, csv->text + csv->header.start, csv->header.length) == 0);
    if (csv->extra)
        CHECK(buf_addc(out, csv->delimiter) == 0);
    CHECK(buf_add(out, csv->text + end.start, end.length) == 0);
    for (size_t i = 0; i < csv->n_rows; i++) {
        size_t from = csv->rows[i].start;

        end = csv_line_end(csv, csv->rows[i]);
        CHECK(buf_add(out, csv->text + from, csv->rows[i].length) == 0);
        if (csv->ragged && csv->text[end.start - 1] != csv->delimiter)
            CHECK(buf_addc(out, csv->delimiter) == 0);
        CHECK(buf_add(out, csv->text + end.start, end.length) == 0);
    }
}

static struct csv_cells *numbers_of(const struct csv *csv, enum csv_format format)
{
    struct csv_facts facts;
    struct fail fail;
    struct column *c = csv_numbers(csv, 0, &facts);
    struct csv_cells *cells;

    CHECK(c != NULL);
    cells = csv_cells_numbers(c, format, &fail);
    column_unref(c);
    CHECK(cells != NULL);
    return cells;
}

static struct csv *read_text(const char *text, size_t n, char delimiter, struct crew *crew)
{
    struct csv_options options = {.delimiter = delimiter, .stretch = 16};
    struct fail fail = {NULL, ""};
    size_t line;
    int released = 0;
    struct csv *csv = csv_parse(text, n, &options, crew, NULL, NULL, &fail, &line);

    if (csv == NULL) {
        CHECK(fail.code != NULL && strlen(fail.message) > 0);
        csv = csv_parse(text, n, &options, crew, let_go, &released, &fail, &line);
        CHECK(csv == NULL && released == 1);
    }
    return csv;
}

/* Write with a column more and one replaced, read that, and find the same rows again. */
static void write_and_read(struct csv *csv, struct crew *crew)
{
    struct csv_sheet sheet;
    struct buf text, again;
    struct fail fail;
    struct csv *back;

    buf_init(&text, SIZE_MAX / 2);
    buf_init(&again, SIZE_MAX / 2);
    CHECK(csv_sheet_init(&sheet, csv) == 0);
    CHECK(csv_sheet_text(&sheet, NULL, &text, &fail) == 0);
    untouched(csv, &again);
    /* where some rows lack the delimiter, an empty last cell hides whether it is there */
    if (!csv->ragged)
        CHECK(text.len == again.len && memcmp(text.data, again.data, text.len) == 0);
    CHECK(csv_sheet_set(&sheet, "a new, \"name\"\r\n", 15, numbers_of(csv, CSV_FIXED4)) == 0);
    text.len = again.len = 0;
    CHECK(csv_sheet_text(&sheet, NULL, &text, &fail) == 0);
    CHECK(csv_sheet_write(&sheet, crew, gather, &again, &fail) == 0);
    CHECK(text.len == again.len && memcmp(text.data, again.data, text.len) == 0);
    back = read_text(text.data, text.len, csv->delimiter, NULL);
    CHECK(back != NULL && back->n_rows == csv->n_rows && back->n_rejects == 0);
    CHECK(back->n_columns == csv->n_columns + 1 + csv->extra);
    csv_unref(back);
    CHECK(csv_sheet_set(&sheet, csv->names[0].text, csv->names[0].length,
                        numbers_of(csv, CSV_SHORTEST)) == 0);
    text.len = 0;
    CHECK(csv_sheet_text(&sheet, NULL, &text, &fail) == 0);
    csv_sheet_drop(&sheet, 0);
    CHECK(csv_sheet_text(&sheet, crew, &text, &fail) == 0);
    buf_fini(&text);
    buf_fini(&again);
    csv_sheet_fini(&sheet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char delimiters[] = {0, ',', ';', '\t', '|', 0, 0, 0};
    struct crew crew = {3, backwards};
    struct csv *csv, *other;
    struct buf rejected;
    char *text;
    char delimiter;

    if (n == 0)
        return 0;
    delimiter = delimiters[*data % 8];
    text = malloc(n); /* one byte more than the text would hide a read behind it */
    CHECK(text != NULL);
    memcpy(text, data + 1, n - 1);
    text = realloc(text, n - 1 == 0 ? 1 : n - 1);
    csv_scan_path(NULL);
    csv = read_text(text, n - 1, delimiter, NULL);
    csv_scan_path("portable");
    other = read_text(text, n - 1, delimiter, &crew);
    CHECK((csv == NULL) == (other == NULL));
    if (csv != NULL) {
        check_rows(csv);
        check_rows(other);
        for (size_t k = 0; k < csv->n_columns && k < 8; k++) {
            check_column(csv, k);
            check_column(other, k);
        }
        write_and_read(other, &crew);
        buf_init(&rejected, SIZE_MAX / 2);
        CHECK(csv_rejected_text(csv, &rejected) == 0);
        buf_fini(&rejected);
    }
    csv_unref(csv);
    csv_unref(other);
    free(text);
    return 0;
}
