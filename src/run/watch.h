/* watch: tells what changes in a tree of directories (inotify).
 *
 * Directories are watched, not files, so that a file replaced by a rename is not lost. Directories
 * that appear are watched as well, and what they already hold is told. Links to directories are not
 * followed, except the root itself, which may be a link, may be exchanged, deleted and come back
 * (noticed within a second). Paths are relative to the root, without a leading "./".
 */
#ifndef RUN_WATCH_H
#define RUN_WATCH_H

#include "core/fail.h"

#include <event2/event.h>

enum watch_change {
    WATCH_WRITTEN, /* a writer has closed the file, or it was moved, linked or symlinked in */
    WATCH_FOUND,   /* the file lies in a directory that has just appeared; if somebody is still
                      writing it, WATCH_WRITTEN follows. May be told more than once. */
    WATCH_REMOVED, /* deleted or moved away; a path that ends with "/" is a directory with all that
                      was below it */
    WATCH_RESCAN,  /* events were lost, or the root was exchanged or is gone or back: anything may
                      have changed. The path is "". */
    WATCH_BLIND    /* this directory cannot be watched (the system's limit of watches; "" is the
                      root): the owner has to look into it from time to time by itself */
};

/* Called from the loop (WATCH_BLIND also from watch_new). Must not free the watch. */
typedef void watch_handler(enum watch_change change, const char *path, void *ctx);

struct watch;

/* Watch the directory `root` and everything below from now on; what is there already is not told.
 * NULL with *fail: "NotFound", "NotDirectory", "AccessDenied", "WatchLimit", "WatchFailed",
 * "NoMemory". */
struct watch *watch_new(struct event_base *base, const char *root, watch_handler *handler,
                        void *ctx, struct fail *fail);
void watch_free(struct watch *watch);

/* How many directories are watched. */
size_t watch_directories(const struct watch *watch);

#endif
