/* bucket_put: the methods of a directory bucket that write. See bucket.h and l_directory.c. */
#include "bind/bridge.h"
#include "bind/bucket.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* One put with what it points to. */
struct put_data {
    char *body;
    struct directory_meta meta;
    directory_etag if_match;
};

struct put_op {
    struct bridge_op op;
    struct directory *d;
    struct directory_put *puts;
    struct put_data *data;
    size_t n;
    size_t failures;
};

static void put_release(struct put_op *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->data[i].body);
        directory_meta_fini(&p->data[i].meta);
    }
    free(p->data);
    free(p->puts);
    p->data = NULL;
    p->puts = NULL;
    p->n = 0;
}

static void put_fini(struct bridge_op *op)
{
    struct put_op *p = (struct put_op *)op;

    put_release(p);
    if (p->d != NULL)
        directory_unref(p->d);
}

static void put_work(struct bridge_op *op, struct crew *crew)
{
    struct put_op *p = (struct put_op *)op;

    p->failures = directory_put_all(p->d, p->puts, p->n, crew);
}

static const struct bridge_type put_type = {"bucket:put", sizeof(struct put_op), NULL, put_work,
                                            put_fini};
static const struct bridge_type put_all_type = {"bucket:put_all", sizeof(struct put_op), NULL,
                                                put_work, put_fini};

static struct put_op *put_op_new(lua_State *L, const struct bridge_type *type, struct directory *d,
                                 size_t n)
{
    struct put_op *p = (struct put_op *)bridge_new(L, type);

    directory_ref(d);
    p->d = d;
    p->op.heavy = true;
    p->op.disk = true;
    p->puts = calloc(n == 0 ? 1 : n, sizeof *p->puts);
    p->data = calloc(n == 0 ? 1 : n, sizeof *p->data);
    if (p->puts == NULL || p->data == NULL)
        luaL_error(L, "out of memory for %I puts", (LUAI_UACINT)n);
    p->n = n;
    return p;
}

/* Take the pairs of the table on top of the stack. */
static void take_metadata(lua_State *L, int arg, struct directory_put *put, struct put_data *data)
{
    luaL_argcheck(L, lua_istable(L, -1), arg, "metadata must be a table of texts");
    put->meta = &data->meta;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        size_t name_len, value_len;
        const char *name, *value;

        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING, arg,
                      "metadata must be a table of texts");
        name = lua_tolstring(L, -2, &name_len);
        value = lua_tolstring(L, -1, &value_len);
        if (put->failure.code == NULL)
            directory_meta_add(&data->meta, name, name_len, value, value_len, &put->failure);
    }
}

static void take_condition(lua_State *L, int arg, struct directory_put *put, struct put_data *data)
{
    size_t len;
    const char *etag;

    luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, arg, "if_match must be an ETag");
    etag = lua_tolstring(L, -1, &len);
    if (len >= 2 && etag[0] == '"' && etag[len - 1] == '"') {
        etag++;
        len -= 2;
    }
    /* What is longer than an ETag matches none, and neither does its beginning with a mark. */
    if (len >= sizeof data->if_match)
        memcpy(data->if_match, "?", 2);
    else
        memcpy(data->if_match, etag, len);
    put->if_match = data->if_match;
}

/* Take the options of the table at `index`, which came with argument `arg`. */
static void take_options(lua_State *L, int index, int arg, struct directory_put *put,
                         struct put_data *data)
{
    if (lua_isnoneornil(L, index))
        return;
    if (lua_getfield(L, index, "if_match") != LUA_TNIL)
        take_condition(L, arg, put, data);
    if (lua_getfield(L, index, "if_none_match") != LUA_TNIL) {
        const char *mark = lua_tostring(L, -1);

        luaL_argcheck(L, mark != NULL && strcmp(mark, "*") == 0, arg, "if_none_match can be \"*\"");
        put->if_absent = true;
    }
    if (lua_getfield(L, index, "metadata") != LUA_TNIL)
        take_metadata(L, arg, put, data);
    lua_pop(L, 3);
}

