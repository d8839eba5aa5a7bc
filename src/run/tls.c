/* tls: see tls.h. */
#include "run/tls.h"

#include "run/log.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum { MOST_BYTES = 1 << 20, DRAINED = 16384 };

struct tls {
    SSL_CTX *ctx;
    struct tls_pair pair;
    char *cert, *key; /* paths */
    uint64_t looked;  /* the stamp before they were last read */
    uint64_t failures[TLS_FAILURES];
};

/* ---- reading the files ---- */

/* What OpenSSL holds against something, in its own words: the first error is the cause. */
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_error());

    return text == NULL ? "unknown reason" : text;
}

static FILE *open_file(const char *path, const char *what, const char *option, struct stat *st,
                       struct fail *fail)
{
    FILE *file = NULL;

    /* looked at before it is opened, which could wait for ever for a pipe's writer */
    if (stat(path, st) == 0) {
        if (!S_ISREG(st->st_mode) || st->st_size > MOST_BYTES) {
            fail_set(fail, "TlsFile", "the %s %s is no file of PEM text; give %s the path of one",
                     what, path, option);
            return NULL;
        }
        file = fopen(path, "re");
    }
    if (file == NULL)
        fail_set(fail, "TlsFile", "the %s %s cannot be read: %s; %s", what, path, strerror(errno),
                 errno == EACCES ? "let the service's user read it (chgrp and chmod 640)"
                                 : "put it there or correct the option's path");
    return file;
}

static int64_t seconds_of(const ASN1_TIME *when)
{
    struct tm tm;

    memset(&tm, 0, sizeof tm);
    return ASN1_TIME_to_tm(when, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int certificate_fail(const char *path, struct fail *fail)
{
    return fail_set(fail, "TlsCertificate",
                    "the certificate %s cannot be used: %s; --tls-cert takes a PEM file with the "
                    "server's certificate first, then its chain (fullchain.pem)",
                    path, reason());
}

static int load_chain(SSL_CTX *ctx, const char *path, struct tls_pair *pair, struct fail *fail)
{
    struct stat st;
    FILE *file = open_file(path, "certificate", "--tls-cert", &st, fail);
    X509 *cert;

    if (file == NULL)
        return -1;
    fclose(file);
    if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1)
        return certificate_fail(path, fail);
    cert = SSL_CTX_get0_certificate(ctx);
    pair->not_before = seconds_of(X509_get0_notBefore(cert));
    pair->not_after = seconds_of(X509_get0_notAfter(cert));
    return 0;
}

/* Instead of OpenSSL's own, which asks the terminal. */
static int no_password(char *out, int size, int writing, void *encrypted)
{
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)encrypted = true;
    return -1;
}

static EVP_PKEY *read_key(const char *path, struct tls_pair *pair, struct fail *fail)
{
    struct stat st;
    bool encrypted = false;
    FILE *file = open_file(path, "private key", "--tls-key", &st, fail);
    EVP_PKEY *key;

    if (file == NULL)
        return NULL;
    pair->key_exposed = (st.st_mode & S_IROTH) != 0;
    ERR_clear_error();
    key = PEM_read_PrivateKey(file, NULL, no_password, &encrypted);
    fclose(file);
    if (key == NULL && encrypted)
        fail_set(fail, "TlsKey",
                 "the private key %s is encrypted; decrypt it (openssl pkey -in FILE -out NEW) and "
                 "let only the service read it",
                 path);
    else if (key == NULL)
        fail_set(fail, "TlsKey",
                 "the private key %s cannot be used: %s; --tls-key takes a PEM file (privkey.pem)",
                 path, reason());
    return key;
}

static int load_key(SSL_CTX *ctx, const struct tls *tls, struct tls_pair *pair, struct fail *fail)
{
    EVP_PKEY *key = read_key(tls->key, pair, fail);
    int result = -1;

    if (key == NULL)
        return -1;
    if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1)
        fail_set(fail, "TlsMismatch",
                 "the private key %s does not belong to the certificate %s; give the two files "
                 "that were issued together",
                 tls->key, tls->cert);
    else if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
        fail_set(fail, "TlsKey", "the private key %s cannot be used: %s", tls->key, reason());
    else
        result = 0;
    EVP_PKEY_free(key);
    return result;
}

/* ---- the context ---- */

/* A client that offers protocols and not this one is refused, as RFC 7301 wants it. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned int in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1\x08http/1.0";
    unsigned char *chosen = NULL;
    int found =
        SSL_select_next_proto(&chosen, out_len, ours, (unsigned)sizeof ours - 1, in, in_len);

    (void)ssl;
    (void)arg;
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Remember that a handshake was finished: after an error OpenSSL says that it is not. */
static void on_info(const SSL *ssl, int where, int value)
{
    static char done;

    (void)value;
    if ((where & SSL_CB_HANDSHAKE_DONE) != 0)
        SSL_set_app_data((SSL *)ssl, &done);
}

static SSL_CTX *new_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL)
        return NULL;
    /* whoever cuts a connection off cuts nothing: bodies say how long they are */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    /* sessions lie with the clients, in tickets */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_set_info_callback(ctx, on_info);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

