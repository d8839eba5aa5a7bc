/* s3_say: the failure of an S3 call in one line that says what was asked, what is wrong and what
 * to do about it, and never anything secret (see s3_private.h).
 */
#include "core/s3_private.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *verb, *permission;
} verbs[] = {
    [S3_GET] = {"get", "s3:GetObject"},
    [S3_HEAD] = {"head", "s3:GetObject"},
    [S3_PUT] = {"put", "s3:PutObject"},
    [S3_DELETE] = {"delete", "s3:DeleteObject"},
    [S3_LIST] = {"list", "s3:ListBucket"},
    [S3_CREATE_UPLOAD] = {"begin the upload of", "s3:PutObject"},
    [S3_PUT_PART] = {"upload a part of", "s3:PutObject"},
    [S3_COMPLETE_UPLOAD] = {"complete the upload of", "s3:PutObject"},
    [S3_ABORT_UPLOAD] = {"abort the upload of", "s3:AbortMultipartUpload"},
};

/* "get \"raw/a.csv\" of bucket b" */
static void add_subject(struct buf *out, const struct s3_call *call)
{
    const struct s3_call_private *p = call->private;
    char key[160];

    s3_printable(key, sizeof key, p->key);
    if (key[0] == '\0')
        buf_addf(out, "%s bucket %s", verbs[call->verb].verb, p->client->bucket);
    else
        buf_addf(out, "%s \"%s%s\" in bucket %s", verbs[call->verb].verb, key,
                 strlen(p->key) >= sizeof key ? "..." : "", p->client->bucket);
}

static void end(struct s3_call *call, struct buf *out, const char *code)
{
    struct s3_call_private *p = call->private;

    if (call->attempts > 1)
        buf_addf(out, ", in %u attempts", call->attempts);
    if (code != p->code)
        snprintf(p->code, sizeof p->code, "%s", code);
    fail_set(&call->failure, p->code, "%.*s", (int)out->len, out->len == 0 ? "" : out->data);
    buf_fini(out);
}

void s3_say(struct s3_call *call, const char *code, const char *what)
{
    struct buf out;

    buf_init(&out, 4096);
    add_subject(&out, call);
    buf_addf(&out, ": %s", what);
    end(call, &out, code);
}

void s3_say_exchange(struct s3_call *call)
{
    s3_say(call, call->exchange->failure.code, call->exchange->failure.message);
}

const char *s3_code(const struct s3_call *call)
{
    static const struct {
        int status;
        const char *code;
    } made[] = {
        {301, "PermanentRedirect"},  {304, "NotModified"},          {307, "TemporaryRedirect"},
        {400, "BadRequest"},         {403, "AccessDenied"},         {405, "MethodNotAllowed"},
        {409, "OperationAborted"},   {411, "MissingContentLength"}, {412, "PreconditionFailed"},
        {416, "InvalidRange"},       {429, "TooManyRequests"},      {500, "InternalError"},
        {503, "ServiceUnavailable"},
    };

    if (call->answer.code[0] != '\0')
        return call->answer.code;
    if (call->status == 404)
        return call->private->key[0] == '\0' ? "NoSuchBucket" : "NoSuchKey";
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (made[i].status == call->status)
            return made[i].code;
    return "UnexpectedStatus";
}

/* What a code means and what helps. */
static const char *remedy(const char *code)
{
    static const struct {
        const char *code, *text;
    } known[] = {
        {"NoSuchKey", "there is no such object"},
        {"NoSuchBucket", "there is no such bucket (check BUCKET_NAME, region and endpoint)"},
        {"PreconditionFailed", "the object is not the one expected: somebody else wrote it"},
        {"ConditionalRequestConflict", "somebody else is writing the object at this moment"},
        {"NotModified", "the object is still the one named"},
        {"InvalidAccessKeyId", "the server does not know this access key: check the credentials"},
        {"SignatureDoesNotMatch",
         "the secret access key does not fit the access key: check the credentials"},
        {"ExpiredToken", "the session token has expired: renew the credentials"},
        {"InvalidToken", "the session token is not valid: renew the credentials"},
        {"TokenRefreshRequired", "the session token must be renewed"},
        {"RequestTimeTooSkewed", "the clocks of server and host differ: set the host's clock"},
        {"PermanentRedirect", "the bucket is in another region or at another endpoint"},
        {"AuthorizationHeaderMalformed", "the request is signed for another region"},
        {"InvalidRange", "the object does not have the bytes asked for"},
        {"EntityTooLarge", "the object is too large for one put"},
        {"SlowDown", "the server asks for fewer requests"},
        {"NoSuchUpload", "the upload is not open any more"},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].code, code) == 0)
            return known[i].text;
    return NULL;
}

static void add_permission(struct buf *out, const struct s3_call *call)
{
    const struct s3_call_private *p = call->private;
    char key[160];

    s3_printable(key, sizeof key, p->key);
    buf_addf(out, "access denied: the credentials need %s on arn:%s:s3:::%s%s%s",
             verbs[call->verb].permission, s3_client_partition(p->client), p->client->bucket,
             key[0] == '\0' ? "" : "/", key);
    if (call->verb == S3_GET || call->verb == S3_HEAD)
        buf_addf(out, " (without s3:ListBucket on the bucket a missing object looks the same)");
}

/* Does a text of the server's repeat a secret of ours? */
static bool tells(const struct s3_call_private *p, const char *text)
{
    return strstr(text, p->secret_access_key) != NULL ||
           (p->session_token != NULL &&
            (strstr(text, p->session_token) != NULL ||
             (strlen(text) >= 32 && strstr(p->session_token, text) != NULL)));
}

static bool is_word(const char *text)
{
    for (; *text != '\0'; text++)
        if (!((*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'z') ||
              (*text >= 'A' && *text <= 'Z') || *text == '-'))
            return false;
    return true;
}

void s3_say_answer(struct s3_call *call)
{
    const char *code = s3_code(call);
    const char *text = remedy(code);
    const char *id = exchange_header(call->exchange, "x-amz-request-id");
    struct buf out;

    buf_init(&out, 4096);
    add_subject(&out, call);
    buf_addf(&out, ": ");
    if (strcmp(code, "AccessDenied") == 0)
        add_permission(&out, call);
    else if (text != NULL)
        buf_addf(&out, "%s", text);
    else if (call->answer.message[0] != '\0' && !tells(call->private, call->answer.message))
        buf_addf(&out, "%s", call->answer.message);
    else
        buf_addf(&out, "the server refused");
    buf_addf(&out, " (%s, HTTP %d", code, call->status);
    if (id != NULL && strlen(id) <= 80 && is_word(id))
        buf_addf(&out, ", request %s", id);
    buf_addf(&out, ")");
    end(call, &out, code);
}