/* Take key and body, which are strings on the stack. The body is copied, since a task that is
 * cancelled leaves its strings to the collector while a worker still writes. */
static void take_object(lua_State *L, int key_at, int body_at, struct directory_put *put,
                        struct put_data *data)
{
    size_t key_len;
    const char *key = lua_tolstring(L, key_at, &key_len);
    const char *body = lua_tolstring(L, body_at, &put->body_len);

    directory_key_set(&put->key, key, key_len, &put->failure);
    data->body = malloc(put->body_len + 1);
    if (data->body == NULL)
        luaL_error(L, "out of memory for %I bytes", (LUAI_UACINT)put->body_len);
    memcpy(data->body, body, put->body_len);
    put->body = data->body;
}

static void push_etag(lua_State *L, const struct directory_put *put)
{
    lua_createtable(L, 0, 2);
    lua_pushstring(L, put->etag);
    lua_setfield(L, -2, "etag");
    lua_pushinteger(L, put->changed);
    lua_setfield(L, -2, "changed");
}

static int put_done(lua_State *L, int status, lua_KContext ctx)
{
    struct put_op *p = (struct put_op *)ctx;
    int results = 1;

    (void)status;
    if (p->failures > 0)
        results = bridge_fail(L, &p->puts[0].failure);
    else
        push_etag(L, &p->puts[0]);
    put_release(p);
    return results;
}

int bucket_put(lua_State *L)
{
    struct directory *d = bucket_check(L);
    struct put_op *p;

    luaL_checkstring(L, 2);
    luaL_checkstring(L, 3);
    bucket_check_options(L, 4);
    lua_settop(L, 4);
    p = put_op_new(L, &put_type, d, 1);
    take_object(L, 2, 3, &p->puts[0], &p->data[0]);
    take_options(L, 4, 4, &p->puts[0], &p->data[0]);
    return bridge_run(L, &p->op, put_done);
}

static void push_result(lua_State *L, const struct directory_put *put)
{
    if (put->failure.code == NULL) {
        push_etag(L, put);
        return;
    }
    lua_createtable(L, 0, 2);
    lua_pushstring(L, put->failure.message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, put->failure.code);
    lua_setfield(L, -2, "code");
}

static int put_all_done(lua_State *L, int status, lua_KContext ctx)
{
    struct put_op *p = (struct put_op *)ctx;

    (void)status;
    lua_createtable(L, p->n > INT32_MAX ? 0 : (int)p->n, 0);
    for (size_t i = 0; i < p->n; i++) {
        push_result(L, &p->puts[i]);
        lua_seti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushinteger(L, (lua_Integer)p->failures);
    put_release(p);
    return 2;
}

static void take_entry(lua_State *L, int entry, struct put_op *p, size_t i)
{
    if (!lua_istable(L, entry))
        luaL_error(L, "bucket:put_all: entry %I is not a table", (LUAI_UACINT)i + 1);
    lua_getfield(L, entry, "key");
    lua_getfield(L, entry, "body");
    if (!lua_isstring(L, -2) || !lua_isstring(L, -1))
        luaL_error(L, "bucket:put_all: entry %I has no key or no body", (LUAI_UACINT)i + 1);
    take_object(L, entry + 1, entry + 2, &p->puts[i], &p->data[i]);
    take_options(L, entry, 2, &p->puts[i], &p->data[i]);
    lua_settop(L, entry - 1);
}

int bucket_put_all(lua_State *L)
{
    struct directory *d = bucket_check(L);
    lua_Integer n;
    struct put_op *p;

    luaL_checktype(L, 2, LUA_TTABLE);
    n = luaL_len(L, 2);
    luaL_argcheck(L, n >= 0 && n <= 100000, 2, "at most 100000 objects");
    lua_settop(L, 2);
    p = put_op_new(L, &put_all_type, d, (size_t)n);
    for (lua_Integer i = 0; i < n; i++) {
        lua_geti(L, 2, i + 1);
        take_entry(L, lua_gettop(L), p, (size_t)i);
    }
    return bridge_run(L, &p->op, put_all_done);
}
