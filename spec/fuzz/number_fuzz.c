/* number_fuzz: the number reader and writer against strtod and each other.
 *
 * The input is taken as a text to read, and its first eight bytes as a double to write. */
#include "check.h"

#include "core/csv_plain.h"
#include "core/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static size_t digits_at(const char *p)
{
    return strspn(p, "0123456789");
}

/* The grammar of number.h, written once more: is this terminated text a decimal? */
static bool is_decimal(const char *p)
{
    size_t whole, places = 0;

    p += strspn(p, " \t\n\v\f\r");
    p += *p == '-' || *p == '+';
    whole = digits_at(p);
    p += whole;
    if (*p == '.') {
        places = digits_at(p + 1);
        p += 1 + places;
    }
    if (whole + places == 0)
        return false;
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '-' || p[1] == '+');
        if (digits_at(p) == 0)
            return false;
        p += digits_at(p);
    }
    p += strspn(p, " \t\n\v\f\r");
    return *p == 0;
}

static void read_text(const uint8_t *data, size_t n)
{
    char *exact = malloc(n + 1); /* so that a read behind the text is seen */
    char *reach = malloc(n + 1 + PLAIN_REACH);
    double x, plain;
    enum number_kind kind;

    CHECK(exact != NULL && reach != NULL);
    memcpy(exact, data, n);
    exact[n] = 0;
    memset(reach, '7', PLAIN_REACH);
    memcpy(reach + PLAIN_REACH, data, n);
    kind = number_parse(exact, n, &x);
    CHECK((kind == NUMBER_NOT) == (isnan(x) != 0) && (kind == NUMBER_INFINITE) == (isinf(x) != 0));
    if (strlen(exact) < n) {
        CHECK(kind == NUMBER_NOT);
    } else if (is_decimal(exact)) {
        CHECK(kind != NUMBER_NOT && same(x, strtod(exact, NULL)));
    } else {
        CHECK(kind == NUMBER_NOT || strpbrk(exact, "iI") != NULL);
    }
    if (plain_number(reach + PLAIN_REACH, n, &plain))
        CHECK(kind == NUMBER_FINITE && same(plain, x));
    free(exact);
    free(reach);
}

/* How many digits a text has, zeros at either end left out. */
static int significant(const char *text)
{
    int digits = 0, zeros = 0;

    for (const char *p = text; *p != 0 && *p != 'e'; p++) {
        if (*p == '0')
            zeros += digits > 0;
        else if (*p >= '1' && *p <= '9') {
            digits += zeros + 1;
            zeros = 0;
        }
    }
    return digits;
}

static void write_number(double x)
{
    char text[NUMBER_MAX + 1], shorter[64];
    size_t n = number_shortest(x, text);
    double back, scaled;
    int digits;

    CHECK(n < NUMBER_MAX);
    text[n] = 0;
    if (isnan(x)) {
        CHECK(strcmp(text, "nan") == 0);
        return;
    }
    CHECK(number_parse(text, n, &back) != NUMBER_NOT && same(back, x));
    CHECK(same(strtod(text, NULL), x));
    /* the fewest digits: what one less can say is another number */
    if (isfinite(x) && x != 0) {
        digits = significant(text);
        snprintf(shorter, sizeof shorter, "%.*e", digits < 2 ? 0 : digits - 2, x);
        CHECK(digits <= 17 && (digits < 2 || !same(strtod(shorter, NULL), x)));
    }
    scaled = rint(x * 10000) / 10000;
    n = number_fixed4(x, text);
    text[n] = 0;
    CHECK(same(number_round4(x), scaled));
    n = number_shortest(scaled, shorter);
    CHECK(n == strlen(text) && memcmp(text, shorter, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    double x;

    read_text(data, n);
    if (n < sizeof x)
        return 0;
    memcpy(&x, data, sizeof x);
    write_number(x);
    write_number(rint(x) / 10000);
    return 0;
}
