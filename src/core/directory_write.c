/* directory_write: put, put_all, delete and the probe. See directory.h.
 *
 * A group of puts goes through the same steps together, so that their waits for the disk overlap:
 *   write   make the folders, write an unfinished file
 *   sync    fsync the unfinished file
 *   commit  under the key's lock: compare, make the sidecar durable if there is metadata, now or
 *           before, and rename the file into its place
 *   settle  fsync each folder that got a name
 * A single put is a group of one.
 */
#include "core/directory_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    NAME = 16,
    SYNC_WIDTH = 8 /* syncs at once: they wait for the disk, not for a core */
};

/* A folder that members of a group are put into. */
struct place {
    int fd;
    const char *path; /* its part of the first member's key, with the slash; path_len bytes */
    size_t path_len;
    int error;    /* errno when it could not be opened or made */
    bool dirty;   /* has a new name that is not durable */
    int unsynced; /* errno of the sync that failed */
};

/* One put on its way. */
struct move {
    struct directory_put *put;
    struct place *place;
    const char *leaf;
    int fd; /* the unfinished file, or -1 */
    char name[NAME];
    bool written; /* the unfinished file has a name in area->tmp */
    bool placed;  /* the object has its name */
};

struct group {
    struct directory *d;
    struct area *area;
    struct move *moves;
    struct place *places;
    size_t n, n_places;
};

static bool failed(const struct move *m)
{
    return m->put->failure.code != NULL;
}

static void put_fail(struct move *m, int err, const char *what)
{
    path_fail(&m->put->failure, err, what, m->put->key.text);
}

/* ---- places ---- */

static struct place *place_of(struct group *g, const struct directory_put *put)
{
    const char *slash = strrchr(put->key.text, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash + 1 - put->key.text);
    struct place *p = g->places;
    const char *leaf;

    for (; p < g->places + g->n_places; p++)
        if (p->path_len == len && memcmp(p->path, put->key.text, len) == 0)
            return p;
    *p = (struct place){.path = put->key.text, .path_len = len};
    p->fd = path_parent(g->d->root, put->key.text, true, &leaf);
    p->error = p->fd == -1 ? errno : 0;
    g->n_places++;
    return p;
}

static void find_place(struct group *g, struct move *m)
{
    m->place = place_of(g, m->put);
    m->leaf = m->put->key.text + m->place->path_len;
    if (m->place->fd == -1)
        put_fail(m, m->place->error, "make the folder of");
}

/* ---- write and sync ---- */

/* Make an unfinished file with this content. Its descriptor, or -1 and errno; `name` is empty when
 * no file was made. */
static int write_tmp(struct directory *d, const struct area *area, const char *data, size_t n,
                     char name[NAME])
{
    int fd, err;

    snprintf(name, NAME, "%u", atomic_fetch_add(&d->serial, 1));
    fd = openat(area->tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd == -1) {
        name[0] = '\0';
        return -1;
    }
    directory_step("file made");
    if (path_write(fd, data, n) == 0) {
        directory_step("file written");
        return fd;
    }
    err = errno;
    close(fd);
    unlinkat(area->tmp, name, 0);
    name[0] = '\0';
    errno = err;
    return -1;
}

