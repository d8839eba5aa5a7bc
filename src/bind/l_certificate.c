/* l_certificate: the Lua module `certificate`: X.509 certificates and RSA signatures.
 *
 *   certificate.parse(pem)      -> certificate | nil, message, code    one PEM block, nothing else
 *   certificate.parse_der(der)  -> certificate | nil, message, code
 *   c.names                     {"sns.amazonaws.com", ...}
 *   c.not_before, c.not_after   seconds since 1970 UTC
 *   c.issuer_url                where its issuer's certificate lies, or nil
 *   c.rsa_bits                  0 when its key is no RSA key
 *   c:has_name(name)            -> boolean
 *   c:check_time(now)           -> true | nil, message, code
 *   c:verify("sha1"|"sha256", text, signature) -> true | nil, message, code
 *   c:chain(issuers, now [, roots])            -> true | nil, message, code      waits
 *
 * `issuers` and `roots` are lists of certificates; without `roots` the system's trust store is
 * taken. `now` is in seconds since 1970 UTC. See core/certificate.h for the codes. A certificate is
 * never changed after it is made.
 */
#include "core/certificate.h"

#include "bind/bridge.h"
#include "bind/class.h"
#include "bind/modules.h"

#include <lauxlib.h>
#include <string.h>

#define CERTIFICATE "anomalyd.certificate"

static int l_gc(lua_State *L)
{
    struct certificate **slot = luaL_checkudata(L, 1, CERTIFICATE);

    certificate_unref(*slot);
    *slot = NULL;
    return 0;
}

static struct certificate *check(lua_State *L, int index)
{
    struct certificate **slot = luaL_checkudata(L, index, CERTIFICATE);

    luaL_argcheck(L, *slot != NULL, index, "a certificate that was closed");
    return *slot;
}

/* Seconds at `index`, with their fraction cut off. */
static int64_t check_seconds(lua_State *L, int index)
{
    lua_Number now = luaL_checknumber(L, index);

    luaL_argcheck(L, now > -1e12 && now < 1e12, index, "now must be seconds since 1970");
    return (int64_t)now;
}

typedef int parser(const char *, size_t, struct certificate **, struct fail *);

static int parse_with(lua_State *L, parser *parse)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct certificate **slot = lua_newuserdatauv(L, sizeof *slot, 0);
    struct fail fail;

    *slot = NULL;
    luaL_setmetatable(L, CERTIFICATE);
    return parse(text, len, slot, &fail) == 0 ? 1 : bridge_fail(L, &fail);
}

static int l_parse(lua_State *L)
{
    return parse_with(L, certificate_parse);
}

static int parse_der(const char *der, size_t len, struct certificate **out, struct fail *fail)
{
    return certificate_parse_der(der, len, out, fail);
}

static int l_parse_der(lua_State *L)
{
    return parse_with(L, parse_der);
}

static int l_has_name(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, 2, &len);

    lua_pushboolean(L, strlen(name) == len && certificate_has_name(check(L, 1), name));
    return 1;
}

