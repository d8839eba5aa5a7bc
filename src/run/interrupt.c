/* interrupt: see interrupt.h. */
#include "run/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

static volatile sig_atomic_t got_break, got_end, got_redraw;

static void on_signal(int signo)
{
    if (signo == SIGINT)
        got_break = 1;
    else if (signo == SIGTERM || signo == SIGHUP)
        got_end = 1;
    else
        got_redraw = 1;
}

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT};

enum { N_SIGNALS = sizeof signals / sizeof *signals };

static sigset_t the_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    for (int i = 0; i < N_SIGNALS; i++)
        sigaddset(&set, signals[i]);
    return set;
}

void interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t set = the_signals();

    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < N_SIGNALS; i++)
        sigaction(signals[i], &action, NULL);
}

static bool take(volatile sig_atomic_t *flag)
{
    bool was = *flag != 0;

    *flag = 0;
    return was;
}

enum interrupt interrupt_wait(int fd, double seconds)
{
    struct timespec limit = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    struct pollfd p = {fd, POLLIN, 0};
    sigset_t open;
    int n;

    pthread_sigmask(SIG_BLOCK, NULL, &open);
    for (int i = 0; i < N_SIGNALS; i++)
        sigdelset(&open, signals[i]);
    do {
        n = ppoll(&p, 1, seconds < 0 ? NULL : &limit, &open);
        if (take(&got_end))
            return INTERRUPT_END;
        if (take(&got_break))
            return INTERRUPT_BREAK;
        if (take(&got_redraw))
            return INTERRUPT_REDRAW;
    } while (n < 0 && errno == EINTR);
    return n == 0 ? INTERRUPT_LATE : INTERRUPT_READY;
}
