/* csv: see csv.h. Here a text is taken apart: header, survey, the choice of columns to read ahead,
 * the walk over all rows (on several threads when it is long), and what is wrong with it. */
#include "core/csv.h"

#include "core/csv_header.h"
#include "core/csv_scan.h"
#include "core/csv_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAMPLE_ROWS = 100,           /* rows that tell which columns are worth reading ahead */
    SMALL_TEXT = 64 * 1024,      /* bytes up to which all columns are */
    STRETCH_BYTES = 1024 * 1024, /* a thread's share is at least so long */
    STRETCHES = 64               /* and there are at most so many */
};

static const struct csv_limits defaults = {
    .bytes = 512u << 20, .rows = 20000000, .columns = 4096, .row_bytes = 1 << 20};

static size_t or_default(size_t limit, size_t otherwise)
{
    return limit == 0 ? otherwise : limit;
}

static struct csv_limits limits_of(const struct csv_options *options)
{
    struct csv_limits l = options->limits;

    l.bytes = or_default(l.bytes, defaults.bytes);
    l.bytes = l.bytes > UINT32_MAX ? UINT32_MAX : l.bytes;
    l.rows = or_default(l.rows, defaults.rows);
    l.columns = or_default(l.columns, defaults.columns);
    l.row_bytes = or_default(l.row_bytes, defaults.row_bytes);
    return l;
}

struct csv *csv_ref(struct csv *csv)
{
    atomic_fetch_add_explicit(&csv->refs, 1, memory_order_relaxed);
    return csv;
}

/* Forget the rows, as before the walk. */
static void drop_rows(struct csv *csv)
{
    for (size_t k = 0; csv->numbers != NULL && k < csv->n_columns; k++)
        column_unref(csv->numbers[k]);
    free(csv->numbers);
    free(csv->facts);
    free(csv->rows);
    free(csv->rejects);
    csv->numbers = NULL;
    csv->facts = NULL;
    csv->rows = NULL;
    csv->rejects = NULL;
    csv->n_rows = 0;
    csv->n_rejects = 0;
}

void csv_unref(struct csv *csv)
{
    if (csv == NULL || atomic_fetch_sub_explicit(&csv->refs, 1, memory_order_acq_rel) != 1)
        return;
    drop_rows(csv);
    free(csv->names);
    buf_fini(&csv->name_bytes);
    if (csv->release != NULL)
        csv->release(csv->owner);
    free(csv);
}

/* ---- the walk ---- */

/* What a parse needs until it is done. */
struct parse {
    struct csv *csv;
    struct csv_limits limits;
    struct csv_walk walk;
    size_t begin; /* behind the header's line */
    bool *wanted; /* columns to read ahead */
    struct csv_stretch *stretches;
    struct csv_survey *surveys;
    size_t n_stretches;
    double **cells;
    struct csv_facts *facts; /* n_stretches * n_columns */
};

static void survey_part(void *ctx, size_t i)
{
    struct parse *p = ctx;
    struct csv_stretch *s = &p->stretches[i];

    csv_scan_survey(p->csv->text + s->begin, s->end - s->begin, &p->surveys[i]);
}

static void walk_part(void *ctx, size_t i)
{
    struct parse *p = ctx;

    csv_walk(&p->walk, &p->stretches[i]);
}

/* The first place at or behind `place` that follows a line end. */
static size_t after_line_end(const struct csv *csv, size_t place)
{
    for (; place < csv->size; place++) {
        char before = csv->text[place - 1];

        if (before == '\n' || (before == '\r' && csv->text[place] != '\n'))
            break;
    }
    return place;
}

/* Divide begin..size among the threads. */
static int divide(struct parse *p, size_t least, struct crew *crew)
{
    size_t bytes = p->csv->size - p->begin;
    size_t n = crew_width(crew) > 1 ? bytes / least : 1;
    size_t place = p->begin;

    n = n < 1 ? 1 : n > STRETCHES ? STRETCHES : n;
    p->stretches = calloc(n, sizeof *p->stretches);
    p->surveys = calloc(n, sizeof *p->surveys);
    if (p->stretches == NULL || p->surveys == NULL)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct csv_stretch *s = &p->stretches[p->n_stretches];
        size_t end = i + 1 == n ? p->csv->size : p->begin + bytes / n * (i + 1);

        s->begin = place;
        s->end = i + 1 == n ? end : after_line_end(p->csv, end > place ? end : place);
        place = s->end;
        if (s->end > s->begin || i == 0)
            p->n_stretches++;
    }
    return 0;
}