static void write_part(void *ctx, size_t i)
{
    struct group *g = ctx;
    struct move *m = &g->moves[i];
    const struct directory_put *put = m->put;

    if (failed(m))
        return;
    if (digest_md5_hex(put->body, put->body_len, m->put->etag) != 0) {
        fail_memory(&m->put->failure);
        return;
    }
    m->fd = write_tmp(g->d, g->area, put->body, put->body_len, m->name);
    m->written = m->fd != -1;
    if (m->fd == -1)
        put_fail(m, errno, "write");
    else if (g->n > 1)
        /* Let the disk begin; the sync that follows then finds most of it done. */
        sync_file_range(m->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static void sync_part(void *ctx, size_t i)
{
    struct group *g = ctx;
    struct move *m = &g->moves[i];

    if (m->fd == -1)
        return;
    if (fsync(m->fd) != 0)
        put_fail(m, errno, "sync");
    close(m->fd);
    m->fd = -1;
    directory_step("file synced");
}

/* ---- commit ---- */

static void check_match(struct move *m, bool there, const char *etag)
{
    struct directory_put *put = m->put;

    if (!there)
        fail_set(&put->failure, "NoSuchKey", "there is no object \"%.300s\" to replace",
                 put->key.text);
    else if (strcmp(put->if_match, etag) != 0)
        fail_set(&put->failure, "PreconditionFailed",
                 "the object \"%.300s\" has the ETag %s, not %.64s", put->key.text, etag,
                 put->if_match);
}

static void check_absent(struct move *m)
{
    struct stat st;

    if (fstatat(m->place->fd, m->leaf, &st, AT_SYMLINK_NOFOLLOW) == 0)
        fail_set(&m->put->failure, "PreconditionFailed", "there is an object \"%.300s\" already",
                 m->put->key.text);
    else if (errno != ENOENT)
        put_fail(m, errno, "look for");
}

/* The ETag of the object in place. 1; 0 when there is none; -1 when that failed. */
static int etag_in_place(struct group *g, struct move *m, directory_etag etag)
{
    struct fail *fail = &m->put->failure;
    struct content c;

    if (content_settle(g->d, m->place->fd, m->leaf, &m->put->key, &c, fail) == 0) {
        memcpy(etag, c.etag, sizeof c.etag);
        return 1;
    }
    if (strcmp(fail->code, "NoSuchKey") != 0)
        return -1;
    fail->code = NULL;
    return 0;
}

/* Write a sidecar into place, durably. 0, or -1 and errno. */
static int write_sidecar(struct group *g, const struct directory_key *key, const struct buf *text)
{
    char name[NAME];
    sidecar_name target;
    int fd = write_tmp(g->d, g->area, text->data, text->len, name);
    int bad = fd == -1 || digest_sha256_hex(key->text, key->len, target) != 0 || fsync(fd) != 0,
        err;

    directory_step("sidecar synced");
    bad = bad || renameat(g->area->tmp, name, g->area->meta, target) != 0;
    directory_step("sidecar renamed");
    bad = bad || path_sync(g->area->meta) != 0;
    err = errno;
    directory_step("sidecar's folder synced");
    if (bad && name[0] != '\0')
        unlinkat(g->area->tmp, name, 0);
    if (fd != -1)
        close(fd);
    errno = err;
    return bad ? -1 : 0;
}

/* Before the content changes, note the metadata of the new one beside that of the one in place. */
static void note_meta(struct group *g, struct move *m, const struct directory_sidecar *old,
                      const char *etag)
{
    struct directory_put *put = m->put;
    struct directory_sidecar both = {0};
    struct buf text;
    int bad = directory_sidecar_add(&both, put->etag, put->meta);

    buf_init(&text, DIRECTORY_SIDECAR_MAX);
    if (bad == 0 && etag != NULL && strcmp(etag, put->etag) != 0)
        bad = directory_sidecar_add(&both, etag, directory_sidecar_find(old, etag));
    if (bad != 0 || directory_sidecar_format(&both, &put->key, &text) != 0)
        fail_memory(&put->failure);
    else if (write_sidecar(g, &put->key, &text) != 0)
        put_fail(m, errno, "write the metadata of");
    buf_fini(&text);
    directory_sidecar_fini(&both);
}

/* Under the key's lock nobody who keeps to the lock replaces it before this look. */
static void note_changed(struct move *m)
{
    struct stat st;

    if (fstatat(m->place->fd, m->leaf, &st, AT_SYMLINK_NOFOLLOW) == 0)
        m->put->changed = directory_changed(&st);
}

static void rename_into_place(struct group *g, struct move *m)
{
    int bad = -1;

    if (m->put->if_absent) {
        bad = renameat2(g->area->tmp, m->name, m->place->fd, m->leaf, RENAME_NOREPLACE);
        if (bad != 0 && errno == EEXIST) {
            check_absent(m);
            return;
        }
    }
    /* A file system that cannot refuse to replace: the lock and check_absent must do. */
    if (!m->put->if_absent || (bad != 0 && (errno == EINVAL || errno == ENOSYS)))
        bad = renameat(g->area->tmp, m->name, m->place->fd, m->leaf);
    if (bad != 0) {
        put_fail(m, errno, "put");
        return;
    }
    m->written = false;
    m->placed = true;
    m->place->dirty = true;
    note_changed(m);
    directory_step("renamed");
}

static void drop_sidecar(const struct area *area, const struct directory_key *key)
{
    sidecar_name name;

    if (digest_sha256_hex(key->text, key->len, name) == 0)
        unlinkat(area->meta, name, 0);
    directory_step("sidecar removed");
}

static void sync_place(struct place *p)
{
    if (path_sync(p->fd) != 0)
        p->unsynced = errno;
    p->dirty = false;
    directory_step("folder synced");
}

/* Read the sidecar in place. Is there one, or one so damaged that the put must mend it? */
static bool has_sidecar(struct group *g, struct move *m, struct directory_sidecar *old)
{
    struct fail *fail = &m->put->failure;
    int found = sidecar_read(g->area->meta, &m->put->key, old, fail);

    if (found == -1 && strcmp(fail->code, "MetadataCorrupt") == 0) {
        directory_sidecar_fini(old);
        fail->code = NULL;
    }
    return found != 0;
}

/* Is the object as the put wants it? */
static void check_conditions(struct group *g, struct move *m, bool needs_etag, int *there,
                             directory_etag etag)
{
    if (m->put->if_absent && !failed(m))
        check_absent(m);
    if ((needs_etag || m->put->if_match != NULL) && !failed(m))
        *there = etag_in_place(g, m, etag);
    if (m->put->if_match != NULL && !failed(m))
        check_match(m, *there == 1, etag);
}

/* The part under the key's lock. */
static void commit_locked(struct group *g, struct move *m)
{
    struct directory_put *put = m->put;
    struct directory_sidecar old = {0};
    bool has_meta = put->meta != NULL && put->meta->n > 0;
    bool noted = has_sidecar(g, m, &old) || has_meta;
    directory_etag etag = "";
    int there = 0;

    check_conditions(g, m, noted, &there, etag);
    if (noted && !failed(m))
        note_meta(g, m, &old, there == 1 ? etag : NULL);
    directory_sidecar_fini(&old);
    if (!failed(m))
        rename_into_place(g, m);
    if (m->placed && noted && !has_meta) {
        /* The sidecar only says "none" now; it may go once the content is sure to stay. */
        sync_place(m->place);
        if (m->place->unsynced == 0)
            drop_sidecar(g->area, &put->key);
    }
}

static void commit(struct group *g, struct move *m)
{
    int lock;

    if (failed(m))
        return;
    lock = area_lock(g->area, &m->put->key, &m->put->failure);
    if (lock == -1)
        return;
    commit_locked(g, m);
    close(lock);
}

/* ---- the group ---- */

static void settle_part(void *ctx, size_t i)
{
    struct group *g = ctx;

    if (g->places[i].dirty)
        sync_place(&g->places[i]);
}

static void finish(struct group *g)
{
    for (size_t i = 0; i < g->n; i++) {
        struct move *m = &g->moves[i];

        if (m->written)
            unlinkat(g->area->tmp, m->name, 0);
        if (m->placed && m->place->unsynced != 0)
            put_fail(m, m->place->unsynced, "make durable");
    }
    for (size_t i = 0; i < g->n_places; i++)
        if (g->places[i].fd != -1)
            close(g->places[i].fd);
}

static void run(struct group *g, struct crew *crew)
{
    struct crew syncers;

    crew_threads(&syncers, g->n < SYNC_WIDTH ? (int)g->n : SYNC_WIDTH);
    for (size_t i = 0; i < g->n; i++)
        if (!failed(&g->moves[i]))
            find_place(g, &g->moves[i]);
    crew_each(crew, g->n, write_part, g);
    crew_each(&syncers, g->n, sync_part, g);
    for (size_t i = 0; i < g->n; i++)
        commit(g, &g->moves[i]);
    crew_each(&syncers, g->n_places, settle_part, g);
    finish(g);
}

/* Did somebody remove the area under us, before anything was written? */
static bool area_is_gone(const struct area *area)
{
    struct stat tmp, meta;

    return fstat(area->tmp, &tmp) == 0 && fstat(area->meta, &meta) == 0 &&
           (tmp.st_nlink == 0 || meta.st_nlink == 0);
}

/* An area that is there. */
static struct area *take_living(struct directory *d, struct fail *fail)
{
    struct area *area = area_take(d, fail);

    if (area == NULL || !area_is_gone(area))
        return area;
    area_lost(d, area);
    area_unref(area);
    return area_take(d, fail);
}

static void put_group(struct directory *d, struct directory_put *puts, size_t n, struct crew *crew)
{
    struct move moves[DIRECTORY_GROUP];
    struct place places[DIRECTORY_GROUP];
    struct group g = {.d = d, .moves = moves, .places = places, .n = n};
    struct fail fail = {0};

    g.area = take_living(d, &fail);
    for (size_t i = 0; i < n; i++) {
        moves[i] = (struct move){.put = &puts[i], .fd = -1};
        if (!failed(&moves[i]))
            puts[i].failure = fail;
    }
    if (g.area == NULL)
        return;
    run(&g, crew);
    area_unref(g.area);
}

size_t directory_put_all(struct directory *d, struct directory_put *puts, size_t n,
                         struct crew *crew)
{
    size_t bad = 0;

    for (size_t i = 0; i < n; i += DIRECTORY_GROUP)
        put_group(d, puts + i, n - i < DIRECTORY_GROUP ? n - i : DIRECTORY_GROUP, crew);
    for (size_t i = 0; i < n; i++)
        bad += puts[i].failure.code != NULL;
    return bad;
}

int directory_put(struct directory *d, struct directory_put *put)
{
    put_group(d, put, 1, NULL);
    return put->failure.code == NULL ? 0 : -1;
}

/* ---- delete ---- */

static int delete_locked(int parent, const char *leaf, const struct area *area,
                         const struct directory_key *key, struct fail *fail)
{
    struct stat st;

    if (fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
        if (unlinkat(parent, leaf, 0) != 0 && errno != ENOENT)
            return path_fail(fail, errno, "delete", key->text);
        directory_step("deleted");
        if (path_sync(parent) != 0)
            return path_fail(fail, errno, "make durable the deletion of", key->text);
        directory_step("deletion synced");
    }
    drop_sidecar(area, key);
    return 0;
}

int directory_delete(struct directory *d, const struct directory_key *key, struct fail *fail)
{
    struct area *area = take_living(d, fail);
    const char *leaf;
    int parent, lock, result = -1;

    if (area == NULL)
        return -1;
    parent = path_parent(d->root, key->text, false, &leaf);
    if (parent == -1) {
        bool absent = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;

        area_unref(area);
        return absent ? 0 : path_fail(fail, errno, "delete", key->text);
    }
    lock = area_lock(area, key, fail);
    if (lock != -1) {
        result = delete_locked(parent, leaf, area, key, fail);
        close(lock);
    }
    close(parent);
    area_unref(area);
    return result;
}

/* ---- the probe ---- */

/* Does the bucket's path still lead to the folder that was opened? */
static bool still_ours(const struct directory *d)
{
    struct stat opened, found;

    return fstat(d->root, &opened) == 0 && stat(d->path, &found) == 0 &&
           opened.st_dev == found.st_dev && opened.st_ino == found.st_ino;
}

int directory_writable(struct directory *d, struct fail *fail)
{
    struct area *area;
    char name[NAME];
    int fd;

    if (!still_ours(d))
        return fail_set(fail, "NoSuchBucket",
                        "the folder %.300s was removed or replaced while it was open; put it back "
                        "or start again",
                        d->path);
    area = take_living(d, fail);
    if (area == NULL)
        return -1;
    fd = write_tmp(d, area, "?", 1, name);
    if (fd == -1)
        path_fail(fail, errno, "write into", d->path);
    else {
        close(fd);
        unlinkat(area->tmp, name, 0);
    }
    area_unref(area);
    return fd == -1 ? -1 : 0;
}
