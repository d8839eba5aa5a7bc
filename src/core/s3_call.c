/* s3_call: see s3_call.h. This file is the course of a call; s3_send.c makes one attempt,
 * s3_say.c puts failures into words.
 */
#include "core/s3_call.h"

#include "core/s3_private.h"
#include "core/uri.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOST_QUERY (64u << 10)
#define OBJECT_LIMIT (1u << 30)
#define HEAVY (128u << 10) /* bytes from which hashing is worth another thread */

/* --- making and releasing ------------------------------------------------------------------- */

static int copy(char **slot, const char *text)
{
    if (text == NULL)
        return 0;
    *slot = strdup(text);
    return *slot == NULL ? -1 : 0;
}

static int copy_etag(char **slot, const char *etag)
{
    const char *start;
    size_t n;

    if (etag == NULL)
        return 0;
    n = s3_etag_bare(etag, &start);
    *slot = strndup(start, n);
    return *slot == NULL ? -1 : 0;
}

static int copy_headers(struct s3_call_private *p, const struct s3_ask *ask)
{
    p->headers = calloc(ask->n_headers + 1, sizeof *p->headers);
    if (p->headers == NULL)
        return -1;
    for (; p->n_headers < ask->n_headers; p->n_headers++) {
        struct exchange_header *h = &p->headers[p->n_headers];

        h->name = strdup(ask->headers[p->n_headers].name);
        h->value = strdup(ask->headers[p->n_headers].value);
        if (h->name == NULL || h->value == NULL) {
            p->n_headers++;
            return -1;
        }
    }
    return 0;
}

static int encode_query(struct s3_call_private *p, const struct s3_ask *ask)
{
    struct buf out;
    int rc = 0;

    if (ask->n_query == 0)
        return 0;
    buf_init(&out, MOST_QUERY);
    for (size_t i = 0; i < ask->n_query && rc == 0; i++) {
        const struct exchange_header *pair = &ask->query[i];

        if ((i > 0 && buf_addc(&out, '&') != 0) ||
            uri_encode(&out, pair->name, strlen(pair->name), false) != 0 ||
            buf_addc(&out, '=') != 0 ||
            uri_encode(&out, pair->value, strlen(pair->value), false) != 0)
            rc = -1;
    }
    if (rc == 0)
        rc = buf_addc(&out, '\0');
    if (rc == 0)
        p->query = out.data;
    else
        buf_fini(&out);
    return rc;
}

static int copy_body(struct s3_call_private *p, const struct s3_ask *ask)
{
    if (ask->body_len == 0)
        return 0;
    p->body = malloc(ask->body_len);
    if (p->body == NULL)
        return -1;
    memcpy(p->body, ask->body, ask->body_len);
    p->body_len = ask->body_len;
    return 0;
}

static int copy_ask(struct s3_call_private *p, const struct s3_ask *ask)
{
    p->limit = ask->limit == 0 ? OBJECT_LIMIT : ask->limit;
    return copy(&p->key, ask->key == NULL ? "" : ask->key) != 0 || copy_headers(p, ask) != 0 ||
                   encode_query(p, ask) != 0 || copy_etag(&p->if_match, ask->if_match) != 0 ||
                   copy_etag(&p->if_none_match, ask->if_none_match) != 0 ||
                   copy_body(p, ask) != 0 || copy(&p->access_key_id, ask->access_key_id) != 0 ||
                   copy(&p->secret_access_key, ask->secret_access_key) != 0 ||
                   copy(&p->session_token, ask->session_token) != 0
               ? -1
               : 0;
}

