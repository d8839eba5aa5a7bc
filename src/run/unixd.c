/* unixd: see unixd.h. */
#include "run/unixd.h"

#include "run/log.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 8 };

struct peer {
    struct peer *next;
    struct unixd *server;
    struct bufferevent *bev;
    unsigned id;
    bool finishing;
};

struct unixd {
    struct event_base *base;
    struct unixd_owner owner;
    struct evconnlistener *listener;
    struct peer *peers;
    size_t n_peers;
    unsigned last_id;
    struct sockaddr_un address;
    dev_t device; /* of the socket's file, so that only ours is removed */
    ino_t inode;
};

/* ---- peers ---- */

static struct peer *find(const struct unixd *server, unsigned id)
{
    struct peer *p = server->peers;

    while (p != NULL && p->id != id)
        p = p->next;
    return p;
}

static void peer_free(struct peer *p)
{
    bufferevent_free(p->bev);
    free(p);
}

static void peer_gone(struct peer *p)
{
    const struct unixd_owner *owner = &p->server->owner;
    struct peer **link = &p->server->peers;
    unsigned id = p->id;

    while (*link != p)
        link = &(*link)->next;
    *link = p->next;
    p->server->n_peers--;
    peer_free(p);
    owner->close(id, owner->ctx);
}

static void on_read(struct bufferevent *bev, void *ctx)
{
    struct peer *p = ctx;
    struct evbuffer *in = bufferevent_get_input(bev);
    const struct unixd_owner *owner = &p->server->owner;
    struct frame frame;
    long long taken;

    while ((taken = frame_read(evbuffer_pullup(in, -1), evbuffer_get_length(in), UNIXD_MAX_FRAME,
                               &frame)) > 0) {
        owner->frame(p->id, &frame, owner->ctx);
        evbuffer_drain(in, (size_t)taken);
    }
    if (taken < 0) {
        log_line(LOG_WARNING, "console %u: dropped: what it sends is no frame", p->id);
        peer_gone(p);
    }
}

static void on_written(struct bufferevent *bev, void *ctx)
{
    struct peer *p = ctx;

    (void)bev;
    if (p->finishing)
        peer_gone(p);
}

static void on_event(struct bufferevent *bev, short what, void *ctx)
{
    (void)bev;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        peer_gone(ctx);
}

static struct peer *peer_new(struct unixd *server, int fd)
{
    struct peer *p = calloc(1, sizeof *p);

    if (p == NULL || evutil_make_socket_nonblocking(fd) != 0 ||
        (p->bev = bufferevent_socket_new(
             server->base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS)) == NULL) {
        free(p);
        close(fd);
        return NULL;
    }
    p->server = server;
    p->id = ++server->last_id;
    p->next = server->peers;
    server->peers = p;
    server->n_peers++;
    bufferevent_setcb(p->bev, on_read, on_written, on_event, p);
    bufferevent_setwatermark(p->bev, EV_READ, 0, UNIXD_MAX_FRAME + FRAME_HEAD);
    bufferevent_enable(p->bev, EV_READ | EV_WRITE);
    return p;
}

int unixd_adopt(struct unixd *server, int fd)
{
    struct peer *p = peer_new(server, fd);

    if (p == NULL)
        return -1;
    server->owner.open(p->id, geteuid(), getppid(), server->owner.ctx);
    return 0;
}

/* Is the peer allowed? */
static bool may_speak(int fd, struct ucred *who)
{
    socklen_t size = sizeof *who;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &size) != 0) {
        log_line(LOG_WARNING, "console: refused: who it is cannot be told (%s)", strerror(errno));
        return false;
    }
    if (who->uid == geteuid() || who->uid == 0)
        return true;
    log_line(LOG_WARNING, "console: refused user %u (pid %d)", (unsigned)who->uid, (int)who->pid);
    return false;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
                      int len, void *ctx)
{
    struct unixd *server = ctx;
    struct ucred who;
    struct peer *p;

    (void)listener;
    (void)from;
    (void)len;
    if (server->n_peers >= UNIXD_MAX_PEERS) {
        log_line(LOG_WARNING, "console: refused: %d sessions are open", UNIXD_MAX_PEERS);
        close(fd);
    } else if (!may_speak(fd, &who)) {
        close(fd);
    } else if ((p = peer_new(server, fd)) != NULL) {
        server->owner.open(p->id, who.uid, who.pid, server->owner.ctx);
    }
}

int unixd_send(struct unixd *server, unsigned id, char kind, const char *text, size_t len)
{
    struct peer *p = find(server, id);
    struct evbuffer *out;
    uint8_t head[FRAME_HEAD];

    if (p == NULL || p->finishing)
        return -1;
    out = bufferevent_get_output(p->bev);
    if (len > UNIXD_MAX_UNSENT || evbuffer_get_length(out) + len > UNIXD_MAX_UNSENT) {
        log_line(LOG_WARNING, "console %u: dropped: it does not read what it asked for", id);
        bufferevent_trigger_event(p->bev, BEV_EVENT_ERROR, BEV_TRIG_DEFER_CALLBACKS);
        return -1;
    }
    frame_head(head, kind, len);
    if (bufferevent_write(p->bev, head, sizeof head) != 0 ||
        bufferevent_write(p->bev, text, len) != 0)
        bufferevent_trigger_event(p->bev, BEV_EVENT_ERROR, BEV_TRIG_DEFER_CALLBACKS);
    return 0;
}

