/* digest: SHA-256, HMAC-SHA256, MD5, hexadecimal and base64, over OpenSSL.
 *
 * Everything is one call over bytes that are there; nothing is kept. A digest fails only when
 * memory is short or the library is broken (an MD5 that a FIPS configuration forbids).
 */
#ifndef CORE_DIGEST_H
#define CORE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_SHA256 32
#define DIGEST_MD5 16
#define DIGEST_SHA256_HEX (2 * DIGEST_SHA256 + 1) /* with the ending NUL */
#define DIGEST_MD5_HEX (2 * DIGEST_MD5 + 1)

/* Each: 0, or -1. */
int digest_sha256(const void *data, size_t n, uint8_t out[DIGEST_SHA256]);
int digest_md5(const void *data, size_t n, uint8_t out[DIGEST_MD5]);
int digest_hmac_sha256(const void *key, size_t key_len, const void *data, size_t n,
                       uint8_t out[DIGEST_SHA256]);

/* Lower-case hexadecimal of n bytes; `out` holds 2 * n + 1. */
void digest_hex(const uint8_t *bytes, size_t n, char *out);

/* digest_sha256 and digest_md5 straight to hexadecimal. 0 or -1. */
int digest_sha256_hex(const void *data, size_t n, char out[DIGEST_SHA256_HEX]);
int digest_md5_hex(const void *data, size_t n, char out[DIGEST_MD5_HEX]);

/* Base64 with padding (RFC 4648). `out` holds DIGEST_BASE64(n) bytes, the ending NUL included;
 * returns the length without it. Undone by armor_base64. */
#define DIGEST_BASE64(n) (((n) + 2) / 3 * 4 + 1)
size_t digest_base64(const void *data, size_t n, char *out);

#endif