int tls_reload(struct tls *tls, struct fail *fail)
{
    struct tls_pair pair = {0, 0, false};
    SSL_CTX *ctx;
    int result;

    tls->looked = tls_stamp(tls);
    ERR_clear_error();
    ctx = new_context();
    if (ctx == NULL)
        return fail_memory(fail);
    result = load_chain(ctx, tls->cert, &pair, fail);
    if (result == 0)
        result = load_key(ctx, tls, &pair, fail);
    ERR_clear_error();
    if (result == 0) {
        SSL_CTX *old = tls->ctx;

        tls->ctx = ctx;
        tls->pair = pair;
        ctx = old;
    }
    SSL_CTX_free(ctx);
    return result;
}

struct tls *tls_new(const char *cert, const char *key, struct fail *fail)
{
    struct tls *tls = calloc(1, sizeof *tls);

    if (tls == NULL) {
        fail_memory(fail);
        return NULL;
    }
    tls->cert = strdup(cert);
    tls->key = strdup(key);
    if (tls->cert == NULL || tls->key == NULL) {
        fail_memory(fail);
        tls_free(tls);
        return NULL;
    }
    if (tls_reload(tls, fail) != 0) {
        tls_free(tls);
        return NULL;
    }
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->ctx);
    free(tls->cert);
    free(tls->key);
    free(tls);
}

const struct tls_pair *tls_pair(const struct tls *tls)
{
    return &tls->pair;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 1099511628211u; /* as FNV-1a does, a word at a time */
}

static uint64_t mix_file(uint64_t hash, const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return mix(hash, (uint64_t)errno);
    hash = mix(mix(hash, st.st_dev), st.st_ino);
    hash = mix(mix(hash, (uint64_t)st.st_size), st.st_mode);
    hash = mix(mix(hash, (uint64_t)st.st_mtim.tv_sec), (uint64_t)st.st_mtim.tv_nsec);
    return mix(mix(hash, (uint64_t)st.st_ctim.tv_sec), (uint64_t)st.st_ctim.tv_nsec);
}

uint64_t tls_stamp(const struct tls *tls)
{
    return mix_file(mix_file(14695981039346656037u, tls->cert), tls->key);
}

bool tls_changed(const struct tls *tls)
{
    return tls_stamp(tls) != tls->looked;
}

uint64_t tls_failures(const struct tls *tls, enum tls_failure why)
{
    return tls->failures[why];
}

/* ---- one connection ---- */

struct bufferevent *tls_accept(struct tls *tls, struct event_base *base)
{
    SSL *ssl = SSL_new(tls->ctx);

    if (ssl == NULL)
        return NULL;
    return bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                          BEV_OPT_CLOSE_ON_FREE);
}

uint64_t tls_written(struct bufferevent *bev)
{
    BIO *bio = SSL_get_wbio(bufferevent_openssl_get_ssl(bev));

    return bio == NULL ? 0 : BIO_number_written(bio);
}

int tls_say(struct bufferevent *bev, const char *text, size_t len)
{
    int n;

    ERR_clear_error();
    n = SSL_write(bufferevent_openssl_get_ssl(bev), text, (int)len);
    ERR_clear_error();
    return n == (int)len ? 0 : -1;
}

/* A person with a browser or curl at the wrong scheme is told so, in the only way that is understood
 * there. What was sent is read, so that closing the socket does not take the answer back. */
static void answer_plain(struct bufferevent *bev)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
                               "Content-Type: text/plain\r\nContent-Length: 43\r\n\r\n"
                               "This port speaks HTTPS: ask with https://\r\n";
    int fd = bufferevent_getfd(bev);
    char drained[DRAINED];

    (void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)!recv(fd, drained, sizeof drained, MSG_DONTWAIT);
}

/* Why the handshake failed: from the errors that the bufferevent has kept. */
static enum tls_failure failure_of(struct bufferevent *bev, const char **said)
{
    enum tls_failure why = TLS_FAILED_CLOSED;
    unsigned long error;

    *said = "the client went away";
    while ((error = bufferevent_get_openssl_error(bev)) != 0) {
        if (ERR_GET_LIB(error) != ERR_LIB_SSL)
            continue;
        *said = ERR_reason_error_string(error);
        why = ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST ||
                      ERR_GET_REASON(error) == SSL_R_HTTPS_PROXY_REQUEST
                  ? TLS_FAILED_PLAIN
                  : TLS_FAILED_PROTOCOL;
    }
    return why;
}

static void count_failure(struct tls *tls, struct bufferevent *bev, bool dropped, const char *peer)
{
    const char *said = "it was not finished in time";
    enum tls_failure why = dropped ? TLS_FAILED_TIMEOUT : failure_of(bev, &said);

    tls->failures[why]++;
    if (why == TLS_FAILED_PLAIN)
        answer_plain(bev);
    log_line(LOG_DEBUG, "the TLS handshake with %s failed: %s", peer,
             said == NULL ? "a protocol error" : said);
}

void tls_end(struct tls *tls, struct bufferevent *bev, bool dropped, const char *peer)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bev);

    if (SSL_get_app_data(ssl) == NULL) {
        count_failure(tls, bev, dropped, peer);
    } else if (SSL_is_init_finished(ssl)) {
        ERR_clear_error();
        SSL_shutdown(ssl);
    }
    ERR_clear_error();
}
