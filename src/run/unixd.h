/* unixd: frames over a Unix socket, for the console.
 *
 * The socket's file has mode 0600; a directory that has to be made for it has 0700. A peer must run
 * as our user or as root. A file that a dead process left is replaced; that of a living one is not.
 * Everything belongs to the loop's thread.
 */
#ifndef RUN_UNIXD_H
#define RUN_UNIXD_H

#include "core/fail.h"
#include "core/frame.h"

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

enum {
    UNIXD_MAX_FRAME = 1 << 20,   /* bytes of a frame that a peer sends */
    UNIXD_MAX_UNSENT = 64 << 20, /* bytes a peer may leave unread before it is dropped */
    UNIXD_MAX_PEERS = 16         /* a further one is told so and dropped */
};

struct unixd;

/* What the owner is told, always from the loop. `close` ends every peer that `open` began. */
struct unixd_owner {
    void (*open)(unsigned peer, uid_t uid, pid_t pid, void *ctx);
    void (*frame)(unsigned peer, const struct frame *frame, void *ctx);
    void (*close)(unsigned peer, void *ctx);
    void *ctx;
};

/* A server without a socket of its own. NULL: no memory. */
struct unixd *unixd_new(struct event_base *base, const struct unixd_owner *owner);

/* Listen at `path`. With `own` its directory must be ours and nobody else's. 0, or -1 with "InUse" (a
 * living process listens there), "NotPrivate" (the directory is not ours alone), "BadPath",
 * "AccessDenied", "ListenFailed". Once for each server. */
int unixd_listen(struct unixd *server, const char *path, bool own, struct fail *fail);

/* Take a connected socket, which becomes the server's. Its peer is trusted. 0, or -1. */
int unixd_adopt(struct unixd *server, int fd);

/* Send a frame. 0, or -1 when the peer is gone or leaves too much unread (it is dropped then). */
int unixd_send(struct unixd *server, unsigned peer, char kind, const char *text, size_t len);

/* Close a peer's connection when what was sent is on its way. */
void unixd_finish(struct unixd *server, unsigned peer);

/* The socket of a peer, to look whether something is there to be read; -1 when it is gone. */
int unixd_fd(const struct unixd *server, unsigned peer);

/* Close everything, without telling the owner, and remove the socket's file. NULL allowed. */
void unixd_free(struct unixd *server);

#endif
