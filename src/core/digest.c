/* digest: see digest.h. */
#include "core/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static int digest(const EVP_MD *md, const void *data, size_t n, uint8_t *out)
{
    return EVP_Digest(n == 0 ? "" : data, n, out, NULL, md, NULL) == 1 ? 0 : -1;
}

int digest_sha256(const void *data, size_t n, uint8_t out[DIGEST_SHA256])
{
    return digest(EVP_sha256(), data, n, out);
}

int digest_md5(const void *data, size_t n, uint8_t out[DIGEST_MD5])
{
    return digest(EVP_md5(), data, n, out);
}

int digest_hmac_sha256(const void *key, size_t key_len, const void *data, size_t n,
                       uint8_t out[DIGEST_SHA256])
{
    unsigned len = DIGEST_SHA256;

    if (key_len > INT_MAX)
        return -1;
    return HMAC(EVP_sha256(), key, (int)key_len, data, n, out, &len) == NULL ? -1 : 0;
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

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters, of which the last `pad` are '='; -1 when they are not base64. */
static int group(const char *text, int pad, uint8_t *out)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++) {
        int digit = i >= 4 - pad ? 0 : value_of(text[i]);

        if (digit < 0)
            return -1;
        v = v << 6 | (uint32_t)digit;
    }
    if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
        return -1;
    out[0] = (uint8_t)(v >> 16);
    if (pad < 2)
        out[1] = (uint8_t)(v >> 8);
    if (pad < 1)
        out[2] = (uint8_t)v;
    return 0;
}

long digest_unbase64(const char *text, size_t n, uint8_t *out)
{
    size_t pad = 0;

    if (n % 4 != 0 || n > LONG_MAX)
        return -1;
    while (pad < 2 && n > pad && text[n - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < n; i += 4)
        if (group(text + i, i + 4 == n ? (int)pad : 0, out + i / 4 * 3) != 0)
            return -1;
    return (long)(n / 4 * 3 - pad);
}
