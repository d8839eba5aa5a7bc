/* slow_clients: many connections that never complete a request.
 *
 *   slow_clients PORT N [tls]
 *
 * Opens N connections to 127.0.0.1:PORT, sends the beginning of a head (tls: of a handshake) on each, then a byte on each
 * every 200 ms, opens those anew that were closed, and prints "open N" once all were opened. Ends
 * after 20 seconds, or when its standard input ends.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TURNS = 100, TURN_MS = 200 };

static const char head[] = "GET /slow HTTP/1.1\r\nHost: slow\r\nX-Drip: ";
static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

static int dial(int port, const char *begin, size_t len)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)(void *)&to, sizeof to) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)!send(fd, begin, len, MSG_NOSIGNAL);
    return fd;
}

int main(int argc, char **argv)
{
    bool tls = argc > 3 && strcmp(argv[3], "tls") == 0;
    const char *begin = tls ? hello : head;
    size_t len = tls ? sizeof hello - 1 : sizeof head - 1;
    int port = argc > 2 ? atoi(argv[1]) : 0, n = argc > 2 ? atoi(argv[2]) : 0;
    struct rlimit files = {(rlim_t)n + 64, (rlim_t)n + 64};
    struct pollfd in = {0, POLLIN, 0};
    int *fds = n > 0 ? calloc((size_t)n, sizeof *fds) : NULL;

    if (fds == NULL || setrlimit(RLIMIT_NOFILE, &files) != 0)
        return 2;
    for (int i = 0; i < n; i++)
        fds[i] = dial(port, begin, len);
    printf("open %d\n", n);
    fflush(stdout);
    for (int turn = 0; turn < TURNS && poll(&in, 1, TURN_MS) == 0; turn++) {
        for (int i = 0; i < n; i++) {
            if (fds[i] >= 0 && send(fds[i], "x", 1, MSG_NOSIGNAL) == 1)
                continue;
            if (fds[i] >= 0)
                close(fds[i]);
            fds[i] = dial(port, begin, len);
        }
    }
    free(fds);
    return 0;
}
