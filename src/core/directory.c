/* directory: opening a bucket, and its own folder `.anomalyd`. See directory.h. */
#include "core/directory_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define TMP_FOLDER "tmp"
#define META_FOLDER "meta"
#define LOCK_FILE "lock"

enum { TRIES = 10 };

/* Nanoseconds: how long to wait for a lock, and how long between two looks at most. */
#define LOCK_WAIT 30000000000L
#define LOCK_PAUSE 3000000L

__attribute__((weak)) void directory_step(const char *name)
{
    (void)name;
}

/* ---- unfinished files ---- */

/* Call fn for each name in a folder that does not begin with a dot. */
static void each_name(int folder, void (*fn)(int folder, const char *name))
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd == -1 ? NULL : fdopendir(fd);
    const struct dirent *e;

    if (dir == NULL) {
        if (fd != -1)
            close(fd);
        return;
    }
    while ((e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.')
            fn(fd, e->d_name);
    closedir(dir);
}

static void remove_file(int folder, const char *name)
{
    unlinkat(folder, name, 0);
}

/* Remove a session's folder unless a living process holds it. */
static void remove_dead(int tmp, const char *session)
{
    int fd = path_folder(tmp, session);

    if (fd == -1)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        each_name(fd, remove_file);
        unlinkat(tmp, session, AT_REMOVEDIR);
    }
    close(fd);
}

/* ---- the area ---- */

