/* l_json_writer: the Lua module `json_writer`: a Lua value as JSON text.
 *
 *   json_writer.encode(value, indent, nan_as_null, max_bytes) -> text
 *
 * The ground that lua/json.lua stands on; what it promises is written there. Tables are read raw
 * (no metamethod runs). Their metatable may say more: `__json` = "array" or "object", `__keys` = a
 * list of names that come first, in that order. Raises, naming the path, for what JSON cannot hold.
 */
#include "bind/class.h"
#include "bind/modules.h"
#include "core/buf.h"
#include "core/json_writer.h"

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define WRITER "anomalyd.json_writer"

enum { MAX_DEPTH = 100, PATH_MAX_BYTES = 200 };

/* Where fixed things lie on the stack of encode. */
enum { AT_VALUE = 1, AT_NAMES = 5, AT_JSON, AT_KEYS, AT_BOX };

/* A name of an object that is being written; the string itself is anchored at AT_NAMES[slot]. */
struct name {
    const char *text;
    size_t len;
    lua_Integer slot;
    bool written;
};

struct writer {
    struct buf out;
    struct buf names; /* a stack of struct name: those of the objects that are open */
    int indent;       /* spaces a level, or -1 for everything on one line */
    bool nan_as_null;
};

/* The way from the outermost value to this one, for messages. */
struct place {
    const struct place *up;
    const char *name; /* NULL: an array's element */
    size_t len;
    lua_Integer index;
    int depth; /* tables around this value */
};

static void write_value(lua_State *L, struct writer *w, const struct place *at);

static int l_gc(lua_State *L)
{
    struct writer *w = lua_touserdata(L, 1);

    buf_fini(&w->out);
    buf_fini(&w->names);
    return 0;
}

static bool is_word(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789", s[i]) ==
                NULL ||
            s[i] == '\0')
            return false;
    return n > 0;
}

static void path_step(struct buf *b, const struct place *at)
{
    if (at->name == NULL)
        buf_addf(b, "[%lld]", (long long)at->index);
    else if (is_word(at->name, at->len))
        buf_addf(b, "%s%.*s", b->len == 0 ? "" : ".", (int)(at->len < 60 ? at->len : 60), at->name);
    else if (buf_addc(b, '[') == 0 &&
             json_writer_string(b, at->name, at->len < 60 ? at->len : 60) == 0)
        buf_addc(b, ']');
}

/* Push the path as text, cut where it grows long: "rows[3].temperature", or "the value". */
static void push_path(lua_State *L, struct writer *w, const struct place *at)
{
    const struct place *way[MAX_DEPTH + 1];
    struct buf *b = &w->out; /* what is in it is lost anyway */
    int n = 0;

    for (; at->up != NULL; at = at->up)
        way[n++] = at;
    b->len = 0;
    while (n > 0 && b->len < PATH_MAX_BYTES)
        path_step(b, way[--n]);
    if (n > 0)
        buf_adds(b, "...");
    if (b->len == 0)
        lua_pushliteral(L, "the value");
    else
        lua_pushlstring(L, b->data, b->len);
}

/* Raise the message on top of the stack, at the line that called json.encode in lua/json.lua. */
static void raise_top(lua_State *L)
{
    luaL_where(L, 2);
    lua_insert(L, -2);
    lua_concat(L, 2);
    lua_error(L);
}

/* Raise "json.encode: PATH WHAT". */
static void refuse(lua_State *L, struct writer *w, const struct place *at, const char *what)
{
    push_path(L, w, at);
    lua_pushfstring(L, "json.encode: %s %s", lua_tostring(L, -1), what);
    raise_top(L);
}

/* Raise when a buffer would not take more. */
static void must(lua_State *L, const struct writer *w, int status)
{
    if (status == 0)
        return;
    lua_pushfstring(L, "json.encode: the text is longer than %I bytes, or memory is short",
                    (LUAI_UACINT)w->out.max);
    raise_top(L);
}

static void new_line(lua_State *L, struct writer *w, int depth)
{
    if (w->indent >= 0)
        must(L, w, json_writer_line(&w->out, (size_t)(w->indent * depth)));
}

static void write_number(lua_State *L, struct writer *w, const struct place *at)
{
    double x;

    if (lua_isinteger(L, -1)) {
        must(L, w, json_writer_integer(&w->out, (long long)lua_tointeger(L, -1)));
        return;
    }
    x = lua_tonumber(L, -1);
    if (isfinite(x))
        must(L, w, json_writer_double(&w->out, x));
    else if (w->nan_as_null)
        must(L, w, buf_adds(&w->out, "null"));
    else
        refuse(L, w, at,
               isnan(x) ? "is nan, which JSON cannot hold (json.null, or {nan = \"null\"})"
                        : "is infinite, which JSON cannot hold (json.null, or {nan = \"null\"})");
}

