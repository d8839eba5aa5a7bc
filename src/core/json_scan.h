/* json_scan: one pass over a JSON text before another reader gets it.
 *
 * It refuses what readers let through (control characters in strings, unknown escapes, numbers of
 * other shapes or beyond the range of a double, too many levels) and writes the text anew with marks
 * in the place of what a reader would lose. A mark begins with the byte FF, which no UTF-8 text has:
 *
 *   {"a":1}     {"\xFF":1,"a":1}    the number of the object, from 1, in the order of their braces
 *   []          ["\xFF"]
 *   22.0        "\xFF22.0"          whole values with a fraction, an exponent or 16 digits or more
 *
 * It looks at words only: whether they stand in the right order is the reader's to say. Pure; memory
 * is bounded by a few times that of the text.
 */
#ifndef CORE_JSON_SCAN_H
#define CORE_JSON_SCAN_H

#include "core/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum { JSON_SCAN_DEPTH = 100 };

enum json_scan_result {
    JSON_SCAN_DONE,
    JSON_SCAN_MEMORY,
    JSON_SCAN_UNEXPECTED, /* at `at` begins no JSON word */
    JSON_SCAN_STRING,     /* the string that begins at `at` is wrong at `place`: `reason` */
    JSON_SCAN_RANGE,      /* the number at `at` is beyond the range of a double */
    JSON_SCAN_DEEP,       /* the bracket at `at` is one level too many */
    JSON_SCAN_MANY        /* the word at `at` is one too many */
};

/* A name of an object, in the order of the text. */
struct json_scan_name {
    size_t at, len; /* between the quotes */
    size_t object;  /* its object's number, from 1 */
    bool escaped;   /* holds a backslash */
};

struct json_scan {
    struct buf marked;
    struct buf names; /* of struct json_scan_name */
    size_t objects;   /* that are not empty */
    size_t at, place; /* what is wrong, counted from 0 */
    const char *reason;
};

/* Scan text[0..len-1] for at most max_depth (<= JSON_SCAN_DEPTH) levels and max_values names and
 * values. The result's fields are to be released with json_scan_fini in any case. */
enum json_scan_result json_scan(struct json_scan *s, const char *text, size_t len, int max_depth,
                                size_t max_values);

void json_scan_fini(struct json_scan *s);

#endif
