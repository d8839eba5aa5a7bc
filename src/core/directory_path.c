/* directory_path: names to descriptors, one component after the other, no link ever followed. See
 * directory_private.h. */
#include "core/directory_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char *remedy_of(int err, const char **code)
{
    switch (err) {
    case EACCES:
    case EPERM:
        *code = "AccessDenied";
        return "; chmod or chown it for the user of this process";
    case EROFS:
        *code = "AccessDenied";
        return "; mount it for writing";
    case ENOSPC:
    case EDQUOT:
        *code = "NoSpace";
        return "; make room on its file system";
    case EMFILE:
    case ENFILE:
        *code = "TooManyFiles";
        return "; raise the limit of open files";
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case ELOOP:
        *code = "KeyConflict";
        return "; a file and a folder cannot share a name, and links are not followed";
    case ENAMETOOLONG:
        *code = "InvalidKey";
        return "";
    case ENOMEM:
        *code = "NoMemory";
        return "";
    default:
        *code = "IOError";
        return "";
    }
}

int path_fail(struct fail *fail, int err, const char *what, const char *path)
{
    const char *code, *remedy = remedy_of(err, &code);
    char text[128];

    return fail_set(fail, code, "cannot %s %.200s: %s%s", what, path,
                    strerror_r(err, text, sizeof text), remedy);
}

int path_folder(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int path_sync(int fd)
{
    /* Some file systems cannot sync a folder and need not. */
    return fsync(fd) == 0 || errno == EINVAL ? 0 : -1;
}

int path_make_folder(int at, const char *name)
{
    int fd = path_folder(at, name);

    if (fd != -1 || errno != ENOENT)
        return fd;
    if (mkdirat(at, name, 0777) != 0 && errno != EEXIST)
        return -1;
    directory_step("folder made");
    if (path_sync(at) != 0)
        return -1;
    directory_step("folder's parent synced");
    return path_folder(at, name);
}

int path_parent(int root, const char *path, bool make, const char **leaf)
{
    char name[DIRECTORY_NAME_MAX + 1];
    int fd = path_folder(root, "."); /* not a dup: that would share the place of a listing */
    const char *slash;

    for (; fd != -1 && (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        int next, err;

        memcpy(name, path, (size_t)(slash - path));
        name[slash - path] = '\0';
        next = make ? path_make_folder(fd, name) : path_folder(fd, name);
        err = errno;
        close(fd);
        errno = err;
        fd = next;
    }
    *leaf = path;
    return fd;
}

int path_file(int at, const char *name, struct stat *st)
{
    int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd == -1) {
        /* A link, a socket, a device without a driver: no objects. */
        if (errno == ELOOP || errno == ENXIO || errno == ENODEV || errno == ENOTDIR)
            errno = ENOENT;
        return -1;
    }
    if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
        return fd;
    close(fd);
    errno = ENOENT;
    return -1;
}

int path_write(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, data, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        data += done;
        n -= (size_t)done;
    }
    return 0;
}
