/* compiled: the Lua files of lua/ and scripts/ as they were compiled when the program was built.
 *
 * Compiling them is most of the program's start and of every reload. A file is known by the MD5 of
 * its text: one that was edited since is not found and is compiled from its text, as if this did
 * not exist. What another release of Lua compiled might not fit the one that runs; so nothing is
 * found unless that one compiles the probe, a file of its own in here, to the same bytes.
 */
#ifndef BIND_COMPILED_H
#define BIND_COMPILED_H

#include <stddef.h>

enum { COMPILED_MD5 = 32 }; /* hexadecimal digits */

/* The binary chunk of the text with this MD5 (lower-case digits), and its length.
 * NULL when there is none. Lives as long as the program. */
const char *compiled_find(const char *md5, size_t *length);

/* The md5 under which compiled_find() has the probe: lua/coro.lua, without debugging information. */
extern const char compiled_probe[];

#endif
