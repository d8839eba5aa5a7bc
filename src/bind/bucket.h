/* bucket: what the files of the module `directory` share. */
#ifndef BIND_BUCKET_H
#define BIND_BUCKET_H

#include "core/directory.h"

#include <lua.h>

/* The bucket at 1, borrowed; raises when it is none or closed. */
struct directory *bucket_check(lua_State *L);

/* Raises when there is something at `index` that is no table of options. */
void bucket_check_options(lua_State *L, int index);

/* The methods put and put_all, as l_directory.c describes them. */
int bucket_put(lua_State *L);
int bucket_put_all(lua_State *L);

#endif