/* What would break the request apart, or could not be signed. */
static int check(const struct s3_ask *ask, struct fail *fail)
{
    const char *single[] = {ask->if_match, ask->if_none_match, ask->access_key_id,
                            ask->session_token};

    for (size_t i = 0; i < sizeof single / sizeof *single; i++)
        if (single[i] != NULL && !headers_valid("x", single[i]))
            return fail_set(fail, "BadRequest",
                            i < 2 ? "an ETag to match cannot hold control characters"
                                  : "the credentials hold control characters");
    for (size_t i = 0; i < ask->n_headers; i++)
        if (!headers_valid(ask->headers[i].name, ask->headers[i].value))
            return fail_set(fail, "BadRequest", "a header (metadata, content type) cannot be sent");
    if (ask->n_headers > HEADERS_MAX / 2)
        return fail_set(fail, "BadRequest", "more than %d headers", HEADERS_MAX / 2);
    if (ask->key != NULL && strlen(ask->key) > 1024)
        return fail_set(fail, "KeyTooLongError", "an object's key has at most 1024 bytes, not %zu",
                        strlen(ask->key));
    if (ask->verb != S3_LIST && (ask->key == NULL || ask->key[0] == '\0'))
        return fail_set(fail, "BadRequest", "an object's key cannot be empty");
    return 0;
}

struct s3_call *s3_call_new(struct s3_client *client, const struct s3_ask *ask, struct fail *fail)
{
    struct s3_call *call;

    if (check(ask, fail) != 0)
        return NULL;
    call = calloc(1, sizeof *call);
    if (call != NULL)
        call->private = calloc(1, sizeof *call->private);
    if (call == NULL || call->private == NULL) {
        free(call);
        fail_memory(fail);
        return NULL;
    }
    call->verb = ask->verb;
    call->private->client = s3_client_ref(client);
    if (copy_ask(call->private, ask) != 0) {
        s3_call_free(call);
        fail_memory(fail);
        return NULL;
    }
    return call;
}

static void wipe(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void s3_call_free(struct s3_call *call)
{
    struct s3_call_private *p;

    if (call == NULL)
        return;
    p = call->private;
    exchange_free(call->exchange);
    s3_answer_fini(&call->answer);
    free(call->etag);
    for (size_t i = 0; i < p->n_headers; i++) {
        free((void *)p->headers[i].name);
        free((void *)p->headers[i].value);
    }
    free(p->headers);
    free(p->key);
    free(p->query);
    free(p->if_match);
    free(p->if_none_match);
    free(p->body);
    free(p->access_key_id);
    wipe(p->secret_access_key);
    wipe(p->session_token);
    s3_client_unref(p->client);
    free(p);
    free(call);
}

/* --- the course ------------------------------------------------------------------------------ */

static enum s3_next finish(struct s3_call *call)
{
    call->private->state = S3_FINISHED;
    return S3_DONE;
}

static enum s3_next send_attempt(struct s3_call *call)
{
    struct s3_call_private *p = call->private;

    if (p->broken.code != NULL) {
        s3_say(call, p->broken.code, p->broken.message);
        return finish(call);
    }
    s3_answer_fini(&call->answer);
    if (s3_send(call) != 0)
        return finish(call);
    p->tries++;
    call->attempts += p->probe == S3_PROBE_NONE;
    p->client->n_requests++;
    p->state = S3_JUDGE;
    return S3_EXCHANGE;
}

/* Sign and send again at once, with something corrected. */
static enum s3_next send_corrected(struct s3_call *call, enum s3_probe probe)
{
    call->private->probe = probe;
    call->private->tries = 0;
    return send_attempt(call);
}

/* Wait and send again, when attempts and quota allow; else the failure stands. */
static enum s3_next retry(struct s3_call *call, bool timeout)
{
    struct s3_call_private *p = call->private;
    int cost = timeout ? S3_RETRY_COST_TIMEOUT : S3_RETRY_COST;

    if (p->tries >= p->client->attempts || !s3_client_spend(p->client, cost))
        return finish(call);
    p->spent = cost;
    p->client->n_retries++;
    call->failure.code = NULL;
    p->broken.code = NULL;
    call->delay = s3_client_delay(p->client, p->tries);
    p->state = S3_SEND;
    return S3_SLEEP;
}

static enum s3_next succeed(struct s3_call *call)
{
    struct s3_call_private *p = call->private;

    s3_client_earn(p->client, p->spent > 0 ? p->spent : 1);
    if (call->verb == S3_PUT && p->if_match != NULL && p->client->etag_form == S3_ETAG_UNKNOWN)
        p->client->etag_form = p->sent_bare ? S3_ETAG_BARE : S3_ETAG_QUOTED;
    return finish(call);
}

static bool may_come_again(const char *code)
{
    return strcmp(code, "TooLarge") != 0 && strcmp(code, "BadUrl") != 0 &&
           strcmp(code, "NoMemory") != 0;
}

static enum s3_next judge_failure(struct s3_call *call)
{
    const char *code = call->exchange->failure.code;

    s3_say_exchange(call);
    if (strcmp(code, "ConnectFailed") != 0 && strcmp(code, "ResolveFailed") != 0)
        call->private->answer_lost = true;
    if (!may_come_again(code))
        return finish(call);
    return retry(call, strcmp(code, "Timeout") == 0);
}

static bool one_of(const char *code, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(code, *list) == 0)
            return true;
    return false;
}

