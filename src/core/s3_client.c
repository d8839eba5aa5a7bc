/* s3_client: see s3_client.h. */
#include "core/s3_client.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define TOKENS 500
#define LONGEST_DELAY 20.0

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool s3_region_valid(const char *region)
{
    size_t n = strlen(region);

    if (n == 0 || n >= S3_REGION || region[0] == '-' || region[n - 1] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!lower_or_digit(region[i]) && region[i] != '-')
            return false;
    return true;
}

/* Amazon's rule, and the wider one of the time before it: letters, digits, '.', '-', '_'. */
static bool bucket_valid(const char *bucket)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789.-_";
    size_t n = strlen(bucket);

    return n >= 1 && n <= 255 && strspn(bucket, allowed) == n && bucket[0] != '.';
}

/* Can the name stand as one label (or several) of a host name? */
static bool bucket_is_host(const char *bucket, bool dots)
{
    for (const char *c = bucket; *c != '\0'; c++)
        if (!lower_or_digit(*c) && *c != '-' && !(dots && *c == '.'))
            return false;
    return strlen(bucket) >= 3 && strlen(bucket) <= 63;
}

/* Take "http[s]://HOST[:PORT][/BASE]" apart. */
static int set_endpoint(struct s3_client *client, const char *url, struct fail *fail)
{
    const char *host = strstr(url, "://");
    const char *port = NULL;
    size_t n;
    size_t base;

    client->https = strncasecmp(url, "https://", 8) == 0;
    if (host == NULL || (!client->https && strncasecmp(url, "http://", 7) != 0))
        return fail_set(fail, "BadEndpoint", "the S3 endpoint must begin with http:// or https://");
    host += 3;
    n = strcspn(host, "/?#");
    base = strcspn(host + n, "?#");
    if (n == 0 || host[n + base] != '\0' || memchr(host, '@', n) != NULL ||
        strpbrk(host, " \t\r\n\\") != NULL)
        return fail_set(fail, "BadEndpoint",
                        "the S3 endpoint must be http[s]://HOST[:PORT][/PATH] and nothing more");
    while (base > 0 && host[n + base - 1] == '/')
        base--;
    client->base = strndup(host + n, base);
    port = client->https ? ":443" : ":80";
    if (n > strlen(port) && strncmp(host + n - strlen(port), port, strlen(port)) == 0)
        n -= strlen(port);
    client->endpoint_host = strndup(host, n);
    return client->base == NULL || client->endpoint_host == NULL ? fail_memory(fail) : 0;
}

static bool choose_virtual(const struct s3_client *client, enum s3_style style)
{
    if (style != S3_STYLE_AUTO)
        return style == S3_STYLE_VIRTUAL;
    /* A certificate's wildcard covers one label, so a name with dots cannot go into the host. */
    return client->endpoint_host == NULL && bucket_is_host(client->bucket, !client->https);
}

static void seed(struct s3_client *client)
{
    if (getrandom(&client->random, sizeof client->random, GRND_NONBLOCK) != sizeof client->random)
        client->random = (uintptr_t)client;
    client->random |= 1;
}

static int set_place(struct s3_client *client, const struct s3_options *o, struct fail *fail)
{
    const char *region = o->region == NULL ? "us-east-1" : o->region;

    if (o->bucket == NULL || !bucket_valid(o->bucket))
        return fail_set(fail, "BadBucket",
                        "a bucket's name is 3 to 63 of a-z, 0-9, '-' and '.', not \"%.80s\"",
                        o->bucket == NULL ? "" : o->bucket);
    if (!s3_region_valid(region))
        return fail_set(fail, "BadRegion", "\"%.80s\" is not a region like eu-central-1", region);
    strcpy(client->region, region);
    client->https = true;
    if (o->endpoint != NULL && set_endpoint(client, o->endpoint, fail) != 0)
        return -1;
    client->bucket = strdup(o->bucket);
    if (client->base == NULL)
        client->base = strdup("");
    client->ca_file = o->ca_file == NULL ? NULL : strdup(o->ca_file);
    if (client->bucket == NULL || client->base == NULL ||
        (o->ca_file != NULL && client->ca_file == NULL))
        return fail_memory(fail);
    client->virtual_host = choose_virtual(client, o->style);
    return 0;
}

