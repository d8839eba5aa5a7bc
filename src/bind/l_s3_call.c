/* l_s3_call: the Lua module `s3_call`: single S3 requests, for lua/s3.lua.
 *
 *   s3_call.client{bucket, region, endpoint, style = "auto"|"path"|"virtual", ca_file, attempts,
 *                  backoff, connect_timeout, stall_timeout, timeout, checksum}
 *     -> client | nil, message, code
 *   client:request{verb, key, headers, query, if_match, if_none_match, body, limit,
 *                  access_key_id, secret_access_key, session_token}
 *     -> {status, attempts, headers, body, etag, last_modified, upload_id, page}
 *      | nil, message, code, {status, attempts}
 *     verb: "get", "head", "put", "delete", "list", "create_upload", "put_part", "complete_upload",
 *     "abort_upload". A page: {{key, etag, size, last_modified}, ..., prefixes, next_token}. Waits.
 *   client:info() -> {bucket, region, host, style, clock_offset, requests, retries, retry_tokens}
 *   s3_call.xml(text) -> {{path, text}, ...} of the elements as they close | nil, message, code
 *
 * No secret goes into a result, a message or tostring.
 */
#include "bind/bridge.h"
#include "bind/class.h"
#include "bind/fields.h"
#include "bind/modules.h"
#include "core/s3_call.h"
#include "core/xml.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#define CLIENT "anomalyd.s3_client"

struct s3_op {
    struct bridge_op op;
    struct s3_call *call;
};

static enum bridge_next op_step(struct bridge_op *op)
{
    struct s3_call *call = ((struct s3_op *)op)->call;

    switch (s3_call_next(call)) {
    case S3_EXCHANGE:
        op->exchange = call->exchange;
        return BRIDGE_EXCHANGE;
    case S3_SLEEP:
        op->delay = call->delay;
        return BRIDGE_SLEEP;
    case S3_WORK:
        op->heavy = call->heavy;
        return BRIDGE_WORK;
    case S3_DONE:
        break;
    }
    return BRIDGE_DONE;
}

static void op_work(struct bridge_op *op, struct crew *crew)
{
    (void)crew;
    s3_call_work(((struct s3_op *)op)->call);
}

static void op_fini(struct bridge_op *op)
{
    s3_call_free(((struct s3_op *)op)->call);
}

static const struct bridge_type op_type = {"s3", sizeof(struct s3_op), op_step, op_work, op_fini};

/* --- results -------------------------------------------------------------------------------- */

