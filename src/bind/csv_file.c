/* csv_file: the Lua type `csv file`: a file's bytes outside Lua's memory, for csv.parse. What it
 * can do is told in l_csv.c. */
#include "bind/csv_frame.h"

#include "bind/class.h"
#include "core/digest.h"

#include <lauxlib.h>
#include <string.h>

#define CSV_FILE "anomalyd.csv.file"

#define MOST_BYTES ((size_t)512 << 20)

struct open_op {
    struct bridge_op op;
    struct file_text *text;
    size_t most;
    struct fail fail;
    char path[4096];
};

static void open_work(struct bridge_op *op, struct crew *crew)
{
    struct open_op *o = (struct open_op *)op;

    (void)crew;
    o->text = file_text_open(o->path, o->most, &o->fail);
}

static void open_fini(struct bridge_op *op)
{
    file_text_unref(((struct open_op *)op)->text);
}

static const struct bridge_type open_type = {"csv.file", sizeof(struct open_op), NULL, open_work,
                                             open_fini};

static int open_done(lua_State *L, int status, lua_KContext ctx)
{
    struct open_op *o = (struct open_op *)ctx;
    struct file_text **slot;

    (void)status;
    if (o->text == NULL)
        return bridge_fail(L, &o->fail);
    slot = lua_newuserdatauv(L, sizeof *slot, 0);
    *slot = o->text;
    o->text = NULL;
    luaL_setmetatable(L, CSV_FILE);
    return 1;
}

int csv_file_open(lua_State *L)
{
    size_t n;
    const char *path = luaL_checklstring(L, 1, &n);
    lua_Integer most = luaL_optinteger(L, 2, (lua_Integer)MOST_BYTES);
    struct open_op *o;

    luaL_argcheck(L, n < sizeof o->path && strlen(path) == n, 1, "no path of a file");
    luaL_argcheck(L, most >= 0 && most < UINT32_MAX, 2, "a number of bytes below 4 GiB");
    o = (struct open_op *)bridge_new(L, &open_type);
    memcpy(o->path, path, n + 1);
    o->most = (size_t)most;
    o->op.heavy = o->op.disk = true;
    return bridge_run(L, &o->op, open_done);
}

struct file_text *csv_file_test(lua_State *L, int index)
{
    struct file_text **slot = luaL_testudata(L, index, CSV_FILE);

    luaL_argcheck(L, slot == NULL || *slot != NULL, index, "a file that was closed");
    return slot == NULL ? NULL : *slot;
}

static struct file_text *check(lua_State *L)
{
    luaL_checkudata(L, 1, CSV_FILE);
    return csv_file_test(L, 1);
}

static int l_gc(lua_State *L)
{
    struct file_text **slot = luaL_checkudata(L, 1, CSV_FILE);

    file_text_unref(*slot);
    *slot = NULL;
    return 0;
}

static int l_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check(L)->size);
    return 1;
}

static int l_md5(lua_State *L)
{
    const struct file_text *text = check(L);
    char hex[DIGEST_MD5_HEX];

    if (digest_md5_hex(text->bytes, text->size, hex) != 0)
        return luaL_error(L, "file:md5: OpenSSL's configuration forbids MD5");
    lua_pushstring(L, hex);
    return 1;
}

static const luaL_Reg methods[] = {{"md5", l_md5}, {"close", l_gc}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__gc", l_gc}, {"__close", l_gc}, {"__len", l_len}, {NULL, NULL}};

void csv_file_register(lua_State *L)
{
    class_define(L, CSV_FILE, metamethods, methods);
}
