/* directory_list: the keys in the order of their bytes. See directory.h.
 *
 * Walking folder by folder gives that order when a folder's name is compared with its slash: `a-b`,
 * then what lies in `a/`, then `a0`. Each level of the walk holds a window of sorted names, the
 * smallest that come next; when it is used up and there were more, the folder is read again. The
 * windows get smaller with depth, which bounds the whole.
 */
#include "core/directory_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DEPTH = DIRECTORY_KEY_MAX / 2 + 1, /* components a key can have */
    WINDOW = 65536,                    /* names held for the first folder, halved with each level */
    WINDOW_MIN = 256
};

struct level {
    size_t path_len; /* its folder: the first bytes of list->path, with the slash */
    char **names;    /* folders with their slash */
    size_t n, at, cap;
    bool more; /* the folder has names after the last one held */
};

struct directory_list {
    struct directory *d;
    char *start_after;
    char *filter;     /* what names in the first folder must begin with */
    size_t first_len; /* the first folder: so much of path */
    bool started;
    int depth; /* levels in use */
    struct level levels[DEPTH + 1];
    char path[DIRECTORY_KEY_MAX + DIRECTORY_NAME_MAX + 2];
};

/* ---- windows ---- */

static size_t window_of(int depth)
{
    size_t window = depth > 9 ? WINDOW_MIN : (size_t)WINDOW >> (depth - 1);

    return window < WINDOW_MIN ? WINDOW_MIN : window;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void truncate_names(struct level *level, size_t n)
{
    while (level->n > n)
        free(level->names[--level->n]);
}

/* Keep the smallest `window` names. */
static void shrink(struct level *level, size_t window)
{
    if (level->n > 0)
        qsort(level->names, level->n, sizeof *level->names, by_name);
    if (level->n > window) {
        truncate_names(level, window);
        level->more = true;
    }
}

/* Take a name into the window. It holds up to twice as many until it is sorted. */
static int add_name(struct level *level, const char *name, size_t window)
{
    char *copy;

    if (level->n == 2 * window)
        shrink(level, window);
    if (level->more && level->n >= window && strcmp(name, level->names[window - 1]) > 0)
        return 0;
    if (level->n == level->cap) {
        size_t cap = level->cap == 0 ? 64 : 2 * level->cap;
        char **names = realloc(level->names, cap * sizeof *names);

        if (names == NULL)
            return -1;
        level->names = names;
        level->cap = cap;
    }
    copy = strdup(name);
    if (copy == NULL)
        return -1;
    level->names[level->n++] = copy;
    return 0;
}

/* ---- which names of a folder are wanted ---- */

struct wanted {
    const char *after;  /* names must come after this */
    bool inside;        /* also the folder that `after` lies in */
    const char *filter; /* and begin with this */
    size_t room;        /* bytes that a key may still have */
    bool top;           /* the bucket's root */
};

static bool is_wanted(const struct wanted *w, const char *name, size_t len)
{
    if (len > w->room || strncmp(name, w->filter, strlen(w->filter)) != 0)
        return false;
    if (w->top && strcmp(name, DIRECTORY_OWN "/") == 0)
        return false;
    return strcmp(name, w->after) > 0 ||
           (w->inside && name[len - 1] == '/' && strncmp(w->after, name, len) == 0);
}

/* 'f' for a regular file, 'd' for a folder, 0 for what is no part of a bucket. */
static int kind_of(int fd, const struct dirent *e)
{
    struct stat st;

    if (e->d_type == DT_REG)
        return 'f';
    if (e->d_type == DT_DIR)
        return 'd';
    if (e->d_type != DT_UNKNOWN || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return S_ISREG(st.st_mode) ? 'f' : S_ISDIR(st.st_mode) ? 'd' : 0;
}

static int read_names(DIR *dir, struct level *level, const struct wanted *w, size_t window)
{
    char name[DIRECTORY_NAME_MAX + 2];
    const struct dirent *e;

    while (errno = 0, (e = readdir(dir)) != NULL) {
        size_t len = strlen(e->d_name);
        int kind;

        if (!directory_key_component(e->d_name, len) || (kind = kind_of(dirfd(dir), e)) == 0)
            continue;
        memcpy(name, e->d_name, len);
        if (kind == 'd')
            name[len++] = '/';
        name[len] = '\0';
        if (is_wanted(w, name, len) && add_name(level, name, window) != 0) {
            errno = ENOMEM;
            return -1;
        }
    }
    return errno == 0 ? 0 : -1;
}

/* ---- levels ---- */

/* Open the folder of a level; -1 and errno. */
static int level_folder(struct directory_list *list, const struct level *level)
{
    char kept = list->path[level->path_len];
    const char *leaf;
    int fd;

    list->path[level->path_len] = '\0';
    fd = path_parent(list->d->root, list->path, false, &leaf);
    list->path[level->path_len] = kept;
    return fd;
}

/* Gone, or not a folder any more: then it has no keys. */
static bool is_gone(int err)
{
    return err == ENOENT || err == ENOTDIR || err == ELOOP;
}

static int fill(struct directory_list *list, struct level *level, const struct wanted *w,
                struct fail *fail)
{
    size_t window = window_of(list->depth);
    int fd = level_folder(list, level), bad, err;
    DIR *dir = fd == -1 ? NULL : fdopendir(fd);

    level->more = false;
    if (dir == NULL) {
        err = errno;
        if (fd != -1)
            close(fd);
        return is_gone(err) ? 0 : path_fail(fail, err, "list", list->path);
    }
    bad = read_names(dir, level, w, window);
    err = errno;
    closedir(dir);
    shrink(level, window);
    return bad == 0 ? 0 : path_fail(fail, err, "list", list->path);
}

/* What is left of start_after below a folder; "" when all of the folder comes after it. */
static const char *after_below(const struct directory_list *list, size_t path_len)
{
    if (strncmp(list->start_after, list->path, path_len) == 0)
        return list->start_after + path_len;
    return "";
}

/* Go into the folder that is the first `path_len` bytes of list->path. */
static int push(struct directory_list *list, size_t path_len, const char *filter, struct fail *fail)
{
    struct level *level = &list->levels[list->depth++];
    struct wanted w = {.after = after_below(list, path_len),
                       .inside = true,
                       .filter = filter,
                       .room = DIRECTORY_KEY_MAX - path_len,
                       .top = path_len == 0};

    *level = (struct level){.path_len = path_len};
    list->path[path_len] = '\0';
    return fill(list, level, &w, fail);
}

static void pop(struct directory_list *list)
{
    struct level *level = &list->levels[--list->depth];

    truncate_names(level, 0);
    free(level->names);
}

/* The window is used up: take the next one. */
static int refill(struct directory_list *list, struct level *level, struct fail *fail)
{
    char *last = strdup(level->names[level->n - 1]);
    struct wanted w = {.after = last,
                       .filter = list->depth == 1 ? list->filter : "",
                       .room = DIRECTORY_KEY_MAX - level->path_len,
                       .top = level->path_len == 0};
    int bad;

    if (last == NULL)
        return fail_memory(fail);
    truncate_names(level, 0);
    level->at = 0;
    bad = fill(list, level, &w, fail);
    free(last);
    return bad;
}

/* ---- pages ---- */

/* A page in the making, and the folder that is open for it. */
struct filler {
    struct directory_page *page;
    int fd;
    const struct level *level; /* whose folder fd is, NULL when none is open */
};

static void leave(struct filler *f)
{
    if (f->fd != -1)
        close(f->fd);
    f->fd = -1;
    f->level = NULL;
}

/* Add the file `name` of the level, unless it has gone. */
static int add_entry(struct directory_list *list, struct filler *f, const struct level *level,
                     const char *name, struct fail *fail)
{
    struct directory_entry *entry = &f->page->entries[f->page->n];
    struct stat st;

    if (f->level != level) {
        leave(f);
        f->fd = level_folder(list, level);
        if (f->fd == -1)
            return is_gone(errno) ? 0 : path_fail(fail, errno, "list", list->path);
        f->level = level;
    }
    if (fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return 0;
    entry->size = (uint64_t)st.st_size;
    entry->modified = st.st_mtim.tv_sec;
    entry->changed = directory_changed(&st);
    if (!etag_cache_get(list->d->etags, &st, entry->etag))
        entry->etag[0] = '\0';
    strcpy(list->path + level->path_len, name);
    entry->key = strdup(list->path);
    if (entry->key == NULL)
        return fail_memory(fail);
    f->page->n++;
    return 0;
}

/* One step of the walk. */
static int advance(struct directory_list *list, struct filler *f, struct fail *fail)
{
    struct level *level = &list->levels[list->depth - 1];
    const char *name;
    size_t len;

    if (level->at == level->n) {
        leave(f);
        if (level->more)
            return refill(list, level, fail);
        pop(list);
        return 0;
    }
    name = level->names[level->at++];
    len = strlen(name);
    if (name[len - 1] != '/')
        return add_entry(list, f, level, name, fail);
    leave(f);
    memcpy(list->path + level->path_len, name, len);
    return push(list, level->path_len + len, "", fail);
}

int directory_list_page(struct directory_list *list, size_t max, struct directory_page *page,
                        struct fail *fail)
{
    struct filler f = {.page = page, .fd = -1};
    int bad = 0;

    page->n = 0;
    if (!list->started) {
        list->started = true;
        bad = push(list, list->first_len, list->filter, fail);
    }
    while (bad == 0 && list->depth > 0 && page->n < max)
        bad = advance(list, &f, fail);
    leave(&f);
    if (bad != 0) {
        directory_page_fini(page);
        while (list->depth > 0)
            pop(list);
    }
    return bad;
}

void directory_page_fini(struct directory_page *page)
{
    while (page->n > 0)
        free(page->entries[--page->n].key);
}

/* ---- the walk ---- */

/* Can keys lie in this folder (empty, or a key with a slash behind it)? */
static bool can_hold_keys(const char *path, size_t len)
{
    struct directory_key key;

    return len == 0 ||
           (len <= DIRECTORY_KEY_MAX - 1 && directory_key_set(&key, path, len - 1, NULL) == 0);
}

static bool is_before(const char *path, size_t len, const char *start_after)
{
    return strncmp(path, start_after, len) < 0;
}

struct directory_list *directory_list_new(struct directory *d, const char *prefix,
                                          const char *start_after)
{
    struct directory_list *list = calloc(1, sizeof *list);
    const char *slash = strrchr(prefix, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash + 1 - prefix);

    if (list == NULL)
        return NULL;
    directory_ref(d);
    list->d = d;
    list->start_after = strdup(start_after);
    list->filter = strdup(prefix + len);
    if (list->start_after == NULL || list->filter == NULL) {
        directory_list_free(list);
        return NULL;
    }
    list->started = !can_hold_keys(prefix, len) || is_before(prefix, len, start_after);
    if (!list->started)
        memcpy(list->path, prefix, len);
    list->first_len = len;
    return list;
}

void directory_list_free(struct directory_list *list)
{
    if (list == NULL)
        return;
    while (list->depth > 0)
        pop(list);
    directory_unref(list->d);
    free(list->start_after);
    free(list->filter);
    free(list);
}
