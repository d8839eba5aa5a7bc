/* l_sigv4: the Lua module `sigv4`: AWS Signature Version 4.
 *
 *   sigv4.sign{method, path, query, headers = {{name, value}, ...}, body | payload_hash, region,
 *              service, access_key_id, secret_access_key, session_token, date, normalize}
 *     -> {canonical_request, string_to_sign, signature, headers}
 *
 * `path` and `query` as they go on the wire; `host` must be among the headers. The result's headers
 * are those given, then x-amz-date, x-amz-content-sha256 (for service "s3"), x-amz-security-token
 * (with a session_token), each unless it was given, and Authorization: send exactly these. `date`
 * (like "20150830T123600Z") is the clock's when absent. `payload_hash` may be "UNSIGNED-PAYLOAD".
 * With `normalize` the path follows the rule of the services other than S3: dot segments and double
 * slashes are folded and it is encoded once more.
 */
#include "bind/bridge.h"
#include "bind/class.h"
#include "bind/fields.h"
#include "bind/modules.h"
#include "core/sigv4.h"

#include <string.h>
#include <time.h>

#define RESULT "anomalyd.signature"

static int l_result_gc(lua_State *L)
{
    sigv4_fini(lua_touserdata(L, 1));
    return 0;
}

struct extras {
    char date[SIGV4_DATE];
    char hash[DIGEST_SHA256_HEX];
    const char *payload_hash;
    const char *token;
};

/* The given headers and, behind them, those that belong to the signature and were not given. */
static size_t complete(const struct sigv4_input *in, const struct extras *extra,
                       const struct exchange_header *given, size_t n, struct exchange_header *all)
{
    const struct exchange_header more[] = {
        {"x-amz-date", in->date},
        {"x-amz-content-sha256", strcmp(in->service, "s3") == 0 ? in->payload_hash : NULL},
        {"x-amz-security-token", extra->token},
    };

    size_t total = n;

    if (n > 0)
        memcpy(all, given, n * sizeof *all);
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (more[i].value != NULL && headers_get(given, n, more[i].name) == NULL)
            all[total++] = more[i];
    return total;
}

static void push_pair(lua_State *L, const char *name, const char *value, size_t i)
{
    lua_createtable(L, 2, 0);
    lua_pushstring(L, name);
    lua_seti(L, -2, 1);
    lua_pushstring(L, value);
    lua_seti(L, -2, 2);
    lua_seti(L, -2, (lua_Integer)i);
}

static int push_signed(lua_State *L, const struct sigv4_input *in, const struct sigv4 *s)
{
    lua_createtable(L, 0, 4);
    lua_pushlstring(L, s->canonical_request.data, s->canonical_request.len);
    lua_setfield(L, -2, "canonical_request");
    lua_pushlstring(L, s->string_to_sign.data, s->string_to_sign.len);
    lua_setfield(L, -2, "string_to_sign");
    lua_pushstring(L, s->signature);
    lua_setfield(L, -2, "signature");
    lua_createtable(L, (int)in->n_headers + 1, 0);
    for (size_t i = 0; i < in->n_headers; i++)
        push_pair(L, in->headers[i].name, in->headers[i].value, i + 1);
    push_pair(L, "Authorization", s->authorization.data, in->n_headers + 1);
    lua_setfield(L, -2, "headers");
    return 1;
}

static void read_payload(lua_State *L, struct fields f, struct extras *extra)
{
    size_t n;
    const char *body = fields_bytes(L, f, "body", &n);

    extra->payload_hash = fields_string(L, f, "payload_hash");
    if (extra->payload_hash != NULL)
        return;
    if (digest_sha256_hex(body, n, extra->hash) != 0)
        luaL_error(L, "sigv4.sign: OpenSSL cannot hash the body");
    extra->payload_hash = extra->hash;
}

static const char *read_date(lua_State *L, struct fields f, struct extras *extra)
{
    const char *date = fields_string(L, f, "date");

    if (date != NULL)
        return date;
    sigv4_date((double)time(NULL), extra->date);
    return extra->date;
}

static int l_sign(lua_State *L)
{
    struct fields f = {"sigv4.sign", 1};
    struct extras extra;
    struct sigv4_input in;
    struct exchange_header *given;
    struct exchange_header *all;
    struct sigv4 *s;
    struct fail fail;
    size_t n;

    luaL_checktype(L, 1, LUA_TTABLE);
    in.method = fields_need(L, f, "method");
    in.path = fields_need(L, f, "path");
    in.query = fields_string(L, f, "query");
    in.region = fields_need(L, f, "region");
    in.service = fields_need(L, f, "service");
    in.access_key_id = fields_need(L, f, "access_key_id");
    in.secret_access_key = fields_need(L, f, "secret_access_key");
    in.normalize = fields_boolean(L, f, "normalize");
    in.date = read_date(L, f, &extra);
    extra.token = fields_string(L, f, "session_token");
    read_payload(L, f, &extra);
    in.payload_hash = extra.payload_hash;
    given = fields_pairs(L, f, "headers", false, &n);
    if (headers_get(given, n, "host") == NULL)
        return luaL_error(L, "sigv4.sign: 'headers' has no host");
    all = lua_newuserdatauv(L, (n + 3) * sizeof *all, 0);
    in.n_headers = complete(&in, &extra, given, n, all);
    in.headers = all;
    s = class_box(L, RESULT, sizeof *s, l_result_gc);
    if (sigv4_sign(&in, s, &fail) != 0)
        return bridge_fail(L, &fail);
    return push_signed(L, &in, s);
}

static const luaL_Reg functions[] = {{"sign", l_sign}, {NULL, NULL}};

/* luaopen_sigv4, for the host's preload table and for sigv4.so. */
int luaopen_sigv4(lua_State *L)
{
    luaL_checkversion(L);
    luaL_newlib(L, functions);
    return 1;
}
