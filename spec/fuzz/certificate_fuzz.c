/* certificate_fuzz: any bytes as base64, as PEM and as a certificate in both dresses. */
#include "core/armor.h"
#include "core/certificate.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything a certificate can be asked must come to an end, whatever it holds. */
static void ask(struct certificate *c, const void *data, size_t size)
{
    struct certificate *self[1] = {c};
    char signature[1024] = {0};
    size_t modulus = (size_t)(c->rsa_bits + 7) / 8;
    struct fail fail;

    if (c->n_names > CERTIFICATE_MAX_NAMES || certificate_has_name(c, "no such name."))
        abort();
    for (size_t i = 0; i < c->n_names; i++)
        if (!certificate_has_name(c, c->names[i]))
            abort();
    certificate_check_time(c, 1750000000, &fail);
    if (certificate_verify(c, CERTIFICATE_SHA256, data, size, signature,
                           modulus < sizeof signature ? modulus : 0, &fail) == 0)
        abort();
    certificate_chain(c, self, 1, self, 1, 1750000000, &fail);
    certificate_unref(c);
}

/* Base64 that is read has one spelling: its length tells how many bytes it holds. */
static void unarmor(const char *text, size_t size)
{
    struct fail fail;
    struct buf out;

    buf_init(&out, CERTIFICATE_MAX_BYTES);
    if (armor_base64(text, size, &out, &fail) == 0 &&
        (out.len > size / 4 * 3 || out.len + 2 < size / 4 * 3))
        abort();
    out.len = 0;
    if (armor_pem(text, size, "CERTIFICATE", &out, &fail) == 0 && out.len == 0)
        abort();
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct certificate *c;
    struct fail fail;

    unarmor((const char *)data, size);
    if (certificate_parse((const char *)data, size, &c, &fail) == 0)
        ask(c, data, size);
    if (certificate_parse_der(data, size, &c, &fail) == 0)
        ask(c, data, size);
    return 0;
}
