/* sigv4: see sigv4.h. */
#include "core/sigv4.h"

#include "core/uri.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MOST_BYTES (1u << 20)

/* A header on its way into the canonical request, or a part of the query: sorted by name, and
 * where names are equal by `value` (query) or by place (headers). */
struct item {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
    size_t place;
};

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int by_name_and_place(const void *one, const void *two)
{
    const struct item *a = one;
    const struct item *b = two;
    int order = strcasecmp(a->name, b->name);

    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

static int by_name_and_value(const void *one, const void *two)
{
    const struct item *a = one;
    const struct item *b = two;
    int order = compare_bytes(a->name, a->name_len, b->name, b->name_len);

    return order != 0 ? order : compare_bytes(a->value, a->value_len, b->value, b->value_len);
}

static bool is_signed(const char *name)
{
    static const char *const left_out[] = {"authorization",     "connection", "expect",
                                           "transfer-encoding", "user-agent", "x-amzn-trace-id"};

    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (strcasecmp(name, left_out[i]) == 0)
            return false;
    return true;
}

/* Drop the last segment of `out`, which never loses the '/' at `start`. */
static void drop_segment(struct buf *out, size_t start)
{
    if (out->len > start + 1)
        out->len--;
    while (out->len > start + 1 && out->data[out->len - 1] != '/')
        out->len--;
}

/* The other services' path: RFC 3986 dot segments and empty segments removed, and every byte
 * encoded, the percent signs too. */
static int add_normal_path(struct buf *out, const char *path)
{
    size_t start = out->len;

    if (buf_addc(out, '/') != 0)
        return -1;
    while (*path != '\0') {
        size_t n = strcspn(path, "/");
        bool last = path[n] == '\0';

        if (n == 2 && memcmp(path, "..", 2) == 0)
            drop_segment(out, start);
        else if (n > 0 && !(n == 1 && path[0] == '.') &&
                 (uri_encode(out, path, n, false) != 0 || (!last && buf_addc(out, '/') != 0)))
            return -1;
        path += last ? n : n + 1;
    }
    return 0;
}

static int add_path(struct buf *out, const struct sigv4_input *in)
{
    if (in->normalize)
        return add_normal_path(out, in->path);
    return uri_canonical(out, in->path[0] == '\0' ? "/" : in->path,
                         in->path[0] == '\0' ? 1 : strlen(in->path), true);
}

/* Append "name=value" in canonical spelling and note where the halves lie; they are offsets until
 * all parts are in, because the buffer moves. */
static int add_pair(struct buf *out, const char *text, size_t n, struct item *item)
{
    const char *equals = memchr(text, '=', n);
    size_t name = equals == NULL ? n : (size_t)(equals - text);
    size_t start = out->len;

    if (uri_canonical(out, text, name, false) != 0)
        return -1;
    item->name_len = out->len - start;
    item->place = start;
    if (equals != NULL && uri_canonical(out, equals + 1, n - name - 1, false) != 0)
        return -1;
    item->value_len = out->len - start - item->name_len;
    return 0;
}

static size_t count_pairs(const char *query)
{
    size_t n = 1;

    for (; *query != '\0'; query++)
        n += *query == '&';
    return n;
}

static int spell_pairs(struct buf *spelled, const char *query, struct item *items, size_t *n)
{
    *n = 0;
    if (buf_reserve(spelled, 1) != 0) /* so that even an empty name lies somewhere */
        return -1;
    while (*query != '\0') {
        size_t len = strcspn(query, "&");

        if (len > 0 && add_pair(spelled, query, len, &items[(*n)++]) != 0)
            return -1;
        query += query[len] == '&' ? len + 1 : len;
    }
    for (size_t i = 0; i < *n; i++) {
        items[i].name = spelled->data + items[i].place;
        items[i].value = items[i].name + items[i].name_len;
    }
    return 0;
}

static int add_query(struct buf *out, const char *query)
{
    struct buf spelled;
    struct item *items;
    size_t n = 0;
    int rc;

    if (query == NULL || *query == '\0')
        return 0;
    items = malloc(count_pairs(query) * sizeof *items);
    if (items == NULL)
        return -1;
    buf_init(&spelled, MOST_BYTES);
    rc = spell_pairs(&spelled, query, items, &n);
    if (rc == 0 && n > 1)
        qsort(items, n, sizeof *items, by_name_and_value);
    for (size_t i = 0; i < n && rc == 0; i++)
        if ((i > 0 && buf_addc(out, '&') != 0) ||
            buf_add(out, items[i].name, items[i].name_len) != 0 || buf_addc(out, '=') != 0 ||
            buf_add(out, items[i].value, items[i].value_len) != 0)
            rc = -1;
    buf_fini(&spelled);
    free(items);
    return rc;
}

static int add_lower(struct buf *out, const char *name)
{
    for (; *name != '\0'; name++)
        if (buf_addc(out, *name >= 'A' && *name <= 'Z' ? (char)(*name | 32) : *name) != 0)
            return -1;
    return 0;
}

/* The value without blanks around it, and with one space for each run inside. */
static int add_folded(struct buf *out, const char *value)
{
    static const char blanks[] = " \t\r\n\v\f";
    size_t n;

    value += strspn(value, blanks);
    while ((n = strcspn(value, blanks)) > 0) {
        if (buf_add(out, value, n) != 0)
            return -1;
        value += n;
        value += strspn(value, blanks);
        if (*value != '\0' && buf_addc(out, ' ') != 0)
            return -1;
    }
    return 0;
}

static size_t sort_headers(const struct sigv4_input *in, struct item items[HEADERS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < in->n_headers; i++)
        if (is_signed(in->headers[i].name)) {
            items[n].name = in->headers[i].name;
            items[n].value = in->headers[i].value;
            items[n].place = i;
            n++;
        }
    if (n > 1)
        qsort(items, n, sizeof *items, by_name_and_place);
    return n;
}

static bool repeats(const struct item *items, size_t i)
{
    return i > 0 && strcasecmp(items[i].name, items[i - 1].name) == 0;
}

static int add_headers(struct buf *out, const struct item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (repeats(items, i)) {
            if (buf_addc(out, ',') != 0)
                return -1;
        } else if ((i > 0 && buf_addc(out, '\n') != 0) || add_lower(out, items[i].name) != 0 ||
                   buf_addc(out, ':') != 0) {
            return -1;
        }
        if (add_folded(out, items[i].value) != 0)
            return -1;
    }
    return n == 0 ? 0 : buf_addc(out, '\n');
}

