/* pty: runs a program at a terminal of its own and does what its standard input says, line by line:
 *
 *     send TEXT            type it; \n \r \t \e \\ and \xHH are understood
 *     expect SECONDS TEXT  wait until the text was shown since the last thing expected; answers
 *                          "ok MILLISECONDS" or "late " and what was shown instead
 *     end SECONDS          wait for the program's end: "exit CODE", "signal NUMBER" or "late"
 *
 * usage: pty COLUMNS PROGRAM [ARGUMENT...]
 */
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SHOWN = 1 << 20, MAX_LINE = 65536 };

static char shown[MAX_SHOWN + 1];
static size_t n_shown;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Undo the escapes in place; the length. */
static size_t unescape(char *text)
{
    static const char names[] = "nrte\\", values[] = "\n\r\t\033\\";
    char *out = text;

    for (char *p = text; *p != '\0'; p++) {
        const char *name = p[0] == '\\' && p[1] != '\0' ? strchr(names, p[1]) : NULL;

        if (name != NULL) {
            *out++ = values[name - names];
            p++;
        } else if (p[0] == '\\' && p[1] == 'x' && p[2] != '\0' && p[3] != '\0') {
            char hex[3] = {p[2], p[3], '\0'};

            *out++ = (char)strtol(hex, NULL, 16);
            p += 3;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
    return (size_t)(out - text);
}

/* Take in what the program shows, for at most so long. False: it shows nothing more. */
static bool look(int fd, double seconds)
{
    struct pollfd p = {fd, POLLIN, 0};
    ssize_t n;

    if (poll(&p, 1, seconds > 0 ? (int)(seconds * 1000) + 1 : 0) <= 0)
        return true;
    if (n_shown >= MAX_SHOWN)
        n_shown = 0;
    n = read(fd, shown + n_shown, MAX_SHOWN - n_shown);
    if (n <= 0)
        return false;
    n_shown += (size_t)n;
    shown[n_shown] = '\0';
    return true;
}

static void print_escaped(void)
{
    fputs("late ", stdout);
    for (size_t i = 0; i < n_shown; i++) {
        unsigned char c = (unsigned char)shown[i];

        if (c < 32 || c == 127 || c == '\\')
            printf("\\x%02X", c);
        else
            putchar(c);
    }
    putchar('\n');
}

static void expect(int fd, char *line)
{
    char *text;
    double began = now(), deadline = began + strtod(line, &text);
    bool open = true;

    text++;
    unescape(text);
    for (;;) {
        char *at = memmem(shown, n_shown, text, strlen(text));

        if (at != NULL) {
            size_t taken = (size_t)(at - shown) + strlen(text);

            memmove(shown, shown + taken, n_shown - taken);
            n_shown -= taken;
            printf("ok %.0f\n", (now() - began) * 1000);
            return;
        }
        if (!open || now() >= deadline) {
            print_escaped();
            return;
        }
        open = look(fd, deadline - now());
    }
}

static void end(int fd, pid_t pid, const char *line)
{
    double deadline = now() + strtod(line, NULL);
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now() >= deadline) {
            puts("late");
            return;
        }
        if (!look(fd, 0.02))
            usleep(10000);
    }
    if (WIFEXITED(status))
        printf("exit %d\n", WEXITSTATUS(status));
    else
        printf("signal %d\n", WTERMSIG(status));
}

int main(int argc, char **argv)
{
    static char line[MAX_LINE];
    struct winsize size = {.ws_row = 40};
    int fd;
    pid_t pid;

    if (argc < 3)
        return 2;
    size.ws_col = (unsigned short)atoi(argv[1]);
    pid = forkpty(&fd, NULL, NULL, &size);
    if (pid < 0)
        return 1;
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "send ", 5) == 0) {
            size_t n = unescape(line + 5);

            if (write(fd, line + 5, n) != (ssize_t)n)
                puts("late the terminal is gone");
        } else if (strncmp(line, "expect ", 7) == 0) {
            expect(fd, line + 7);
        } else if (strncmp(line, "end ", 4) == 0) {
            end(fd, pid, line + 4);
        }
    }
    kill(pid, SIGKILL);
    return 0;
}
