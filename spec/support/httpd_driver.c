/* httpd_driver: a server on src/run/httpd that a spec starts, speaks to and stops.
 *
 *   httpd_driver [name=value ...]     the options of httpd, by name; tls_cert and tls_key are paths
 *
 * Prints "port N" once it listens, then one line for each answer (the access hook). Routes: /echo
 * tells what was received, /body returns the body, /delay/MS answers later, /size/N answers N bytes,
 * /status/N answers with that status, /counts tells connections and requests in flight, /stop drains
 * and ends, /abandon ends while the request is being handled.
 */
#include "run/httpd.h"

#include "core/buf.h"
#include "run/tls.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct event_base *base;
static struct httpd *server;
static struct httpd_request *abandoned;
static const char *tls_cert, *tls_key;

static void text(struct httpd_request *r, int status, const char *body)
{
    struct http_header type = {"Content-Type", "text/plain"};

    httpd_reply(r, status, &type, 1, body, strlen(body));
}

static void echo(struct httpd_request *r)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    buf_addf(&out, "%s %s 1.%d %zu\n", r->method, r->target, r->minor, r->body_len);
    for (size_t i = 0; i < r->n_headers; i++)
        buf_addf(&out, "%s=%s\n", r->headers[i].name, r->headers[i].value);
    httpd_reply(r, 200, NULL, 0, out.data, out.len);
    buf_fini(&out);
}

static void later(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    text(arg, 200, "late\n");
}

static void sized(struct httpd_request *r, size_t n)
{
    char *bytes = calloc(n + 1, 1);

    if (bytes == NULL) {
        text(r, 500, "no memory\n");
        return;
    }
    memset(bytes, 'x', n);
    httpd_reply(r, 200, NULL, 0, bytes, n);
    free(bytes);
}

static void end(void *ctx)
{
    (void)ctx;
    event_base_loopbreak(base);
}

static void stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    httpd_stop_accepting(server);
    httpd_close_idle(server);
    httpd_on_idle(server, end, NULL);
}

static void counts(struct httpd_request *r)
{
    char line[80];

    snprintf(line, sizeof line, "%zu %zu\n", httpd_connections(server), httpd_in_flight(server));
    text(r, 200, line);
}

static void route(struct httpd_request *r)
{
    struct timeval tv = {0, 0};
    long n;

    if (strcmp(r->target, "/body") == 0) {
        httpd_reply(r, 200, NULL, 0, r->body, r->body_len);
    } else if (sscanf(r->target, "/delay/%ld", &n) == 1) {
        tv = (struct timeval){n / 1000, n % 1000 * 1000};
        event_base_once(base, -1, EV_TIMEOUT, later, r, &tv);
    } else if (sscanf(r->target, "/size/%ld", &n) == 1) {
        sized(r, (size_t)n);
    } else if (sscanf(r->target, "/status/%ld", &n) == 1) {
        text(r, (int)n, "status\n");
    } else if (strcmp(r->target, "/counts") == 0) {
        counts(r);
    } else if (strcmp(r->target, "/stop") == 0) {
        event_base_once(base, -1, EV_TIMEOUT, stop, NULL, &tv);
        text(r, 200, "stopping\n");
    } else if (strcmp(r->target, "/abandon") == 0) {
        abandoned = r;
        event_base_loopbreak(base);
    } else {
        echo(r);
    }
}

static void handle(struct httpd_request *r, void *ctx)
{
    (void)ctx;
    if (r->refused != 0)
        text(r, r->refused, r->reason);
    else
        route(r);
}

static void access_line(const struct httpd_request *r, int status, size_t sent, double seconds,
                        void *ctx)
{
    (void)ctx;
    printf("%s:%d %s%llu \"%s %s HTTP/1.%d\" %d %zu %.3f\n", r->peer, r->peer_port,
           r->peer_is_loopback ? "local " : "", (unsigned long long)r->number, r->method, r->target,
           r->minor, status, sent, seconds);
}

static void set(struct httpd_options *o, char *argument)
{
    char *value = strchr(argument, '=');
    size_t number;

    if (value == NULL)
        return;
    *value++ = '\0';
    number = strtoul(value, NULL, 10);
    if (strcmp(argument, "host") == 0)
        o->host = value;
    else if (strcmp(argument, "tls_cert") == 0)
        tls_cert = value;
    else if (strcmp(argument, "tls_key") == 0)
        tls_key = value;
    else if (strcmp(argument, "port") == 0)
        o->port = (int)number;
    else if (strcmp(argument, "max_body") == 0)
        o->max_body = number;
    else if (strcmp(argument, "max_head") == 0)
        o->max_head = number;
    else if (strcmp(argument, "max_headers") == 0)
        o->max_headers = number;
    else if (strcmp(argument, "max_connections") == 0)
        o->max_connections = number;
    else if (strcmp(argument, "head_seconds") == 0)
        o->head_seconds = strtod(value, NULL);
    else if (strcmp(argument, "body_seconds") == 0)
        o->body_seconds = strtod(value, NULL);
    else if (strcmp(argument, "idle_seconds") == 0)
        o->idle_seconds = strtod(value, NULL);
    else if (strcmp(argument, "write_seconds") == 0)
        o->write_seconds = strtod(value, NULL);
}

int main(int argc, char **argv)
{
    struct httpd_options options = {0};
    struct fail fail;
    bool quiet = false;

    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "quiet") == 0)
            quiet = true;
        set(&options, argv[i]);
    }
    base = event_base_new();
    if (tls_cert != NULL)
        options.tls = tls_new(tls_cert, tls_key, &fail);
    server = httpd_new(base, &options, handle, NULL, &fail);
    if (server == NULL) {
        printf("%s: %s\n", fail.code, fail.message);
        event_base_free(base);
        tls_free(options.tls);
        return 1;
    }
    if (!quiet)
        httpd_on_access(server, access_line, NULL);
    printf("port %d\n", httpd_port(server));
    event_base_dispatch(base);
    httpd_free(server);
    if (abandoned != NULL)
        httpd_reply(abandoned, 200, NULL, 0, "x", 1);
    tls_free(options.tls);
    event_base_free(base);
    libevent_global_shutdown();
    return 0;
}
