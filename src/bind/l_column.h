/* l_column: the Lua type `column`, shared by every module that takes or gives one. */
#ifndef BIND_L_COLUMN_H
#define BIND_L_COLUMN_H

#include "core/column.h"

#include <lua.h>

/* Make the type known to this state; every luaopen that uses columns calls it first. */
void column_register(lua_State *L);

/* Push a box for a column of n cells and return its slot, which is NULL: the caller stores an owned
 * reference there. Tells the collector of the n cells, which it cannot see. Raises when memory is
 * short. */
struct column **column_box(lua_State *L, size_t n);

/* The column at `index`, borrowed; raises when it is none. */
struct column *column_check(lua_State *L, int index);

/* The column at `index`, borrowed, or NULL. */
struct column *column_test(lua_State *L, int index);

#endif