/* true, or nil, message, code. */
static int verdict(lua_State *L, int rc, const struct fail *fail)
{
    if (rc != 0)
        return bridge_fail(L, fail);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_check_time(lua_State *L)
{
    const struct certificate *c = check(L, 1);
    int64_t now = check_seconds(L, 2);
    struct fail fail;

    return verdict(L, certificate_check_time(c, now, &fail), &fail);
}

static int l_verify(lua_State *L)
{
    static const char *const digests[] = {"sha1", "sha256", NULL};
    const struct certificate *c = check(L, 1);
    int digest = luaL_checkoption(L, 2, NULL, digests);
    size_t len;
    const char *text = luaL_checklstring(L, 3, &len);
    size_t signature_len;
    const char *signature = luaL_checklstring(L, 4, &signature_len);
    struct fail fail;
    int rc = certificate_verify(c, digest == 0 ? CERTIFICATE_SHA1 : CERTIFICATE_SHA256, text, len,
                                signature, signature_len, &fail);

    return verdict(L, rc, &fail);
}

/* The search for a chain, which reads the trust store: off the loop's thread. */
struct chain_op {
    struct bridge_op op;
    struct certificate *c;
    struct certificate *issuers[CERTIFICATE_MAX_ISSUERS];
    size_t n_issuers;
    struct certificate *roots[CERTIFICATE_MAX_ROOTS];
    size_t n_roots;
    int64_t now;
    int rc;
    struct fail fail;
};

static void chain_work(struct bridge_op *op, struct crew *crew)
{
    struct chain_op *chain = (struct chain_op *)op;

    (void)crew;
    chain->rc = certificate_chain(chain->c, chain->issuers, chain->n_issuers, chain->roots,
                                  chain->n_roots, chain->now, &chain->fail);
}

static void chain_fini(struct bridge_op *op)
{
    struct chain_op *chain = (struct chain_op *)op;

    certificate_unref(chain->c);
    for (size_t i = 0; i < chain->n_issuers; i++)
        certificate_unref(chain->issuers[i]);
    for (size_t i = 0; i < chain->n_roots; i++)
        certificate_unref(chain->roots[i]);
}

static const struct bridge_type chain_type = {"certificate:chain", sizeof(struct chain_op), NULL,
                                              chain_work, chain_fini};

static int chain_done(lua_State *L, int status, lua_KContext ctx)
{
    const struct chain_op *chain = (const struct chain_op *)ctx;

    (void)status;
    return verdict(L, chain->rc, &chain->fail);
}

/* Take references to the certificates of the list at `index`; what was taken is counted in *n, so
 * that it is released whatever is raised here. */
static void take_list(lua_State *L, int index, struct certificate **list, size_t *n, size_t max)
{
    size_t len = lua_isnoneornil(L, index) ? 0 : (size_t)lua_rawlen(L, index);

    luaL_argcheck(L, len <= max, index, "too many certificates");
    while (*n < len) {
        struct certificate **slot;

        lua_rawgeti(L, index, (lua_Integer)*n + 1);
        slot = luaL_testudata(L, -1, CERTIFICATE);
        luaL_argcheck(L, slot != NULL && *slot != NULL, index, "must be a list of certificates");
        list[(*n)++] = certificate_ref(*slot);
        lua_pop(L, 1);
    }
}

static int l_chain(lua_State *L)
{
    struct certificate *c = check(L, 1);
    int64_t now = check_seconds(L, 3);
    struct chain_op *chain;

    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TTABLE);
    if (!lua_isnoneornil(L, 4))
        luaL_checktype(L, 4, LUA_TTABLE);
    lua_settop(L, 4);
    chain = (struct chain_op *)bridge_new(L, &chain_type);
    chain->c = certificate_ref(c);
    chain->now = now;
    take_list(L, 2, chain->issuers, &chain->n_issuers, CERTIFICATE_MAX_ISSUERS);
    take_list(L, 4, chain->roots, &chain->n_roots, CERTIFICATE_MAX_ROOTS);
    luaL_argcheck(L, lua_isnil(L, 4) || chain->n_roots > 0, 4, "an empty list of roots");
    chain->op.heavy = true;
    return bridge_run(L, &chain->op, chain_done);
}

static void push_names(lua_State *L, const struct certificate *c)
{
    lua_createtable(L, (int)c->n_names, 0);
    for (size_t i = 0; i < c->n_names; i++) {
        lua_pushstring(L, c->names[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* A field of the certificate, or one of the methods in upvalue 1. */
static int l_index(lua_State *L)
{
    const struct certificate *c = check(L, 1);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

    if (strcmp(key, "names") == 0)
        push_names(L, c);
    else if (strcmp(key, "not_before") == 0)
        lua_pushinteger(L, c->not_before);
    else if (strcmp(key, "not_after") == 0)
        lua_pushinteger(L, c->not_after);
    else if (strcmp(key, "issuer_url") == 0)
        lua_pushstring(L, c->issuer_url);
    else if (strcmp(key, "rsa_bits") == 0)
        lua_pushinteger(L, c->rsa_bits);
    else {
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(1));
    }
    return 1;
}

static int l_tostring(lua_State *L)
{
    const struct certificate *c = check(L, 1);

    lua_pushfstring(L, "certificate(%s)", c->n_names == 0 ? "no name" : c->names[0]);
    return 1;
}

static const luaL_Reg functions[] = {
    {"parse", l_parse},
    {"parse_der", l_parse_der},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"has_name", l_has_name},
    {"check_time", l_check_time},
    {"verify", l_verify},
    {"chain", l_chain},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_gc}, {"__close", l_gc}, {"__index", l_index}, {"__tostring", l_tostring},
    {NULL, NULL},
};

/* luaopen_certificate, for the host's preload table and for certificate.so. */
int luaopen_certificate(lua_State *L)
{
    luaL_checkversion(L);
    class_define(L, CERTIFICATE, metamethods, methods);
    luaL_newlib(L, functions);
    return 1;
}
