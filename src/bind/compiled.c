/* compiled: see compiled.h. The chunks are laid one after another by compiled.lua. */
#include "bind/compiled.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH_DIGITS = 8, HEAD = COMPILED_MD5 + LENGTH_DIGITS };

/* From build/gen/library.s: the first byte of the chunks, and the one behind their last. */
extern const char compiled_library[], compiled_library_end[];

const char compiled_probe[] = "00000000000000000000000000000000";

const char *compiled_find(const char *md5, size_t *length)
{
    /* cppcheck-suppress comparePointers; the two are ends of one object */
    for (const char *p = compiled_library; p < compiled_library_end; p += HEAD + *length) {
        char digits[LENGTH_DIGITS + 1] = {0};

        memcpy(digits, p + COMPILED_MD5, LENGTH_DIGITS);
        *length = strtoul(digits, NULL, 10);
        if (memcmp(p, md5, COMPILED_MD5) == 0)
            return p + HEAD;
    }
    return NULL;
}
