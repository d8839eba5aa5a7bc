/* lease: a read lease on an open file (fcntl(2), F_SETLEASE): while it is held no process can write
 * into the file or shorten it without waiting. */
#ifndef CORE_LEASE_H
#define CORE_LEASE_H

/* Take the lease, which ends with lease_end or when `fd` is closed. 0; or -1 and errno: EAGAIN when
 * some process has the file open for writing, anything else when the system has none to give (a
 * pipe, another owner's file, a network disk). */
int lease_take(int fd);

void lease_end(int fd);

#endif
