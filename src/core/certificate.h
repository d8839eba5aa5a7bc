/* certificate: one X.509 certificate, what it says, and the signatures its key has made.
 *
 * Over OpenSSL 3. Reads a certificate that came from a stranger, tells its names and dates, verifies
 * RSA PKCS#1 v1.5 signatures (RFC 8017 section 8.2.2) with its public key, and the chain from it to
 * a trusted root. Nothing here reads the clock: "now" is an argument, in seconds since 1970 UTC.
 * Immutable once made and counted by references; may be shared by threads.
 */
#ifndef CORE_CERTIFICATE_H
#define CORE_CERTIFICATE_H

#include "core/fail.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CERTIFICATE_MAX_BYTES = 32768, /* longest text or DER that is looked at */
    CERTIFICATE_MAX_NAMES = 32,
    CERTIFICATE_MAX_ISSUERS = 8,
    CERTIFICATE_MAX_ROOTS = 512
};

struct certificate {
    char **names; /* the DNS names it stands for, n_names of them: those of its subjectAltName, or
                     the subject's common name when there is none (RFC 6125 section 6.4.4) */
    size_t n_names;
    int64_t not_before; /* seconds since 1970 UTC, both inclusive */
    int64_t not_after;
    char *issuer_url; /* where it says its issuer's certificate lies (authority information access),
                         or NULL */
    int rsa_bits;     /* the length of its RSA key; 0 when the key is none */
    struct certificate_private *private;
    atomic_int refs;
};

enum certificate_digest { CERTIFICATE_SHA1, CERTIFICATE_SHA256 };

/* Read a certificate: exactly one PEM block and nothing else. 0 and an owned *out, or -1 with code
 * "BadCertificate" (the form), "TooLarge" or "NoMemory". */
int certificate_parse(const char *pem, size_t len, struct certificate **out, struct fail *fail);

/* The same for DER, of which no byte may be left over. */
int certificate_parse_der(const void *der, size_t len, struct certificate **out, struct fail *fail);

/* One more owner. Gives c. */
struct certificate *certificate_ref(struct certificate *c);

/* Give up one reference, the last one releases it; NULL is allowed. */
void certificate_unref(struct certificate *c);

/* Does it stand for this DNS name? Without case, to the letter: a wildcard in the certificate
 * stands for nothing. */
int certificate_has_name(const struct certificate *c, const char *name);

/* Is it valid at this moment? 0, or -1 with code "CertificateExpired" or "CertificateNotYetValid". */
int certificate_check_time(const struct certificate *c, int64_t now, struct fail *fail);

/* Is `signature` the RSA PKCS#1 v1.5 signature of the text by this certificate's key? 0, or -1 with
 * code "BadSignature", "BadCertificate" (no RSA key of 1024 to 8192 bits) or "NoMemory". */
int certificate_verify(const struct certificate *c, enum certificate_digest digest,
                       const void *text, size_t len, const void *signature, size_t signature_len,
                       struct fail *fail);

/* Does a chain of signatures lead from this certificate, through some of the `issuers`, to one of
 * the `roots` (n_roots 0: to the system's trust store), with every date good at `now` and no key or
 * digest weaker than 80 bits? 0, or -1 with code "ChainIncomplete" (an issuer is not there),
 * "BadChain" (a link is wrong) or "NoMemory". May read the trust store's files, which takes tens of milliseconds. */
int certificate_chain(const struct certificate *c, struct certificate *const *issuers,
                      size_t n_issuers, struct certificate *const *roots, size_t n_roots,
                      int64_t now, struct fail *fail);

#endif
