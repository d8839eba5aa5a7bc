/* s3_private: the inside of an s3_call, shared by s3_call.c (the course of a call), s3_send.c (one
 * attempt), s3_work.c (hashing and reading), s3_correct.c (region and clock) and s3_say.c (what went
 * wrong, in words).
 */
#ifndef CORE_S3_PRIVATE_H
#define CORE_S3_PRIVATE_H

#include "core/s3_call.h"

enum s3_state { S3_START, S3_SEND, S3_JUDGE, S3_CHECKED, S3_FINISHED };

/* A side question put to the server in the middle of a call. */
enum s3_probe { S3_PROBE_NONE, S3_PROBE_ETAG, S3_PROBE_REGION };

struct s3_call_private {
    struct s3_client *client;
    enum s3_state state;
    enum s3_probe probe;

    char *key;
    struct exchange_header *headers;
    size_t n_headers;
    char *query;                    /* encoded; NULL when empty */
    char *if_match, *if_none_match; /* bare */
    void *body;
    size_t body_len;
    size_t limit;
    char *access_key_id, *secret_access_key, *session_token;

    char payload_hash[DIGEST_SHA256_HEX];
    char body_md5[DIGEST_MD5_HEX]; /* of a conditional put; else "" */
    char checksum[DIGEST_BASE64(DIGEST_SHA256)];

    /* What the last attempt was made with. Calls run side by side: the client may know better by
     * the time the answer comes. */
    char signed_region[S3_REGION];
    double signed_offset;
    bool sent_bare;
    unsigned tries;        /* of the present question: reset by a probe */
    int spent;             /* what the last retry cost */
    bool corrected_region; /* once */
    bool corrected_clock;  /* once */
    bool bare_etag;        /* send If-Match bare this time */
    bool answer_lost;      /* an earlier attempt may have been carried out unseen */
    struct fail broken;    /* what the work found wrong with a good answer */
    char code[64];         /* where failure.code may point */
};

/* Make call->exchange for the next attempt (or probe). 0 or -1 with call->failure set. */
int s3_send(struct s3_call *call);

/* Has the request an If-Match or If-None-Match? Is a good answer to it a document? */
bool s3_conditional(const struct s3_call_private *p);
bool s3_answers_xml(enum s3_verb verb);

/* Does a refusal come from a wrong region or a wrong clock? Each is corrected once, in the client. */
enum s3_correction { S3_STANDS, S3_CORRECTED, S3_ASK_REGION };
enum s3_correction s3_correct(struct s3_call *call);

/* Take the region that the present answer names; false when it names none but ours. */
bool s3_adopt_region(struct s3_call *call);

/* The code of the present answer: S3's own, or one made from the status. */
const char *s3_code(const struct s3_call *call);

/* Fill call->failure: from the present answer, from the exchange's failure, or as given. */
void s3_say_answer(struct s3_call *call);
void s3_say_exchange(struct s3_call *call);
void s3_say(struct s3_call *call, const char *code, const char *what);

#endif
