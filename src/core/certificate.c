/* certificate: see certificate.h. */
#include "core/certificate.h"

#include "core/armor.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct certificate_private {
    X509 *x509;
    EVP_PKEY *key; /* owned by x509 */
};

enum { RSA_MIN_BITS = 1024, RSA_MAX_BITS = 8192, URL_MAX = 1024 };

static int bad(struct fail *fail, const char *what)
{
    ERR_clear_error();
    return fail_set(fail, "BadCertificate", "the certificate %s", what);
}

/* A copy of an ASN.1 string as UTF-8 text; NULL when it cannot be one line of text (a NUL or
 * control character inside, too long) or memory is short. */
static char *text_of(const ASN1_STRING *s, size_t max)
{
    unsigned char *utf8 = NULL;
    int n = ASN1_STRING_to_UTF8(&utf8, s);
    char *copy = NULL;

    if (n > 0 && (size_t)n <= max) {
        int clean = 1;

        for (int i = 0; i < n; i++)
            clean &= utf8[i] > 0x20 && utf8[i] != 0x7f;
        if (clean)
            copy = strndup((const char *)utf8, (size_t)n);
    }
    OPENSSL_free(utf8);
    return copy;
}

static int add_name(struct certificate *c, const ASN1_STRING *s, struct fail *fail)
{
    char *name;

    if (c->n_names == CERTIFICATE_MAX_NAMES)
        return bad(fail, "has too many names");
    name = text_of(s, 253);
    if (name == NULL)
        return bad(fail, "has a name that is no DNS name");
    c->names[c->n_names++] = name;
    return 0;
}

static int add_alternative_names(struct certificate *c, GENERAL_NAMES *names, struct fail *fail)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS && add_name(c, name->d.dNSName, fail) != 0)
            return -1;
    }
    return 0;
}

/* A certificate's common name may be anything ("Amazon Root CA 1"); only one that can be a DNS name
 * counts. */
static int add_common_name(struct certificate *c, struct fail *fail)
{
    const X509_NAME *subject = X509_get_subject_name(c->private->x509);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    const ASN1_STRING *s;
    char *name;

    if (at < 0)
        return 0;
    s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    name = text_of(s, 253);
    if (name == NULL)
        return 0;
    free(name);
    return add_name(c, s, fail);
}

static int read_names(struct certificate *c, struct fail *fail)
{
    int critical;
    GENERAL_NAMES *names =
        X509_get_ext_d2i(c->private->x509, NID_subject_alt_name, &critical, NULL);
    int rc;

    if (names == NULL && critical != -1)
        return bad(fail, "has a subjectAltName that cannot be read");
    c->names = calloc(CERTIFICATE_MAX_NAMES, sizeof *c->names);
    if (c->names == NULL) {
        GENERAL_NAMES_free(names);
        return fail_memory(fail);
    }
    rc = names == NULL ? 0 : add_alternative_names(c, names, fail);
    GENERAL_NAMES_free(names);
    if (rc == 0 && c->n_names == 0)
        rc = add_common_name(c, fail);
    return rc;
}

/* Seconds since 1970 of an ASN.1 time. */
static int seconds_of(const ASN1_TIME *t, int64_t *seconds)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return -1;
    *seconds = (int64_t)timegm(&tm);
    return 0;
}

static void read_issuer_url(struct certificate *c)
{
    AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(c->private->x509, NID_info_access, NULL, NULL);

    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(access) && c->issuer_url == NULL; i++) {
        const ACCESS_DESCRIPTION *d = sk_ACCESS_DESCRIPTION_value(access, i);

        if (OBJ_obj2nid(d->method) == NID_ad_ca_issuers && d->location->type == GEN_URI)
            c->issuer_url = text_of(d->location->d.uniformResourceIdentifier, URL_MAX);
    }
    AUTHORITY_INFO_ACCESS_free(access);
}

