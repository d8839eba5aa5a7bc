/* sigv4_fuzz: path, query and header values of any bytes give one canonical spelling. */
#include "core/sigv4.h"
#include "core/uri.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Spelling what is spelled already must change nothing, and decoding must undo encoding. */
static void check_uri(const char *text, size_t n)
{
    struct buf once, twice, back;

    buf_init(&once, 1 << 22);
    buf_init(&twice, 1 << 22);
    buf_init(&back, 1 << 22);
    if (uri_canonical(&once, text, n, true) != 0 ||
        uri_canonical(&twice, once.len == 0 ? "" : once.data, once.len, true) != 0 ||
        once.len != twice.len || (once.len > 0 && memcmp(once.data, twice.data, once.len) != 0))
        __builtin_trap();
    once.len = 0;
    if (uri_encode(&once, text, n, false) != 0 ||
        uri_decode(&back, once.len == 0 ? "" : once.data, once.len, false) != 0 || back.len != n ||
        (n > 0 && memcmp(back.data, text, n) != 0))
        __builtin_trap();
    buf_fini(&once);
    buf_fini(&twice);
    buf_fini(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct exchange_header headers[3] = {{"host", "h"}, {"x-amz-meta-a", NULL}, {"X-A", NULL}};
    struct sigv4_input in = {.method = "GET",
                             .headers = headers,
                             .n_headers = 3,
                             .payload_hash = "UNSIGNED-PAYLOAD",
                             .region = "us-east-1",
                             .service = "s3",
                             .access_key_id = "A",
                             .secret_access_key = "S",
                             .date = "20150830T123600Z"};
    struct sigv4 out;
    struct fail fail;

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    check_uri(text, size);
    in.path = text;
    in.query = text;
    headers[1].value = headers[2].value = text;
    in.normalize = size % 2 != 0;
    if (sigv4_sign(&in, &out, &fail) == 0 && strlen(out.signature) != 64)
        __builtin_trap();
    sigv4_fini(&out);
    free(text);
    return 0;
}