/* Add up what the parts hold, and give each its slots. Returns how many slots there are. */
static size_t sum_up(struct parse *p, struct csv_survey *all)
{
    size_t slots = 0;

    for (size_t i = 0; i < p->n_stretches; i++) {
        struct csv_survey *s = &p->surveys[i];

        p->stretches[i].slot = slots;
        slots += s->lines + 1;
        all->carriage_return |= s->carriage_return;
        all->quote |= s->quote;
        all->nul |= s->nul;
    }
    return slots;
}

static int fail_at(const struct csv *csv, size_t offset, size_t *line, struct fail *fail,
                   const char *code, const char *what)
{
    *line = csv_line(csv, offset, 0, 1);
    return fail_set(fail, code, "line %zu: %s", *line, what);
}

/* Which columns are mostly numbers, judged by the first rows. */
static int take_sample(struct parse *p)
{
    struct csv_span rows[SAMPLE_ROWS + 1];
    size_t n = p->csv->n_columns;
    struct csv_walk walk = p->walk;
    struct csv_stretch s = {.begin = p->begin, .end = p->csv->size, .most = SAMPLE_ROWS};
    double *store = malloc(n * (SAMPLE_ROWS + 1) * sizeof *store);
    double **cells = malloc(n * sizeof *cells);

    s.facts = calloc(n, sizeof *s.facts);
    if (store != NULL && cells != NULL && s.facts != NULL) {
        for (size_t k = 0; k < n; k++)
            cells[k] = store + k * (SAMPLE_ROWS + 1);
        walk.rows = rows;
        walk.cells = cells;
        csv_walk(&walk, &s);
        for (size_t k = 0; k < n; k++)
            p->wanted[k] = s.facts[k].finite > s.facts[k].bad;
    } else {
        s.error = CSV_WALK_MEMORY;
    }
    free(store);
    free(cells);
    free(s.facts);
    free(s.rejects);
    return s.error == CSV_WALK_MEMORY ? -1 : 0;
}

static int choose_columns(struct parse *p, const struct csv_options *options)
{
    p->wanted = calloc(p->csv->n_columns, sizeof *p->wanted);
    if (p->wanted == NULL)
        return -1;
    if (options->text_only)
        return 0;
    if (p->csv->size > SMALL_TEXT)
        return take_sample(p);
    memset(p->wanted, true, p->csv->n_columns * sizeof *p->wanted);
    return 0;
}

static int make_room(struct parse *p, size_t slots)
{
    struct csv *csv = p->csv;

    csv->rows = malloc(slots * sizeof *csv->rows);
    csv->numbers = calloc(csv->n_columns, sizeof(struct column *));
    csv->facts = calloc(csv->n_columns, sizeof *csv->facts);
    p->cells = calloc(csv->n_columns, sizeof *p->cells);
    p->facts = calloc(csv->n_columns * p->n_stretches, sizeof *p->facts);
    if (csv->rows == NULL || csv->numbers == NULL || csv->facts == NULL || p->cells == NULL ||
        p->facts == NULL)
        return -1;
    for (size_t k = 0; k < csv->n_columns; k++) {
        if (!p->wanted[k])
            continue;
        csv->numbers[k] = column_new(slots);
        if (csv->numbers[k] == NULL)
            return -1;
        p->cells[k] = csv->numbers[k]->cells;
    }
    return 0;
}

/* Where a stretch did not stop where the next one began (a quoted field runs over the border), the
 * next one is walked again from there. */
static void mend(struct parse *p)
{
    for (size_t i = 1; i < p->n_stretches; i++) {
        struct csv_stretch *s = &p->stretches[i];
        const struct csv_stretch *before = s - 1;

        if (before->error != CSV_WALK_OK || before->stop == s->begin)
            continue;
        free(s->rejects);
        memset(s->facts, 0, p->csv->n_columns * sizeof *s->facts);
        *s = (struct csv_stretch){.begin = before->stop,
                                  .end = s->end,
                                  .slot = s->slot,
                                  .most = s->most,
                                  .facts = s->facts};
        csv_walk(&p->walk, s);
    }
}

static void add_facts(struct csv_facts *sum, const struct csv_facts *part)
{
    sum->missing += part->missing;
    sum->finite += part->finite;
    sum->bad += part->bad;
    sum->booleans += part->booleans;
    for (size_t i = 0; i < part->n_first && sum->n_first < CSV_FIRST_BAD; i++)
        sum->first[sum->n_first++] = part->first[i];
}

