/* directory_read: get, head, complete, and what stands at a place. See directory.h. */
#include "core/directory_private.h"

#include "core/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, TRIES = 6 };

int64_t directory_changed(const struct stat *st)
{
    return (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

static int no_such_key(const struct directory_key *key, struct fail *fail)
{
    return fail_set(fail, "NoSuchKey", "there is no object \"%.300s\"", key->text);
}

/* ENOTDIR: a component above is a file or a link, so there is no such object. */
static int open_fail(int err, const struct directory_key *key, struct fail *fail)
{
    if (err == ENOENT || err == ENOTDIR || err == ELOOP)
        return no_such_key(key, fail);
    return path_fail(fail, err, "read", key->text);
}

bool content_again(int attempt)
{
    struct timespec t = {0, 1000000L << attempt};

    if (attempt + 1 >= TRIES)
        return false;
    nanosleep(&t, NULL);
    return true;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* The same bytes? The change time also moves when the file's last name goes, as in a put over it;
 * that leaves the bytes alone. */
static bool same_bytes(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && same_time(&a->st_mtim, &b->st_mtim) &&
           (same_time(&a->st_ctim, &b->st_ctim) || b->st_nlink == 0);
}

/* read() until `n` bytes or the end. */
static ssize_t read_full(int fd, char *into, size_t n)
{
    size_t got = 0;

    while (got < n) {
        ssize_t more = read(fd, into + got, n - got);

        if (more < 0 && errno == EINTR)
            continue;
        if (more < 0)
            return -1;
        if (more == 0)
            break;
        got += (size_t)more;
    }
    return (ssize_t)got;
}

/* Read the body, and one byte more, which must not be there. 0; 1 when the size has changed; -1
 * with errno. */
static int read_body(int fd, struct content *c)
{
    size_t size = (size_t)c->st.st_size;
    ssize_t got;

    c->body = malloc(size + 1);
    if (c->body == NULL) {
        errno = ENOMEM;
        return -1;
    }
    got = read_full(fd, c->body, size + 1);
    if (got < 0)
        return -1;
    if ((size_t)got != size)
        return 1;
    if (digest_md5_hex(c->body, size, c->etag) == 0)
        return 0;
    errno = ENOMEM;
    return -1;
}

/* Read the file for its ETag alone. As read_body. */
static int read_etag(int fd, struct content *c)
{
    char *chunk = malloc(CHUNK);
    EVP_MD_CTX *sum = chunk == NULL ? NULL : etag_begin();
    off_t size = 0;
    ssize_t got = -1;

    errno = ENOMEM;
    while (sum != NULL && size <= c->st.st_size && (got = read_full(fd, chunk, CHUNK)) > 0) {
        EVP_DigestUpdate(sum, chunk, (size_t)got);
        size += got;
    }
    if (sum != NULL)
        etag_end(sum, c->etag);
    free(chunk);
    if (got < 0)
        return -1;
    return size != c->st.st_size;
}

static int read_open(struct directory *d, int fd, bool want_body, struct content *c)
{
    struct stat after;
    int result;

    if (!want_body && etag_cache_get(d->etags, &c->st, c->etag))
        return 0;
    result = want_body ? read_body(fd, c) : read_etag(fd, c);
    if (result == 0 && fstat(fd, &after) != 0)
        return -1;
    if (result == 0 && !same_bytes(&c->st, &after))
        return 1;
    if (result == 0)
        etag_cache_put(d->etags, &c->st, c->etag);
    return result;
}

int content_read(struct directory *d, int parent, const char *leaf, const struct directory_key *key,
                 bool want_body, size_t limit, struct content *c, struct fail *fail)
{
    int fd, result, err;

    memset(c, 0, sizeof *c);
    fd = path_file(parent, leaf, &c->st);
    if (fd == -1)
        return open_fail(errno, key, fail);
    if (want_body && (uint64_t)c->st.st_size > limit) {
        close(fd);
        return fail_set(fail, "TooLarge", "the object \"%.300s\" has %lld bytes, more than %zu",
                        key->text, (long long)c->st.st_size, limit);
    }
    result = read_open(d, fd, want_body, c);
    err = errno;
    close(fd);
    if (result == 0)
        return 0;
    free(c->body);
    c->body = NULL;
    return result == 1 ? 1 : path_fail(fail, err, "read", key->text);
}

static int changing(const struct directory_key *key, struct fail *fail)
{
    return fail_set(fail, "Changing", "the object \"%.300s\" is being changed; try again later",
                    key->text);
}

int content_settle(struct directory *d, int parent, const char *leaf,
                   const struct directory_key *key, struct content *content, struct fail *fail)
{
    for (int attempt = 0;; attempt++) {
        int result = content_read(d, parent, leaf, key, false, 0, content, fail);

        if (result <= 0)
            return result;
        if (!content_again(attempt))
            return changing(key, fail);
    }
}

/* ---- the sidecar ---- */

static int sidecar_open(int meta, const struct directory_key *key)
{
    sidecar_name name;
    struct stat st;

    if (digest_sha256_hex(key->text, key->len, name) == 0)
        return path_file(meta, name, &st);
    errno = ENOMEM;
    return -1;
}

int sidecar_read(int meta, const struct directory_key *key, struct directory_sidecar *sidecar,
                 struct fail *fail)
{
    int fd = sidecar_open(meta, key), err;
    char *text;
    ssize_t got;

    if (fd == -1)
        return errno == ENOENT ? 0 : path_fail(fail, errno, "read the metadata of", key->text);
    text = malloc(DIRECTORY_SIDECAR_MAX + 1);
    got = text == NULL ? -1 : read_full(fd, text, DIRECTORY_SIDECAR_MAX + 1);
    err = text == NULL ? ENOMEM : errno;
    close(fd);
    if (got < 0)
        path_fail(fail, err, "read the metadata of", key->text);
    else
        got = directory_sidecar_parse(sidecar, key, text, (size_t)got, fail) == 0 ? 1 : -1;
    free(text);
    return (int)got;
}

/* For readers, who hold no area: walk there each time, since it may come and go. */
static int sidecar_find(int root, const struct directory_key *key,
                        struct directory_sidecar *sidecar, struct fail *fail)
{
    const char *leaf;
    int meta = path_parent(root, DIRECTORY_OWN "/meta/", false, &leaf), result;

    if (meta == -1)
        return errno == ENOENT ? 0 : path_fail(fail, errno, "read the metadata of", key->text);
    result = sidecar_read(meta, key, sidecar, fail);
    close(meta);
    return result;
}

/* ---- get and head ---- */

static bool still_in_place(int parent, const char *leaf, const struct stat *st)
{
    struct stat now;

    return fstatat(parent, leaf, &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_dev == st->st_dev &&
           now.st_ino == st->st_ino;
}

/* Find the metadata of the content just read. A sidecar without its record says "none", unless two
 * puts have gone by since: then the content is not in place any more, and the answer is 1, again. */
static int add_meta(struct directory *d, int parent, const char *leaf,
                    const struct directory_key *key, const struct content *c,
                    struct directory_meta *meta, struct fail *fail)
{
    struct directory_sidecar sidecar = {0};
    int result = sidecar_find(d->root, key, &sidecar, fail);
    const struct directory_meta *found = directory_sidecar_find(&sidecar, c->etag);

    if (result >= 0) {
        result = found == NULL && !still_in_place(parent, leaf, &c->st);
        if (result == 0 && directory_meta_copy(meta, found) != 0)
            result = fail_memory(fail);
    }
    directory_sidecar_fini(&sidecar);
    return result;
}

static int read_once(struct directory *d, const struct directory_key *key, bool want_body,
                     size_t limit, struct directory_object *object, struct fail *fail)
{
    struct content c;
    const char *leaf;
    int parent = path_parent(d->root, key->text, false, &leaf), result;

    if (parent == -1)
        return open_fail(errno, key, fail);
    result = content_read(d, parent, leaf, key, want_body, limit, &c, fail);
    if (result == 0) {
        result = add_meta(d, parent, leaf, key, &c, &object->meta, fail);
        if (result != 0)
            free(c.body);
    }
    close(parent);
    if (result != 0)
        return result;
    object->body = c.body;
    object->size = (size_t)c.st.st_size;
    object->modified = c.st.st_mtim.tv_sec;
    object->changed = directory_changed(&c.st);
    memcpy(object->etag, c.etag, sizeof c.etag);
    return 0;
}

static int read_object(struct directory *d, const struct directory_key *key, bool want_body,
                       size_t limit, struct directory_object *object, struct fail *fail)
{
    for (int attempt = 0;; attempt++) {
        int result;

        memset(object, 0, sizeof *object);
        result = read_once(d, key, want_body, limit, object, fail);
        if (result <= 0)
            return result;
        if (!content_again(attempt))
            return changing(key, fail);
    }
}

int directory_get(struct directory *d, const struct directory_key *key, size_t limit,
                  struct directory_object *object, struct fail *fail)
{
    return read_object(d, key, true, limit, object, fail);
}

int directory_head(struct directory *d, const struct directory_key *key,
                   struct directory_object *object, struct fail *fail)
{
    return read_object(d, key, false, 0, object, fail);
}

void directory_object_fini(struct directory_object *object)
{
    free(object->body);
    object->body = NULL;
    directory_meta_fini(&object->meta);
}

/* ---- complete ---- */

/* Does some process have the file open for writing? 1, 0, or -1 when the system does not tell. A
 * read lease is refused while one has. */
static int is_written(int fd)
{
    if (lease_take(fd) != 0)
        return errno == EAGAIN ? 1 : -1;
    lease_end(fd);
    return 0;
}

int directory_complete(struct directory *d, const struct directory_key *key, size_t *size,
                       struct fail *fail)
{
    struct stat st;
    const char *leaf;
    int parent = path_parent(d->root, key->text, false, &leaf), fd, written;

    if (parent == -1)
        return open_fail(errno, key, fail);
    fd = path_file(parent, leaf, &st);
    written = errno;
    close(parent);
    if (fd == -1)
        return open_fail(written, key, fail);
    *size = (size_t)st.st_size;
    written = is_written(fd);
    close(fd);
    return written == -1 ? etag_settled(&st) : !written;
}
