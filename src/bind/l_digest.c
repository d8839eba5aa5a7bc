/* l_digest: the Lua module `digest`.
 *
 *   digest.sha256(text) -> hex              digest.sha256(text, "raw") -> 32 bytes
 *   digest.md5(text) -> hex                 digest.md5(text, "raw") -> 16 bytes
 *   digest.hmac_sha256(key, text) -> hex    digest.hmac_sha256(key, text, "raw") -> 32 bytes
 *   digest.hex(bytes) -> hex
 *   digest.base64(bytes) -> text
 *   digest.unbase64(text) -> bytes | nil, message, "BadBase64"
 *
 * Strings of Lua are bytes. unbase64 is strict: see core/armor.h.
 */
#include "bind/bridge.h"
#include "bind/class.h"
#include "bind/modules.h"
#include "core/armor.h"
#include "core/digest.h"

#define BYTES "anomalyd.digest.bytes"

static bool wants_raw(lua_State *L, int index)
{
    static const char *const forms[] = {"hex", "raw", NULL};

    return luaL_checkoption(L, index, "hex", forms) == 1;
}

static int push_digest(lua_State *L, const uint8_t *bytes, size_t n, bool raw)
{
    char hex[DIGEST_SHA256_HEX];

    if (raw) {
        lua_pushlstring(L, (const char *)bytes, n);
        return 1;
    }
    digest_hex(bytes, n, hex);
    lua_pushstring(L, hex);
    return 1;
}

static int l_sha256(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    bool raw = wants_raw(L, 2);
    uint8_t out[DIGEST_SHA256];

    if (digest_sha256(text, n, out) != 0)
        return luaL_error(L, "digest.sha256: OpenSSL cannot compute it");
    return push_digest(L, out, sizeof out, raw);
}

static int l_md5(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    bool raw = wants_raw(L, 2);
    uint8_t out[DIGEST_MD5];

    if (digest_md5(text, n, out) != 0)
        return luaL_error(L, "digest.md5: OpenSSL's configuration forbids MD5");
    return push_digest(L, out, sizeof out, raw);
}

static int l_hmac_sha256(lua_State *L)
{
    size_t key_len;
    size_t n;
    const char *key = luaL_checklstring(L, 1, &key_len);
    const char *text = luaL_checklstring(L, 2, &n);
    bool raw = wants_raw(L, 3);
    uint8_t out[DIGEST_SHA256];

    if (digest_hmac_sha256(key, key_len, text, n, out) != 0)
        return luaL_error(L, "digest.hmac_sha256: OpenSSL cannot compute it");
    return push_digest(L, out, sizeof out, raw);
}

static int l_hex(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    luaL_Buffer b;

    digest_hex((const uint8_t *)text, n, luaL_buffinitsize(L, &b, 2 * n + 1));
    luaL_pushresultsize(&b, 2 * n);
    return 1;
}

static int l_base64(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    luaL_Buffer b;

    luaL_pushresultsize(&b, digest_base64(text, n, luaL_buffinitsize(L, &b, DIGEST_BASE64(n))));
    return 1;
}

static int l_bytes_gc(lua_State *L)
{
    buf_fini(luaL_checkudata(L, 1, BYTES));
    return 0;
}

static int l_unbase64(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    struct buf *bytes = class_box(L, BYTES, sizeof *bytes, l_bytes_gc);
    struct fail fail;

    buf_init(bytes, n);
    if (armor_base64(text, n, bytes, &fail) != 0)
        return bridge_fail(L, &fail);
    lua_pushlstring(L, bytes->data == NULL ? "" : bytes->data, bytes->len);
    buf_fini(bytes);
    return 1;
}

static const luaL_Reg functions[] = {
    {"sha256", l_sha256}, {"md5", l_md5},       {"hmac_sha256", l_hmac_sha256},
    {"hex", l_hex},       {"base64", l_base64}, {"unbase64", l_unbase64},
    {NULL, NULL},
};

/* luaopen_digest, for the host's preload table and for digest.so. */
int luaopen_digest(lua_State *L)
{
    luaL_checkversion(L);
    luaL_newlib(L, functions);
    return 1;
}