/* Is `fd` still what `name` stands for? A cleaner may have removed the folder before we held it. */
static bool still_there(int at, const char *name, int fd)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && fstatat(at, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Make and hold this process's folder for unfinished files. */
static int open_session(struct area *area, int tmp)
{
    for (unsigned attempt = 0; attempt < TRIES; attempt++) {
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(area->session, sizeof area->session, "%ld-%llx-%lx-%u", (long)getpid(),
                 (unsigned long long)now.tv_sec, (unsigned long)now.tv_nsec, attempt);
        if (mkdirat(tmp, area->session, 0777) != 0) {
            if (errno == EEXIST)
                continue;
            return -1;
        }
        area->tmp = path_folder(tmp, area->session);
        /* Where folders cannot be locked, nobody can take ours for dead either. */
        if (area->tmp != -1 && (flock(area->tmp, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) &&
            still_there(tmp, area->session, area->tmp))
            return 0;
        if (area->tmp != -1)
            close(area->tmp);
        area->tmp = -1;
    }
    errno = EAGAIN;
    return -1;
}

static int open_folders(struct area *area, int root)
{
    int tmp, bad;

    area->own = path_make_folder(root, DIRECTORY_OWN);
    if (area->own == -1)
        return -1;
    area->meta = path_make_folder(area->own, META_FOLDER);
    if (area->meta == -1)
        return -1;
    tmp = path_make_folder(area->own, TMP_FOLDER);
    if (tmp == -1)
        return -1;
    each_name(tmp, remove_dead);
    bad = open_session(area, tmp);
    close(tmp);
    return bad;
}

static struct area *area_open(const struct directory *d, struct fail *fail)
{
    struct area *area = calloc(1, sizeof *area);

    if (area == NULL) {
        fail_memory(fail);
        return NULL;
    }
    atomic_init(&area->refs, 1);
    area->own = area->meta = area->tmp = -1;
    if (open_folders(area, d->root) == 0)
        return area;
    path_fail(fail, errno, "write below " DIRECTORY_OWN " in", d->path);
    area_unref(area);
    return NULL;
}

static void remove_session(const struct area *area)
{
    int tmp = path_folder(area->own, TMP_FOLDER);

    if (tmp == -1)
        return;
    unlinkat(tmp, area->session, AT_REMOVEDIR);
    close(tmp);
}

void area_unref(struct area *area)
{
    if (atomic_fetch_sub_explicit(&area->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (area->tmp != -1) {
        remove_session(area);
        close(area->tmp);
    }
    if (area->meta != -1)
        close(area->meta);
    if (area->own != -1)
        close(area->own);
    free(area);
}

struct area *area_take(struct directory *d, struct fail *fail)
{
    struct area *area;

    if (d->read_only) {
        fail_set(fail, "AccessDenied", "the bucket %s was opened for reading only", d->path);
        return NULL;
    }
    pthread_mutex_lock(&d->mutex);
    if (d->area == NULL)
        d->area = area_open(d, fail);
    area = d->area;
    if (area != NULL)
        atomic_fetch_add_explicit(&area->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&d->mutex);
    return area;
}

void area_lost(struct directory *d, struct area *area)
{
    bool ours;

    pthread_mutex_lock(&d->mutex);
    ours = d->area == area;
    if (ours)
        d->area = NULL;
    pthread_mutex_unlock(&d->mutex);
    if (ours)
        area_unref(area);
}

/* FNV-1a. Two keys with the same hash only wait for each other. */
static off_t lock_place(const struct directory_key *key)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < key->len; i++)
        h = (h ^ (unsigned char)key->text[i]) * 0x100000001b3u;
    return (off_t)(h >> 2);
}

/* Ask again and again, since a process that was stopped while it holds the lock must not stop us
 * for ever. 0, or -1 and errno, which is EAGAIN when the time is over. */
static int wait_lock(int fd, const struct directory_key *key)
{
    struct flock range = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = lock_place(key), .l_len = 1};
    struct timespec pause = {0, 200000};
    long waited = 0;

    while (fcntl(fd, F_OFD_SETLK, &range) != 0) {
        if ((errno != EAGAIN && errno != EACCES && errno != EINTR) || waited > LOCK_WAIT)
            return -1;
        nanosleep(&pause, NULL);
        waited += pause.tv_nsec;
        if (pause.tv_nsec < LOCK_PAUSE)
            pause.tv_nsec *= 2;
    }
    return 0;
}

static int lock_fail(int err, const struct directory_key *key, struct fail *fail)
{
    if (err == EAGAIN || err == EACCES)
        return fail_set(fail, "Busy",
                        "another process holds the lock of \"%.300s\" since %ld seconds", key->text,
                        LOCK_WAIT / 1000000000);
    return path_fail(fail, err, "lock", DIRECTORY_OWN "/" LOCK_FILE);
}

int area_lock(const struct area *area, const struct directory_key *key, struct fail *fail)
{
    struct stat st;
    int fd, err;

    for (;;) {
        fd = openat(area->own, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd == -1)
            return path_fail(fail, errno, "open", DIRECTORY_OWN "/" LOCK_FILE);
        if (wait_lock(fd, key) != 0 || fstat(fd, &st) != 0)
            break;
        if (st.st_nlink > 0)
            return fd;
        /* Somebody removed the file while we waited: others lock a new one. */
        close(fd);
    }
    err = errno;
    close(fd);
    return lock_fail(err, key, fail);
}

/* ---- the bucket ---- */

/* mkdir -p, durable. */
static int make_path(const char *path)
{
    char copy[4096];
    int fd = open(path[0] == '/' ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *rest = NULL;

    if ((size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy) {
        errno = ENAMETOOLONG;
        if (fd != -1)
            close(fd);
        return -1;
    }
    for (char *name = strtok_r(copy, "/", &rest); name != NULL && fd != -1;
         name = strtok_r(NULL, "/", &rest)) {
        /* The way to the bucket is the operator's: links are followed here. */
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int err;

        if (next == -1 && errno == ENOENT)
            next = path_make_folder(fd, name);
        err = errno;
        close(fd);
        errno = err;
        fd = next;
    }
    return fd;
}

static int open_root(const char *path, const struct directory_options *options, struct fail *fail)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd == -1 && errno == ENOENT && options->create && !options->read_only)
        fd = make_path(path);
    if (fd != -1)
        return fd;
    if (errno == ENOENT)
        return fail_set(fail, "NoSuchBucket", "there is no folder %.300s; make it first", path);
    if (errno == ENOTDIR)
        return fail_set(fail, "NoSuchBucket", "%.300s is not a folder", path);
    return path_fail(fail, errno, "open the bucket", path);
}

/* The last component of the path as it was written; of the whole path when that says nothing. */
static char *name_of(const char *path, const char *whole)
{
    size_t end = strlen(path), start;

    while (end > 1 && path[end - 1] == '/')
        end--;
    for (start = end; start > 0 && path[start - 1] != '/';)
        start--;
    if (!directory_key_component(path + start, end - start)) {
        const char *slash = strrchr(whole, '/');

        return strdup(slash == NULL || slash[1] == '\0' ? whole : slash + 1);
    }
    return strndup(path + start, end - start);
}

static int fill(struct directory *d, const char *path, const struct directory_options *options,
                struct fail *fail)
{
    d->root = open_root(path, options, fail);
    if (d->root == -1)
        return -1;
    d->read_only = options->read_only;
    d->path = realpath(path, NULL);
    if (d->path == NULL)
        return path_fail(fail, errno, "resolve", path);
    d->name = name_of(path, d->path);
    d->etags = etag_cache_new();
    if (d->name == NULL || d->etags == NULL)
        return fail_memory(fail);
    return 0;
}

struct directory *directory_open(const char *path, const struct directory_options *options,
                                 struct fail *fail)
{
    struct directory *d = calloc(1, sizeof *d);
    struct area *area;

    if (d == NULL) {
        fail_memory(fail);
        return NULL;
    }
    atomic_init(&d->refs, 1);
    pthread_mutex_init(&d->mutex, NULL);
    d->root = -1;
    if (fill(d, path, options, fail) != 0) {
        directory_unref(d);
        return NULL;
    }
    /* What dead processes left goes now. A bucket that cannot be written may still be read. */
    area = d->read_only ? NULL : area_take(d, NULL);
    if (area != NULL)
        area_unref(area);
    return d;
}

void directory_ref(struct directory *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
}

void directory_unref(struct directory *d)
{
    if (atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (d->area != NULL)
        area_unref(d->area);
    if (d->root != -1)
        close(d->root);
    pthread_mutex_destroy(&d->mutex);
    etag_cache_free(d->etags);
    free(d->path);
    free(d->name);
    free(d);
}

const char *directory_name(const struct directory *d)
{
    return d->name;
}

const char *directory_path(const struct directory *d)
{
    return d->path;
}

bool directory_is_read_only(const struct directory *d)
{
    return d->read_only;
}
