/* notify: see notify.h. */
#include "run/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MOST_WAITING = 16, MOST_BYTES = 2048, MOST_STATUS = 1024 };

static const double again_seconds = 0.05;

struct notify {
    int fd; /* -1: nobody listens */
    struct sockaddr_un to;
    socklen_t to_length;
    struct timer *watchdog;
    double watchdog_seconds; /* between two signs of life; 0: none are wanted */
    struct timer *again;
    size_t waiting; /* messages not yet taken, oldest first */
    char message[MOST_WAITING][MOST_BYTES];
};

/* ---- sending ---- */

static ssize_t put(const struct notify *n, const char *text)
{
    ssize_t sent;

    do
        sent = sendto(n->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL,
                      (const struct sockaddr *)&n->to, n->to_length);
    while (sent < 0 && errno == EINTR);
    return sent;
}

static bool is_full(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
}

/* Send what waits, in order, until the manager's queue is full again. What it refuses for another
 * reason is lost: the manager is gone. */
static void send_waiting(void *ctx)
{
    struct notify *n = ctx;
    size_t done = 0;

    while (done < n->waiting && (put(n, n->message[done]) >= 0 || !is_full()))
        done++;
    n->waiting -= done;
    memmove(n->message, n->message + done, n->waiting * sizeof n->message[0]);
    if (n->waiting > 0)
        timer_start(n->again, again_seconds);
}

static int say(struct notify *n, const char *text, struct fail *fail)
{
    if (n->waiting == 0) {
        if (put(n, text) >= 0)
            return 0;
        if (!is_full())
            return fail_set(fail, "NotifyFailed", "cannot tell the service manager at %s: %s",
                            n->to.sun_path[0] != '\0' ? n->to.sun_path : n->to.sun_path + 1,
                            strerror(errno));
    }
    if (n->waiting == MOST_WAITING)
        return fail_set(fail, "NotifyFull", "the service manager takes no messages");
    snprintf(n->message[n->waiting++], MOST_BYTES, "%s", text);
    timer_start(n->again, again_seconds);
    return 0;
}

static void sign_of_life(void *ctx)
{
    struct notify *n = ctx;

    /* One that is not taken is not kept: the next one says the same. */
    (void)put(n, "WATCHDOG=1");
    timer_start(n->watchdog, n->watchdog_seconds);
}

/* ---- opening ---- */

static int set_address(struct notify *n, const char *path, struct fail *fail)
{
    size_t length = strlen(path);

    if ((path[0] != '/' && path[0] != '@') || length < 2 || length >= sizeof n->to.sun_path)
        return fail_set(fail, "BadNotifySocket",
                        "NOTIFY_SOCKET=%.120s: expected a path or @ and a name, at most %zu bytes",
                        path, sizeof n->to.sun_path - 1);
    n->to.sun_family = AF_UNIX;
    memcpy(n->to.sun_path, path, length + 1);
    n->to_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (path[0] == '@')
        n->to.sun_path[0] = '\0';
    else
        n->to_length++;
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (n->fd < 0)
        return fail_set(fail, "NotifyFailed", "no socket for NOTIFY_SOCKET: %s", strerror(errno));
    return 0;
}

/* Half the time after which a silent service counts as hung; 0 when it is not for this process. */
static double watchdog_period(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    char *end;
    unsigned long long n;

    if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    errno = 0;
    n = strtoull(usec, &end, 10);
    if (errno != 0 || end == usec || *end != '\0' || usec[0] == '-')
        return 0;
    return (double)n / 2e6;
}

static int begin(struct notify *n, struct loop *loop, const char *path, struct fail *fail)
{
    if (set_address(n, path, fail) != 0)
        return -1;
    n->again = timer_new(loop, send_waiting, n);
    n->watchdog = timer_new(loop, sign_of_life, n);
    if (n->again == NULL || n->watchdog == NULL)
        return fail_memory(fail);
    n->watchdog_seconds = watchdog_period();
    if (n->watchdog_seconds > 0)
        timer_start(n->watchdog, 0);
    return 0;
}

struct notify *notify_new(struct loop *loop, struct fail *fail)
{
    struct notify *n = calloc(1, sizeof *n);
    const char *path = getenv("NOTIFY_SOCKET");

    if (n == NULL) {
        fail_memory(fail);
        return NULL;
    }
    n->fd = -1;
    if (path != NULL && path[0] != '\0' && begin(n, loop, path, fail) != 0) {
        notify_free(n);
        n = NULL;
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return n;
}

void notify_free(struct notify *n)
{
    if (n == NULL)
        return;
    if (n->fd >= 0)
        close(n->fd);
    timer_free(n->again);
    timer_free(n->watchdog);
    free(n);
}

bool notify_heard(const struct notify *n)
{
    return n->fd >= 0;
}

/* ---- what is said ---- */

static uint64_t monotonic_usec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The status as one line of text, cut between two characters of UTF-8. */
static void copy_status(char *to, const char *from)
{
    size_t n = strlen(from);

    if (n > MOST_STATUS) {
        n = MOST_STATUS;
        while (n > 0 && ((unsigned char)from[n] & 0xC0) == 0x80)
            n--;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = (unsigned char)from[i] < 0x20 || from[i] == 0x7F ? ' ' : from[i];
    to[n] = '\0';
}

int notify_say(struct notify *n, const struct notify_news *news, struct fail *fail)
{
    char text[MOST_BYTES] = "", status[MOST_STATUS + 1];
    size_t at = 0;

    if (n->fd < 0)
        return 0;
    if (news->reloading)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n", monotonic_usec());
    if (news->ready)
        at += (size_t)snprintf(text + at, sizeof text - at, "READY=1\n");
    if (news->stopping)
        at += (size_t)snprintf(text + at, sizeof text - at, "STOPPING=1\n");
    if (news->extend > 0 && news->extend < 1e9)
        at += (size_t)snprintf(text + at, sizeof text - at, "EXTEND_TIMEOUT_USEC=%.0f\n",
                               news->extend * 1e6);
    if (news->status != NULL) {
        copy_status(status, news->status);
        at += (size_t)snprintf(text + at, sizeof text - at, "STATUS=%s\n", status);
    }
    return at == 0 ? 0 : say(n, text, fail);
}
