/* exchange: see exchange.h. */
#include "core/exchange.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_LIMIT (64u << 20)

struct exchange_private {
    struct headers headers;
    struct curl_slist *sent;
    void *body; /* the copy of the request's body, unless it was lent */
    char *host; /* for messages: no user, no path, no query */
    double connect_seconds, stall_seconds, total_seconds;
    bool headers_too_large;
    bool body_too_large;
    bool no_memory;
    char detail[CURL_ERROR_SIZE];
};

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t take_header(char *data, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;

    (void)size;
    if (headers_line(&x->private->headers, data, n) == 0)
        return n;
    x->private->headers_too_large = true;
    return 0;
}

static size_t take_body(char *data, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;

    (void)size;
    if (buf_full(&x->body, n))
        x->private->body_too_large = true;
    else if (buf_add(&x->body, data, n) == 0)
        return n;
    else
        x->private->no_memory = true;
    return 0;
}

static int count_send(void *ctx, char *to, char *from, int to_port, int from_port)
{
    struct exchange *x = ctx;

    (void)to;
    (void)from;
    (void)to_port;
    (void)from_port;
    x->sends++;
    return CURL_PREREQFUNC_OK;
}

/* The host and port of a URL, without anything that could be secret. */
static char *host_of(const char *url)
{
    const char *host = strstr(url, "://");
    const char *at;
    size_t n;

    host = host == NULL ? url : host + 3;
    n = strcspn(host, "/?#");
    at = memrchr(host, '@', n);
    if (at != NULL) {
        n -= (size_t)(at + 1 - host);
        host = at + 1;
    }
    return strndup(host, n < 253 ? n : 253);
}

static int append(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (longer == NULL)
        return -1;
    *list = longer;
    return 0;
}

/* "name: value", or curl's spelling "name;" for an empty value. */
static int append_header(struct curl_slist **list, const struct exchange_header *header)
{
    struct buf line;
    int rc;

    buf_init(&line, HEADERS_BYTES);
    if (header->value[0] == '\0')
        rc = buf_addf(&line, "%s;", header->name);
    else
        rc = buf_addf(&line, "%s: %s", header->name, header->value);
    if (rc == 0 && buf_addc(&line, '\0') == 0)
        rc = append(list, line.data);
    else
        rc = -1;
    buf_fini(&line);
    return rc;
}

/* The caller's headers; curl's own Expect and the default type of a body are switched off. */
static int set_headers(struct exchange *x, const struct exchange_request *request)
{
    struct exchange_private *p = x->private;
    int rc = append(&p->sent, "Expect:");

    for (size_t i = 0; i < request->n_headers && rc == 0; i++)
        rc = append_header(&p->sent, &request->headers[i]);
    if (rc == 0 && headers_get(request->headers, request->n_headers, "content-type") == NULL)
        rc = append(&p->sent, "Content-Type:");
    if (rc == 0)
        curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, p->sent);
    return rc;
}

static int set_body(struct exchange *x, const struct exchange_request *request)
{
    const void *body = request->body == NULL ? "" : request->body;

    if (!request->body_lent && request->body != NULL && request->body_len > 0) {
        x->private->body = malloc(request->body_len);
        if (x->private->body == NULL)
            return -1;
        memcpy(x->private->body, body, request->body_len);
        body = x->private->body;
    }
    curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
    curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, body);
    return 0;
}

static int set_method(struct exchange *x, const struct exchange_request *request)
{
    const char *method = request->method;

    if (strcasecmp(method, "HEAD") == 0) {
        curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L);
        return 0;
    }
    curl_easy_setopt(x->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)x->body.max);
    if (request->body_len > 0 || strcasecmp(method, "PUT") == 0 || strcasecmp(method, "POST") == 0)
        if (set_body(x, request) != 0)
            return -1;
    return curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK ? 0 : -1;
}

static long milliseconds(double seconds)
{
    double ms = ceil(seconds * 1e3);

    return ms < 1 ? 1 : ms > 1e9 ? 1000000000L : (long)ms;
}

static double or_default(double seconds, double otherwise)
{
    return seconds > 0 ? seconds : otherwise;
}

static void set_times(struct exchange *x, const struct exchange_request *request)
{
    struct exchange_private *p = x->private;

    p->connect_seconds = or_default(request->connect_seconds, 5);
    p->stall_seconds = or_default(request->stall_seconds, 20);
    p->total_seconds = or_default(request->total_seconds, 300);
    curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(p->connect_seconds));
    curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, milliseconds(p->total_seconds));
    curl_easy_setopt(x->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(x->easy, CURLOPT_LOW_SPEED_TIME,
                     (milliseconds(p->stall_seconds) + 999) / 1000);
}

static void set_transport(struct exchange *x, const struct exchange_request *request)
{
    CURL *easy = x->easy;

    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "anomalyd");
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 65536L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->private->detail);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, count_send);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, x);
    if (request->no_proxy)
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (request->ca_file != NULL)
        curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file);
}

static int prepare(struct exchange *x, const struct exchange_request *request)
{
    buf_init(&x->body, request->limit == 0 ? DEFAULT_LIMIT : request->limit);
    x->private = calloc(1, sizeof *x->private);
    if (x->private == NULL)
        return -1;
    x->private->host = host_of(request->url);
    x->easy = curl_easy_init();
    if (x->private->host == NULL || x->easy == NULL)
        return -1;
    set_transport(x, request);
    set_times(x, request);
    if (curl_easy_setopt(x->easy, CURLOPT_URL, request->url) != CURLE_OK)
        return -1;
    return set_headers(x, request) != 0 ? -1 : set_method(x, request);
}

