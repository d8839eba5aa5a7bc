/* iforest_options: what the module `iforest` is called with, checked.
 *
 * Whatever is wrong raises with the name of the argument or option.
 */
#ifndef BIND_IFOREST_OPTIONS_H
#define BIND_IFOREST_OPTIONS_H

#include "core/iforest.h"

#include <lua.h>

/* The table of columns at `arg`: how many there are, and in *rows how long each is. */
size_t iforest_options_columns(lua_State *L, int arg, size_t *rows);

/* The table of options at `arg`, which may be absent, for a frame of so many rows. */
void iforest_options_read(lua_State *L, int arg, size_t rows, struct iforest_options *o);

/* Its `threads`. */
int iforest_options_threads(lua_State *L, int arg);

#endif
