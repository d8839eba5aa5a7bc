/* uri: percent-encoding as S3 and Signature Version 4 want it (RFC 3986).
 *
 * Only A-Z a-z 0-9 - . _ ~ stay as they are; hexadecimal digits are upper-case.
 */
#ifndef CORE_URI_H
#define CORE_URI_H

#include "core/buf.h"

#include <stdbool.h>

/* Append the encoding of raw bytes; '/' stays when `keep_slash`. 0, or -1 as buf_add. */
int uri_encode(struct buf *out, const char *raw, size_t n, bool keep_slash);

/* Append text that is encoded already, in its one canonical spelling: an escape of an unreserved
 * byte becomes the byte, other escapes get upper-case digits, and what should have been escaped
 * is. A percent sign that begins no escape becomes %25. 0 or -1. */
int uri_canonical(struct buf *out, const char *text, size_t n, bool keep_slash);

/* Append the decoding; '+' is a space when `form`. A percent sign that begins no escape stands for
 * itself. 0 or -1. */
int uri_decode(struct buf *out, const char *text, size_t n, bool form);

#endif
