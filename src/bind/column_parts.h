/* column_parts: what the files of the module `column` share: l_column.c, column_moments.c. */
#ifndef BIND_COLUMN_PARTS_H
#define BIND_COLUMN_PARTS_H

#include <lua.h>
#include <stddef.h>

/* A longer column is worth a worker; it is gone through in blocks for which marks become doubles. */
enum { HEAVY_CELLS = 32768, BLOCK_CELLS = 512, MOST_COLUMNS = 65536 };

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* column.moments and column.moments_all. */
int column_moments(lua_State *L);
int column_moments_all(lua_State *L);

#endif
