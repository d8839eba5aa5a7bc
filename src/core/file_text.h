/* file_text: a file's bytes in memory, as they were when it was opened, without a copy where that
 * is safe.
 *
 * A file is mapped only under a read lease of the kernel (fcntl(2), F_SETLEASE): as long as that is
 * held nobody can write into the file or shorten it, which under a mapping would end the program
 * with SIGBUS; who tries, also this process, waits until the text is let go of. Where there is no lease to be had (a
 * pipe, another owner's file, a network disk, a file that is open for writing) the bytes are read.
 */
#ifndef CORE_FILE_TEXT_H
#define CORE_FILE_TEXT_H

#include "core/fail.h"

#include <stdatomic.h>
#include <stddef.h>

struct file_text {
    atomic_int refs;
    const char *bytes; /* not ended by a NUL */
    size_t size;
    int lease; /* the mapped file, or -1: then `bytes` is allocated */
};

/* The bytes of the file, with one reference. NULL with `fail` set: code NoFile (it cannot be opened
 * or read), TooLarge (more than `most` bytes), NoMemory. */
struct file_text *file_text_open(const char *path, size_t most, struct fail *fail);

/* One more reference; returns its argument. */
struct file_text *file_text_ref(struct file_text *text);

/* Drop a reference, on any thread; the last one frees. NULL is allowed. */
void file_text_unref(struct file_text *text);

#endif
