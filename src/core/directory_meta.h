/* directory_meta: the metadata of an object, and the sidecar file that carries it.
 *
 * Metadata is a small set of names and texts, as S3's user metadata: names lower-case, at most
 * 2048 bytes of names and texts together.
 *
 * A sidecar is a text that says which metadata belongs to which content, known by its ETag. It
 * holds one or two records: while an object is being replaced, one for the old content and one for
 * the new. So whichever of the two a reader finds in place, its metadata is there, and the moment
 * of the change is the one rename of the content.
 *
 *     anomalyd-metadata 1
 *     key state/baseline.json
 *     object 0cc175b9c0f1b6a831c399e269772661
 *     meta ledger raw/a.csv
 *     object 92eb5ffee6ae2fec3ad71c777531578f
 *     end
 */
#ifndef CORE_DIRECTORY_META_H
#define CORE_DIRECTORY_META_H

#include "core/buf.h"
#include "core/directory_key.h"
#include "core/fail.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    DIRECTORY_META_MAX = 2048,        /* bytes of names and texts */
    DIRECTORY_SIDECAR_MAX = 32 * 1024 /* bytes of a sidecar */
};

/* An ETag: the MD5 of the content in lower-case hex, terminated. */
typedef char directory_etag[33];

/* Names and texts one after the other, each terminated, ordered by name. Zeroed is empty. */
struct directory_meta {
    char *data;
    size_t len;
    size_t n; /* pairs */
};

void directory_meta_fini(struct directory_meta *meta);

/* Add a pair: the name is lower-cased, blanks around the value are dropped, as HTTP does. 0, or -1
 * with "MetadataTooLarge" or "InvalidMetadata" (a name that is no HTTP token or is there already, a
 * value with control bytes). */
int directory_meta_add(struct directory_meta *meta, const char *name, size_t name_len,
                       const char *value, size_t value_len, struct fail *fail);

/* The pair at *at (begin with 0), which is moved on; false at the end. */
bool directory_meta_next(const struct directory_meta *meta, size_t *at, const char **name,
                         const char **value);

/* `to` (empty before) becomes a copy of `from`. 0, or -1 when memory is short. */
int directory_meta_copy(struct directory_meta *to, const struct directory_meta *from);

struct directory_record {
    directory_etag etag;
    struct directory_meta meta;
};

/* Zeroed is empty. */
struct directory_sidecar {
    struct directory_record records[2];
    size_t n;
};

void directory_sidecar_fini(struct directory_sidecar *sidecar);

/* The metadata recorded for this content, or NULL. */
const struct directory_meta *directory_sidecar_find(const struct directory_sidecar *sidecar,
                                                    const char *etag);

/* Append a record with a copy of `meta` (NULL is empty). 0, or -1 when memory is short. */
int directory_sidecar_add(struct directory_sidecar *sidecar, const char *etag,
                          const struct directory_meta *meta);

/* Read a sidecar of `key` (empty before the call). 0, or -1 with code "MetadataCorrupt" and the
 * line; the caller finishes it in both cases. */
int directory_sidecar_parse(struct directory_sidecar *sidecar, const struct directory_key *key,
                            const char *text, size_t len, struct fail *fail);

/* Append its text to `out`. 0, or -1 when memory is short. */
int directory_sidecar_format(const struct directory_sidecar *sidecar,
                             const struct directory_key *key, struct buf *out);

#endif
