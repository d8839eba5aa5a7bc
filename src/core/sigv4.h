/* sigv4: AWS Signature Version 4 in the Authorization header.
 *
 * Signs what it is given and adds nothing: the caller has put host, x-amz-date and, where they
 * belong, x-amz-content-sha256 and x-amz-security-token among the headers. Follows "Create a signed
 * AWS API request" of AWS's IAM user guide, and S3's exceptions from it: the path is encoded once
 * and neither dot segments nor double slashes are folded, unless `normalize` asks for the rule of
 * the other services.
 */
#ifndef CORE_SIGV4_H
#define CORE_SIGV4_H

#include "core/buf.h"
#include "core/digest.h"
#include "core/fail.h"
#include "core/headers.h"

#include <stdbool.h>

#define SIGV4_DATE 17 /* "20150830T123600Z" with the ending NUL */

struct sigv4_input {
    const char *method;
    const char *path;  /* as it goes on the wire; "" counts as "/" */
    const char *query; /* as it goes on the wire, without '?'; NULL counts as "" */
    /* All are signed but those that proxies and transports change (connection, expect,
     * transfer-encoding, user-agent, x-amzn-trace-id) and authorization. Equal names are joined in
     * their order; runs of blanks count as one space. */
    const struct exchange_header *headers;
    size_t n_headers;
    const char *payload_hash; /* hexadecimal SHA-256 of the body, or "UNSIGNED-PAYLOAD" */
    const char *region;
    const char *service;
    const char *access_key_id;
    const char *secret_access_key;
    const char *date; /* the value of x-amz-date */
    bool normalize;
};

/* Texts without a terminating NUL, except where said. */
struct sigv4 {
    struct buf canonical_request;
    struct buf string_to_sign;
    struct buf authorization; /* the header's value, NUL-terminated (not counted in len) */
    char signature[DIGEST_SHA256_HEX];
};

/* Fill `out` (release it with sigv4_fini, after a failure too). 0 or -1: code "BadDate" when `date`
 * is not of the form 20150830T123600Z, "TooLarge" for more than 1 MiB of canonical request or
 * more than HEADERS_MAX headers. */
int sigv4_sign(const struct sigv4_input *in, struct sigv4 *out, struct fail *fail);
void sigv4_fini(struct sigv4 *s);

/* The date of Unix time `seconds` in the form of x-amz-date. */
void sigv4_date(double seconds, char out[SIGV4_DATE]);

#endif
