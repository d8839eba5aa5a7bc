/* s3_answer: reading the XML that S3 answers with, whatever it turns out to be.
 *
 * One reader for all: an error (also inside a 200), a page of a listing, the start and the end of
 * an upload in parts. What the document did not say is empty. Owned texts are released by
 * s3_answer_fini.
 */
#ifndef CORE_S3_ANSWER_H
#define CORE_S3_ANSWER_H

#include "core/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define S3_ENTRIES 100000 /* most objects of one page */

struct s3_entry {
    char *key;             /* any byte but NUL; "" when the document had none */
    char *etag;            /* without quotes */
    int64_t last_modified; /* seconds since 1970; 0 when unknown */
    int64_t size;
};

struct s3_answer {
    bool is_error;
    char code[64]; /* letters, digits and dots only */
    char message[256];
    char region[64];
    char endpoint[256];

    struct s3_entry *entries;
    size_t n_entries;
    char **prefixes; /* of a listing with a delimiter */
    size_t n_prefixes;
    bool truncated;
    char *next_token;

    char *upload_id;
    char *etag; /* of a completed upload; without quotes */
};

/* Read a document into an empty (all zero) answer. 0, or -1 ("BadXml", "NoMemory"); release it
 * with s3_answer_fini either way. */
int s3_answer_read(struct s3_answer *a, const char *data, size_t n, struct fail *fail);
void s3_answer_fini(struct s3_answer *a);

/* An ETag without its quotes: [*start, *start + result) lies inside `etag`. */
size_t s3_etag_bare(const char *etag, const char **start);

/* Copy printable characters of `text` into out[size], others as '?'; always terminated. */
void s3_printable(char *out, size_t size, const char *text);

#endif