/* The table on top of the stack has exactly the positions 1..n. */
static void check_sequence(lua_State *L, struct writer *w, const struct place *at, lua_Unsigned n)
{
    lua_Unsigned seen = 0;

    for (lua_pushnil(L); lua_next(L, -2) != 0; seen++) {
        lua_pop(L, 1);
        if (!lua_isinteger(L, -1))
            refuse(L, w, at, "is an array that also has named fields");
        if (lua_tointeger(L, -1) < 1 || (lua_Unsigned)lua_tointeger(L, -1) > n)
            refuse(L, w, at, "is an array with holes: fill them with json.null");
    }
    if (seen != n)
        refuse(L, w, at, "is an array with holes: fill them with json.null");
}

static void write_array(lua_State *L, struct writer *w, const struct place *at)
{
    lua_Unsigned n = lua_rawlen(L, -1);
    struct place in = {at, NULL, 0, 0, at->depth + 1};

    check_sequence(L, w, at, n);
    must(L, w, buf_addc(&w->out, '['));
    for (in.index = 1; (lua_Unsigned)in.index <= n; in.index++) {
        if (in.index > 1)
            must(L, w, buf_addc(&w->out, ','));
        new_line(L, w, in.depth);
        lua_rawgeti(L, -1, in.index);
        write_value(L, w, &in);
        lua_pop(L, 1);
    }
    if (n > 0)
        new_line(L, w, at->depth);
    must(L, w, buf_addc(&w->out, ']'));
}

static int compare_names(const void *a, const void *b)
{
    const struct name *x = a;
    const struct name *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = n == 0 ? 0 : memcmp(x->text, y->text, n);

    if (order != 0)
        return order;
    return (x->len > y->len) - (x->len < y->len);
}

/* The names from the byte offset `base` on; valid until the stack of names grows. */
static struct name *names_from(const struct writer *w, size_t base)
{
    return (struct name *)(void *)(w->names.data + base);
}

/* Put the names of the table on top of the stack onto the stack of names, sorted; their number. */
static size_t collect_names(lua_State *L, struct writer *w, const struct place *at)
{
    size_t base = w->names.len;
    size_t n = 0;
    struct name name;

    name.written = false;
    for (lua_pushnil(L); lua_next(L, -2) != 0; n++) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            refuse(L, w, at,
                   lua_type(L, -1) == LUA_TNUMBER
                       ? "has both positions and names, or positions that do not begin at 1"
                       : "has a key that is neither a text nor a position");
        name.text = lua_tolstring(L, -1, &name.len);
        name.slot = (lua_Integer)(w->names.len / sizeof name) + 1;
        lua_pushvalue(L, -1);
        lua_rawseti(L, AT_NAMES, name.slot);
        must(L, w, buf_add(&w->names, &name, sizeof name));
    }
    if (n > 1)
        qsort(names_from(w, base), n, sizeof name, compare_names);
    return n;
}

/* Write the member whose name is `name`; the table is on top of the stack. */
static void write_member(lua_State *L, struct writer *w, const struct place *at,
                         const struct name *name, bool first)
{
    struct place in = {at, name->text, name->len, 0, at->depth + 1};

    if (!first)
        must(L, w, buf_addc(&w->out, ','));
    new_line(L, w, in.depth);
    must(L, w, json_writer_string(&w->out, in.name, in.len));
    must(L, w, w->indent < 0 ? buf_addc(&w->out, ':') : buf_add(&w->out, ": ", 2));
    lua_rawgeti(L, AT_NAMES, name->slot);
    lua_rawget(L, -2);
    write_value(L, w, &in);
    lua_pop(L, 1);
}

/* The name at `base` + i * sizeof, taken for writing: false when it was written before. */
static bool take_name(struct writer *w, size_t base, size_t i, struct name *out)
{
    struct name *name = names_from(w, base) + i;

    if (name->written)
        return false;
    name->written = true;
    *out = *name;
    return true;
}

/* Write the members that the list at index `keys` names, in its order; how many. */
static size_t write_declared(lua_State *L, struct writer *w, const struct place *at, int keys,
                             size_t base, size_t n)
{
    lua_Unsigned declared = lua_rawlen(L, keys);
    size_t done = 0;

    for (lua_Unsigned i = 1; i <= declared && done < n; i++) {
        struct name want = {NULL, 0, 0, false};
        struct name name;
        struct name *found;

        lua_rawgeti(L, keys, (lua_Integer)i);
        if (lua_type(L, -1) != LUA_TSTRING)
            refuse(L, w, at, "has a __keys list with something in it that is not a text");
        want.text = lua_tolstring(L, -1, &want.len);
        found = bsearch(&want, names_from(w, base), n, sizeof want, compare_names);
        lua_pop(L, 1);
        if (found != NULL && take_name(w, base, (size_t)(found - names_from(w, base)), &name)) {
            write_member(L, w, at, &name, done == 0);
            done++;
        }
    }
    return done;
}

