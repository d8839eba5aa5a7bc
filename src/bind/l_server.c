/* l_server: the Lua module `server` of the host: HTTP requests become tasks.
 *
 *   server.listen{host, port, max_body, max_head, head_seconds, body_seconds, idle_seconds,
 *                 max_connections, tls_cert, tls_key, handler} -> server | nil, message, code
 *     tls_cert, tls_key   paths of PEM files: HTTPS with them (run/tls.h)
 *     handler(request) -> status, headers, body      runs as a task, may wait; an error in it is
 *                                                    answered with 500 and logged
 *       request  {method, target, version, headers = {lower-case name = value}, body,
 *                 peer = {address, port, loopback}, refused = {status, reason} or nil}
 *       headers  {name = text or list of texts}
 *     server.port, server:in_flight(), server:connections()
 *     server:stop()    no new connections; those that are open close with their next answer
 *     server:tls()     -> {not_before, not_after (seconds since 1970), key_exposed, changed (the
 *                      files, since they were read), stamp (of the files), failures = {reason =
 *                      count}}; nil without TLS
 *     server:reload_tls() -> true | nil, message, code    then the pair before stays in force
 */
#include "bind/class.h"
#include "bind/host.h"
#include "bind/modules.h"
#include "run/httpd.h"
#include "run/log.h"
#include "run/tls.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVER "anomalyd.server"

enum { MOST_BYTES = 1 << 30, MOST_CONNECTIONS = 1000000, MOST_SECONDS = 86400 };

/* In the userdata: never moves. */
struct listener {
    struct httpd *httpd;
    struct tls *tls; /* NULL: plain HTTP */
    struct tasks *tasks;
    int handler; /* registry reference */
};

/* A request that is not answered yet; freed at its task's end. */
struct pending {
    struct listener *listener;
    struct httpd_request *request;
};

/* ---- from C to Lua ---- */

static void push_header(lua_State *L, const struct http_header *h)
{
    char name[128];
    size_t i;

    for (i = 0; h->name[i] != '\0' && i < sizeof name - 1; i++)
        name[i] = (char)tolower((unsigned char)h->name[i]);
    name[i] = '\0';
    /* A header that comes twice is one list, as RFC 9110 reads it. */
    if (lua_getfield(L, -1, name) == LUA_TSTRING) {
        lua_pushfstring(L, "%s, %s", lua_tostring(L, -1), h->value);
        lua_remove(L, -2);
    } else {
        lua_pop(L, 1);
        lua_pushstring(L, h->value);
    }
    lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void push_peer(lua_State *L, const struct httpd_request *r)
{
    lua_createtable(L, 0, 3);
    set_text(L, "address", r->peer);
    lua_pushinteger(L, r->peer_port);
    lua_setfield(L, -2, "port");
    lua_pushboolean(L, r->peer_is_loopback);
    lua_setfield(L, -2, "loopback");
    lua_setfield(L, -2, "peer");
}

static void push_refusal(lua_State *L, const struct httpd_request *r)
{
    if (r->refused == 0)
        return;
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, r->refused);
    lua_setfield(L, -2, "status");
    set_text(L, "reason", r->reason);
    lua_setfield(L, -2, "refused");
}

static void push_request(lua_State *L, const struct httpd_request *r)
{
    char version[16];

    lua_createtable(L, 0, 8);
    set_text(L, "method", r->method);
    set_text(L, "target", r->target);
    snprintf(version, sizeof version, "1.%d", r->minor);
    set_text(L, "version", version);
    lua_pushlstring(L, r->body, r->body_len);
    lua_setfield(L, -2, "body");
    lua_createtable(L, 0, (int)r->n_headers);
    for (size_t i = 0; i < r->n_headers; i++)
        push_header(L, &r->headers[i]);
    lua_setfield(L, -2, "headers");
    push_peer(L, r);
    push_refusal(L, r);
}

/* ---- from Lua to C ---- */

static size_t count_headers(lua_State *L, int index)
{
    size_t n = 0;

    lua_pushnil(L);
    while (lua_next(L, index)) {
        n += lua_istable(L, -1) ? lua_rawlen(L, -1) : 1;
        lua_pop(L, 1);
    }
    return n;
}

/* Only texts: lua_tostring would turn a number into a text that nothing keeps alive. */
static void add_header(lua_State *L, struct http_header *h, int name, int value)
{
    if (lua_type(L, name) != LUA_TSTRING || lua_type(L, value) != LUA_TSTRING)
        luaL_error(L, "a header is no text but %s: %s", luaL_typename(L, name),
                   luaL_typename(L, value));
    h->name = lua_tostring(L, name);
    h->value = lua_tostring(L, value);
}

