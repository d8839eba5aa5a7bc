/* l_directory: the Lua module `directory`: a folder as a bucket, in the shapes of the S3 client.
 *
 *   directory.open(path [, {create=, read_only=}]) -> bucket
 *       create: make the folder when it is missing; read_only: never write, not even `.anomalyd`
 *   bucket.name, bucket.path, bucket.read_only
 *   bucket:get(key [, {limit=bytes}]) -> {body=, etag=, size=, last_modified=, changed=,
 *              metadata={}}
 *   bucket:head(key)                  -> the same without body
 *   bucket:put(key, body [, {if_match=etag, if_none_match="*", metadata={name=text},
 *              content_type=}])       -> {etag=, changed=}    a file has no content type: it is not kept
 *   bucket:put_all{{key=, body=, if_match=, if_none_match=, metadata=, content_type=}, ...}
 *       -> results, failures: {etag=} or {message=, code=} for each, and how many failed; what
 *       succeeded is durable on return, and the syncs are shared, so this is the way to write many
 *   bucket:delete(key)                -> true           also when there is no such object
 *   bucket:complete(key)              -> true or false, size   false while a process writes the file
 *   bucket:list{prefix=, start_after=, limit=} -> next  next() gives the next page, an array of 1 to
 *       `limit` (1000) of {key=, size=, last_modified=, changed=, etag= when known without
 *       reading}, in the
 *       order of the keys' bytes; nil at the end. When a folder cannot be read, the last page is
 *       false, with message and code, so that it cannot be taken for the end
 *   bucket:writable()                 -> true
 *   bucket:close()                    also by garbage collection and <close>
 *
 * Times are whole seconds since 1970, but for `changed`: nanoseconds since 1970, which tells one
 * content of a key from another (core/directory.h). Failures give nil, message, code; the codes stand in
 * core/directory.h.
 */
#include "bind/bridge.h"
#include "bind/bucket.h"
#include "bind/class.h"
#include "bind/modules.h"

#include <stdlib.h>
#include <string.h>

#define BUCKET "anomalyd.bucket"
#define WALK "anomalyd.bucket.walk"

/* ---- the bucket ---- */

static int l_close(lua_State *L)
{
    struct directory **slot = luaL_checkudata(L, 1, BUCKET);

    if (*slot != NULL)
        directory_unref(*slot);
    *slot = NULL;
    return 0;
}

struct directory *bucket_check(lua_State *L)
{
    struct directory **slot = luaL_checkudata(L, 1, BUCKET);

    luaL_argcheck(L, *slot != NULL, 1, "the bucket was closed");
    return *slot;
}

/* Push a box without a bucket. */
static struct directory **push_bucket(lua_State *L)
{
    struct directory **slot = lua_newuserdatauv(L, sizeof *slot, 0);

    *slot = NULL;
    luaL_setmetatable(L, BUCKET);
    return slot;
}

struct open_op {
    struct bridge_op op;
    char *path;
    struct directory_options options;
    struct directory *d;
    struct fail fail;
};

static void open_work(struct bridge_op *op, struct crew *crew)
{
    struct open_op *o = (struct open_op *)op;

    (void)crew;
    o->d = directory_open(o->path, &o->options, &o->fail);
}

static void open_fini(struct bridge_op *op)
{
    struct open_op *o = (struct open_op *)op;

    free(o->path);
    if (o->d != NULL)
        directory_unref(o->d);
}

static const struct bridge_type open_type = {"directory.open", sizeof(struct open_op), NULL,
                                             open_work, open_fini};

static int open_done(lua_State *L, int status, lua_KContext ctx)
{
    struct open_op *o = (struct open_op *)ctx;
    struct directory **slot;

    (void)status;
    if (o->d == NULL)
        return bridge_fail(L, &o->fail);
    slot = push_bucket(L);
    *slot = o->d;
    o->d = NULL;
    return 1;
}