/* Fill c from its X509. */
static int describe(struct certificate *c, struct fail *fail)
{
    const X509 *x = c->private->x509;

    if (seconds_of(X509_get0_notBefore(x), &c->not_before) != 0 ||
        seconds_of(X509_get0_notAfter(x), &c->not_after) != 0)
        return bad(fail, "has dates that cannot be read");
    c->private->key = X509_get0_pubkey(x);
    if (c->private->key == NULL)
        return bad(fail, "has a public key that cannot be read");
    if (EVP_PKEY_get_base_id(c->private->key) == EVP_PKEY_RSA)
        c->rsa_bits = EVP_PKEY_get_bits(c->private->key);
    if (read_names(c, fail) != 0)
        return -1;
    read_issuer_url(c);
    return 0;
}

struct certificate *certificate_ref(struct certificate *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void certificate_unref(struct certificate *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < c->n_names; i++)
        free(c->names[i]);
    free(c->names);
    free(c->issuer_url);
    if (c->private != NULL)
        X509_free(c->private->x509);
    free(c->private);
    free(c);
}

/* An owned certificate around x509 (taken over, also on failure). */
static int wrap(X509 *x509, struct certificate **out, struct fail *fail)
{
    struct certificate *c = calloc(1, sizeof *c);
    int rc;

    if (c != NULL) {
        atomic_init(&c->refs, 1);
        c->private = calloc(1, sizeof *c->private);
    }
    if (c == NULL || c->private == NULL) {
        X509_free(x509);
        certificate_unref(c);
        return fail_memory(fail);
    }
    c->private->x509 = x509;
    rc = describe(c, fail);
    ERR_clear_error();
    if (rc != 0) {
        certificate_unref(c);
        return -1;
    }
    *out = c;
    return 0;
}

int certificate_parse_der(const void *der, size_t len, struct certificate **out, struct fail *fail)
{
    const unsigned char *at = der;
    X509 *x509;

    if (len > CERTIFICATE_MAX_BYTES)
        return fail_set(fail, "TooLarge", "a certificate of %zu bytes: more than %d", len,
                        CERTIFICATE_MAX_BYTES);
    x509 = d2i_X509(NULL, &at, (long)len);
    if (x509 == NULL)
        return bad(fail, "is not X.509");
    if (at != (const unsigned char *)der + len) {
        X509_free(x509);
        return bad(fail, "is followed by other bytes inside its block");
    }
    return wrap(x509, out, fail);
}

int certificate_parse(const char *pem, size_t len, struct certificate **out, struct fail *fail)
{
    struct buf der;
    struct fail inner = {0};
    int rc;

    if (len > CERTIFICATE_MAX_BYTES)
        return fail_set(fail, "TooLarge", "a certificate of %zu bytes: more than %d", len,
                        CERTIFICATE_MAX_BYTES);
    buf_init(&der, CERTIFICATE_MAX_BYTES);
    if (armor_pem(pem, len, "CERTIFICATE", &der, &inner) == 0)
        rc = certificate_parse_der(der.data, der.len, out, fail);
    else if (strcmp(inner.code, "NoMemory") == 0)
        rc = fail_memory(fail);
    else
        rc = fail_set(fail, "BadCertificate", "the certificate is not one PEM block: %.400s",
                      inner.message);
    buf_fini(&der);
    return rc;
}

int certificate_has_name(const struct certificate *c, const char *name)
{
    for (size_t i = 0; i < c->n_names; i++)
        if (strcasecmp(c->names[i], name) == 0)
            return 1;
    return 0;
}

/* A moment as people write it. */
static const char *date(int64_t seconds, char text[32])
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL || strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return "an impossible date";
    return text;
}

int certificate_check_time(const struct certificate *c, int64_t now, struct fail *fail)
{
    char limit[32];
    char then[32];

    if (now < c->not_before)
        return fail_set(fail, "CertificateNotYetValid",
                        "the certificate is valid from %s on, and it is %s",
                        date(c->not_before, limit), date(now, then));
    if (now > c->not_after)
        return fail_set(fail, "CertificateExpired", "the certificate expired at %s, and it is %s",
                        date(c->not_after, limit), date(now, then));
    return 0;
}