struct s3_client *s3_client_new(const struct s3_options *o, struct fail *fail)
{
    struct s3_client *client = calloc(1, sizeof *client);

    if (client == NULL) {
        fail_memory(fail);
        return NULL;
    }
    atomic_init(&client->refs, 1);
    if (set_place(client, o, fail) != 0) {
        s3_client_unref(client);
        return NULL;
    }
    client->checksum = o->checksum < 0 ? client->endpoint_host == NULL : o->checksum != 0;
    client->attempts = o->attempts == 0 ? 3 : o->attempts;
    client->backoff = o->backoff > 0 ? o->backoff : 1;
    client->connect_seconds = o->connect_seconds;
    client->stall_seconds = o->stall_seconds;
    client->total_seconds = o->total_seconds;
    client->etag_form = client->endpoint_host == NULL ? S3_ETAG_QUOTED : S3_ETAG_UNKNOWN;
    client->tokens = TOKENS;
    seed(client);
    return client;
}

struct s3_client *s3_client_ref(struct s3_client *client)
{
    atomic_fetch_add_explicit(&client->refs, 1, memory_order_relaxed);
    return client;
}

void s3_client_unref(struct s3_client *client)
{
    if (client == NULL || atomic_fetch_sub_explicit(&client->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(client->bucket);
    free(client->endpoint_host);
    free(client->base);
    free(client->ca_file);
    free(client);
}

static const char *suffix(const char *region)
{
    static const struct {
        const char *prefix, *suffix;
    } partitions[] = {
        {"cn-", "amazonaws.com.cn"},
        {"us-isob-", "sc2s.sgov.gov"},
        {"us-iso-", "c2s.ic.gov"},
        {"eusc-", "amazonaws.eu"},
    };

    for (size_t i = 0; i < sizeof partitions / sizeof *partitions; i++)
        if (strncmp(region, partitions[i].prefix, strlen(partitions[i].prefix)) == 0)
            return partitions[i].suffix;
    return "amazonaws.com";
}

int s3_client_host(const struct s3_client *client, struct buf *out)
{
    if (client->virtual_host && (buf_adds(out, client->bucket) != 0 || buf_addc(out, '.') != 0))
        return -1;
    if (client->endpoint_host != NULL)
        return buf_adds(out, client->endpoint_host);
    return buf_addf(out, "s3.%s.%s", client->region, suffix(client->region));
}

int s3_client_path(const struct s3_client *client, struct buf *out)
{
    if (buf_adds(out, client->base) != 0)
        return -1;
    if (client->virtual_host)
        return 0;
    return buf_addc(out, '/') != 0 ? -1 : buf_adds(out, client->bucket);
}

const char *s3_client_partition(const struct s3_client *client)
{
    if (strncmp(client->region, "cn-", 3) == 0)
        return "aws-cn";
    return strncmp(client->region, "us-gov-", 7) == 0 ? "aws-us-gov" : "aws";
}

bool s3_client_spend(struct s3_client *client, int cost)
{
    if (client->tokens < cost)
        return false;
    client->tokens -= cost;
    return true;
}

void s3_client_earn(struct s3_client *client, int tokens)
{
    client->tokens += tokens;
    if (client->tokens > TOKENS)
        client->tokens = TOKENS;
}

/* A number in [0, 1): xorshift64*. */
static double random_part(struct s3_client *client)
{
    uint64_t x = client->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    client->random = x;
    return (double)((x * 2685821657736338717u) >> 11) * 0x1p-53;
}

double s3_client_delay(struct s3_client *client, unsigned n)
{
    double longest = client->backoff;

    while (n-- > 1 && longest < LONGEST_DELAY)
        longest *= 2;
    return random_part(client) * (longest < LONGEST_DELAY ? longest : LONGEST_DELAY);
}