struct exchange *exchange_new(const struct exchange_request *request)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct exchange *x = calloc(1, sizeof *x);

    if (x == NULL)
        return NULL;
    pthread_once(&once, start_curl);
    if (prepare(x, request) == 0)
        return x;
    exchange_free(x);
    return NULL;
}

void exchange_free(struct exchange *x)
{
    if (x == NULL)
        return;
    curl_easy_cleanup(x->easy);
    if (x->private != NULL) {
        curl_slist_free_all(x->private->sent);
        headers_fini(&x->private->headers);
        free(x->private->body);
        free(x->private->host);
    }
    free(x->private);
    buf_fini(&x->body);
    free(x);
}

static const char *code_of(const struct exchange_private *p, CURLcode code)
{
    if (p->no_memory)
        return "NoMemory";
    if (p->body_too_large || p->headers_too_large)
        return "TooLarge";
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return "ResolveFailed";
    case CURLE_COULDNT_CONNECT:
        return "ConnectFailed";
    case CURLE_OPERATION_TIMEDOUT:
        return "Timeout";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return "TlsFailed";
    case CURLE_FILESIZE_EXCEEDED:
        return "TooLarge";
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return "Cut";
    case CURLE_OUT_OF_MEMORY:
        return "NoMemory";
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return "BadUrl";
    default:
        return "ExchangeFailed";
    }
}

/* Which of the three clocks ran out? */
static void say_timeout(struct exchange *x)
{
    const struct exchange_private *p = x->private;
    curl_off_t connected = 0;
    curl_off_t total = 0;

    curl_easy_getinfo(x->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
    curl_easy_getinfo(x->easy, CURLINFO_TOTAL_TIME_T, &total);
    if ((double)total >= p->total_seconds * 1e6)
        fail_set(&x->failure, "Timeout", "%s: no whole answer within %g s", p->host,
                 p->total_seconds);
    else if (connected == 0)
        fail_set(&x->failure, "Timeout", "%s: no connection within %g s", p->host,
                 p->connect_seconds);
    else
        fail_set(&x->failure, "Timeout", "%s: nothing moved for %g s", p->host, p->stall_seconds);
}

static void say_failure(struct exchange *x, CURLcode code)
{
    const struct exchange_private *p = x->private;
    const char *word = code_of(p, code);

    if (p->headers_too_large)
        fail_set(&x->failure, word, "%s: the answer's headers pass %d lines or %d bytes", p->host,
                 HEADERS_MAX, HEADERS_BYTES);
    else if (strcmp(word, "TooLarge") == 0)
        fail_set(&x->failure, word, "%s: the answer is longer than %zu bytes", p->host,
                 x->body.max);
    else if (strcmp(word, "Timeout") == 0)
        say_timeout(x);
    else if (strcmp(word, "NoMemory") == 0)
        fail_memory(&x->failure);
    else
        fail_set(&x->failure, word, "%s: %s", p->host,
                 p->detail[0] != '\0' ? p->detail : curl_easy_strerror(code));
}

/* Did curl give up on a header line that is longer than it ever takes? */
static bool line_too_long(const struct exchange *x, CURLcode code)
{
    bool limit = code == CURLE_OUT_OF_MEMORY; /* so said curl before 8.6 */

#if CURL_AT_LEAST_VERSION(8, 6, 0)
    limit = limit || code == CURLE_TOO_LARGE;
#endif
    return limit && x->sends > 0 && !x->private->headers.ended;
}

void exchange_finish(struct exchange *x, CURLcode code)
{
    long status = 0;

    x->headers = x->private->headers.list;
    x->n_headers = x->private->headers.n;
    if (line_too_long(x, code))
        x->private->headers_too_large = true;
    if (code == CURLE_OK && !x->private->headers.ended)
        code = CURLE_PARTIAL_FILE; /* closed in the middle of the headers */
    if (code != CURLE_OK) {
        say_failure(x, code);
        return;
    }
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    x->status = (int)status;
}

/* The multi of the blocking way lives on between exchanges, because it holds the connections.
 * Whoever takes it out has it alone. */
static _Atomic(CURLM *) kept;

__attribute__((destructor)) static void drop_kept(void)
{
    curl_multi_cleanup(atomic_exchange(&kept, NULL));
}

static CURLcode verdict(CURLM *multi)
{
    int left;
    CURLMsg *message;

    while ((message = curl_multi_info_read(multi, &left)) != NULL)
        if (message->msg == CURLMSG_DONE)
            return message->data.result;
    return CURLE_FAILED_INIT;
}

static CURLcode run(CURLM *multi)
{
    int running = 1;

    while (running > 0) {
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            return CURLE_FAILED_INIT;
        if (running > 0 && curl_multi_poll(multi, NULL, 0, 1000, NULL) != CURLM_OK)
            return CURLE_FAILED_INIT;
    }
    return verdict(multi);
}

void exchange_perform(struct exchange *x)
{
    CURLM *multi = atomic_exchange(&kept, NULL);
    CURLcode code = CURLE_OUT_OF_MEMORY;

    if (multi == NULL)
        multi = curl_multi_init();
    if (multi != NULL && curl_multi_add_handle(multi, x->easy) == CURLM_OK) {
        code = run(multi);
        curl_multi_remove_handle(multi, x->easy);
    }
    exchange_finish(x, code);
    curl_multi_cleanup(atomic_exchange(&kept, multi));
}

const char *exchange_header(const struct exchange *x, const char *name)
{
    return headers_get(x->headers, x->n_headers, name);
}
