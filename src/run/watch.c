/* watch: see watch.h.
 *
 * A watch is set on a directory before the directory is read, so that nothing falls between. When
 * events are lost or the root is another one, everything begins anew on a new inotify descriptor.
 *
 * A file made by open() is told when it is closed; one made by link() or symlink() is never opened
 * for writing. They differ in that only the former's creation is followed by an IN_OPEN: so a
 * created name is held back for LINK_MS, and told if it was not opened.
 */
#include "run/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LINK_MS = 50,
    ROOT_MS = 1000,    /* how often the root is looked at */
    DEPTH_MAX = 64,    /* directories below the root */
    READS_MAX = 16,    /* buffers of events handled in one turn of the loop */
    CREATED_MAX = 4096 /* names held back at once; beyond it, a rescan */
};

#define MASK                                                                                       \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_OPEN | IN_ONLYDIR | \
     IN_DELETE_SELF | IN_MOVE_SELF)

struct dir {
    int wd;
    char *path; /* relative, "" for the root, else with a "/" behind */
};

struct watch {
    struct event_base *base;
    char *root;
    watch_handler *handler;
    void *ctx;
    int fd;
    struct event *readable;
    struct event *look;   /* at the root */
    struct event *linked; /* at the names held back */
    struct dir *dirs;     /* by wd */
    size_t n_dirs, cap_dirs;
    char **created; /* names held back, and those of the turn before */
    size_t n_created, n_older;
    bool present; /* the root is there */
    dev_t dev;
    ino_t ino;
};

static void tell(struct watch *w, enum watch_change change, const char *path)
{
    w->handler(change, path, w->ctx);
}

/* ---- the directories ---- */

