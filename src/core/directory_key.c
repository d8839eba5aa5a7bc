/* directory_key: see directory_key.h. */
#include "core/directory_key.h"

#include <string.h>

static bool has_control(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f)
            return true;
    return false;
}

static bool is_dots(const char *name, size_t len)
{
    return (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.');
}

bool directory_key_component(const char *name, size_t len)
{
    return len > 0 && len <= DIRECTORY_NAME_MAX && !is_dots(name, len) && !has_control(name, len) &&
           memchr(name, '/', len) == NULL;
}

/* What is wrong with the key as a whole, or NULL. */
static const char *whole_fault(const char *bytes, size_t len)
{
    if (len == 0)
        return "is empty";
    if (len > DIRECTORY_KEY_MAX)
        return "is longer than 1024 bytes";
    if (has_control(bytes, len))
        return "holds a control byte";
    if (bytes[0] == '/')
        return "begins with a slash";
    if (bytes[len - 1] == '/')
        return "ends with a slash";
    return NULL;
}

static const char *component_fault(const char *name, size_t len)
{
    if (len == 0)
        return "holds two slashes in a row";
    if (len > DIRECTORY_NAME_MAX)
        return "has a part longer than 255 bytes";
    if (is_dots(name, len))
        return "has a part that is . or ..";
    return NULL;
}

static const char *key_fault(const char *bytes, size_t len)
{
    const char *fault = whole_fault(bytes, len);
    size_t start = 0;

    for (size_t i = 0; fault == NULL && i <= len; i++) {
        if (i < len && bytes[i] != '/')
            continue;
        fault = component_fault(bytes + start, i - start);
        if (fault == NULL && start == 0 && i == sizeof DIRECTORY_OWN - 1 &&
            memcmp(bytes, DIRECTORY_OWN, i) == 0)
            fault = "lies under " DIRECTORY_OWN ", the bucket's own folder";
        start = i + 1;
    }
    return fault;
}

/* At most 80 bytes of the key for a message, unprintable ones as '?'. */
static const char *shown(const char *bytes, size_t len, char out[84])
{
    size_t n = len > 80 ? 80 : len;

    for (size_t i = 0; i < n; i++)
        out[i] = has_control(bytes + i, 1) ? '?' : bytes[i];
    memcpy(out + n, len > 80 ? "..." : "", len > 80 ? 4 : 1);
    return out;
}

int directory_key_set(struct directory_key *key, const char *bytes, size_t len, struct fail *fail)
{
    const char *fault = key_fault(bytes, len);
    char text[84];

    if (fault != NULL)
        return fail_set(fail, "InvalidKey", "the key \"%s\" %s", shown(bytes, len, text), fault);
    memcpy(key->text, bytes, len);
    key->text[len] = '\0';
    key->len = len;
    return 0;
}
