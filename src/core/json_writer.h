/* json_writer: the leaves of a JSON text: strings, numbers and line breaks, into a buffer.
 *
 * Layout is Python's: doubles as repr() writes them, strings as json.dumps(ensure_ascii=False)
 * escapes them (so a line feed is \n, other control characters \u00xx, DEL and everything beyond
 * ASCII stays). All functions return 0, or -1 when the buffer cannot take more (see buf.h); what
 * they had written by then stays in the buffer.
 */
#ifndef CORE_JSON_WRITER_H
#define CORE_JSON_WRITER_H

#include "core/buf.h"

/* text[0..n-1] in quotes. Bytes that are not UTF-8 become U+FFFD, one for each longest piece that
 * begins a character but does not end it, and one for each byte that begins none (The Unicode
 * Standard, 3.9, "U+FFFD Substitution of Maximal Subparts"): the output is UTF-8 whatever came in. */
int json_writer_string(struct buf *b, const char *text, size_t n);

/* A finite double in the shortest form that reads back: 22.0, 1e-05. */
int json_writer_double(struct buf *b, double x);

int json_writer_integer(struct buf *b, long long i);

/* A line feed and `spaces` spaces. */
int json_writer_line(struct buf *b, size_t spaces);

#endif
