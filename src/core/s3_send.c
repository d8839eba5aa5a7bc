/* s3_send: one attempt of an S3 call: address, headers, signature (see s3_private.h). */
#include "core/s3_private.h"
#include "core/sigv4.h"
#include "core/uri.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_URL (64u << 10)
#define OWN_HEADERS 8
#define ANSWER_LIMIT (32u << 20) /* of an answer that is not an object */
#define ERROR_LIMIT (64u << 10)  /* what an error may need where less of an object is wanted */

/* The parts of an attempt, until the exchange has copied them. */
struct attempt {
    const char *method;
    struct buf host, path, url, if_match;
    char date[SIGV4_DATE];
    struct exchange_header headers[HEADERS_MAX];
    size_t n_headers;
    const char *query;
    const char *payload_hash;
    bool bare; /* If-Match without quotes */
    const void *body;
    size_t body_len;
    struct sigv4 signature;
};

static const char *method_of(enum s3_verb verb)
{
    switch (verb) {
    case S3_HEAD:
        return "HEAD";
    case S3_PUT:
    case S3_PUT_PART:
        return "PUT";
    case S3_DELETE:
    case S3_ABORT_UPLOAD:
        return "DELETE";
    case S3_CREATE_UPLOAD:
    case S3_COMPLETE_UPLOAD:
        return "POST";
    case S3_GET:
    case S3_LIST:
        break;
    }
    return "GET";
}

static void add(struct attempt *a, const char *name, const char *value)
{
    if (value != NULL && a->n_headers < HEADERS_MAX)
        a->headers[a->n_headers++] = (struct exchange_header){name, value};
}

/* Where: host, path, and the URL of both. A question about the bucket has no key. */
static int address(const struct s3_call *call, struct attempt *a)
{
    const struct s3_call_private *p = call->private;
    bool whole_bucket = p->probe == S3_PROBE_REGION || p->key[0] == '\0';

    if (s3_client_host(p->client, &a->host) != 0 || s3_client_path(p->client, &a->path) != 0)
        return -1;
    if (!whole_bucket || a->path.len == 0)
        if (buf_addc(&a->path, '/') != 0)
            return -1;
    if (!whole_bucket && uri_encode(&a->path, p->key, strlen(p->key), true) != 0)
        return -1;
    if (buf_adds(&a->url, p->client->https ? "https://" : "http://") != 0 ||
        buf_add(&a->url, a->host.data, a->host.len) != 0 ||
        buf_add(&a->url, a->path.data, a->path.len) != 0 ||
        (a->query != NULL && (buf_addc(&a->url, '?') != 0 || buf_adds(&a->url, a->query) != 0)))
        return -1;
    return buf_addc(&a->host, '\0') != 0 || buf_addc(&a->path, '\0') != 0 ? -1
                                                                          : buf_addc(&a->url, '\0');
}

static int conditions(const struct s3_call *call, struct attempt *a)
{
    const struct s3_call_private *p = call->private;
    const char *etag = p->if_match != NULL ? p->if_match : p->if_none_match;
    const char *name = p->if_match != NULL ? "If-Match" : "If-None-Match";
    bool bare = p->bare_etag || p->client->etag_form == S3_ETAG_BARE;

    if (etag == NULL)
        return 0;
    if (strcmp(etag, "*") == 0 || (bare && p->if_match != NULL)) {
        a->bare = strcmp(etag, "*") != 0;
        add(a, name, etag);
        return 0;
    }
    if (buf_addf(&a->if_match, "\"%s\"", etag) != 0 || buf_addc(&a->if_match, '\0') != 0)
        return -1;
    add(a, name, a->if_match.data);
    return 0;
}

static int compose(const struct s3_call *call, struct attempt *a)
{
    const struct s3_call_private *p = call->private;

    for (size_t i = 0; i < p->n_headers; i++)
        add(a, p->headers[i].name, p->headers[i].value);
    if (conditions(call, a) != 0)
        return -1;
    if (p->checksum[0] != '\0')
        add(a, "x-amz-checksum-sha256", p->checksum);
    if (p->client->checksum && call->verb == S3_GET &&
        headers_get(p->headers, p->n_headers, "range") == NULL)
        add(a, "x-amz-checksum-mode", "ENABLED");
    a->body = p->body;
    a->body_len = p->body_len;
    return 0;
}

static int sign(const struct s3_call *call, struct attempt *a, struct fail *fail)
{
    const struct s3_call_private *p = call->private;
    struct sigv4_input in = {
        .method = a->method,
        .path = a->path.data,
        .query = a->query,
        .headers = a->headers,
        .payload_hash = a->payload_hash,
        .region = p->client->region,
        .service = "s3",
        .access_key_id = p->access_key_id,
        .secret_access_key = p->secret_access_key,
        .date = a->date,
    };

    add(a, "Host", a->host.data);
    add(a, "x-amz-date", a->date);
    add(a, "x-amz-content-sha256", a->payload_hash);
    add(a, "x-amz-security-token", p->session_token);
    in.n_headers = a->n_headers;
    if (sigv4_sign(&in, &a->signature, fail) != 0)
        return -1;
    add(a, "Authorization", a->signature.authorization.data);
    return 0;
}

static struct exchange *exchange_of(const struct s3_call *call, const struct attempt *a)
{
    const struct s3_call_private *p = call->private;
    struct exchange_request request = {
        .method = a->method,
        .url = a->url.data,
        .headers = a->headers,
        .n_headers = a->n_headers,
        .body = a->body,
        .body_len = a->body_len,
        .body_lent = true,
        .limit = ANSWER_LIMIT,
        .connect_seconds = p->client->connect_seconds,
        .stall_seconds = p->client->stall_seconds,
        .total_seconds = p->client->total_seconds,
        .ca_file = p->client->ca_file,
    };

    if (call->verb == S3_GET)
        request.limit = p->limit < ERROR_LIMIT ? ERROR_LIMIT : p->limit;
    return exchange_new(&request);
}

static int prepare(struct s3_call *call, struct attempt *a)
{
    struct s3_call_private *p = call->private;

    a->method = p->probe != S3_PROBE_NONE ? "HEAD" : method_of(call->verb);
    a->query = p->probe != S3_PROBE_NONE ? NULL : p->query;
    a->payload_hash = p->payload_hash;
    if (p->probe == S3_PROBE_NONE && compose(call, a) != 0)
        return fail_memory(&call->failure);
    if (p->probe != S3_PROBE_NONE)
        a->payload_hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    if (address(call, a) != 0)
        return fail_memory(&call->failure);
    if (p->probe == S3_PROBE_NONE)
        p->sent_bare = a->bare;
    strcpy(p->signed_region, p->client->region);
    p->signed_offset = p->client->clock_offset;
    sigv4_date((double)time(NULL) + p->signed_offset, a->date);
    return sign(call, a, &call->failure);
}

int s3_send(struct s3_call *call)
{
    struct attempt *a = calloc(1, sizeof *a);
    int rc;

    if (a == NULL)
        return fail_memory(&call->failure);
    a->host.max = a->path.max = a->url.max = a->if_match.max = MOST_URL;
    exchange_free(call->exchange);
    call->exchange = NULL;
    rc = prepare(call, a);
    if (rc == 0) {
        call->exchange = exchange_of(call, a);
        rc = call->exchange == NULL ? fail_memory(&call->failure) : 0;
    }
    sigv4_fini(&a->signature);
    buf_fini(&a->host);
    buf_fini(&a->path);
    buf_fini(&a->url);
    buf_fini(&a->if_match);
    free(a);
    return rc;
}