static bool option_flag(lua_State *L, int index, const char *name)
{
    bool flag;

    if (lua_isnoneornil(L, index))
        return false;
    lua_getfield(L, index, name);
    flag = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

void bucket_check_options(lua_State *L, int index)
{
    if (!lua_isnoneornil(L, index))
        luaL_checktype(L, index, LUA_TTABLE);
}

static int l_open(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct open_op *o;

    luaL_argcheck(L, path[0] != '\0', 1, "the path is empty");
    bucket_check_options(L, 2);
    lua_settop(L, 2);
    o = (struct open_op *)bridge_new(L, &open_type);
    o->path = strdup(path);
    if (o->path == NULL)
        return luaL_error(L, "out of memory");
    o->options.create = option_flag(L, 2, "create");
    o->options.read_only = option_flag(L, 2, "read_only");
    o->op.heavy = true;
    o->op.disk = true;
    return bridge_run(L, &o->op, open_done);
}

/* ---- calls about one key ---- */

struct key_op {
    struct bridge_op op;
    struct directory *d;
    struct directory_key key;
    size_t limit;
    int result;
    struct directory_object object;
    struct fail fail;
};

static void key_fini(struct bridge_op *op)
{
    struct key_op *k = (struct key_op *)op;

    directory_object_fini(&k->object);
    if (k->d != NULL)
        directory_unref(k->d);
}

static void get_work(struct bridge_op *op, struct crew *crew)
{
    struct key_op *k = (struct key_op *)op;

    (void)crew;
    k->result = directory_get(k->d, &k->key, k->limit, &k->object, &k->fail);
}

static void head_work(struct bridge_op *op, struct crew *crew)
{
    struct key_op *k = (struct key_op *)op;

    (void)crew;
    k->result = directory_head(k->d, &k->key, &k->object, &k->fail);
}

static void delete_work(struct bridge_op *op, struct crew *crew)
{
    struct key_op *k = (struct key_op *)op;

    (void)crew;
    k->result = directory_delete(k->d, &k->key, &k->fail) == 0 ? 1 : -1;
}

static void complete_work(struct bridge_op *op, struct crew *crew)
{
    struct key_op *k = (struct key_op *)op;

    (void)crew;
    k->result = directory_complete(k->d, &k->key, &k->object.size, &k->fail);
}

static void writable_work(struct bridge_op *op, struct crew *crew)
{
    struct key_op *k = (struct key_op *)op;

    (void)crew;
    k->result = directory_writable(k->d, &k->fail) == 0 ? 1 : -1;
}

static const struct bridge_type get_type = {"bucket:get", sizeof(struct key_op), NULL, get_work,
                                            key_fini};
static const struct bridge_type head_type = {"bucket:head", sizeof(struct key_op), NULL, head_work,
                                             key_fini};
static const struct bridge_type delete_type = {"bucket:delete", sizeof(struct key_op), NULL,
                                               delete_work, key_fini};
static const struct bridge_type complete_type = {"bucket:complete", sizeof(struct key_op), NULL,
                                                 complete_work, key_fini};
static const struct bridge_type writable_type = {"bucket:writable", sizeof(struct key_op), NULL,
                                                 writable_work, key_fini};

static struct key_op *key_op_new(lua_State *L, const struct bridge_type *type, struct directory *d)
{
    struct key_op *k = (struct key_op *)bridge_new(L, type);

    directory_ref(d);
    k->d = d;
    k->op.heavy = true;
    k->op.disk = true;
    return k;
}

static void push_metadata(lua_State *L, const struct directory_meta *meta)
{
    const char *name, *value;
    size_t at = 0;

    lua_createtable(L, 0, (int)meta->n);
    while (directory_meta_next(meta, &at, &name, &value)) {
        lua_pushstring(L, value);
        lua_setfield(L, -2, name);
    }
}

static int object_done(lua_State *L, int status, lua_KContext ctx)
{
    struct key_op *k = (struct key_op *)ctx;

    (void)status;
    if (k->result != 0)
        return bridge_fail(L, &k->fail);
    lua_createtable(L, 0, 6);
    if (k->object.body != NULL) {
        lua_pushlstring(L, k->object.body, k->object.size);
        lua_setfield(L, -2, "body");
    }
    lua_pushstring(L, k->object.etag);
    lua_setfield(L, -2, "etag");
    lua_pushinteger(L, (lua_Integer)k->object.size);
    lua_setfield(L, -2, "size");
    lua_pushinteger(L, k->object.modified);
    lua_setfield(L, -2, "last_modified");
    lua_pushinteger(L, k->object.changed);
    lua_setfield(L, -2, "changed");
    push_metadata(L, &k->object.meta);
    lua_setfield(L, -2, "metadata");
    /* Large bodies should not wait for the collector. */
    directory_object_fini(&k->object);
    return 1;
}

static int answer_done(lua_State *L, int status, lua_KContext ctx)
{
    struct key_op *k = (struct key_op *)ctx;

    (void)status;
    if (k->result < 0)
        return bridge_fail(L, &k->fail);
    lua_pushboolean(L, k->result);
    return 1;
}

/* Make the operation for the key at 2, run it. */
static int run_key(lua_State *L, const struct bridge_type *type, size_t limit, lua_KFunction done)
{
    struct directory *d = bucket_check(L);
    size_t len;
    const char *key = luaL_checklstring(L, 2, &len);
    struct key_op *k = key_op_new(L, type, d);

    k->limit = limit;
    if (directory_key_set(&k->key, key, len, &k->fail) != 0)
        return bridge_fail(L, &k->fail);
    return bridge_run(L, &k->op, done);
}

static int l_get(lua_State *L)
{
    lua_Integer limit = (lua_Integer)DIRECTORY_LIMIT;

    bucket_check_options(L, 3);
    if (!lua_isnoneornil(L, 3)) {
        lua_getfield(L, 3, "limit");
        limit = luaL_optinteger(L, -1, limit);
        luaL_argcheck(L, limit >= 0, 3, "limit cannot be negative");
    }
    return run_key(L, &get_type, (size_t)limit, object_done);
}

static int l_head(lua_State *L)
{
    return run_key(L, &head_type, 0, object_done);
}

static int l_delete(lua_State *L)
{
    return run_key(L, &delete_type, 0, answer_done);
}

static int complete_done(lua_State *L, int status, lua_KContext ctx)
{
    int n = answer_done(L, status, ctx);

    if (n > 1)
        return n;
    lua_pushinteger(L, (lua_Integer)((struct key_op *)ctx)->object.size);
    return 2;
}

static int l_complete(lua_State *L)
{
    return run_key(L, &complete_type, 0, complete_done);
}

static int l_writable(lua_State *L)
{
    return bridge_run(L, &key_op_new(L, &writable_type, bucket_check(L))->op, answer_done);
}

/* ---- list ---- */

/* A walk with its owners: the iterator, and the operation that takes a page. */
struct walk {
    atomic_int refs;
    atomic_bool busy;
    struct directory_list *list;
    size_t limit;
};

static void walk_unref(struct walk *w)
{
    if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) != 1)
        return;
    directory_list_free(w->list);
    free(w);
}