static void write_object(lua_State *L, struct writer *w, const struct place *at, int keys)
{
    size_t base = w->names.len;
    size_t n = collect_names(L, w, at);
    size_t done = 0;
    struct name name;

    must(L, w, buf_addc(&w->out, '{'));
    if (keys != 0)
        done = write_declared(L, w, at, keys, base, n);
    for (size_t i = 0; i < n; i++) {
        if (!take_name(w, base, i, &name))
            continue;
        write_member(L, w, at, &name, done == 0);
        done++;
    }
    if (n > 0)
        new_line(L, w, at->depth);
    must(L, w, buf_addc(&w->out, '}'));
    w->names.len = base;
}

/* Is the table on top of the stack, about which nothing is declared, an array? */
static bool looks_like_array(lua_State *L)
{
    bool array;

    lua_pushnil(L);
    if (lua_next(L, -2) == 0)
        return false;
    array = lua_rawlen(L, -3) > 0 || lua_type(L, -2) == LUA_TNUMBER;
    lua_pop(L, 2);
    return array;
}

/* What the metatable, if any, of the value on top says in the field whose name is at `field`:
 * pushes it, or nil. */
static void push_declared(lua_State *L, int field)
{
    if (!lua_getmetatable(L, -1)) {
        lua_pushnil(L);
        return;
    }
    lua_pushvalue(L, field);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

static void write_table(lua_State *L, struct writer *w, const struct place *at)
{
    int table = lua_gettop(L);
    const char *kind;
    int keys;

    if (at->depth >= MAX_DEPTH)
        refuse(L, w, at, "lies deeper than 100 tables: does a table hold itself?");
    luaL_checkstack(L, 12, "json.encode");
    push_declared(L, AT_JSON);
    kind = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    lua_pushvalue(L, table);
    push_declared(L, AT_KEYS);
    lua_insert(L, -2);
    keys = lua_istable(L, -2) ? lua_gettop(L) - 1 : 0;
    if (strcmp(kind, "array") == 0 ||
        (strcmp(kind, "object") != 0 && keys == 0 && looks_like_array(L)))
        write_array(L, w, at);
    else
        write_object(L, w, at, keys);
    lua_settop(L, table);
}

/* Write the value on top of the stack; leaves the stack as it was. */
static void write_value(lua_State *L, struct writer *w, const struct place *at)
{
    size_t len;
    const char *text;

    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        must(L, w, buf_adds(&w->out, "null"));
        return;
    case LUA_TBOOLEAN:
        must(L, w, buf_adds(&w->out, lua_toboolean(L, -1) ? "true" : "false"));
        return;
    case LUA_TNUMBER:
        write_number(L, w, at);
        return;
    case LUA_TSTRING:
        text = lua_tolstring(L, -1, &len);
        must(L, w, json_writer_string(&w->out, text, len));
        return;
    case LUA_TTABLE:
        write_table(L, w, at);
        return;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, -1) == NULL) {
            must(L, w, buf_adds(&w->out, "null"));
            return;
        }
        break;
    default:
        break;
    }
    lua_pushfstring(L, "is a %s, which JSON cannot hold", luaL_typename(L, -1));
    refuse(L, w, at, lua_tostring(L, -1));
}

static int l_encode(lua_State *L)
{
    static const struct place root = {NULL, NULL, 0, 0, 0};
    lua_Integer indent = luaL_optinteger(L, 2, -1);
    bool nan_as_null = lua_toboolean(L, 3);
    lua_Integer max = luaL_optinteger(L, 4, 256 << 20);
    struct writer *w;

    luaL_argcheck(L, indent >= -1 && indent <= 16, 2, "indent must be 0 to 16, or nil");
    luaL_argcheck(L, max >= 1, 4, "max_bytes must be at least 1");
    lua_settop(L, 4);
    lua_newtable(L);
    lua_pushliteral(L, "__json");
    lua_pushliteral(L, "__keys");
    w = class_box(L, WRITER, sizeof *w, l_gc);
    w->indent = (int)indent;
    w->nan_as_null = nan_as_null;
    buf_init(&w->out, (size_t)max);
    buf_init(&w->names, (size_t)256 << 20);
    lua_pushvalue(L, AT_VALUE);
    write_value(L, w, &root);
    lua_pushlstring(L, w->out.data, w->out.len);
    buf_fini(&w->out);
    buf_fini(&w->names);
    return 1;
}

static const luaL_Reg functions[] = {
    {"encode", l_encode},
    {NULL, NULL},
};

int luaopen_json_writer(lua_State *L)
{
    luaL_checkversion(L);
    luaL_newlib(L, functions);
    return 1;
}
