/* xml_fuzz: the XML reader and what S3's answers are made of it, on any bytes. */
#include "core/s3_answer.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touch every text, so that the sanitizers see them. */
static size_t read_all(const struct s3_answer *a)
{
    size_t n = strlen(a->code) + strlen(a->message) + strlen(a->region) + strlen(a->endpoint);

    for (size_t i = 0; i < a->n_entries; i++)
        n += strlen(a->entries[i].key) + strlen(a->entries[i].etag);
    for (size_t i = 0; i < a->n_prefixes; i++)
        n += strlen(a->prefixes[i]);
    if (a->next_token != NULL)
        n += strlen(a->next_token);
    if (a->upload_id != NULL)
        n += strlen(a->upload_id);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct s3_answer answer = {0};
    struct fail fail = {0};
    int rc = s3_answer_read(&answer, (const char *)data, size, &fail);

    if (rc != 0 && (fail.code == NULL || strlen(fail.message) == 0))
        __builtin_trap();
    if (read_all(&answer) > 8 * size + 1024)
        __builtin_trap();
    s3_answer_fini(&answer);
    return 0;
}