/* The index of wd, or where it belongs. */
static size_t dir_index(const struct watch *w, int wd)
{
    size_t low = 0, high = w->n_dirs;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (w->dirs[mid].wd < wd)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct dir *dir_find(struct watch *w, int wd)
{
    size_t i = dir_index(w, wd);

    return i < w->n_dirs && w->dirs[i].wd == wd ? &w->dirs[i] : NULL;
}

static int dir_set(struct watch *w, int wd, const char *path)
{
    size_t i = dir_index(w, wd);
    char *copy = strdup(path);

    if (copy == NULL)
        return -1;
    if (i < w->n_dirs && w->dirs[i].wd == wd) {
        free(w->dirs[i].path);
        w->dirs[i].path = copy;
        return 0;
    }
    if (w->n_dirs == w->cap_dirs) {
        size_t cap = w->cap_dirs == 0 ? 16 : w->cap_dirs * 2;
        struct dir *dirs = realloc(w->dirs, cap * sizeof *dirs);

        if (dirs == NULL) {
            free(copy);
            return -1;
        }
        w->dirs = dirs;
        w->cap_dirs = cap;
    }
    memmove(w->dirs + i + 1, w->dirs + i, (w->n_dirs - i) * sizeof *w->dirs);
    w->dirs[i].wd = wd;
    w->dirs[i].path = copy;
    w->n_dirs++;
    return 0;
}

static void dir_drop(struct watch *w, size_t i)
{
    free(w->dirs[i].path);
    memmove(w->dirs + i, w->dirs + i + 1, (w->n_dirs - i - 1) * sizeof *w->dirs);
    w->n_dirs--;
}

/* Forget a directory (path with "/" behind) and all below it. */
static void dir_forget(struct watch *w, const char *path)
{
    size_t len = strlen(path);

    for (size_t i = w->n_dirs; i-- > 0;) {
        if (strncmp(w->dirs[i].path, path, len) == 0) {
            inotify_rm_watch(w->fd, w->dirs[i].wd);
            dir_drop(w, i);
        }
    }
}

/* `root`, or `root/path`. False when it is too long. */
static bool full_path(const struct watch *w, const char *path, char *out, size_t size)
{
    int n = snprintf(out, size, "%s%s%s", w->root, *path == '\0' ? "" : "/", path);

    return n > 0 && (size_t)n < size;
}

/* Set the watch of one directory. 0; 1 when it is not there (any more); -1 with errno. */
static int add_one(struct watch *w, const char *path)
{
    char full[PATH_MAX];
    int wd;

    if (!full_path(w, path, full, sizeof full)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    wd = inotify_add_watch(w->fd, full, *path == '\0' ? MASK : MASK | IN_DONT_FOLLOW);
    if (wd < 0)
        return *path != '\0' && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) ? 1 : -1;
    return dir_set(w, wd, path);
}

static bool is_directory(int dirfd, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int add_tree(struct watch *w, const char *path, bool telling, int depth);

static void add_entries(struct watch *w, DIR *stream, const char *path, bool telling, int depth)
{
    char name[PATH_MAX];
    struct dirent *entry;

    while ((entry = readdir(stream)) != NULL) {
        bool directory;
        int n;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        directory = is_directory(dirfd(stream), entry);
        n = snprintf(name, sizeof name, "%s%s%s", path, entry->d_name, directory ? "/" : "");
        if (n < 0 || (size_t)n >= sizeof name)
            continue;
        if (directory && add_tree(w, name, telling, depth + 1) != 0)
            tell(w, WATCH_BLIND, name);
        else if (!directory && telling)
            tell(w, WATCH_FOUND, name);
    }
}

/* Watch a directory and all below it; tell the files when `telling`. -1 with errno when the
 * directory itself cannot be watched. */
static int add_tree(struct watch *w, const char *path, bool telling, int depth)
{
    char full[PATH_MAX];
    DIR *stream;
    int added;

    if (depth > DEPTH_MAX) {
        errno = ELOOP;
        return -1;
    }
    added = add_one(w, path);
    if (added != 0)
        return added < 0 ? -1 : 0;
    if (!full_path(w, path, full, sizeof full) || (stream = opendir(full)) == NULL)
        return errno == ENOENT ? 0 : -1;
    add_entries(w, stream, path, telling, depth);
    closedir(stream);
    return 0;
}

/* ---- names held back ---- */

static void arm(struct event *timer, int ms)
{
    struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};

    event_add(timer, &tv);
}

static void created_drop(struct watch *w, size_t i)
{
    free(w->created[i]);
    memmove(w->created + i, w->created + i + 1, (w->n_created - i - 1) * sizeof *w->created);
    w->n_created--;
    if (i < w->n_older)
        w->n_older--;
}

/* The name was opened, closed or removed: it need not be held any longer. */
static void created_cancel(struct watch *w, const char *path)
{
    for (size_t i = w->n_created; i-- > 0;) {
        if (strcmp(w->created[i], path) == 0)
            created_drop(w, i);
    }
}

static void created_hold(struct watch *w, const char *path)
{
    char *copy;

    if (w->n_created >= CREATED_MAX || (copy = strdup(path)) == NULL) {
        tell(w, WATCH_RESCAN, "");
        return;
    }
    w->created[w->n_created++] = copy;
    if (!event_pending(w->linked, EV_TIMEOUT, NULL))
        arm(w->linked, LINK_MS);
}

static void created_clear(struct watch *w)
{
    while (w->n_created > 0)
        free(w->created[--w->n_created]);
    w->n_older = 0;
}

/* Names that were there at the last call and still are: nobody has opened them. */
static void on_linked(evutil_socket_t fd, short what, void *arg)
{
    struct watch *w = arg;

    (void)fd;
    (void)what;
    while (w->n_older > 0) {
        char *path = w->created[0];
        char full[PATH_MAX];
        struct stat st;

        w->created[0] = NULL;
        created_drop(w, 0);
        if (full_path(w, path, full, sizeof full) && lstat(full, &st) == 0 &&
            (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)))
            tell(w, WATCH_WRITTEN, path);
        free(path);
    }
    w->n_older = w->n_created;
    if (w->n_created > 0)
        arm(w->linked, LINK_MS);
}

/* ---- events ---- */

static void begin_anew(struct watch *w);

static void on_directory(struct watch *w, uint32_t mask, const char *path)
{
    if (mask & (IN_CREATE | IN_MOVED_TO)) {
        if (add_tree(w, path, true, 0) != 0)
            tell(w, WATCH_BLIND, path);
    } else if (mask & (IN_DELETE | IN_MOVED_FROM)) {
        dir_forget(w, path);
        tell(w, WATCH_REMOVED, path);
    }
}

static void on_file(struct watch *w, uint32_t mask, const char *path)
{
    if (mask & IN_CREATE) {
        created_hold(w, path);
        return;
    }
    created_cancel(w, path);
    if (mask & (IN_CLOSE_WRITE | IN_MOVED_TO))
        tell(w, WATCH_WRITTEN, path);
    else if (mask & (IN_DELETE | IN_MOVED_FROM))
        tell(w, WATCH_REMOVED, path);
}