static int add_signed_names(struct buf *out, const struct item *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!repeats(items, i) &&
            ((i > 0 && buf_addc(out, ';') != 0) || add_lower(out, items[i].name) != 0))
            return -1;
    return 0;
}

static int build_request(const struct sigv4_input *in, const struct item *items, size_t n,
                         struct buf *out)
{
    if (buf_adds(out, in->method) != 0 || buf_addc(out, '\n') != 0 || add_path(out, in) != 0 ||
        buf_addc(out, '\n') != 0 || add_query(out, in->query) != 0 || buf_addc(out, '\n') != 0 ||
        add_headers(out, items, n) != 0 || buf_addc(out, '\n') != 0 ||
        add_signed_names(out, items, n) != 0 || buf_addc(out, '\n') != 0)
        return -1;
    return buf_adds(out, in->payload_hash);
}

static int build_string(const struct sigv4_input *in, struct sigv4 *out)
{
    char hash[DIGEST_SHA256_HEX];

    if (digest_sha256_hex(out->canonical_request.data, out->canonical_request.len, hash) != 0)
        return -1;
    return buf_addf(&out->string_to_sign, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s",
                    in->date, in->date, in->region, in->service, hash);
}

/* The chain of keys: secret, day, region, service, "aws4_request", and then the text itself. */
static int compute(const struct sigv4_input *in, struct sigv4 *out)
{
    uint8_t key[DIGEST_SHA256];
    struct buf first;
    int rc = -1;

    buf_init(&first, MOST_BYTES);
    if (buf_adds(&first, "AWS4") == 0 && buf_adds(&first, in->secret_access_key) == 0 &&
        digest_hmac_sha256(first.data, first.len, in->date, 8, key) == 0 &&
        digest_hmac_sha256(key, sizeof key, in->region, strlen(in->region), key) == 0 &&
        digest_hmac_sha256(key, sizeof key, in->service, strlen(in->service), key) == 0 &&
        digest_hmac_sha256(key, sizeof key, "aws4_request", 12, key) == 0 &&
        digest_hmac_sha256(key, sizeof key, out->string_to_sign.data, out->string_to_sign.len,
                           key) == 0)
        rc = 0;
    if (rc == 0)
        digest_hex(key, sizeof key, out->signature);
    explicit_bzero(key, sizeof key);
    if (first.data != NULL)
        explicit_bzero(first.data, first.len);
    buf_fini(&first);
    return rc;
}

static int authorize(const struct sigv4_input *in, const struct item *items, size_t n,
                     struct sigv4 *out)
{
    struct buf *a = &out->authorization;

    if (buf_addf(a, "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=",
                 in->access_key_id, in->date, in->region, in->service) != 0 ||
        add_signed_names(a, items, n) != 0 || buf_addf(a, ", Signature=%s", out->signature) != 0 ||
        buf_addc(a, '\0') != 0)
        return -1;
    a->len--;
    return 0;
}

static bool is_date(const char *date)
{
    static const char form[] = "ddddddddTddddddZ";

    for (size_t i = 0; i < SIGV4_DATE; i++) {
        if (form[i] == 'd' ? date[i] < '0' || date[i] > '9' : date[i] != form[i])
            return false;
    }
    return true;
}

int sigv4_sign(const struct sigv4_input *in, struct sigv4 *out, struct fail *fail)
{
    struct item items[HEADERS_MAX];
    size_t n;

    buf_init(&out->canonical_request, MOST_BYTES);
    buf_init(&out->string_to_sign, MOST_BYTES);
    buf_init(&out->authorization, MOST_BYTES);
    out->signature[0] = '\0';
    if (!is_date(in->date))
        return fail_set(fail, "BadDate", "the date to sign with is not like 20150830T123600Z");
    if (in->n_headers > HEADERS_MAX)
        return fail_set(fail, "TooLarge", "more than %d headers to sign", HEADERS_MAX);
    n = sort_headers(in, items);
    if (build_request(in, items, n, &out->canonical_request) != 0)
        return fail_set(fail, "TooLarge",
                        "the request to sign passes %u bytes (or memory is short)", MOST_BYTES);
    if (build_string(in, out) != 0 || compute(in, out) != 0 || authorize(in, items, n, out) != 0)
        return fail_memory(fail);
    return 0;
}

void sigv4_fini(struct sigv4 *s)
{
    buf_fini(&s->canonical_request);
    buf_fini(&s->string_to_sign);
    buf_fini(&s->authorization);
}

void sigv4_date(double seconds, char out[SIGV4_DATE])
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL || strftime(out, SIGV4_DATE, "%Y%m%dT%H%M%SZ", &tm) == 0)
        strcpy(out, "19700101T000000Z");
}