static int l_walk_gc(lua_State *L)
{
    struct walk **slot = luaL_checkudata(L, 1, WALK);

    if (*slot != NULL)
        walk_unref(*slot);
    *slot = NULL;
    return 0;
}

struct page_op {
    struct bridge_op op;
    struct walk *walk;
    bool holds; /* the walk is busy with us */
    int result;
    struct directory_page *page;
    struct fail fail;
};

static void page_work(struct bridge_op *op, struct crew *crew)
{
    struct page_op *p = (struct page_op *)op;

    (void)crew;
    p->result = directory_list_page(p->walk->list, p->walk->limit, p->page, &p->fail);
    p->holds = false;
    atomic_store(&p->walk->busy, false);
}

static void page_fini(struct bridge_op *op)
{
    struct page_op *p = (struct page_op *)op;

    if (p->page != NULL)
        directory_page_fini(p->page);
    free(p->page);
    if (p->holds)
        atomic_store(&p->walk->busy, false);
    if (p->walk != NULL)
        walk_unref(p->walk);
}

static const struct bridge_type page_type = {"bucket:list", sizeof(struct page_op), NULL, page_work,
                                             page_fini};

static void push_entry(lua_State *L, const struct directory_entry *entry)
{
    lua_createtable(L, 0, 5);
    lua_pushstring(L, entry->key);
    lua_setfield(L, -2, "key");
    lua_pushinteger(L, (lua_Integer)entry->size);
    lua_setfield(L, -2, "size");
    lua_pushinteger(L, entry->modified);
    lua_setfield(L, -2, "last_modified");
    lua_pushinteger(L, entry->changed);
    lua_setfield(L, -2, "changed");
    if (entry->etag[0] != '\0') {
        lua_pushstring(L, entry->etag);
        lua_setfield(L, -2, "etag");
    }
}

