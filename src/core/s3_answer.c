/* s3_answer: see s3_answer.h. */
#include "core/s3_answer.h"

#include "core/buf.h"
#include "core/uri.h"
#include "core/xml.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct reading {
    struct s3_answer *a;
    struct s3_entry entry; /* the one being read */
    bool url_encoded;
    size_t entries_cap;
    size_t prefixes_cap;
};

size_t s3_etag_bare(const char *etag, const char **start)
{
    size_t n = strlen(etag);
    bool quoted = n >= 2 && etag[0] == '"' && etag[n - 1] == '"';

    *start = etag + quoted;
    return quoted ? n - 2 : n;
}

void s3_printable(char *out, size_t size, const char *text)
{
    size_t i;

    for (i = 0; i + 1 < size && text[i] != '\0'; i++)
        out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    out[i] = '\0';
}

/* Replace *slot by a copy. */
static int set(char **slot, const char *text, size_t n)
{
    char *copy = malloc(n + 1);

    free(*slot);
    *slot = copy;
    if (copy == NULL)
        return -1;
    memcpy(copy, text, n);
    copy[n] = '\0';
    return 0;
}

static int set_etag(char **slot, const char *text)
{
    const char *start;
    size_t n = s3_etag_bare(text, &start);

    return set(slot, start, n);
}

/* Seconds since 1970 of "2026-11-22T06:14:19.444Z"; 0 when it is nothing like that. */
static int64_t seconds_of(const char *text)
{
    struct tm tm = {0};

    if (strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
        return 0;
    return (int64_t)timegm(&tm);
}

static int grow(void **list, size_t *cap, size_t n, size_t size)
{
    size_t more = *cap == 0 ? 64 : *cap * 2;
    void *longer;

    if (n < *cap)
        return 0;
    if (n >= S3_ENTRIES)
        return -1;
    longer = realloc(*list, more * size);
    if (longer == NULL)
        return -1;
    *list = longer;
    *cap = more;
    return 0;
}

static void free_entry(struct s3_entry *e)
{
    free(e->key);
    free(e->etag);
    *e = (struct s3_entry){NULL, NULL, 0, 0};
}

/* Give a missing text of an entry the empty one. */
static int complete(char **slot)
{
    return *slot == NULL ? set(slot, "", 0) : 0;
}

static int take_entry(struct reading *r)
{
    struct s3_answer *a = r->a;

    if (grow((void **)&a->entries, &r->entries_cap, a->n_entries, sizeof *a->entries) != 0 ||
        complete(&r->entry.key) != 0 || complete(&r->entry.etag) != 0)
        return -1;
    a->entries[a->n_entries++] = r->entry;
    r->entry = (struct s3_entry){NULL, NULL, 0, 0};
    return 0;
}

static int take_prefix(struct reading *r, const char *text, size_t n)
{
    struct s3_answer *a = r->a;

    if (grow((void **)&a->prefixes, &r->prefixes_cap, a->n_prefixes, sizeof *a->prefixes) != 0)
        return -1;
    a->prefixes[a->n_prefixes] = strndup(text, n);
    return a->prefixes[a->n_prefixes] == NULL ? -1 : (a->n_prefixes++, 0);
}

static int64_t whole_number(const char *text)
{
    char *end;
    long long value = strtoll(text, &end, 10);

    return end == text || *end != '\0' || value < 0 ? 0 : value;
}

static int in_contents(struct reading *r, const char *name, char *text, size_t n)
{
    if (strcmp(name, "Key") == 0)
        return set(&r->entry.key, text, n);
    if (strcmp(name, "ETag") == 0)
        return set_etag(&r->entry.etag, text);
    if (strcmp(name, "LastModified") == 0)
        r->entry.last_modified = seconds_of(text);
    else if (strcmp(name, "Size") == 0)
        r->entry.size = whole_number(text);
    return 0;
}

static int in_list(struct reading *r, const char *name, char *text, size_t n)
{
    if (strncmp(name, "Contents/", 9) == 0)
        return in_contents(r, name + 9, text, n);
    if (strcmp(name, "Contents") == 0)
        return take_entry(r);
    if (strcmp(name, "CommonPrefixes/Prefix") == 0)
        return take_prefix(r, text, n);
    if (strcmp(name, "IsTruncated") == 0)
        r->a->truncated = strcmp(text, "true") == 0;
    else if (strcmp(name, "NextContinuationToken") == 0)
        return set(&r->a->next_token, text, n);
    else if (strcmp(name, "EncodingType") == 0)
        r->url_encoded = strcmp(text, "url") == 0;
    return 0;
}

static void in_error(struct s3_answer *a, const char *name, const char *text)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.";

    a->is_error = true;
    if (strcmp(name, "Code") == 0 && strlen(text) < sizeof a->code &&
        text[strspn(text, word)] == '\0')
        strcpy(a->code, text);
    else if (strcmp(name, "Message") == 0)
        s3_printable(a->message, sizeof a->message, text);
    else if (strcmp(name, "Region") == 0)
        s3_printable(a->region, sizeof a->region, text);
    else if (strcmp(name, "Endpoint") == 0)
        s3_printable(a->endpoint, sizeof a->endpoint, text);
}

static int element(void *ctx, const char *path, char *text, size_t n)
{
    struct reading *r = ctx;
    const char *name = strchr(path, '/');

    if (strncmp(path, "Error/", 6) == 0 || strcmp(path, "Error") == 0)
        in_error(r->a, name == NULL ? "" : name + 1, text);
    else if (strncmp(path, "ErrorResponse/Error/", 20) == 0)
        in_error(r->a, path + 20, text);
    else if (name == NULL)
        return 0;
    else if (strncmp(path, "ListBucketResult/", 17) == 0)
        return in_list(r, name + 1, text, n);
    else if (strcmp(name, "/UploadId") == 0)
        return set(&r->a->upload_id, text, n);
    else if (strcmp(name, "/ETag") == 0)
        return set_etag(&r->a->etag, text);
    return 0;
}

/* Undo encoding-type=url, form style: '+' is a space, as AWS's SDKs read it. */
static int decode(char **text)
{
    size_t n = strlen(*text);
    struct buf out;
    int rc;

    if (memchr(*text, '%', n) == NULL && memchr(*text, '+', n) == NULL)
        return 0;
    buf_init(&out, n + 1);
    rc = uri_decode(&out, *text, n, true);
    if (rc == 0)
        rc = set(text, out.data, out.len);
    buf_fini(&out);
    return rc;
}

static int decode_all(struct s3_answer *a)
{
    for (size_t i = 0; i < a->n_entries; i++)
        if (decode(&a->entries[i].key) != 0)
            return -1;
    for (size_t i = 0; i < a->n_prefixes; i++)
        if (decode(&a->prefixes[i]) != 0)
            return -1;
    return 0;
}

int s3_answer_read(struct s3_answer *a, const char *data, size_t n, struct fail *fail)
{
    struct reading r = {.a = a};
    int rc = xml_read(data, n, element, &r, fail);

    free_entry(&r.entry);
    if (rc == 0 && r.url_encoded && decode_all(a) != 0)
        rc = fail_memory(fail);
    return rc;
}

void s3_answer_fini(struct s3_answer *a)
{
    for (size_t i = 0; i < a->n_entries; i++)
        free_entry(&a->entries[i]);
    for (size_t i = 0; i < a->n_prefixes; i++)
        free(a->prefixes[i]);
    free(a->entries);
    free(a->prefixes);
    free(a->next_token);
    free(a->upload_id);
    free(a->etag);
    memset(a, 0, sizeof *a);
}