/* The headers of the table at `index`; the array is a userdata left on the stack, the texts belong
 * to the table. */
static struct http_header *get_headers(lua_State *L, int index, size_t *n)
{
    size_t room = count_headers(L, index);
    struct http_header *headers = lua_newuserdatauv(L, (room + 1) * sizeof *headers, 0);

    *n = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (!lua_istable(L, -1)) {
            add_header(L, &headers[(*n)++], -2, -1);
            lua_pop(L, 1);
            continue;
        }
        for (size_t i = 1; i <= lua_rawlen(L, -1) && *n < room; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i);
            add_header(L, &headers[(*n)++], -3, -1);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    return headers;
}

/* Stack: pending, status, headers, body. */
static int answer(lua_State *L, int status, lua_KContext ctx)
{
    struct pending *p = lua_touserdata(L, 1);
    struct httpd_request *request = p->request;
    const struct http_header *headers;
    size_t n = 0, len = 0;
    lua_Integer code;
    const char *body;

    (void)status;
    (void)ctx;
    code = luaL_checkinteger(L, 2);
    luaL_argcheck(L, code >= 200 && code <= 599, 2, "a status from 200 to 599");
    luaL_checktype(L, 3, LUA_TTABLE);
    body = luaL_optlstring(L, 4, "", &len);
    headers = get_headers(L, 3, &n);
    p->request = NULL;
    httpd_reply(request, (int)code, headers, n, body, len);
    return 0;
}

/* The task of a request: pending, handler, request. */
static int l_serve(lua_State *L)
{
    lua_callk(L, 1, 3, 0, answer);
    return answer(L, LUA_OK, 0);
}

static void request_ended(void *ctx, const char *failed)
{
    static const struct http_header text = {"content-type", "text/plain; charset=utf-8"};
    static const char body[] = "Internal Server Error";
    struct pending *p = ctx;

    if (failed != NULL)
        log_line(LOG_ERROR, "a request failed outside its handler: %.900s", failed);
    if (p->request != NULL)
        httpd_reply(p->request, 500, &text, 1, body, sizeof body - 1);
    free(p);
}

static int push_task(lua_State *L, void *arg)
{
    struct pending *p = arg;

    lua_pushcfunction(L, l_serve);
    lua_pushlightuserdata(L, p);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->listener->handler);
    push_request(L, p->request);
    return 3;
}

static void refuse_busy(struct httpd_request *request)
{
    static const char body[] = "{\"detail\":\"out of memory, try again\"}";
    static const struct http_header type = {"content-type", "application/json"};

    httpd_reply(request, 503, &type, 1, body, sizeof body - 1);
}

static void on_request(struct httpd_request *request, void *ctx)
{
    struct listener *listener = ctx;
    struct pending *p = malloc(sizeof *p);
    char name[64];

    if (p == NULL) {
        refuse_busy(request);
        return;
    }
    p->listener = listener;
    p->request = request;
    snprintf(name, sizeof name, "%s %s", request->method, request->target);
    if (task_start(listener->tasks, push_task, p, name, true, request_ended, p) != 0) {
        refuse_busy(request);
        free(p);
    }
}

/* ---- the module ---- */

static struct listener *check_listener(lua_State *L)
{
    struct listener *s = luaL_checkudata(L, 1, SERVER);

    luaL_argcheck(L, s->httpd != NULL, 1, "a server that was closed");
    return s;
}

static int l_stop(lua_State *L)
{
    struct listener *s = check_listener(L);

    httpd_stop_accepting(s->httpd);
    httpd_close_idle(s->httpd);
    return 0;
}

static int l_in_flight(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)httpd_in_flight(check_listener(L)->httpd));
    return 1;
}

static int l_connections(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)httpd_connections(check_listener(L)->httpd));
    return 1;
}

static int l_tls(lua_State *L)
{
    static const char *const names[TLS_FAILURES] = {"closed", "plain_http", "protocol", "timeout"};
    const struct tls *tls = check_listener(L)->tls;

    if (tls == NULL)
        return 0;
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, tls_pair(tls)->not_before);
    lua_setfield(L, -2, "not_before");
    lua_pushinteger(L, tls_pair(tls)->not_after);
    lua_setfield(L, -2, "not_after");
    lua_pushboolean(L, tls_pair(tls)->key_exposed);
    lua_setfield(L, -2, "key_exposed");
    lua_pushboolean(L, tls_changed(tls));
    lua_setfield(L, -2, "changed");
    lua_pushinteger(L, (lua_Integer)tls_stamp(tls));
    lua_setfield(L, -2, "stamp");
    lua_createtable(L, 0, TLS_FAILURES);
    for (int i = 0; i < TLS_FAILURES; i++) {
        lua_pushinteger(L, (lua_Integer)tls_failures(tls, i));
        lua_setfield(L, -2, names[i]);
    }
    lua_setfield(L, -2, "failures");
    return 1;
}