/* Close the gaps between the stretches' slots. */
static void join_rows(struct parse *p, const struct csv_stretch *s)
{
    struct csv *csv = p->csv;

    if (csv->n_rows != s->slot) {
        memmove(csv->rows + csv->n_rows, csv->rows + s->slot, s->n_rows * sizeof *csv->rows);
        for (size_t k = 0; k < csv->n_columns; k++)
            if (p->cells[k] != NULL)
                memmove(p->cells[k] + csv->n_rows, p->cells[k] + s->slot,
                        s->n_rows * sizeof(double));
    }
    csv->n_rows += s->n_rows;
    for (size_t k = 0; k < csv->n_columns; k++)
        add_facts(&csv->facts[k], &s->facts[k]);
}

static int join_rejects(struct parse *p)
{
    struct csv *csv = p->csv;
    size_t n = 0;

    for (size_t i = 0; i < p->n_stretches; i++)
        n += p->stretches[i].n_rejects;
    if (n == 0)
        return 0;
    csv->rejects = malloc(n * sizeof *csv->rejects);
    if (csv->rejects == NULL)
        return -1;
    for (size_t i = 0; i < p->n_stretches; i++) {
        const struct csv_stretch *s = &p->stretches[i];

        if (s->n_rejects > 0)
            memcpy(csv->rejects + csv->n_rejects, s->rejects, s->n_rejects * sizeof *s->rejects);
        csv->n_rejects += s->n_rejects;
    }
    return 0;
}

/* What stopped the walk, if anything did. */
static int check_stretch(const struct parse *p, const struct csv_stretch *s, struct fail *fail,
                         size_t *line)
{
    char what[96];

    switch (s->error) {
    case CSV_WALK_OPEN_QUOTE:
        return fail_at(p->csv, s->where, line, fail, "UnclosedQuote",
                       "the quote that opens here never closes");
    case CSV_WALK_LONG_ROW:
        snprintf(what, sizeof what, "a row of more bytes than max_row_bytes = %zu",
                 p->limits.row_bytes);
        return fail_at(p->csv, s->where, line, fail, "TooLarge", what);
    case CSV_WALK_ROWS:
        snprintf(what, sizeof what, "more rows than max_rows = %zu", p->limits.rows);
        return fail_at(p->csv, s->where, line, fail, "TooLarge", what);
    case CSV_WALK_MEMORY:
        return fail_memory(fail);
    case CSV_WALK_OK:
        break;
    }
    return 0;
}

static int join(struct parse *p, struct fail *fail, size_t *line)
{
    for (size_t i = 0; i < p->n_stretches; i++) {
        if (check_stretch(p, &p->stretches[i], fail, line) != 0)
            return -1;
        join_rows(p, &p->stretches[i]);
    }
    for (size_t k = 0; k < p->csv->n_columns; k++)
        if (p->csv->numbers[k] != NULL)
            p->csv->numbers[k]->n = p->csv->n_rows;
    return join_rejects(p) == 0 ? 0 : fail_memory(fail);
}

static void reset_stretches(struct parse *p)
{
    for (size_t i = 0; i < p->n_stretches; i++) {
        struct csv_stretch *s = &p->stretches[i];

        free(s->rejects);
        *s = (struct csv_stretch){.begin = s->begin,
                                  .end = s->end,
                                  .slot = s->slot,
                                  .most = p->limits.rows,
                                  .facts = p->facts + i * p->csv->n_columns};
        memset(s->facts, 0, p->csv->n_columns * sizeof *s->facts);
    }
}

static bool in_trouble(const struct parse *p)
{
    size_t rows = 0;

    for (size_t i = 0; i < p->n_stretches; i++) {
        rows += p->stretches[i].n_rows + p->stretches[i].n_rejects;
        if (p->stretches[i].error != CSV_WALK_OK)
            return true;
    }
    return rows > p->limits.rows;
}

static int walk_all(struct parse *p, struct crew *crew, struct fail *fail, size_t *line)
{
    reset_stretches(p);
    crew_each(crew, p->n_stretches, walk_part, p);
    mend(p);
    /* What is wrong, and where first, is found by reading in order. */
    if (p->n_stretches > 1 && in_trouble(p)) {
        for (size_t i = 1; i < p->n_stretches; i++)
            free(p->stretches[i].rejects);
        p->n_stretches = 1;
        p->stretches[0].end = p->csv->size;
        reset_stretches(p);
        walk_part(p, 0);
    }
    return join(p, fail, line);
}

/* Rows that end with a delimiter too many are taken where they are the most; where they are not,
 * they are rows with too many fields. */
