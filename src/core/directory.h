/* directory: a folder that behaves like an S3 bucket.
 *
 * Objects are the regular files under the folder, keys their paths. What is promised:
 *  - A put is atomic and durable: after it returned, a power cut leaves the new object; before, the
 *    old one or the new one, never a part. Its metadata changes in the same instant.
 *  - Conditional puts are atomic between threads and between processes that use this module, also
 *    on one folder; puts to different keys do not wait for each other.
 *  - Nothing outside the folder is touched: symbolic links inside it are not followed. What is not a
 *    regular file (folder, pipe, device, link) is not an object.
 *  - Files that people copy in by hand are objects as well, without metadata. A file that changes
 *    while it is read is never given out half.
 *
 * Beside the objects lies the folder `.anomalyd`: `lock` (a byte range for each key), `meta`
 * (sidecars, see directory_meta.h, under the SHA-256 of the key), `tmp` (unfinished files, a folder
 * for each process, held by a lock and removed by the next one when its process has died).
 *
 * ETag is the MD5 of the content in hex, as S3 has it for simple puts, without quotes. Metadata
 * belongs to the content it was put with: the same bytes put back by hand have it again.
 *
 * Every call blocks, may be made from any thread, and says its failure in `fail`. Codes beside
 * those of keys and metadata: "NoSuchKey", "NoSuchBucket", "PreconditionFailed", "KeyConflict" (a
 * file stands where the key needs a folder, or the other way round), "TooLarge", "Changing", "Busy"
 * (a process that was stopped holds the lock of the key), "AccessDenied", "NoSpace",
 * "TooManyFiles", "IOError", "NoMemory", "MetadataCorrupt".
 */
#ifndef CORE_DIRECTORY_H
#define CORE_DIRECTORY_H

#include "core/crew.h"
#include "core/directory_key.h"
#include "core/directory_meta.h"
#include "core/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { DIRECTORY_PAGE_MAX = 1000 };

/* The most bytes of one object that a get reads when the caller says nothing. */
#define DIRECTORY_LIMIT ((size_t)1 << 30)

struct directory;

struct directory_options {
    bool create;    /* make the folder (and those above it) when it is not there */
    bool read_only; /* never write: no `.anomalyd` is made, puts and deletes fail */
};

/* Open the bucket at `path`, with one reference; NULL and `fail` when it is no folder that can be
 * read. A folder that cannot be written opens as well: see directory_writable. Unfinished files of
 * processes that have died are removed. */
struct directory *directory_open(const char *path, const struct directory_options *options,
                                 struct fail *fail);
void directory_ref(struct directory *d);
void directory_unref(struct directory *d);

/* The last component of the path, and the whole path without links. Live as long as d. */
const char *directory_name(const struct directory *d);
const char *directory_path(const struct directory *d);
bool directory_is_read_only(const struct directory *d);

/* Is the folder still the one that was opened, and can objects be written? 0, or -1 with the reason
 * and the remedy. Tries it with a file in `.anomalyd/tmp`. */
int directory_writable(struct directory *d, struct fail *fail);

/* When the file last changed in any way, by the file system's clock: it moves with the content and
 * also when another file takes the name, whatever times that file brings along. Two looks at a key
 * that give the same `changed` and size saw the same content. */
int64_t directory_changed(const struct stat *st);

struct directory_object {
    char *body; /* NULL from directory_head */
    size_t size;
    directory_etag etag;
    int64_t modified; /* seconds since 1970 */
    int64_t changed;  /* nanoseconds since 1970: see directory_changed */
    struct directory_meta meta;
};

void directory_object_fini(struct directory_object *object);

/* Read an object, or all about it but its body. 0 or -1; `object` is overwritten and owned by the
 * caller after 0. `limit` is the most bytes the body may have. */
int directory_get(struct directory *d, const struct directory_key *key, size_t limit,
                  struct directory_object *object, struct fail *fail);
int directory_head(struct directory *d, const struct directory_key *key,
                   struct directory_object *object, struct fail *fail);

/* Is the file finished, as far as can be known? 1 when no process has it open for writing, 0 when
 * one has, -1 with `fail`. Where the system does not tell (another user's file, some network file
 * systems), finished means that it has not changed for two seconds. *size is how large it is now. */
int directory_complete(struct directory *d, const struct directory_key *key, size_t *size,
                       struct fail *fail);

struct directory_put {
    struct directory_key key;
    const char *body;
    size_t body_len;
    const struct directory_meta *meta; /* NULL for none */
    const char *if_match;              /* the ETag the object must have, or NULL */
    bool if_absent;                    /* only when there is no such object */
    /* results */
    struct fail failure; /* code is NULL when it is done; set before the call: it is left out */
    directory_etag etag;
    int64_t changed;
};

/* Write one object. 0, or -1 with `put->failure`. With `if_match` a missing object is "NoSuchKey",
 * as on S3. */
int directory_put(struct directory *d, struct directory_put *put);

/* Write many objects, each atomic by itself, in the order given where keys are equal. Cheaper than
 * one by one: their writes to the disk overlap, and each folder is synced once for up to
 * DIRECTORY_GROUP of them. All that succeeded are durable on return. Returns how many failed. */
enum { DIRECTORY_GROUP = 128 };
size_t directory_put_all(struct directory *d, struct directory_put *puts, size_t n,
                         struct crew *crew);

/* Remove an object and its metadata, durably; one that is not there is removed already. */
int directory_delete(struct directory *d, const struct directory_key *key, struct fail *fail);

struct directory_entry {
    char *key;
    uint64_t size;
    int64_t modified;
    int64_t changed;
    directory_etag etag; /* empty when it is not known without reading the file */
};

struct directory_page {
    size_t n;
    struct directory_entry entries[DIRECTORY_PAGE_MAX];
};

void directory_page_fini(struct directory_page *page);

/* A walk over the keys that begin with `prefix` and come after `start_after` (both terminated, any
 * bytes), in the order of their bytes. It holds a bounded part of the names and no open file; what
 * is added or removed meanwhile may or may not be seen. Used by one thread at a time. NULL when
 * memory is short. */
struct directory_list;
struct directory_list *directory_list_new(struct directory *d, const char *prefix,
                                          const char *start_after);
void directory_list_free(struct directory_list *list);

/* The next `max` (1..DIRECTORY_PAGE_MAX) keys. A page with n == 0 is the end. 0 or -1; `page` is
 * overwritten and owned by the caller after 0. A failure ends the walk. */
int directory_list_page(struct directory_list *list, size_t max, struct directory_page *page,
                        struct fail *fail);

#endif