static int l_reload_tls(lua_State *L)
{
    struct listener *s = check_listener(L);
    struct fail fail;

    luaL_argcheck(L, s->tls != NULL, 1, "a server without TLS");
    if (tls_reload(s->tls, &fail) != 0)
        return bridge_fail(L, &fail);
    lua_pushboolean(L, true);
    return 1;
}

/* The port, or one of the methods in upvalue 1. */
static int l_index(lua_State *L)
{
    if (strcmp(luaL_checkstring(L, 2), "port") == 0) {
        lua_pushinteger(L, httpd_port(check_listener(L)->httpd));
        return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

static int l_gc(lua_State *L)
{
    struct listener *s = luaL_checkudata(L, 1, SERVER);

    httpd_free(s->httpd);
    s->httpd = NULL;
    tls_free(s->tls);
    s->tls = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, s->handler);
    s->handler = LUA_NOREF;
    return 0;
}

/* A number of the table at 1, from 0 (also when it is not there) to `most`. */
static double number_field(lua_State *L, const char *name, double most)
{
    double value;

    lua_getfield(L, 1, name);
    value = lua_tonumber(L, -1);
    if (!(lua_isnil(L, -1) || lua_isnumber(L, -1)) || !(value >= 0 && value <= most))
        luaL_argerror(L, 1, lua_pushfstring(L, "%s must be a number from 0 to %f", name, most));
    lua_pop(L, 1);
    return value;
}

/* A text of the table at 1, which keeps it, or NULL. */
static const char *text_field(lua_State *L, const char *name)
{
    const char *text;

    lua_getfield(L, 1, name);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_argerror(L, 1, lua_pushfstring(L, "%s must be a text", name));
    text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text;
}

static int l_listen(lua_State *L)
{
    const char *cert, *key;
    struct httpd_options options;
    struct listener *s;
    struct fail fail;

    luaL_checktype(L, 1, LUA_TTABLE);
    memset(&options, 0, sizeof options);
    options.port = (int)number_field(L, "port", 65535);
    options.max_body = (size_t)number_field(L, "max_body", MOST_BYTES);
    options.max_head = (size_t)number_field(L, "max_head", MOST_BYTES);
    options.max_connections = (size_t)number_field(L, "max_connections", MOST_CONNECTIONS);
    options.head_seconds = number_field(L, "head_seconds", MOST_SECONDS);
    options.body_seconds = number_field(L, "body_seconds", MOST_SECONDS);
    options.idle_seconds = number_field(L, "idle_seconds", MOST_SECONDS);
    options.host = text_field(L, "host");
    cert = text_field(L, "tls_cert");
    key = text_field(L, "tls_key");
    luaL_argcheck(L, (cert == NULL) == (key == NULL), 1, "tls_cert and tls_key go together");
    luaL_argcheck(L, lua_getfield(L, 1, "handler") == LUA_TFUNCTION, 1, "handler is no function");
    s = lua_newuserdatauv(L, sizeof *s, 0);
    memset(s, 0, sizeof *s);
    s->handler = LUA_NOREF;
    luaL_setmetatable(L, SERVER);
    s->tasks = tasks_of(L);
    lua_pushvalue(L, -2);
    s->handler = luaL_ref(L, LUA_REGISTRYINDEX);
    if (cert != NULL) {
        s->tls = options.tls = tls_new(cert, key, &fail);
        if (s->tls == NULL)
            return bridge_fail(L, &fail);
    }
    s->httpd = httpd_new(loop_base(host_of(L)->loop), &options, on_request, s, &fail);
    if (s->httpd == NULL)
        return bridge_fail(L, &fail);
    return 1;
}

static const luaL_Reg methods[] = {
    {"stop", l_stop}, {"in_flight", l_in_flight},   {"connections", l_connections},
    {"tls", l_tls},   {"reload_tls", l_reload_tls}, {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_gc},
    {"__index", l_index},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"listen", l_listen},
    {NULL, NULL},
};

int luaopen_server(lua_State *L)
{
    luaL_checkversion(L);
    class_define(L, SERVER, metamethods, methods);
    luaL_newlib(L, functions);
    return 1;
}
