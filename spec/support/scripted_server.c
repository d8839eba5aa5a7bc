/* scripted_server: an HTTP server on loopback that answers what a script says, faults included.
 *
 *   scripted_server SCRIPT LOG
 *
 * Prints "PORT PID" once it listens; ends after 60 seconds or when it is told by a signal. The
 * script is a sequence of answers, each a line "@ HOW LENGTH" and LENGTH raw bytes; the n-th request
 * gets the n-th answer, and the last one again when there is no more. HOW:
 *
 *   send    send the bytes and keep the connection
 *   close   send the bytes and close
 *   stall   send the bytes and then nothing more, leaving the connection open
 *   hold    send the bytes when the next answer of another kind is sent
 *
 * So a cut body is "close" with fewer bytes than its Content-Length names. The script is read anew
 * for each request: a spec may append to it. What was received goes into LOG: for each request
 * "CONNECTION HEAD_LENGTH BODY_LENGTH\n", then the head and the body as they came.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 32, MOST_HEAD = 64 * 1024, MOST_BODY = 64 * 1024 * 1024, SECONDS = 60 };

struct connection {
    int fd;
    int number;
    char stalled;
    char *held;
    size_t held_len;
};

static struct connection connections[MOST_CONNECTIONS];
static int n_connections, n_accepted, n_requests;
static const char *script_path, *log_path;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_on_loopback(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 16) != 0 || getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        die("listen");
    *port = ntohs(address.sin_port);
    return fd;
}

/* Read until the empty line; the head's length, or 0 when the peer has gone. One byte at a time, so
 * that nothing of the body is taken. */
static size_t read_head(int fd, char *head)
{
    size_t n = 0;

    while (n + 1 < MOST_HEAD && read(fd, head + n, 1) == 1) {
        head[++n] = '\0';
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
            return n;
    }
    return 0;
}

static size_t body_length(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");
    size_t n = at == NULL ? 0 : strtoul(at + 17, NULL, 10);

    return n > MOST_BODY ? MOST_BODY : n;
}

static int read_all(int fd, char *data, size_t n)
{
    while (n > 0) {
        ssize_t got = read(fd, data, n);

        if (got <= 0)
            return -1;
        data += got;
        n -= (size_t)got;
    }
    return 0;
}

static void write_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        data += sent;
        n -= (size_t)sent;
    }
}

static void record(int number, const char *head, size_t head_len, const char *body, size_t body_len)
{
    FILE *log = fopen(log_path, "ab");

    if (log == NULL)
        die(log_path);
    fprintf(log, "%d %zu %zu\n", number, head_len, body_len);
    fwrite(head, 1, head_len, log);
    fwrite(body, 1, body_len, log);
    fclose(log);
}

/* Answer number `n` of the script, or its last: `how` (of 16 bytes) and the bytes, to be freed. */
static char *find_answer(int n, char how[16], size_t *len)
{
    FILE *script = fopen(script_path, "rb");
    char *answer = NULL;
    char word[16];
    size_t bytes;

    if (script == NULL)
        die(script_path);
    for (int i = 0; i <= n && fscanf(script, "@ %15s %zu", word, &bytes) == 2; i++) {
        char *next = malloc(bytes + 1);

        if (fgetc(script) != '\n' || next == NULL || fread(next, 1, bytes, script) != bytes)
            die("script");
        free(answer);
        answer = next;
        *len = bytes;
        memcpy(how, word, sizeof word);
    }
    fclose(script);
    if (answer == NULL)
        die("script without answers");
    return answer;
}

static void hold(struct connection *c, const char *answer, size_t len)
{
    c->held = malloc(len + 1);
    if (c->held == NULL)
        die("hold");
    memcpy(c->held, answer, len);
    c->held_len = len;
}

static void release_held(void)
{
    for (int i = 0; i < n_connections; i++) {
        if (connections[i].held != NULL)
            write_all(connections[i].fd, connections[i].held, connections[i].held_len);
        free(connections[i].held);
        connections[i].held = NULL;
    }
}

static void drop(int i)
{
    free(connections[i].held);
    close(connections[i].fd);
    connections[i] = connections[--n_connections];
}

static void serve(int i)
{
    struct connection *c = &connections[i];
    char *head = malloc(MOST_HEAD);
    size_t head_len = read_head(c->fd, head);
    size_t body_len = head_len == 0 ? 0 : body_length(head);
    char *body = malloc(body_len + 1);
    char how[16] = "close";

    if (head_len > 0 && read_all(c->fd, body, body_len) == 0) {
        size_t len = 0;
        char *answer = find_answer(n_requests++, how, &len);

        record(c->number, head, head_len, body, body_len);
        if (strcmp(how, "hold") == 0) {
            hold(c, answer, len);
        } else {
            release_held();
            write_all(c->fd, answer, len);
        }
        free(answer);
    }
    free(head);
    free(body);
    if (strcmp(how, "stall") == 0)
        c->stalled = 1;
    else if (strcmp(how, "close") == 0)
        drop(i);
}

static void take_connection(int listener)
{
    int fd = accept(listener, NULL, NULL);
    struct timeval patience = {5, 0};

    if (fd < 0 || n_connections == MOST_CONNECTIONS)
        die("accept");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    connections[n_connections++] = (struct connection){fd, ++n_accepted, 0, NULL, 0};
}

int main(int argc, char **argv)
{
    struct pollfd fds[MOST_CONNECTIONS + 1];
    int port;
    int listener = listen_on_loopback(&port);

    if (argc != 3) {
        fprintf(stderr, "usage: scripted_server SCRIPT LOG\n");
        return 2;
    }
    script_path = argv[1];
    log_path = argv[2];
    alarm(SECONDS);
    printf("%d %ld\n", port, (long)getpid());
    fflush(stdout);
    for (;;) {
        int n = 0;

        fds[n++] = (struct pollfd){listener, POLLIN, 0};
        for (int i = 0; i < n_connections; i++)
            fds[n++] = (struct pollfd){connections[i].fd, connections[i].stalled ? 0 : POLLIN, 0};
        if (poll(fds, (nfds_t)n, -1) < 0)
            die("poll");
        for (int i = n_connections - 1; i >= 0; i--)
            if (fds[i + 1].revents != 0) {
                if (connections[i].stalled)
                    drop(i);
                else
                    serve(i);
            }
        if (fds[0].revents != 0)
            take_connection(listener);
    }
}
