/* xml: reading the small XML answers of S3 and STS.
 *
 * A document is reported element by element as it closes: its path from the root ("Error/Code",
 * names without a namespace's prefix) and the text directly inside. Bounded: depth, length of a
 * path and of a text are limited, and a document type declaration (and with it every entity beyond
 * the five of XML) is refused. White space before the document is passed over.
 */
#ifndef CORE_XML_H
#define CORE_XML_H

#include "core/fail.h"

#include <stddef.h>

#define XML_DEPTH 16
#define XML_PATH 512
#define XML_TEXT (64 * 1024)

/* An element has closed. `text` is NUL-terminated (not counted in n) and may be overwritten.
 * Not 0 ends the reading as a failure for want of memory or room. */
typedef int xml_element(void *ctx, const char *path, char *text, size_t n);

/* Read a whole document. 0, or -1: "BadXml" with the line and what is wrong, "NoMemory". */
int xml_read(const char *data, size_t n, xml_element *element, void *ctx, struct fail *fail);

#endif