void unixd_finish(struct unixd *server, unsigned id)
{
    struct peer *p = find(server, id);

    if (p == NULL || p->finishing)
        return;
    p->finishing = true;
    bufferevent_disable(p->bev, EV_READ);
    bufferevent_trigger(p->bev, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
}

int unixd_fd(const struct unixd *server, unsigned id)
{
    struct peer *p = find(server, id);

    return p != NULL ? bufferevent_getfd(p->bev) : -1;
}

/* ---- the socket's place ---- */

/* Open the directory of `path`, made when it is missing, or -1. */
static int open_directory(const char *path, bool own, struct fail *fail)
{
    char dir[sizeof((struct sockaddr_un *)0)->sun_path];
    const char *slash = strrchr(path, '/');
    struct stat st;
    int fd;

    if (slash == NULL)
        snprintf(dir, sizeof dir, ".");
    else
        snprintf(dir, sizeof dir, "%.*s", (int)(slash == path ? 1 : slash - path), path);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return fail_set(fail, errno == EACCES ? "AccessDenied" : "BadPath", "%s: %s", dir,
                        strerror(errno));
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        fail_set(fail, errno == EACCES ? "AccessDenied" : "BadPath", "%s: %s", dir,
                 strerror(errno));
    } else if (own && (st.st_uid != geteuid() || (st.st_mode & 022) != 0)) {
        fail_set(fail, "NotPrivate", "%s is not ours alone: chmod 700 it, or set --console", dir);
    } else {
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Does somebody listen there? */
static bool is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                             errno == EAGAIN);

    if (fd >= 0)
        close(fd);
    return alive;
}

/* Make way for the socket's file: only a socket to which nobody listens is removed. */
static int clear_path(const struct sockaddr_un *address, struct fail *fail)
{
    struct stat st;

    if (lstat(address->sun_path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return fail_set(fail, "BadPath", "%s is there and no socket", address->sun_path);
    if (is_alive(address))
        return fail_set(fail, "InUse", "%s belongs to a service that runs", address->sun_path);
    unlink(address->sun_path);
    return 0;
}

/* A socket bound to the address with mode 0600 from its first moment. -1 on failure. */
static int bind_socket(struct unixd *server, struct fail *fail)
{
    const struct sockaddr *address = (const struct sockaddr *)&server->address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;

    /* The file is made with the mode of the unbound socket. */
    if (fd < 0 || fchmod(fd, 0600) != 0 || bind(fd, address, sizeof server->address) != 0 ||
        lstat(server->address.sun_path, &st) != 0) {
        fail_set(fail, errno == EACCES ? "AccessDenied" : "ListenFailed", "%s: %s",
                 server->address.sun_path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    server->device = st.st_dev;
    server->inode = st.st_ino;
    return fd;
}

int unixd_listen(struct unixd *server, const char *path, bool own, struct fail *fail)
{
    int dir, fd = -1;

    if (strlen(path) >= sizeof server->address.sun_path)
        return fail_set(fail, "BadPath", "%s is too long for a socket (at most %zu bytes)", path,
                        sizeof server->address.sun_path - 1);
    server->address.sun_family = AF_UNIX;
    snprintf(server->address.sun_path, sizeof server->address.sun_path, "%s", path);
    dir = open_directory(path, own, fail);
    if (dir < 0)
        return -1;
    /* Two services that start together look one after the other. */
    flock(dir, LOCK_EX);
    if (clear_path(&server->address, fail) == 0)
        fd = bind_socket(server, fail);
    if (fd >= 0) {
        server->listener =
            evconnlistener_new(server->base, on_accept, server,
                               LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);
        if (server->listener == NULL)
            fail_set(fail, "ListenFailed", "%s: cannot be listened to", path);
        if (server->listener == NULL)
            close(fd);
    }
    close(dir);
    return server->listener != NULL ? 0 : -1;
}

struct unixd *unixd_new(struct event_base *base, const struct unixd_owner *owner)
{
    struct unixd *server = calloc(1, sizeof *server);

    if (server == NULL)
        return NULL;
    server->base = base;
    server->owner = *owner;
    return server;
}

void unixd_free(struct unixd *server)
{
    struct stat st;

    if (server == NULL)
        return;
    for (struct peer *p = server->peers, *next; p != NULL; p = next) {
        next = p->next;
        peer_free(p);
    }
    if (server->listener != NULL) {
        evconnlistener_free(server->listener);
        if (lstat(server->address.sun_path, &st) == 0 && st.st_dev == server->device &&
            st.st_ino == server->inode)
            unlink(server->address.sun_path);
    }
    free(server);
}
