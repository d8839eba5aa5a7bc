/* tls_relay: lets a spec that speaks plain TCP speak to a TLS server.
 *
 *   tls_relay PORT [DRIP_MS]
 *
 * Prints "port N"; what is sent there goes to 127.0.0.1:PORT inside TLS, and back. The end of
 * sending is passed on as close_notify and a closed sending side, and the other way round; a reset
 * is passed on as a reset. With DRIP_MS, every byte towards the server is a packet of its own, so
 * many milliseconds after the last. The certificate is not verified. One process for each
 * connection; ends when its standard input ends.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int server_port, drip_ms;

struct relay {
    SSL *ssl;
    BIO *in, *out; /* what came from the server, what goes there */
    int client, server;
    bool client_ended, server_ended;
};

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return connect(fd, (struct sockaddr *)(void *)&to, sizeof to) == 0 ? fd : -1;
}

static void reset(int fd)
{
    struct linger hard = {1, 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    _exit(0);
}

/* Blocks: who does not read is not read for. */
static void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        bytes += n;
        len -= (size_t)n;
    }
}

static void flush(struct relay *r)
{
    char bytes[16384];
    int n;

    while ((n = BIO_read(r->out, bytes, sizeof bytes)) > 0) {
        for (int i = 0; drip_ms > 0 && i < n; i++) {
            send_all(r->server, bytes + i, 1);
            usleep((unsigned)drip_ms * 1000);
        }
        if (drip_ms == 0)
            send_all(r->server, bytes, (size_t)n);
    }
}

/* What TLS has for the client. */
static void deliver(struct relay *r)
{
    char bytes[16384];
    int n;

    if (!SSL_is_init_finished(r->ssl) && SSL_do_handshake(r->ssl) != 1) {
        flush(r);
        return;
    }
    while ((n = SSL_read(r->ssl, bytes, sizeof bytes)) > 0)
        send_all(r->client, bytes, (size_t)n);
    if ((SSL_get_shutdown(r->ssl) & SSL_RECEIVED_SHUTDOWN) != 0)
        shutdown(r->client, SHUT_WR);
    flush(r);
}

static void from_server(struct relay *r)
{
    char bytes[16384];
    ssize_t n = recv(r->server, bytes, sizeof bytes, 0);

    if (n > 0) {
        BIO_write(r->in, bytes, (int)n);
        deliver(r);
        return;
    }
    r->server_ended = true;
    if ((SSL_get_shutdown(r->ssl) & SSL_RECEIVED_SHUTDOWN) == 0)
        reset(r->client);
}

static void from_client(struct relay *r)
{
    char bytes[16384];
    ssize_t n = recv(r->client, bytes, sizeof bytes, 0);

    if (n < 0)
        reset(r->server);
    if (n > 0) {
        SSL_write(r->ssl, bytes, (int)n);
    } else {
        r->client_ended = true;
        SSL_shutdown(r->ssl);
    }
    flush(r);
    if (n == 0)
        shutdown(r->server, SHUT_WR);
}

static void relay(int client)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct relay r = {.client = client, .server = dial(server_port)};

    if (r.server < 0)
        reset(client);
    /* One small key, so that the first message is short with every version of OpenSSL. */
    SSL_CTX_set1_groups_list(ctx, "X25519");
    r.ssl = SSL_new(ctx);
    r.in = BIO_new(BIO_s_mem());
    r.out = BIO_new(BIO_s_mem());
    SSL_set_bio(r.ssl, r.in, r.out);
    SSL_set_connect_state(r.ssl);
    deliver(&r);
    while (!r.server_ended) {
        bool open = SSL_is_init_finished(r.ssl) && !r.client_ended;
        struct pollfd fds[2] = {{r.server, POLLIN, 0}, {open ? client : -1, POLLIN, 0}};

        if (poll(fds, 2, 30000) <= 0)
            break;
        if (fds[0].revents != 0)
            from_server(&r);
        if (fds[1].revents != 0 && !r.server_ended)
            from_client(&r);
    }
    _exit(0);
}

static int listen_here(int *port)
{
    struct sockaddr_in here = {.sin_family = AF_INET};
    socklen_t len = sizeof here;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)(void *)&here, len) != 0 || listen(fd, 4096) != 0)
        return -1;
    getsockname(fd, (struct sockaddr *)(void *)&here, &len);
    *port = ntohs(here.sin_port);
    return fd;
}

int main(int argc, char **argv)
{
    int port = 0, fd = listen_here(&port);
    struct pollfd fds[2] = {{fd, POLLIN, 0}, {0, POLLIN, 0}};

    server_port = argc > 1 ? atoi(argv[1]) : 0;
    drip_ms = argc > 2 ? atoi(argv[2]) : 0;
    if (fd < 0 || server_port == 0)
        return 2;
    signal(SIGCHLD, SIG_IGN);
    printf("port %d\n", port);
    fflush(stdout);
    while (poll(fds, 2, -1) > 0 && fds[1].revents == 0) {
        int client = accept(fd, NULL, NULL);

        if (client >= 0 && fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(fd);
            relay(client);
        }
        close(client);
    }
    return 0;
}