static void set_string(lua_State *L, const char *name, const char *text)
{
    if (text == NULL)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

/* Seconds since 1970 of a date as HTTP writes it. */
static void set_date(lua_State *L, const char *name, const char *date)
{
    time_t seconds = date == NULL ? -1 : curl_getdate(date, NULL);

    if (seconds != -1)
        set_integer(L, name, (lua_Integer)seconds);
}

static void push_headers(lua_State *L, const struct exchange *x)
{
    lua_createtable(L, 0, (int)x->n_headers);
    for (size_t i = 0; i < x->n_headers; i++) {
        luaL_Buffer b;

        luaL_buffinit(L, &b);
        for (const char *c = x->headers[i].name; *c != '\0'; c++)
            luaL_addchar(&b, (char)tolower((unsigned char)*c));
        luaL_pushresult(&b);
        lua_pushstring(L, x->headers[i].value);
        lua_rawset(L, -3);
    }
}

static void push_entry(lua_State *L, const struct s3_entry *e)
{
    lua_createtable(L, 0, 4);
    set_string(L, "key", e->key);
    set_string(L, "etag", e->etag);
    set_integer(L, "last_modified", e->last_modified);
    set_integer(L, "size", e->size);
}

static void push_page(lua_State *L, const struct s3_answer *a)
{
    lua_createtable(L, (int)a->n_entries, 2);
    for (size_t i = 0; i < a->n_entries; i++) {
        push_entry(L, &a->entries[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_createtable(L, (int)a->n_prefixes, 0);
    for (size_t i = 0; i < a->n_prefixes; i++) {
        lua_pushstring(L, a->prefixes[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "prefixes");
    if (a->truncated)
        set_string(L, "next_token", a->next_token);
}

static void push_outline(lua_State *L, const struct s3_call *call)
{
    lua_createtable(L, 0, 7);
    set_integer(L, "status", call->status);
    set_integer(L, "attempts", call->attempts);
}

static int op_done(lua_State *L, int status, lua_KContext ctx)
{
    const struct s3_call *call = ((struct s3_op *)ctx)->call;
    const struct exchange *x = call->exchange;

    (void)status;
    if (call->failure.code != NULL) {
        bridge_fail(L, &call->failure);
        push_outline(L, call);
        return 4;
    }
    push_outline(L, call);
    push_headers(L, x);
    lua_setfield(L, -2, "headers");
    set_date(L, "last_modified", exchange_header(x, "last-modified"));
    set_string(L, "etag", call->etag != NULL ? call->etag : call->answer.etag);
    set_string(L, "upload_id", call->answer.upload_id);
    if (call->verb == S3_GET) {
        lua_pushlstring(L, x->body.len == 0 ? "" : x->body.data, x->body.len);
        lua_setfield(L, -2, "body");
    } else if (call->verb == S3_LIST) {
        push_page(L, &call->answer);
        lua_setfield(L, -2, "page");
    }
    return 1;
}

/* --- the client ------------------------------------------------------------------------------ */

static struct s3_client *check_client(lua_State *L)
{
    struct s3_client **slot = luaL_checkudata(L, 1, CLIENT);

    luaL_argcheck(L, *slot != NULL, 1, "a client that was closed");
    return *slot;
}

static int l_gc(lua_State *L)
{
    struct s3_client **slot = luaL_checkudata(L, 1, CLIENT);

    s3_client_unref(*slot);
    *slot = NULL;
    return 0;
}

static int l_tostring(lua_State *L)
{
    const struct s3_client *client = check_client(L);

    lua_pushfstring(L, "s3 client (bucket %s, region %s)", client->bucket, client->region);
    return 1;
}

static void host_of(const struct s3_client *client, char *out, size_t size)
{
    struct buf host;

    buf_init(&host, size - 1);
    if (s3_client_host(client, &host) != 0)
        host.len = 0;
    if (host.len > 0)
        memcpy(out, host.data, host.len);
    out[host.len] = '\0';
    buf_fini(&host);
}

static int l_info(lua_State *L)
{
    const struct s3_client *client = check_client(L);
    char host[1024];

    host_of(client, host, sizeof host);
    lua_createtable(L, 0, 8);
    set_string(L, "bucket", client->bucket);
    set_string(L, "region", client->region);
    set_string(L, "style", client->virtual_host ? "virtual" : "path");
    set_string(L, "host", host);
    lua_pushnumber(L, client->clock_offset);
    lua_setfield(L, -2, "clock_offset");
    set_integer(L, "requests", (lua_Integer)client->n_requests);
    set_integer(L, "retries", (lua_Integer)client->n_retries);
    set_integer(L, "retry_tokens", client->tokens);
    return 1;
}

static int option(lua_State *L, struct fields f, const char *name, const char *const *words,
                  const char *otherwise)
{
    const char *text = fields_string(L, f, name);
    int i;

    if (text == NULL)
        text = otherwise;
    for (i = 0; text != NULL && words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    return luaL_error(L, "%s: '%s' cannot be \"%s\"", f.function, name,
                      text == NULL ? "nil" : text);
}

static int l_request(lua_State *L)
{
    /* In the order of enum s3_verb. */
    static const char *const verbs[] = {"get",          "head",
                                        "put",          "delete",
                                        "list",         "create_upload",
                                        "put_part",     "complete_upload",
                                        "abort_upload", NULL};
    struct fields f = {"s3 request", 2};
    struct s3_client *client = check_client(L);
    struct s3_ask ask = {0};
    struct s3_op *s;
    struct fail fail;

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    ask.verb = (enum s3_verb)option(L, f, "verb", verbs, NULL);
    ask.key = fields_string(L, f, "key");
    ask.if_match = fields_string(L, f, "if_match");
    ask.if_none_match = fields_string(L, f, "if_none_match");
    ask.body = fields_bytes(L, f, "body", &ask.body_len);
    ask.limit = fields_size(L, f, "limit");
    ask.access_key_id = fields_need(L, f, "access_key_id");
    ask.secret_access_key = fields_need(L, f, "secret_access_key");
    ask.session_token = fields_string(L, f, "session_token");
    ask.headers = fields_pairs(L, f, "headers", true, &ask.n_headers);
    ask.query = fields_pairs(L, f, "query", false, &ask.n_query);
    s = (struct s3_op *)bridge_new(L, &op_type);
    s->call = s3_call_new(client, &ask, &fail);
    if (s->call == NULL)
        return bridge_fail(L, &fail);
    return bridge_run(L, &s->op, op_done);
}

static const luaL_Reg methods[] = {{"request", l_request}, {"info", l_info}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__gc", l_gc}, {"__close", l_gc}, {"__tostring", l_tostring}, {NULL, NULL}};

static int checksum_option(lua_State *L)
{
    int value;

    lua_getfield(L, 1, "checksum");
    value = lua_isnil(L, -1) ? -1 : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static unsigned attempts_option(lua_State *L, struct fields f)
{
    size_t n = fields_size(L, f, "attempts");

    return n > 100 ? 100 : (unsigned)n;
}

static int l_client(lua_State *L)
{
    static const char *const styles[] = {"auto", "path", "virtual", NULL};
    struct fields f = {"s3 client", 1};
    struct s3_options o = {0};
    struct s3_client **slot;
    struct fail fail;

    luaL_checktype(L, 1, LUA_TTABLE);
    o.bucket = fields_need(L, f, "bucket");
    o.region = fields_string(L, f, "region");
    o.endpoint = fields_string(L, f, "endpoint");
    o.ca_file = fields_string(L, f, "ca_file");
    o.style = (enum s3_style)option(L, f, "style", styles, "auto");
    o.attempts = attempts_option(L, f);
    o.backoff = fields_number(L, f, "backoff", 0);
    o.connect_seconds = fields_number(L, f, "connect_timeout", 0);
    o.stall_seconds = fields_number(L, f, "stall_timeout", 0);
    o.total_seconds = fields_number(L, f, "timeout", 0);
    o.checksum = checksum_option(L);
    slot = lua_newuserdatauv(L, sizeof(struct s3_client *), 0);
    *slot = NULL;
    luaL_setmetatable(L, CLIENT);
    *slot = s3_client_new(&o, &fail);
    return *slot == NULL ? bridge_fail(L, &fail) : 1;
}

/* --- xml ------------------------------------------------------------------------------------- */

/* Elements as "path\0text\0" one behind the other: no Lua call happens inside the parser. */
static int collect(void *ctx, const char *path, char *text, size_t n)
{
    struct buf *out = ctx;

    return buf_add(out, path, strlen(path) + 1) != 0 ? -1 : buf_add(out, text, n + 1);
}

static int push_elements(lua_State *L)
{
    const struct buf *all = lua_touserdata(L, 1);
    lua_Integer i = 0;

    lua_newtable(L);
    for (const char *at = all->data; at != NULL && at < all->data + all->len;) {
        lua_createtable(L, 2, 0);
        lua_pushstring(L, at);
        lua_rawseti(L, -2, 1);
        at += strlen(at) + 1;
        lua_pushstring(L, at);
        lua_rawseti(L, -2, 2);
        at += strlen(at) + 1;
        lua_rawseti(L, -2, ++i);
    }
    return 1;
}

static int l_xml(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    struct buf all;
    struct fail fail;
    int rc;

    lua_settop(L, 1);
    lua_pushcfunction(L, push_elements);
    lua_pushlightuserdata(L, &all);
    buf_init(&all, 4u << 20);
    rc = xml_read(text, n, collect, &all, &fail);
    if (rc == 0)
        rc = lua_pcall(L, 1, 1, 0) == LUA_OK ? 0 : 1;
    buf_fini(&all);
    if (rc > 0)
        return lua_error(L);
    return rc == 0 ? 1 : bridge_fail(L, &fail);
}

static const luaL_Reg functions[] = {{"client", l_client}, {"xml", l_xml}, {NULL, NULL}};

/* luaopen_s3_call, for the host's preload table and for s3_call.so. */
int luaopen_s3_call(lua_State *L)
{
    luaL_checkversion(L);
    class_define(L, CLIENT, metamethods, methods);
    luaL_newlib(L, functions);
    return 1;
}