static int page_done(lua_State *L, int status, lua_KContext ctx)
{
    struct page_op *p = (struct page_op *)ctx;

    (void)status;
    if (p->result != 0) {
        /* False and not nil, which a loop would take for the end. */
        lua_pushboolean(L, 0);
        lua_pushstring(L, p->fail.message);
        lua_pushstring(L, p->fail.code);
        return 3;
    }
    if (p->page->n == 0)
        return 0;
    lua_createtable(L, (int)p->page->n, 0);
    for (size_t i = 0; i < p->page->n; i++) {
        push_entry(L, &p->page->entries[i]);
        lua_seti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int l_next_page(lua_State *L)
{
    struct walk **slot = luaL_checkudata(L, lua_upvalueindex(1), WALK);
    struct page_op *p = (struct page_op *)bridge_new(L, &page_type);

    p->page = calloc(1, sizeof *p->page);
    if (p->page == NULL)
        return luaL_error(L, "out of memory for a page of keys");
    atomic_fetch_add(&(*slot)->refs, 1);
    p->walk = *slot;
    p->holds = !atomic_exchange(&p->walk->busy, true);
    if (!p->holds)
        return luaL_error(L, "bucket:list: another task waits for a page of this list");
    p->op.heavy = true;
    p->op.disk = true;
    return bridge_run(L, &p->op, page_done);
}

static const char *text_option(lua_State *L, int index, const char *name)
{
    const char *text;
    size_t len;

    if (lua_isnoneornil(L, index))
        return "";
    lua_getfield(L, index, name);
    text = luaL_optlstring(L, -1, "", &len);
    luaL_argcheck(L, strlen(text) == len, index, "prefix and start_after cannot hold a zero byte");
    return text;
}

static size_t limit_option(lua_State *L, int index)
{
    lua_Integer limit;

    if (lua_isnoneornil(L, index))
        return DIRECTORY_PAGE_MAX;
    lua_getfield(L, index, "limit");
    limit = luaL_optinteger(L, -1, DIRECTORY_PAGE_MAX);
    luaL_argcheck(L, limit >= 1 && limit <= DIRECTORY_PAGE_MAX, index,
                  "limit must be from 1 to 1000");
    return (size_t)limit;
}

static int l_list(lua_State *L)
{
    struct directory *d = bucket_check(L);
    const char *prefix, *start_after;
    size_t limit;
    struct walk **slot;

    bucket_check_options(L, 2);
    prefix = text_option(L, 2, "prefix");
    start_after = text_option(L, 2, "start_after");
    limit = limit_option(L, 2);
    slot = class_box(L, WALK, sizeof *slot, l_walk_gc);
    *slot = calloc(1, sizeof **slot);
    if (*slot == NULL)
        return luaL_error(L, "out of memory");
    atomic_init(&(*slot)->refs, 1);
    (*slot)->limit = limit;
    (*slot)->list = directory_list_new(d, prefix, start_after);
    if ((*slot)->list == NULL)
        return luaL_error(L, "out of memory");
    lua_pushcclosure(L, l_next_page, 1);
    return 1;
}

/* ---- the module ---- */

/* One of the methods in upvalue 1, or a field. */
static int l_index(lua_State *L)
{
    struct directory **slot = luaL_checkudata(L, 1, BUCKET);
    const char *name = luaL_checkstring(L, 2);

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL || *slot == NULL)
        return 1;
    if (strcmp(name, "name") == 0)
        lua_pushstring(L, directory_name(*slot));
    else if (strcmp(name, "path") == 0)
        lua_pushstring(L, directory_path(*slot));
    else if (strcmp(name, "read_only") == 0)
        lua_pushboolean(L, directory_is_read_only(*slot));
    return 1;
}

static int l_tostring(lua_State *L)
{
    struct directory **slot = luaL_checkudata(L, 1, BUCKET);

    if (*slot == NULL)
        lua_pushliteral(L, "bucket(closed)");
    else
        lua_pushfstring(L, "bucket(%s)", directory_path(*slot));
    return 1;
}

static const luaL_Reg functions[] = {{"open", l_open}, {NULL, NULL}};

static const luaL_Reg methods[] = {
    {"get", l_get},           {"head", l_head},
    {"put", bucket_put},      {"put_all", bucket_put_all},
    {"delete", l_delete},     {"list", l_list},
    {"complete", l_complete}, {"close", l_close},
    {"writable", l_writable}, {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_close},          {"__close", l_close}, {"__index", l_index},
    {"__tostring", l_tostring}, {NULL, NULL},
};

int luaopen_directory(lua_State *L)
{
    luaL_checkversion(L);
    class_define(L, BUCKET, metamethods, methods);
    luaL_newlib(L, functions);
    return 1;
}
