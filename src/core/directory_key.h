/* directory_key: the names of objects in a directory bucket.
 *
 * A key is believed only once it is a `struct directory_key`: then it is 1..1024 bytes, made of
 * components of 1..255 bytes between single slashes, none of them "." or "..", without control
 * bytes, and it does not lie under the bucket's own folder `.anomalyd`. Such a key cannot leave the
 * root of the bucket.
 */
#ifndef CORE_DIRECTORY_KEY_H
#define CORE_DIRECTORY_KEY_H

#include "core/fail.h"

#include <stdbool.h>
#include <stddef.h>

enum { DIRECTORY_KEY_MAX = 1024, DIRECTORY_NAME_MAX = 255 };

/* The folder where a bucket keeps its lock, its metadata and its unfinished files. */
#define DIRECTORY_OWN ".anomalyd"

struct directory_key {
    size_t len;
    char text[DIRECTORY_KEY_MAX + 1]; /* terminated; holds no NUL before len */
};

/* Check `len` bytes and take them as a key. 0, or -1 with code "InvalidKey" and a message that says
 * which rule is broken. */
int directory_key_set(struct directory_key *key, const char *bytes, size_t len, struct fail *fail);

/* May these bytes be one component of a key (whatever stands before it)? */
bool directory_key_component(const char *name, size_t len);

#endif
