/* s3_call: one S3 request from the first attempt to the answer that counts, without any waiting.
 *
 * A state machine: s3_call_next says what is to be done next (carry out call->exchange, sleep
 * call->delay seconds, run s3_call_work somewhere), and is called again afterwards. In it live: the
 * signature, retries with jittered back-off and quota, a wrong region (corrected once, remembered by
 * the client), a clock that is off (once), a 200 that carries an error, the verification of what
 * was got, and the two doubts about a conditional put: whether the server wants the ETag bare,
 * and whether a "precondition failed" after a lost answer is only our own first attempt.
 */
#ifndef CORE_S3_CALL_H
#define CORE_S3_CALL_H

#include "core/digest.h"
#include "core/exchange.h"
#include "core/s3_answer.h"
#include "core/s3_client.h"

enum s3_verb {
    S3_GET,
    S3_HEAD,
    S3_PUT,
    S3_DELETE,
    S3_LIST,
    S3_CREATE_UPLOAD,
    S3_PUT_PART,
    S3_COMPLETE_UPLOAD,
    S3_ABORT_UPLOAD
};

/* What is asked. Everything is copied, but `body` when it is lent. */
struct s3_ask {
    enum s3_verb verb;
    const char *key;                       /* NULL or "" for a listing */
    const struct exchange_header *headers; /* content-type, range, x-amz-meta-...; all are signed */
    size_t n_headers;
    const struct exchange_header *query; /* raw names and values */
    size_t n_query;
    const char *if_match;      /* an ETag, quoted or not; NULL */
    const char *if_none_match; /* "*" or an ETag; NULL */
    const void *body;
    size_t body_len;
    size_t limit; /* most bytes of a got object; 0 means 1 GiB */
    const char *access_key_id;
    const char *secret_access_key;
    const char *session_token; /* NULL */
};

enum s3_next { S3_DONE, S3_EXCHANGE, S3_SLEEP, S3_WORK };

struct s3_call {
    enum s3_verb verb;
    struct exchange *exchange; /* to be carried out; when done, the answer that counts */
    double delay;              /* to sleep */
    bool heavy;                /* the work is worth another thread */

    /* When done: failure.code is NULL, or S3's own code, or one of core/exchange.h, or
     * "BadDigest", "BadAnswer", "NotModified". The code lives as long as the call. */
    struct fail failure;
    int status;        /* HTTP's, 0 without an answer */
    unsigned attempts; /* how often the request itself went out */
    char *etag;        /* without quotes; NULL when unknown */
    struct s3_answer answer;

    struct s3_call_private *private;
};

/* A call that has not begun; NULL with `fail` set ("NoMemory", "BadRequest"). Takes a reference
 * to the client. */
struct s3_call *s3_call_new(struct s3_client *client, const struct s3_ask *ask, struct fail *fail);
void s3_call_free(struct s3_call *call);

/* What next? Not to be called again after S3_DONE. */
enum s3_next s3_call_next(struct s3_call *call);

/* The work asked for by S3_WORK: hash what is sent, verify or read what came. May run on another
 * thread; touches the call alone. */
void s3_call_work(struct s3_call *call);

#endif
