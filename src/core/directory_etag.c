/* directory_etag: digests, and the ETags of files that were read before. See directory_private.h. */
#include "core/directory_private.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 8192, SETTLE_SECONDS = 2 };

EVP_MD_CTX *etag_begin(void)
{
    EVP_MD_CTX *sum = EVP_MD_CTX_new();

    if (sum != NULL && EVP_DigestInit_ex(sum, EVP_md5(), NULL) == 1)
        return sum;
    EVP_MD_CTX_free(sum);
    return NULL;
}

void etag_end(EVP_MD_CTX *sum, directory_etag etag)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n;

    if (EVP_DigestFinal_ex(sum, digest, &n) == 1)
        digest_hex(digest, DIGEST_MD5, etag);
    else
        etag[0] = '\0';
    EVP_MD_CTX_free(sum);
}

/* What tells one state of one file from any other. */
struct identity {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct slot {
    struct identity file;
    directory_etag etag; /* empty when the slot is free */
};

struct etag_cache {
    pthread_mutex_t mutex;
    struct slot slots[SLOTS];
};

struct etag_cache *etag_cache_new(void)
{
    struct etag_cache *cache = calloc(1, sizeof *cache);

    if (cache != NULL)
        pthread_mutex_init(&cache->mutex, NULL);
    return cache;
}

void etag_cache_free(struct etag_cache *cache)
{
    if (cache == NULL)
        return;
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

static struct slot *slot_of(struct etag_cache *cache, const struct stat *st)
{
    uint64_t h = (uint64_t)st->st_ino * 0x9e3779b97f4a7c15u ^ (uint64_t)st->st_dev;

    return &cache->slots[(h >> 32) % SLOTS];
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_file(const struct identity *file, const struct stat *st)
{
    return file->dev == st->st_dev && file->ino == st->st_ino && file->size == st->st_size &&
           same_time(&file->mtime, &st->st_mtim) && same_time(&file->ctime, &st->st_ctim);
}

bool etag_cache_get(struct etag_cache *cache, const struct stat *st, directory_etag etag)
{
    struct slot *slot = slot_of(cache, st);
    bool found;

    pthread_mutex_lock(&cache->mutex);
    found = slot->etag[0] != '\0' && is_file(&slot->file, st);
    if (found)
        memcpy(etag, slot->etag, sizeof slot->etag);
    pthread_mutex_unlock(&cache->mutex);
    return found;
}

static bool is_older(const struct timespec *t, const struct timespec *now)
{
    return now->tv_sec - t->tv_sec > SETTLE_SECONDS;
}

bool etag_settled(const struct stat *st)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return is_older(&st->st_mtim, &now) && is_older(&st->st_ctim, &now);
}

void etag_cache_put(struct etag_cache *cache, const struct stat *st, const directory_etag etag)
{
    struct slot *slot = slot_of(cache, st);

    if (!etag_settled(st))
        return;
    pthread_mutex_lock(&cache->mutex);
    slot->file = (struct identity){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
    memcpy(slot->etag, etag, sizeof slot->etag);
    pthread_mutex_unlock(&cache->mutex);
}
