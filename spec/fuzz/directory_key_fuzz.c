/* Any bytes as a key: what is accepted must be a path that stays inside its folder. */
#include "check.h"

#include "core/directory_key.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The rules once more, written another way: with slashes around, no bad part can hide. */
static void check_key(const struct directory_key *key)
{
    char around[DIRECTORY_KEY_MAX + 3];

    CHECK(key->len >= 1 && key->len <= DIRECTORY_KEY_MAX && strlen(key->text) == key->len);
    around[0] = '/';
    memcpy(around + 1, key->text, key->len);
    memcpy(around + 1 + key->len, "/", 2);
    CHECK(strstr(around, "//") == NULL && strstr(around, "/./") == NULL);
    CHECK(strstr(around, "/../") == NULL);
    CHECK(strncmp(around, "/.anomalyd/", 11) != 0);
    for (const char *c = key->text; *c != '\0'; c++)
        CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct directory_key key, again;
    struct fail fail = {0};

    if (directory_key_set(&key, (const char *)data, size, &fail) != 0) {
        CHECK(fail.code != NULL && strcmp(fail.code, "InvalidKey") == 0);
        CHECK(strchr(fail.message, '\n') == NULL);
        return 0;
    }
    check_key(&key);
    CHECK(key.len == size && memcmp(key.text, data, size) == 0);
    CHECK(directory_key_set(&again, key.text, key.len, NULL) == 0);
    /* A key is one component, or several that are each good. */
    for (const char *part = key.text; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        CHECK(directory_key_component(part, strcspn(part, "/")));
    }
    return 0;
}
