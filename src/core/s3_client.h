/* s3_client: what the calls to one bucket share: where it is, and what was learnt about it.
 *
 * The place (scheme, host, addressing, region), the difference between the server's clock and
 * ours, the form of ETag the server wants in If-Match, and the retry quota. Used on one thread at
 * a time, except for the reference count. Credentials are not kept here.
 */
#ifndef CORE_S3_CLIENT_H
#define CORE_S3_CLIENT_H

#include "core/buf.h"
#include "core/fail.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define S3_REGION 64

enum s3_style { S3_STYLE_AUTO, S3_STYLE_PATH, S3_STYLE_VIRTUAL };

/* AWS documents the quoted form; radosgw 16 knows only the bare one. */
enum s3_etag_form { S3_ETAG_UNKNOWN, S3_ETAG_QUOTED, S3_ETAG_BARE };

/* All texts are copied. */
struct s3_options {
    const char *bucket;
    const char *region;   /* NULL: us-east-1 is asked first and names the right one */
    const char *endpoint; /* "http[s]://HOST[:PORT][/BASE]"; NULL: AWS, by region */
    const char *ca_file;  /* NULL: the system's certificates */
    enum s3_style style;  /* automatic: path style for a custom endpoint or a name with dots */
    unsigned attempts;    /* of one call, the first included; 0 means 3 */
    double backoff;       /* longest first delay in seconds; 0 means 1 */
    double connect_seconds, stall_seconds, total_seconds; /* see core/exchange.h */
    int checksum; /* send and check SHA-256 checksums: 1 yes, 0 no, -1 on AWS only */
};

struct s3_client {
    atomic_int refs;
    char *bucket;
    char region[S3_REGION];
    char *endpoint_host; /* with the port when it is not the scheme's; NULL on AWS */
    char *base;          /* path before the bucket: "" or "/..." */
    char *ca_file;
    bool https;
    bool virtual_host;
    bool checksum;
    unsigned attempts;
    double backoff;
    double connect_seconds, stall_seconds, total_seconds;
    double clock_offset; /* server's clock less ours, seconds */
    enum s3_etag_form etag_form;
    int tokens; /* of the retry quota */
    uint64_t random;
    uint64_t n_requests, n_retries; /* since the client was made */
};

/* NULL with `fail` set: "BadBucket", "BadRegion", "BadEndpoint", "NoMemory". One reference. */
struct s3_client *s3_client_new(const struct s3_options *options, struct fail *fail);
struct s3_client *s3_client_ref(struct s3_client *client);
void s3_client_unref(struct s3_client *client);

/* Letters, digits and '-' only, at most S3_REGION - 1: fit for a host name. */
bool s3_region_valid(const char *region);

/* Append the Host header, and the path up to and including the bucket: "" or "/bucket". 0 or -1. */
int s3_client_host(const struct s3_client *client, struct buf *out);
int s3_client_path(const struct s3_client *client, struct buf *out);

/* "aws", "aws-cn" or "aws-us-gov", for resource names. */
const char *s3_client_partition(const struct s3_client *client);

/* The SDKs' retry quota ("standard" mode): 500 tokens, a retry costs 5, after a timeout 10; what
 * the last retry cost comes back with its success, 1 with a plain success. */
#define S3_RETRY_COST 5
#define S3_RETRY_COST_TIMEOUT 10
bool s3_client_spend(struct s3_client *client, int cost);
void s3_client_earn(struct s3_client *client, int tokens);

/* Seconds to wait before attempt n + 1 (n >= 1): a random part of min(backoff * 2^(n-1), 20). */
double s3_client_delay(struct s3_client *client, unsigned n);

#endif