int certificate_verify(const struct certificate *c, enum certificate_digest digest,
                       const void *text, size_t len, const void *signature, size_t signature_len,
                       struct fail *fail)
{
    const EVP_MD *md = digest == CERTIFICATE_SHA1 ? EVP_sha1() : EVP_sha256();
    size_t modulus = (size_t)(c->rsa_bits + 7) / 8;
    EVP_MD_CTX *ctx;
    int good;

    if (c->rsa_bits < RSA_MIN_BITS || c->rsa_bits > RSA_MAX_BITS)
        return fail_set(fail, "BadCertificate",
                        "the certificate's key is no RSA key of %d to %d bits", RSA_MIN_BITS,
                        RSA_MAX_BITS);
    if (signature_len != modulus)
        return fail_set(fail, "BadSignature",
                        "a signature of %zu bytes, where the certificate's key makes %zu",
                        signature_len, modulus);
    ctx = EVP_MD_CTX_new();
    if (ctx == NULL)
        return fail_memory(fail);
    good = EVP_DigestVerifyInit(ctx, NULL, md, NULL, c->private->key) == 1 &&
           EVP_DigestVerify(ctx, signature, signature_len, text, len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    if (!good)
        return fail_set(fail, "BadSignature",
                        "the signature was not made over these contents by the certificate's key");
    return 0;
}

/* The trusted roots: those given, or the system's. NULL when memory is short. */
static X509_STORE *make_store(struct certificate *const *roots, size_t n_roots)
{
    X509_STORE *store = X509_STORE_new();
    int ok = store != NULL;

    if (ok && n_roots == 0)
        ok = X509_STORE_set_default_paths(store) == 1;
    for (size_t i = 0; ok && i < n_roots; i++)
        ok = X509_STORE_add_cert(store, roots[i]->private->x509) == 1;
    if (ok)
        return store;
    X509_STORE_free(store);
    return NULL;
}

/* A borrowed view of the issuers as OpenSSL wants them: free with sk_X509_free. */
static STACK_OF(X509) * make_stack(struct certificate *const *issuers, size_t n)
{
    STACK_OF(X509) *stack = sk_X509_new_null();

    for (size_t i = 0; stack != NULL && i < n; i++) {
        if (sk_X509_push(stack, issuers[i]->private->x509) == 0) {
            sk_X509_free(stack);
            return NULL;
        }
    }
    return stack;
}

/* What X509_verify_cert found wrong. */
static int chain_failure(X509_STORE_CTX *ctx, struct fail *fail)
{
    int error = X509_STORE_CTX_get_error(ctx);
    int incomplete = error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
                     error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
                     error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;

    if (error == X509_V_ERR_OUT_OF_MEM)
        return fail_memory(fail);
    return fail_set(fail, incomplete ? "ChainIncomplete" : "BadChain",
                    "the certificate's chain, %d up from it: %s",
                    X509_STORE_CTX_get_error_depth(ctx), X509_verify_cert_error_string(error));
}

static int chain_of(X509_STORE *store, X509 *leaf, STACK_OF(X509) * issuers, int64_t now,
                    struct fail *fail)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *param;
    int rc = 0;

    if (ctx == NULL || X509_STORE_CTX_init(ctx, store, leaf, issuers) != 1) {
        X509_STORE_CTX_free(ctx);
        return fail_memory(fail);
    }
    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)now);
    X509_VERIFY_PARAM_set_auth_level(param, 1);
    if (X509_verify_cert(ctx) != 1)
        rc = chain_failure(ctx, fail);
    X509_STORE_CTX_free(ctx);
    return rc;
}

int certificate_chain(const struct certificate *c, struct certificate *const *issuers,
                      size_t n_issuers, struct certificate *const *roots, size_t n_roots,
                      int64_t now, struct fail *fail)
{
    X509_STORE *store = make_store(roots, n_roots);
    STACK_OF(X509) *stack = make_stack(issuers, n_issuers);
    int rc;

    if (store == NULL || stack == NULL)
        rc = fail_memory(fail);
    else
        rc = chain_of(store, c->private->x509, stack, now, fail);
    sk_X509_free(stack);
    X509_STORE_free(store);
    ERR_clear_error();
    return rc;
}
