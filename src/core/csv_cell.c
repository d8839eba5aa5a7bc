/* csv_cell: see csv_cell.h. */
#include "core/csv_cell.h"

#include "core/csv_plain.h"
#include "core/number.h"

#include <math.h>
#include <string.h>

const double csv_plain_powers[16] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                     1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

enum { LONGEST_WORD = 8 };

static const char *const missing_words[] = {
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A",      "NA",  "NULL",    "NaN",      "n/a",  "nan",  "null",
};

static const char *const true_words[] = {"True", "TRUE", "true"};
static const char *const false_words[] = {"False", "FALSE", "false"};

static bool among(const char *text, size_t n, const char *const *words, size_t n_words)
{
    for (size_t i = 0; i < n_words; i++)
        if (words[i][0] == text[0] && strlen(words[i]) == n && memcmp(words[i], text, n) == 0)
            return true;
    return false;
}

#define AMONG(text, n, words) among(text, n, words, sizeof words / sizeof *words)

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

size_t csv_cell_trim_blanks(const char **raw, size_t n)
{
    while (n > 0 && is_blank(**raw)) {
        (*raw)++;
        n--;
    }
    while (n > 0 && is_blank((*raw)[n - 1]))
        n--;
    return n;
}

size_t csv_cell_trim(const char **raw, size_t n)
{
    n = csv_cell_trim_blanks(raw, n);
    if (n >= 2 && **raw == '"' && (*raw)[n - 1] == '"') {
        (*raw)++;
        n = csv_cell_trim_blanks(raw, n - 2);
    }
    return n;
}

enum csv_kind csv_cell_kind(const char *raw, size_t n, double *value)
{
    *value = NAN;
    n = csv_cell_trim(&raw, n);
    if (n == 0)
        return CSV_MISSING;
    if (number_parse(raw, n, value) == NUMBER_FINITE)
        return CSV_NUMBER;
    *value = NAN;
    if (n > LONGEST_WORD)
        return CSV_TEXT;
    if (AMONG(raw, n, missing_words))
        return CSV_MISSING;
    if (AMONG(raw, n, true_words))
        *value = 1;
    else if (AMONG(raw, n, false_words))
        *value = 0;
    else
        return CSV_TEXT;
    return CSV_BOOLEAN;
}

static char *copy(char *out, const char *from, const char *to)
{
    memcpy(out, from, (size_t)(to - from));
    return out + (to - from);
}

size_t csv_cell_decode(const char *raw, size_t n, char *out)
{
    const char *end = raw + n;
    const char *quote;
    char *p = out;

    if (n == 0)
        return 0;
    if (*raw == '"') {
        for (raw++; (quote = memchr(raw, '"', (size_t)(end - raw))) != NULL; raw = quote + 2) {
            if (quote + 1 == end || quote[1] != '"') {
                /* the closing one; what may follow it is taken as it is */
                p = copy(p, raw, quote);
                raw = quote + 1;
                break;
            }
            p = copy(p, raw, quote + 1);
        }
    }
    return (size_t)(copy(p, raw, end) - out);
}

static bool needs_quotes(const char *text, size_t n, char delimiter)
{
    if (n == 0)
        return false;
    if (is_blank(text[0]) || is_blank(text[n - 1]))
        return true;
    for (size_t i = 0; i < n; i++)
        if (text[i] == delimiter || text[i] == '"' || text[i] == '\n' || text[i] == '\r')
            return true;
    return false;
}

int csv_cell_encode(const char *text, size_t n, char delimiter, struct buf *out)
{
    if (!needs_quotes(text, n, delimiter))
        return buf_add(out, text, n);
    if (buf_addc(out, '"') != 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if ((text[i] == '"' && buf_addc(out, '"') != 0) || buf_addc(out, text[i]) != 0)
            return -1;
    return buf_addc(out, '"');
}
