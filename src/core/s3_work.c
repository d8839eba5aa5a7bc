/* s3_work: the part of an S3 call that computes: hashing what is sent, verifying and reading what
 * came (see s3_private.h). May run on another thread.
 */
#include "core/s3_private.h"

#include <string.h>

bool s3_conditional(const struct s3_call_private *p)
{
    return p->if_match != NULL || p->if_none_match != NULL;
}

static void hash_request(struct s3_call *call)
{
    struct s3_call_private *p = call->private;
    uint8_t sha[DIGEST_SHA256];

    if (digest_sha256(p->body, p->body_len, sha) != 0 ||
        (call->verb == S3_PUT && s3_conditional(p) &&
         digest_md5_hex(p->body, p->body_len, p->body_md5) != 0)) {
        fail_set(&p->broken, "NoDigest", "OpenSSL cannot compute the digests S3 needs");
        return;
    }
    digest_hex(sha, sizeof sha, p->payload_hash);
    if (p->client->checksum && call->verb == S3_PUT)
        digest_base64(sha, sizeof sha, p->checksum);
}

/* 32 hexadecimal digits: the ETag of an object put in one piece and not encrypted with a key of the
 * customer's is its MD5. */
static bool is_md5(const char *etag)
{
    return strlen(etag) == 32 && strspn(etag, "0123456789abcdef") == 32;
}

static bool etag_is_digest(const struct exchange *x)
{
    const char *encryption = exchange_header(x, "x-amz-server-side-encryption");

    return (encryption == NULL || strcmp(encryption, "AES256") == 0) &&
           exchange_header(x, "x-amz-server-side-encryption-customer-algorithm") == NULL;
}

static int check_sha256(struct s3_call *call)
{
    const struct exchange *x = call->exchange;
    const char *told = exchange_header(x, "x-amz-checksum-sha256");
    char base64[DIGEST_BASE64(DIGEST_SHA256)];
    uint8_t sha[DIGEST_SHA256];

    if (told == NULL || strlen(told) != sizeof base64 - 1)
        return 0;
    if (digest_sha256(x->body.data, x->body.len, sha) != 0)
        return 0;
    digest_base64(sha, sizeof sha, base64);
    if (strcmp(base64, told) == 0)
        return 1;
    return fail_set(&call->private->broken, "BadDigest",
                    "the bytes that came do not have the SHA-256 the server names");
}

static int check_md5(struct s3_call *call)
{
    const struct exchange *x = call->exchange;
    char md5[DIGEST_MD5_HEX];

    if (call->etag == NULL || !is_md5(call->etag) || !etag_is_digest(x) ||
        digest_md5_hex(x->body.data, x->body.len, md5) != 0 || strcmp(md5, call->etag) == 0)
        return 0;
    return fail_set(&call->private->broken, "BadDigest",
                    "the bytes that came do not have the MD5 that is the object's ETag");
}

/* A whole object is checked against the checksum AWS sends, or else against its ETag. */
static void verify_object(struct s3_call *call)
{
    if (call->status == 200 && check_sha256(call) == 0)
        check_md5(call);
}

bool s3_answers_xml(enum s3_verb verb)
{
    return verb == S3_LIST || verb == S3_CREATE_UPLOAD || verb == S3_COMPLETE_UPLOAD;
}

/* A good status; the document may still be an error. */
static void read_document(struct s3_call *call)
{
    struct s3_call_private *p = call->private;
    const struct buf *body = &call->exchange->body;
    struct fail why;

    if (s3_answer_read(&call->answer, body->data, body->len, &why) != 0)
        fail_set(&p->broken, "BadAnswer", "the server's XML cannot be read: %.200s", why.message);
    else if (call->answer.is_error)
        return;
    else if (call->verb == S3_CREATE_UPLOAD &&
             (call->answer.upload_id == NULL || call->answer.upload_id[0] == '\0'))
        fail_set(&p->broken, "BadAnswer", "the server named no upload");
    else if (call->answer.truncated && call->answer.next_token == NULL)
        fail_set(&p->broken, "BadAnswer", "the listing is cut but names no continuation");
}

void s3_call_work(struct s3_call *call)
{
    if (call->private->state == S3_SEND)
        hash_request(call);
    else if (call->verb == S3_GET)
        verify_object(call);
    else
        read_document(call);
}