/* The SDKs' standard mode, and what the answer to a concurrent conditional write asks for. */
static bool retryable(const struct s3_call *call)
{
    static const char *const codes[] = {"RequestTimeout",
                                        "RequestTimeoutException",
                                        "PriorRequestNotComplete",
                                        "InternalError",
                                        "ServiceUnavailable",
                                        "Throttling",
                                        "ThrottlingException",
                                        "ThrottledException",
                                        "RequestThrottled",
                                        "RequestThrottledException",
                                        "TooManyRequestsException",
                                        "TooManyRequests",
                                        "ProvisionedThroughputExceededException",
                                        "RequestLimitExceeded",
                                        "BandwidthLimitExceeded",
                                        "LimitExceededException",
                                        "TransactionInProgressException",
                                        "EC2ThrottledException",
                                        "SlowDown",
                                        "ConditionalRequestConflict",
                                        NULL};
    int status = call->status;

    /* An error inside a 200 is the late discovery of a 500. */
    return status == 500 || status == 502 || status == 503 || status == 504 || status == 429 ||
           status == 200 || one_of(s3_code(call), codes);
}

/* --- the doubts about a conditional put ------------------------------------------------------ */

static bool doubtful(const struct s3_call *call)
{
    const struct s3_call_private *p = call->private;

    if (call->status != 412 || !s3_conditional(p) || call->verb != S3_PUT)
        return false;
    return p->answer_lost || (p->if_match != NULL && strcmp(p->if_match, "*") != 0 &&
                              !p->sent_bare && p->client->etag_form != S3_ETAG_QUOTED);
}

/* Does the object that is there carry every metadata header that we sent? */
static bool same_metadata(const struct s3_call *call)
{
    const struct s3_call_private *p = call->private;

    for (size_t i = 0; i < p->n_headers; i++) {
        const struct exchange_header *h = &p->headers[i];
        const char *there;

        if (strncasecmp(h->name, "x-amz-meta-", 11) != 0)
            continue;
        there = exchange_header(call->exchange, h->name);
        if (there == NULL || strcmp(there, h->value) != 0)
            return false;
    }
    return true;
}

/* After a 412: what is there now? Our own bytes: the attempt whose answer was lost has done it.
 * The very ETag that was asked for: the server wants it bare. Anything else: a true conflict. */
static enum s3_next judge_etag_probe(struct s3_call *call)
{
    struct s3_call_private *p = call->private;
    const char *quoted = exchange_header(call->exchange, "etag");
    const char *start = "";
    size_t n = quoted == NULL ? 0 : s3_etag_bare(quoted, &start);

    if (call->exchange->status != 200 || n == 0)
        return finish(call);
    if (p->answer_lost && n == strlen(p->body_md5) && memcmp(start, p->body_md5, n) == 0 &&
        same_metadata(call)) {
        call->failure.code = NULL;
        call->status = 200;
        call->etag = strndup(start, n);
        return succeed(call);
    }
    if (p->if_match == NULL || p->sent_bare || n != strlen(p->if_match) ||
        memcmp(start, p->if_match, n) != 0)
        return finish(call);
    p->bare_etag = true;
    call->failure.code = NULL;
    return send_corrected(call, S3_PROBE_NONE);
}

/* --- judging an answer ----------------------------------------------------------------------- */

