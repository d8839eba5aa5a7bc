/* file_text: see file_text.h. */
#include "core/file_text.h"

#include "core/buf.h"
#include "core/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int too_large(const char *path, size_t most, struct fail *fail)
{
    return fail_set(fail, "TooLarge", "%s: more than max_bytes = %zu", path, most);
}

/* Map the whole of the file that is open as `fd`. 0; or -1: it must be read. */
static int map_file(struct file_text *text, int fd)
{
    struct stat st;
    void *bytes;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || lease_take(fd) != 0)
        return -1;
    /* Again: it may have been written before the lease. */
    if (fstat(fd, &st) != 0 || st.st_size <= 0)
        return -1;
    bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return -1;
    text->bytes = bytes;
    text->size = (size_t)st.st_size;
    text->lease = fd;
    return 0;
}

/* Room for what is left of the file that is open as `fd`, as far as it tells. */
static size_t room_for(int fd, const struct buf *buf)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size >= buf->len)
        return (size_t)st.st_size - buf->len + 1; /* one more, to see the end */
    return 65536;
}

/* Read what there is. 0, or -1. */
static int read_all(struct buf *buf, int fd, const char *path, struct fail *fail)
{
    for (;;) {
        size_t room = room_for(fd, buf);
        ssize_t n;

        if (room > buf->max - buf->len)
            room = buf->max - buf->len;
        if (room == 0)
            return too_large(path, buf->max - 1, fail);
        if (buf_reserve(buf, room) != 0)
            return fail_memory(fail);
        n = read(fd, buf->data + buf->len, room);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return fail_set(fail, "NoFile", "%s: cannot be read: %s", path, strerror(errno));
        if (n > 0)
            buf->len += (size_t)n;
    }
}

static int fill(struct file_text *text, const char *path, size_t most, struct fail *fail)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct buf buf;
    int bad;

    if (fd == -1)
        return fail_set(fail, "NoFile", "%s: %s", path, strerror(errno));
    if (map_file(text, fd) == 0)
        return text->size > most ? too_large(path, most, fail) : 0;
    buf_init(&buf, most + 1);
    bad = read_all(&buf, fd, path, fail);
    close(fd);
    text->bytes = buf.data;
    text->size = buf.len;
    return bad;
}

struct file_text *file_text_open(const char *path, size_t most, struct fail *fail)
{
    struct file_text *text = calloc(1, sizeof *text);

    if (text == NULL) {
        fail_memory(fail);
        return NULL;
    }
    atomic_init(&text->refs, 1);
    text->lease = -1;
    if (fill(text, path, most, fail) == 0)
        return text;
    file_text_unref(text);
    return NULL;
}

struct file_text *file_text_ref(struct file_text *text)
{
    atomic_fetch_add_explicit(&text->refs, 1, memory_order_relaxed);
    return text;
}

void file_text_unref(struct file_text *text)
{
    if (text == NULL || atomic_fetch_sub_explicit(&text->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (text->lease != -1) {
        munmap((void *)text->bytes, text->size);
        close(text->lease);
    } else {
        free((void *)text->bytes);
    }
    free(text);
}