static int walk_twice(struct parse *p, struct crew *crew, size_t slots, struct fail *fail,
                      size_t *line)
{
    struct csv *csv = p->csv;
    size_t n_extra = 0;

    for (p->walk.extra = true;; p->walk.extra = false) {
        if (make_room(p, slots) != 0)
            return fail_memory(fail);
        p->walk.rows = csv->rows;
        p->walk.cells = p->cells;
        if (walk_all(p, crew, fail, line) != 0)
            return -1;
        for (size_t i = 0; i < p->n_stretches; i++)
            n_extra += p->stretches[i].n_extra;
        if (!p->walk.extra || n_extra == 0 || n_extra > csv->n_rows - n_extra)
            break;
        drop_rows(csv);
        free(p->cells);
        free(p->facts);
        p->cells = NULL;
        p->facts = NULL;
        n_extra = 0;
    }
    csv->extra = n_extra > 0;
    csv->ragged = n_extra > 0 && n_extra < csv->n_rows;
    return 0;
}

/* ---- the whole ---- */

static int read_rows(struct parse *p, const struct csv_options *options, struct crew *crew,
                     struct fail *fail, size_t *line)
{
    struct csv *csv = p->csv;
    struct csv_survey all = {.lines = 0};
    size_t slots;

    if (divide(p, or_default(options->stretch, STRETCH_BYTES), crew) != 0)
        return fail_memory(fail);
    crew_each(crew, p->n_stretches, survey_part, p);
    slots = sum_up(p, &all);
    if (all.nul) {
        const char *nul = memchr(csv->text + p->begin, 0, csv->size - p->begin);

        return fail_at(csv, (size_t)(nul - csv->text), line, fail, "NulByte",
                       "a NUL byte: this is no text, or it was cut or damaged on its way");
    }
    p->walk = (struct csv_walk){.text = csv->text,
                                .size = csv->size,
                                .delimiter = csv->delimiter,
                                .carriage_return = all.carriage_return,
                                .quotes = all.quote,
                                .extra = true,
                                .n_columns = csv->n_columns,
                                .row_bytes = p->limits.row_bytes};
    if (choose_columns(p, options) != 0)
        return fail_memory(fail);
    return walk_twice(p, crew, slots, fail, line);
}

/* A column of True and False alone is left to csv_numbers, which reads it as 1 and 0; elsewhere the
 * words are bad cells like any other. */
static void settle_booleans(struct csv *csv)
{
    for (size_t k = 0; k < csv->n_columns; k++) {
        struct csv_facts *f = &csv->facts[k];

        if (f->booleans > 0 && f->booleans == f->bad && f->finite == 0) {
            column_unref(csv->numbers[k]);
            csv->numbers[k] = NULL;
        }
        f->booleans = 0;
    }
}

static int check_fit(const struct csv *csv, struct fail *fail, size_t *line)
{
    const struct csv_reject *first = csv->rejects;

    if (csv->n_rows > 0 || csv->n_rejects == 0)
        return 0;
    *line = csv_line(csv, first->row.start, 0, 1);
    return fail_set(fail, "NoRowFits",
                    "line %zu: no row fits the header: it names %zu column%s, this row has %zu "
                    "field%s",
                    *line, csv->n_columns, csv->n_columns == 1 ? "" : "s", first->fields,
                    first->fields == 1 ? "" : "s");
}

static int parse(struct parse *p, const struct csv_options *options, struct crew *crew,
                 struct fail *fail, size_t *line)
{
    struct csv *csv = p->csv;

    if (csv->size > p->limits.bytes)
        return fail_set(fail, "TooLarge", "the file has %zu bytes, more than max_bytes = %zu",
                        csv->size, p->limits.bytes);
    p->begin = csv_header_read(csv, options->delimiter, &p->limits, fail, line);
    if (p->begin == 0)
        return -1;
    *line = 0;
    if (read_rows(p, options, crew, fail, line) != 0)
        return -1;
    settle_booleans(csv);
    return check_fit(csv, fail, line);
}

struct csv *csv_parse(const char *text, size_t size, const struct csv_options *options,
                      struct crew *crew, void (*release)(void *owner), void *owner,
                      struct fail *fail, size_t *line)
{
    struct parse p = {.csv = calloc(1, sizeof *p.csv), .limits = limits_of(options)};
    int status;

    *line = 0;
    if (p.csv == NULL) {
        if (release != NULL)
            release(owner);
        fail_memory(fail);
        return NULL;
    }
    atomic_init(&p.csv->refs, 1);
    p.csv->text = text;
    p.csv->size = size;
    p.csv->release = release;
    p.csv->owner = owner;
    status = parse(&p, options, crew, fail, line);
    for (size_t i = 0; i < p.n_stretches; i++)
        free(p.stretches[i].rejects);
    free(p.stretches);
    free(p.surveys);
    free(p.cells);
    free(p.facts);
    free(p.wanted);
    if (status == 0)
        return p.csv;
    csv_unref(p.csv);
    return NULL;
}
