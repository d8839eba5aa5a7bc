/* directory_private: what the files of the directory bucket share. */
#ifndef CORE_DIRECTORY_PRIVATE_H
#define CORE_DIRECTORY_PRIVATE_H

#include "core/digest.h"
#include "core/directory.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* ---- directory_etag.c: digests, and the ETags of files that were read before ---- */

/* An MD5 in the making: begin (NULL when there is no memory or no MD5), EVP_DigestUpdate, end. The
 * end frees it; the ETag is empty when it failed. */
EVP_MD_CTX *etag_begin(void);
void etag_end(EVP_MD_CTX *sum, directory_etag etag);

/* A bounded memory of ETags by file identity. A file is only remembered when it has not changed
 * for two seconds, so that a change within one tick of the file system's clock cannot hide. */
struct etag_cache;

struct etag_cache *etag_cache_new(void);
void etag_cache_free(struct etag_cache *cache);
bool etag_cache_get(struct etag_cache *cache, const struct stat *st, directory_etag etag);
void etag_cache_put(struct etag_cache *cache, const struct stat *st, const directory_etag etag);

/* Has the file been left alone for two seconds, by the clock of the system? */
bool etag_settled(const struct stat *st);

/* ---- directory.c: the bucket and its own folder ---- */

/* The open `.anomalyd` of a bucket that is written to. */
struct area {
    atomic_int refs;
    int own;  /* .anomalyd */
    int meta; /* .anomalyd/meta */
    int tmp;  /* .anomalyd/tmp/SESSION */
    char session[64];
};

struct directory {
    atomic_int refs;
    int root;
    bool read_only;
    char *path;
    char *name;
    atomic_uint serial; /* names of temporary files */
    struct etag_cache *etags;
    pthread_mutex_t mutex; /* guards area */
    struct area *area;     /* NULL until something is to be written */
};

/* The area, with a reference; NULL and `fail` when there can be none. */
struct area *area_take(struct directory *d, struct fail *fail);
void area_unref(struct area *area);
/* Its folder has vanished (somebody removed .anomalyd): make a new one at the next area_take. */
void area_lost(struct directory *d, struct area *area);

/* Wait for the key's lock, against other threads and processes. A descriptor to close, or -1;
 * "Busy" after half a minute. */
int area_lock(const struct area *area, const struct directory_key *key, struct fail *fail);

/* ---- directory_path.c: names to descriptors, nothing followed ---- */

/* Fill `fail` from errno value `err`: "cannot WHAT PATH: reason; remedy". Returns -1. */
int path_fail(struct fail *fail, int err, const char *what, const char *path);

/* Open the folder `name` below `at`; -1 and errno. A link gives ENOTDIR or ELOOP. */
int path_folder(int at, const char *name);

/* Like path_folder, made and made durable when it is not there. */
int path_make_folder(int at, const char *name);

/* Open the folder that holds the last component of `path` (a key, or a prefix with its slash),
 * beginning at `root`; *leaf is set to that component. `make` makes what is missing. -1 and errno. */
int path_parent(int root, const char *path, bool make, const char **leaf);

/* Open a regular file for reading, never waiting for a pipe or a device. -1 and errno; ENOENT for
 * whatever is no regular file. */
int path_file(int at, const char *name, struct stat *st);

/* fsync a folder. 0, or -1 and errno. */
int path_sync(int fd);

int path_write(int fd, const char *data, size_t n);

/* ---- directory_read.c ---- */

/* What stands at a place now. */
struct content {
    struct stat st;
    directory_etag etag;
    char *body; /* NULL unless it was asked for */
};

/* Read the file `leaf` in `parent`, its body too when `want_body`. 0; 1 when it changed meanwhile
 * (try again); -1 with `fail`, "NoSuchKey" when it is not there. */
int content_read(struct directory *d, int parent, const char *leaf, const struct directory_key *key,
                 bool want_body, size_t limit, struct content *content, struct fail *fail);

/* content_read, again when it changed meanwhile; 0 or -1, with "Changing" in the end. */
int content_settle(struct directory *d, int parent, const char *leaf,
                   const struct directory_key *key, struct content *content, struct fail *fail);

/* Wait a little before try number `attempt` (0, 1, ...); false when it was tried often enough. */
bool content_again(int attempt);

/* Read the key's sidecar in the folder `meta` into `sidecar` (finish it in every case). 1 when there
 * is one, 0 when there is none, -1 with `fail`. */
int sidecar_read(int meta, const struct directory_key *key, struct directory_sidecar *sidecar,
                 struct fail *fail);

/* The name of a key's sidecar in .anomalyd/meta: the SHA-256 of the key, in hex. */
typedef char sidecar_name[DIGEST_SHA256_HEX];

/* Called between any two system calls that change the disk, with the name of the one that was
 * just done. Does nothing; the crash test puts its own in its place. */
void directory_step(const char *name);

#endif