/* -1: the rest of the events is void. */
static int on_event(struct watch *w, const struct inotify_event *event)
{
    const struct dir *dir = dir_find(w, event->wd);
    char path[PATH_MAX];
    int n;

    if (event->mask & IN_Q_OVERFLOW) {
        begin_anew(w);
        return -1;
    }
    if (dir == NULL)
        return 0;
    if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT) && *dir->path == '\0') {
        begin_anew(w);
        return -1;
    }
    if (event->mask & IN_IGNORED) {
        dir_drop(w, dir_index(w, event->wd));
        return 0;
    }
    if (event->len == 0)
        return 0;
    n = snprintf(path, sizeof path, "%s%s%s", dir->path, event->name,
                 event->mask & IN_ISDIR ? "/" : "");
    if (n < 0 || (size_t)n >= sizeof path)
        return 0;
    if (event->mask & IN_ISDIR)
        on_directory(w, event->mask, path);
    else
        on_file(w, event->mask, path);
    return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct watch *w = arg;
    union {
        struct inotify_event event;
        char bytes[16384];
    } buffer;

    (void)fd;
    (void)what;
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = read(w->fd, buffer.bytes, sizeof buffer.bytes);

        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(buffer.bytes + at);

            if (on_event(w, event) != 0)
                return;
            at += (ssize_t)(sizeof *event + event->len);
        }
        if (n <= 0)
            return;
    }
}

/* ---- beginning, and beginning anew ---- */

static void stop(struct watch *w)
{
    if (w->readable != NULL)
        event_free(w->readable);
    if (w->fd >= 0)
        close(w->fd);
    w->readable = NULL;
    w->fd = -1;
    while (w->n_dirs > 0)
        dir_drop(w, w->n_dirs - 1);
    created_clear(w);
    w->present = false;
}

/* 0, or -1 with errno. */
static int start(struct watch *w)
{
    struct stat st;

    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0)
        return -1;
    w->readable = event_new(w->base, w->fd, EV_READ | EV_PERSIST, on_readable, w);
    if (w->readable == NULL || event_add(w->readable, NULL) != 0) {
        errno = ENOMEM;
        return -1;
    }
    if (add_tree(w, "", false, 0) != 0 || stat(w->root, &st) != 0)
        return -1;
    w->dev = st.st_dev;
    w->ino = st.st_ino;
    w->present = true;
    return 0;
}

static void begin_anew(struct watch *w)
{
    stop(w);
    if (start(w) != 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            tell(w, WATCH_BLIND, "");
        stop(w);
    }
    tell(w, WATCH_RESCAN, "");
}

/* Is the root still the one that is watched? */
static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct watch *w = arg;
    struct stat st;
    bool there = stat(w->root, &st) == 0 && S_ISDIR(st.st_mode);

    (void)fd;
    (void)what;
    if (there != w->present || (there && (st.st_dev != w->dev || st.st_ino != w->ino)))
        begin_anew(w);
    arm(w->look, ROOT_MS);
}

static int start_fail(const struct watch *w, struct fail *fail, int err)
{
    if (err == ENOENT)
        return fail_set(fail, "NotFound", "the directory %s is not there; make it", w->root);
    if (err == ENOTDIR)
        return fail_set(fail, "NotDirectory", "%s is not a directory", w->root);
    if (err == EACCES)
        return fail_set(fail, "AccessDenied", "the directory %s may not be read", w->root);
    if (err == ENOSPC || err == EMFILE)
        return fail_set(fail, "WatchLimit",
                        "%s cannot be watched: raise fs.inotify.max_user_%s with sysctl", w->root,
                        err == ENOSPC ? "watches" : "instances");
    return fail_set(fail, "WatchFailed", "%s cannot be watched: %s", w->root, strerror(err));
}

struct watch *watch_new(struct event_base *base, const char *root, watch_handler *handler,
                        void *ctx, struct fail *fail)
{
    struct watch *w = calloc(1, sizeof *w);

    if (w == NULL) {
        fail_memory(fail);
        return NULL;
    }
    w->base = base;
    w->handler = handler;
    w->ctx = ctx;
    w->fd = -1;
    w->root = strdup(root);
    w->created = calloc(CREATED_MAX, sizeof *w->created);
    w->look = evtimer_new(base, on_look, w);
    w->linked = evtimer_new(base, on_linked, w);
    if (w->root == NULL || w->created == NULL || w->look == NULL || w->linked == NULL) {
        fail_memory(fail);
        watch_free(w);
        return NULL;
    }
    if (start(w) != 0) {
        start_fail(w, fail, errno);
        watch_free(w);
        return NULL;
    }
    arm(w->look, ROOT_MS);
    return w;
}

void watch_free(struct watch *w)
{
    if (w == NULL)
        return;
    stop(w);
    if (w->look != NULL)
        event_free(w->look);
    if (w->linked != NULL)
        event_free(w->linked);
    free(w->dirs);
    free(w->created);
    free(w->root);
    free(w);
}

size_t watch_directories(const struct watch *w)
{
    return w->n_dirs;
}
