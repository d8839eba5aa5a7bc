/* digest: see digest.h. */
#include "core/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#define BLOCK 64 /* of SHA-256, for HMAC */

/* Fetched once: EVP_sha256() would be looked up anew by every call, which costs more than hashing
 * a short text. */
static EVP_MD *sha256, *md5;

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    md5 = EVP_MD_fetch(NULL, "MD5", NULL);
}

__attribute__((destructor)) static void drop(void)
{
    EVP_MD_free(sha256);
    EVP_MD_free(md5);
}

static void prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fetch);
}

static int digest(const EVP_MD *md, const void *data, size_t n, uint8_t *out)
{
    return md != NULL && EVP_Digest(n == 0 ? "" : data, n, out, NULL, md, NULL) == 1 ? 0 : -1;
}

int digest_sha256(const void *data, size_t n, uint8_t out[DIGEST_SHA256])
{
    prepare();
    return digest(sha256, data, n, out);
}

int digest_md5(const void *data, size_t n, uint8_t out[DIGEST_MD5])
{
    prepare();
    return digest(md5, data, n, out);
}

/* One of HMAC's two hashes: the key's block with every byte changed by `pad`, then the text. */
static int hash_padded(EVP_MD_CTX *ctx, const uint8_t block[BLOCK], uint8_t pad, const void *text,
                       size_t n, uint8_t out[DIGEST_SHA256])
{
    uint8_t padded[BLOCK];
    int ok;

    for (size_t i = 0; i < BLOCK; i++)
        padded[i] = block[i] ^ pad;
    ok = EVP_DigestInit_ex(ctx, sha256, NULL) == 1 && EVP_DigestUpdate(ctx, padded, BLOCK) == 1 &&
         EVP_DigestUpdate(ctx, text, n) == 1 && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    explicit_bzero(padded, sizeof padded);
    return ok ? 0 : -1;
}

/* RFC 2104. */
int digest_hmac_sha256(const void *key, size_t key_len, const void *data, size_t n,
                       uint8_t out[DIGEST_SHA256])
{
    uint8_t block[BLOCK] = {0};
    uint8_t inner[DIGEST_SHA256];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int rc = -1;

    prepare();
    if (key_len <= BLOCK)
        memcpy(block, key_len == 0 ? "" : key, key_len);
    if (ctx != NULL && sha256 != NULL &&
        (key_len <= BLOCK || digest_sha256(key, key_len, block) == 0) &&
        hash_padded(ctx, block, 0x36, n == 0 ? "" : data, n, inner) == 0 &&
        hash_padded(ctx, block, 0x5c, inner, sizeof inner, out) == 0)
        rc = 0;
    EVP_MD_CTX_free(ctx);
    explicit_bzero(block, sizeof block);
    return rc;
}

void digest_hex(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

int digest_sha256_hex(const void *data, size_t n, char out[DIGEST_SHA256_HEX])
{
    uint8_t bytes[DIGEST_SHA256];

    if (digest_sha256(data, n, bytes) != 0)
        return -1;
    digest_hex(bytes, sizeof bytes, out);
    return 0;
}

int digest_md5_hex(const void *data, size_t n, char out[DIGEST_MD5_HEX])
{
    uint8_t bytes[DIGEST_MD5];

    if (digest_md5(data, n, bytes) != 0)
        return -1;
    digest_hex(bytes, sizeof bytes, out);
    return 0;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t digest_base64(const void *data, size_t n, char *out)
{
    const uint8_t *in = data;
    char *start = out;

    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                     (left > 2 ? in[i + 2] : 0);

        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        *out++ = left > 1 ? alphabet[v >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[v & 63] : '=';
    }
    *out = '\0';
    return (size_t)(out - start);
}
