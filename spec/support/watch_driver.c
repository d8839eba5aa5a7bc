/* watch_driver: prints what src/run/watch tells about a directory, until standard input ends.
 *
 *   watch_driver DIRECTORY
 *
 * "ready N" (directories watched) comes first; then "written PATH", "found PATH", "removed PATH",
 * "rescan ", "blind PATH", and "quiet" when nothing came for 100 ms after something.
 */
#include "run/watch.h"

#include <stdio.h>
#include <unistd.h>

static struct event *quiet;

static void told(enum watch_change change, const char *path, void *ctx)
{
    static const char *const names[] = {"written", "found", "removed", "rescan", "blind"};
    static const struct timeval settle = {0, 100000};

    (void)ctx;
    printf("%s %s\n", names[change], path);
    evtimer_add(quiet, &settle);
}

static void on_quiet(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    printf("quiet\n");
}

static void on_input(evutil_socket_t fd, short what, void *arg)
{
    char bytes[64];

    (void)what;
    if (read(fd, bytes, sizeof bytes) <= 0)
        event_base_loopbreak(arg);
}

int main(int argc, char **argv)
{
    /* standard input may be a file, which epoll does not take */
    struct event_config *config = event_config_new();
    struct event_base *base;
    struct event *input;
    struct watch *watch;
    struct fail fail;

    alarm(20); /* a spec that waits for what never comes is to fail, not to hang */
    setvbuf(stdout, NULL, _IOLBF, 0);
    event_config_avoid_method(config, "epoll");
    base = event_base_new_with_config(config);
    event_config_free(config);
    quiet = evtimer_new(base, on_quiet, NULL);
    watch = watch_new(base, argc > 1 ? argv[1] : ".", told, NULL, &fail);
    if (watch == NULL) {
        printf("%s: %s\n", fail.code, fail.message);
    } else {
        input = event_new(base, 0, EV_READ | EV_PERSIST, on_input, base);
        event_add(input, NULL);
        printf("ready %zu\n", watch_directories(watch));
        event_base_dispatch(base);
        event_free(input);
    }
    watch_free(watch);
    event_free(quiet);
    event_base_free(base);
    return 0;
}
