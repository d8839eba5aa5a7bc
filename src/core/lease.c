/* lease: see lease.h. */
#include "core/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

int lease_take(int fd)
{
#ifdef F_SETLEASE
    /* Should somebody want to write meanwhile, the kernel tells us by a signal: one that is ignored
     * unless asked for, since the usual one would end us. */
    if (fcntl(fd, F_SETSIG, SIGURG) != 0)
        return -1;
    return fcntl(fd, F_SETLEASE, F_RDLCK);
#else
    (void)fd;
    errno = ENOTSUP;
    return -1;
#endif
}

void lease_end(int fd)
{
#ifdef F_SETLEASE
    fcntl(fd, F_SETLEASE, F_UNLCK);
#else
    (void)fd;
#endif
}
