/* tls: the certificate of the HTTP server's port, and the ends of TLS connections made with it.
 *
 * A pair of PEM files, certificate with its chain and private key, is loaded into a context of
 * OpenSSL; loaded anew, the new pair holds for new connections and the old one lives as long as its
 * connections. A pair that is not right changes nothing. TLS 1.2 and 1.3 with OpenSSL's own choice
 * of ciphers, ALPN http/1.1, session tickets; no renegotiation, no compression, no client
 * certificates. Which deadlines hold for a handshake is the owner's business (http_conn).
 */
#ifndef RUN_TLS_H
#define RUN_TLS_H

#include "core/fail.h"

#include <event2/bufferevent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls;

/* Why a handshake was not finished. */
enum tls_failure {
    TLS_FAILED_CLOSED,   /* the client went away */
    TLS_FAILED_PLAIN,    /* it spoke HTTP without TLS, and was told so */
    TLS_FAILED_PROTOCOL, /* no common version, a bad message, an alert */
    TLS_FAILED_TIMEOUT,  /* it took too long, or had to make room for another */
    TLS_FAILURES
};

/* What is known of the pair that is loaded. Times in seconds since 1970 UTC. */
struct tls_pair {
    int64_t not_before;
    int64_t not_after;
    bool key_exposed; /* everybody on this machine may read the key */
};

/* Load the pair. The paths are copied. NULL with *fail: "TlsFile" (missing, unreadable, no regular
 * file), "TlsCertificate", "TlsKey" (what is in it), "TlsMismatch", "NoMemory". */
struct tls *tls_new(const char *cert, const char *key, struct fail *fail);
void tls_free(struct tls *tls);

/* Load the pair anew. 0, or -1 with *fail as above: then the old pair stays in force. */
int tls_reload(struct tls *tls, struct fail *fail);

const struct tls_pair *tls_pair(const struct tls *tls);

/* A number made of the files' identity, size and times: another one means that they changed. */
uint64_t tls_stamp(const struct tls *tls);

/* Have they changed since they were last loaded, or refused? */
bool tls_changed(const struct tls *tls);

/* How many handshakes have failed so far. */
uint64_t tls_failures(const struct tls *tls, enum tls_failure why);

/* A bufferevent without a socket yet, which begins a handshake as the server's side when it gets
 * one. It closes its socket when it is freed. NULL: memory is short. */
struct bufferevent *tls_accept(struct tls *tls, struct event_base *base);

/* Bytes that have gone to the socket. */
uint64_t tls_written(struct bufferevent *bev);

/* Write a short text past the bufferevent, whose output must be empty: its write callback is not
 * called for it. 0, or -1 when the socket does not take it at once; then the connection is lost. */
int tls_say(struct bufferevent *bev, const char *text, size_t len);

/* To be called before the socket is closed: says close_notify, or counts a handshake that was not
 * finished. `dropped`: the connection is ended by us. `peer` is for the log (level debug). */
void tls_end(struct tls *tls, struct bufferevent *bev, bool dropped, const char *peer);

#endif
