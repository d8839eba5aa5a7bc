/* s3_correct: what an answer tells about where the bucket is and what time it is, so that the same
 * request, signed anew, will do (see s3_private.h).
 */
#include "core/s3_private.h"

#include <math.h>
#include <string.h>
#include <time.h>

#define CLOCK_SKEW 240.0 /* seconds */

/* The region inside "BUCKET.s3.REGION.amazonaws.com" or "s3-REGION.amazonaws.com". */
static bool region_of_host(const char *host, char out[S3_REGION])
{
    const char *end = strstr(host, ".amazonaws.com");
    const char *start = end;
    size_t n;

    if (end == NULL)
        return false;
    while (start > host && start[-1] != '.')
        start--;
    if (strncmp(start, "s3-", 3) == 0)
        start += 3;
    n = (size_t)(end - start);
    if (n >= S3_REGION)
        return false;
    memcpy(out, start, n);
    out[n] = '\0';
    return strcmp(out, "s3") != 0;
}

/* The region the present answer names, when it is another than ours. */
static bool other_region(const struct s3_call *call, char out[S3_REGION])
{
    const char *told = exchange_header(call->exchange, "x-amz-bucket-region");

    if (told == NULL && call->answer.region[0] != '\0')
        told = call->answer.region;
    if (told == NULL && region_of_host(call->answer.endpoint, out))
        told = out;
    if (told == NULL || !s3_region_valid(told) || strcmp(told, call->private->signed_region) == 0)
        return false;
    if (told != out)
        strcpy(out, told);
    return true;
}

static bool looks_misplaced(const struct s3_call *call)
{
    const char *code = call->answer.code;

    if (call->status == 301 || call->status == 307)
        return true;
    return call->status == 400 &&
           (code[0] == '\0' || strstr(code, "Malformed") != NULL ||
            strstr(code, "Region") != NULL || call->answer.region[0] != '\0' ||
            strcmp(code, "IllegalLocationConstraintException") == 0);
}

/* A clock that is off: the server's Date says by how much. Once, and only by as much as matters:
 * S3 refuses from 15 minutes on, but the answer to a HEAD does not say why it is a 403. */
static bool correct_clock(struct s3_call *call)
{
    struct s3_call_private *p = call->private;
    const char *date = exchange_header(call->exchange, "date");
    const char *code = call->answer.code;
    time_t server = date == NULL ? -1 : curl_getdate(date, NULL);
    double offset = (double)server - (double)time(NULL);

    if (p->corrected_clock || call->exchange->status != 403 || server == -1 ||
        (code[0] != '\0' && strcmp(code, "RequestTimeTooSkewed") != 0 &&
         strcmp(code, "RequestExpired") != 0) ||
        fabs(offset - p->signed_offset) < CLOCK_SKEW)
        return false;
    p->corrected_clock = true;
    p->client->clock_offset = offset;
    return true;
}

bool s3_adopt_region(struct s3_call *call)
{
    char region[S3_REGION];

    call->private->corrected_region = true;
    if (!other_region(call, region))
        return false;
    strcpy(call->private->client->region, region);
    return true;
}

enum s3_correction s3_correct(struct s3_call *call)
{
    struct s3_call_private *p = call->private;

    if (correct_clock(call))
        return S3_CORRECTED;
    if (p->probe != S3_PROBE_NONE || p->corrected_region || !looks_misplaced(call))
        return S3_STANDS;
    if (s3_adopt_region(call))
        return S3_CORRECTED;
    /* A HEAD's answer has no body, and an object's may lack the header: ask about the bucket. */
    return call->verb == S3_HEAD ? S3_ASK_REGION : S3_STANDS;
}
