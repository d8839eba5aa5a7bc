/* notify_listener: a service manager's ear, for specs.
 *
 *   notify_listener SOCKET LOG
 *
 * Binds a Unix datagram socket (a path, or @NAME for an abstract one), prints its process id, and
 * appends each message to LOG as "SECONDS TEXT", the lines of a message joined with "|". SECONDS are
 * CLOCK_MONOTONIC's. Ends after 60 seconds or by a signal.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int bind_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    if (fd < 0 || strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    return bind(fd, (struct sockaddr *)&address, length) == 0 ? fd : -1;
}

int main(int argc, char **argv)
{
    char text[8192];
    int fd = argc == 3 ? bind_to(argv[1]) : -1;
    FILE *log = argc == 3 ? fopen(argv[2], "w") : NULL;

    if (fd < 0 || log == NULL) {
        perror("notify_listener");
        return 1;
    }
    alarm(60);
    printf("%d\n", (int)getpid());
    fclose(stdout);
    for (;;) {
        ssize_t n = recv(fd, text, sizeof text - 1, 0);
        struct timespec t;

        if (n < 0)
            return 1;
        text[n] = '\0';
        for (char *at = strchr(text, '\n'); at != NULL; at = strchr(at, '\n'))
            *at = at[1] == '\0' ? '\0' : '|';
        clock_gettime(CLOCK_MONOTONIC, &t);
        fprintf(log, "%lld.%06ld %s\n", (long long)t.tv_sec, t.tv_nsec / 1000, text);
        fflush(log);
    }
}
