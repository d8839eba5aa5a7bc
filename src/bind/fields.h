/* fields: reading the options table of a Lua call.
 *
 * Each takes the table's index and a field's name. A field of the wrong type is the programmer's
 * error and raises a message that names the function and the field. Nothing is left on the stack
 * unless said; texts belong to the table and live as long as it does.
 */
#ifndef BIND_FIELDS_H
#define BIND_FIELDS_H

#include "core/headers.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* Where the table came from, for messages: fields_string(L, (struct fields){"http.get", 1}, ...). */
struct fields {
    const char *function;
    int index; /* absolute */
};

/* A text, or NULL when the field is nil. The first also gives the length; the second refuses an
 * embedded zero. */
const char *fields_bytes(lua_State *L, struct fields f, const char *name, size_t *len);
const char *fields_string(lua_State *L, struct fields f, const char *name);

/* The same, but raises when the field is nil. */
const char *fields_need(lua_State *L, struct fields f, const char *name);

/* A number >= 0, or `otherwise` when nil. */
double fields_number(lua_State *L, struct fields f, const char *name, double otherwise);

/* The same as a count, 0 when nil; what passes 2^40 (math.huge) counts as 2^40. */
size_t fields_size(lua_State *L, struct fields f, const char *name);

/* false when nil. */
bool fields_boolean(lua_State *L, struct fields f, const char *name);

/* Name and value pairs: {name = value, ...} or {{name, value}, ...}, values texts or numbers.
 * Pushes ONE value that keeps the array and its texts alive. NULL with *n = 0 when nil (nil is
 * pushed). Names and values hold no zero; with `header` they also pass headers_valid. */
struct exchange_header *fields_pairs(lua_State *L, struct fields f, const char *name, bool header,
                                     size_t *n);

#endif
