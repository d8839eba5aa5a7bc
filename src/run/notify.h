/* notify: what the service manager is told, in systemd's protocol, without its library.
 *
 * Datagrams of NAME=VALUE lines to the socket that NOTIFY_SOCKET names (a path, or @ and an
 * abstract name). WATCHDOG=1 is sent from the loop's own timer, twice in WATCHDOG_USEC, so that a
 * loop that hangs misses it. Nothing here blocks: what the manager cannot take at once waits, up
 * to 16 messages, and is tried again. Source: sd_notify(3), sd_watchdog_enabled(3).
 */
#ifndef RUN_NOTIFY_H
#define RUN_NOTIFY_H

#include "core/fail.h"
#include "run/loop.h"

#include <stdbool.h>

struct notify;

/* What can be said at once; false, NULL and 0 are left out. */
struct notify_news {
    bool ready;         /* start or reload is over */
    bool reloading;     /* a reload begins; the time of the clock is said with it */
    bool stopping;      /* the end begins */
    const char *status; /* one line for people; control characters become blanks */
    double extend;      /* seconds that the present step may still take */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and takes them out of the environment, so
 * that no child speaks in this process's name. Without a NOTIFY_SOCKET everything below does
 * nothing. NULL and `fail`: the address is no good, or memory or a socket is short. */
struct notify *notify_new(struct loop *loop, struct fail *fail);
void notify_free(struct notify *n);

/* Is there somebody who listens? */
bool notify_heard(const struct notify *n);

/* Say it. -1 and `fail` when it could neither be sent nor kept for later. */
int notify_say(struct notify *n, const struct notify_news *news, struct fail *fail);

#endif
