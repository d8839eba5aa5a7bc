/* interrupt: signals for a program that waits on one descriptor at a time (the console's client).
 *
 * After interrupt_catch these signals reach the calling thread only while it is in interrupt_wait,
 * so none comes between a look and a wait.
 */
#ifndef RUN_INTERRUPT_H
#define RUN_INTERRUPT_H

enum interrupt {
    INTERRUPT_READY,  /* something can be read, or the other end is gone */
    INTERRUPT_BREAK,  /* SIGINT */
    INTERRUPT_END,    /* SIGTERM or SIGHUP */
    INTERRUPT_REDRAW, /* SIGWINCH or SIGCONT: the terminal is not as it was */
    INTERRUPT_LATE    /* the time is over */
};

/* Take the signals over from whoever had them. */
void interrupt_catch(void);

/* Wait until `fd` can be read, a signal comes, or (when seconds >= 0) the time is over. */
enum interrupt interrupt_wait(int fd, double seconds);

#endif
