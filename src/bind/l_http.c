/* l_http: the Lua module `http`: one request, one answer.
 *
 *   http.request{method, url, headers, body, timeout, connect_timeout, stall_timeout, limit,
 *                no_proxy, ca_file}
 *     -> {status, headers, body} | nil, message, code
 *   http.get(url [, options])
 *
 * Any status is an answer; only what kept a whole answer from coming is a failure (codes of
 * core/exchange.h). `headers`: {name = value} or {{name, value}, ...}; in an answer they have
 * lower-case names, repeated ones joined with ", ". Times in seconds. `limit`: most bytes of the
 * body, 64 MiB when absent. Redirects are answers like any other. Waits.
 */
#include "bind/bridge.h"
#include "bind/fields.h"
#include "bind/modules.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static enum bridge_next http_step(struct bridge_op *op)
{
    return op->steps == 0 ? BRIDGE_EXCHANGE : BRIDGE_DONE;
}

static void http_fini(struct bridge_op *op)
{
    exchange_free(op->exchange);
}

static const struct bridge_type http_type = {"http.request", sizeof(struct bridge_op), http_step,
                                             NULL, http_fini};

static void push_lower(lua_State *L, const char *name)
{
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    for (; *name != '\0'; name++)
        luaL_addchar(&b, (char)tolower((unsigned char)*name));
    luaL_pushresult(&b);
}

static void push_headers(lua_State *L, const struct exchange *x)
{
    lua_createtable(L, 0, (int)x->n_headers);
    for (size_t i = 0; i < x->n_headers; i++) {
        push_lower(L, x->headers[i].name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushstring(L, x->headers[i].value);
        } else {
            lua_pushfstring(L, "%s, %s", lua_tostring(L, -1), x->headers[i].value);
            lua_remove(L, -2);
        }
        lua_rawset(L, -3);
    }
}

static int http_done(lua_State *L, int status, lua_KContext ctx)
{
    const struct exchange *x = ((struct bridge_op *)ctx)->exchange;

    (void)status;
    if (x->failure.code != NULL)
        return bridge_fail(L, &x->failure);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, x->status);
    lua_setfield(L, -2, "status");
    push_headers(L, x);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, x->body.len == 0 ? "" : x->body.data, x->body.len);
    lua_setfield(L, -2, "body");
    return 1;
}

static void check_url(lua_State *L, const char *url)
{
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        luaL_error(L, "http.request: 'url' must begin with http:// or https://");
    for (; *url != '\0'; url++)
        if ((unsigned char)*url <= ' ' || *url == 0x7f)
            luaL_error(L, "http.request: 'url' holds a blank or a control character");
}

/* Carry out what the table at 1 asks for. */
static int run(lua_State *L)
{
    struct fields f = {"http.request", 1};
    struct exchange_request request = {0};
    struct bridge_op *op;

    request.url = fields_need(L, f, "url");
    check_url(L, request.url);
    request.method = fields_string(L, f, "method");
    if (request.method == NULL)
        request.method = "GET";
    if (!headers_valid(request.method, ""))
        return luaL_error(L, "http.request: 'method' is not a word");
    request.body = fields_bytes(L, f, "body", &request.body_len);
    request.limit = fields_size(L, f, "limit");
    request.total_seconds = fields_number(L, f, "timeout", 0);
    request.connect_seconds = fields_number(L, f, "connect_timeout", 0);
    request.stall_seconds = fields_number(L, f, "stall_timeout", 0);
    request.no_proxy = fields_boolean(L, f, "no_proxy");
    request.ca_file = fields_string(L, f, "ca_file");
    request.headers = fields_pairs(L, f, "headers", true, &request.n_headers);
    op = bridge_new(L, &http_type);
    op->exchange = exchange_new(&request);
    if (op->exchange == NULL)
        return luaL_error(L, "http.request: out of memory");
    return bridge_run(L, op, http_done);
}

static int l_request(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    return run(L);
}

/* A copy of the options with the url in it. */
static int l_get(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_settop(L, 2);
    lua_newtable(L);
    if (!lua_isnil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, 3);
        }
    }
    lua_pushvalue(L, 1);
    lua_setfield(L, 3, "url");
    lua_replace(L, 1);
    lua_settop(L, 1);
    return run(L);
}

static const luaL_Reg functions[] = {{"request", l_request}, {"get", l_get}, {NULL, NULL}};

/* luaopen_http, for the host's preload table and for http.so. */
int luaopen_http(lua_State *L)
{
    luaL_checkversion(L);
    luaL_newlib(L, functions);
    return 1;
}
