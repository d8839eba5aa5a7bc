/* Any bytes as a sidecar file, and as metadata: what is read must come out again as it was. */
#include "check.h"

#include "core/directory_meta.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_meta(const struct directory_meta *a, const struct directory_meta *b)
{
    return a->n == b->n && a->len == b->len &&
           (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void same_sidecar(const struct directory_sidecar *a, const struct directory_sidecar *b)
{
    CHECK(a->n == b->n);
    for (size_t i = 0; i < a->n; i++) {
        CHECK(strcmp(a->records[i].etag, b->records[i].etag) == 0);
        CHECK(same_meta(&a->records[i].meta, &b->records[i].meta));
        CHECK(directory_sidecar_find(a, a->records[i].etag) == &a->records[i].meta);
    }
}

/* Write it and read it again. */
static void round_trip(const struct directory_sidecar *sidecar, const struct directory_key *key)
{
    struct directory_sidecar again = {0};
    struct buf text;

    buf_init(&text, DIRECTORY_SIDECAR_MAX);
    CHECK(directory_sidecar_format(sidecar, key, &text) == 0);
    CHECK(directory_sidecar_parse(&again, key, text.data, text.len, NULL) == 0);
    same_sidecar(sidecar, &again);
    directory_sidecar_fini(&again);
    /* Nothing of it may be missing. */
    CHECK(directory_sidecar_parse(&again, key, text.data, text.len - 1, NULL) != 0);
    directory_sidecar_fini(&again);
    buf_fini(&text);
}

static void check_meta(const struct directory_meta *meta)
{
    const char *name, *value, *last = "";
    size_t at = 0, n = 0;

    CHECK(meta->len - 2 * meta->n <= DIRECTORY_META_MAX);
    for (; directory_meta_next(meta, &at, &name, &value); n++, last = name)
        CHECK(strcmp(last, name) < 0 && strpbrk(name, "ABCXYZ \n") == NULL &&
              strpbrk(value, "\n\r\t") == NULL);
    CHECK(n == meta->n && at == meta->len);
}

/* The bytes as pairs: length of the name, name, length of the value, value. */
static void add_pairs(struct directory_meta *meta, const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t name_len = data[0] % 32, value_len;

        if (size < name_len + 2)
            return;
        value_len = data[name_len + 1];
        if (size < name_len + 2 + value_len)
            return;
        directory_meta_add(meta, (const char *)data + 1, name_len,
                           (const char *)data + name_len + 2, value_len, NULL);
        check_meta(meta);
        data += name_len + value_len + 2;
        size -= name_len + value_len + 2;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct directory_sidecar sidecar = {0}, written = {0};
    struct directory_meta meta = {0};
    struct directory_key key;
    char *text = malloc(size == 0 ? 1 : size); /* just as long, so that reading on is seen */

    CHECK(text != NULL && directory_key_set(&key, "k", 1, NULL) == 0);
    memcpy(text, data, size);
    if (directory_sidecar_parse(&sidecar, &key, text, size, NULL) == 0) {
        for (size_t i = 0; i < sidecar.n; i++)
            check_meta(&sidecar.records[i].meta);
        round_trip(&sidecar, &key);
    }
    directory_sidecar_fini(&sidecar);
    free(text);

    add_pairs(&meta, data, size);
    CHECK(directory_sidecar_add(&written, "0cc175b9c0f1b6a831c399e269772661", &meta) == 0);
    CHECK(directory_sidecar_add(&written, "92eb5ffee6ae2fec3ad71c777531578f", NULL) == 0);
    round_trip(&written, &key);
    directory_sidecar_fini(&written);
    directory_meta_fini(&meta);
    return 0;
}