static enum s3_next judge_error(struct s3_call *call)
{
    enum s3_correction correction = s3_correct(call);

    if (correction == S3_CORRECTED)
        return send_corrected(call, S3_PROBE_NONE);
    s3_say_answer(call);
    if (correction == S3_ASK_REGION)
        return send_corrected(call, S3_PROBE_REGION);
    if (retryable(call)) {
        call->private->answer_lost |= call->status >= 500;
        return retry(call, false);
    }
    if (doubtful(call))
        return send_corrected(call, S3_PROBE_ETAG);
    return finish(call);
}

static enum s3_next judge_region_probe(struct s3_call *call)
{
    if (!s3_adopt_region(call))
        return finish(call);
    call->failure.code = NULL;
    return send_corrected(call, S3_PROBE_NONE);
}

/* The failure of the request itself stands until the probe has dispelled it. */
static enum s3_next judge_probe(struct s3_call *call)
{
    struct s3_call_private *p = call->private;

    if (call->exchange->failure.code != NULL)
        return finish(call);
    if (call->exchange->status >= 500 && p->tries < p->client->attempts &&
        s3_client_spend(p->client, S3_RETRY_COST)) {
        call->delay = s3_client_delay(p->client, p->tries);
        p->state = S3_SEND;
        return S3_SLEEP;
    }
    if (s3_correct(call) == S3_CORRECTED)
        return send_corrected(call, p->probe);
    return p->probe == S3_PROBE_REGION ? judge_region_probe(call) : judge_etag_probe(call);
}

static enum s3_next checked(struct s3_call *call)
{
    struct s3_call_private *p = call->private;

    if (p->broken.code != NULL) {
        s3_say(call, p->broken.code, p->broken.message);
        return retry(call, false);
    }
    if (call->answer.is_error)
        return judge_error(call);
    return succeed(call);
}

static void say_too_large(struct s3_call *call)
{
    char what[80];

    snprintf(what, sizeof what, "the object is longer than %zu bytes", call->private->limit);
    s3_say(call, "TooLarge", what);
}

static enum s3_next take_answer(struct s3_call *call)
{
    const struct exchange *x = call->exchange;
    const char *etag = exchange_header(x, "etag");

    free(call->etag);
    call->etag = NULL;
    if (etag != NULL && copy_etag(&call->etag, etag) != 0) {
        fail_memory(&call->failure);
        return finish(call);
    }
    if (call->verb == S3_GET && x->body.len > call->private->limit) {
        say_too_large(call);
        return finish(call);
    }
    if (call->verb != S3_GET && !s3_answers_xml(call->verb))
        return succeed(call);
    call->heavy = x->body.len >= HEAVY;
    call->private->state = S3_CHECKED;
    return S3_WORK;
}

/* curl sends once more by itself when a kept connection was dead; it cannot know whether the server
 * had carried out the first one. */
static void count_sends(struct s3_call *call)
{
    if (call->exchange->sends < 2)
        return;
    call->attempts += call->exchange->sends - 1;
    call->private->answer_lost = true;
}

static enum s3_next judge(struct s3_call *call)
{
    const struct exchange *x = call->exchange;
    struct fail ignored;

    if (call->private->probe != S3_PROBE_NONE)
        return judge_probe(call);
    count_sends(call);
    if (x->failure.code != NULL)
        return judge_failure(call);
    call->status = x->status;
    if (x->status >= 200 && x->status < 300)
        return take_answer(call);
    if (x->body.len > 0 && s3_answer_read(&call->answer, x->body.data, x->body.len, &ignored) != 0)
        call->answer.message[0] = '\0';
    return judge_error(call);
}

enum s3_next s3_call_next(struct s3_call *call)
{
    struct s3_call_private *p = call->private;

    switch (p->state) {
    case S3_START:
        p->state = S3_SEND;
        call->heavy = p->body_len >= HEAVY;
        return S3_WORK;
    case S3_SEND:
        return send_attempt(call);
    case S3_JUDGE:
        return judge(call);
    case S3_CHECKED:
        return checked(call);
    case S3_FINISHED:
        break;
    }
    return S3_DONE;
}
