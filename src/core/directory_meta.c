/* directory_meta: see directory_meta.h. */
#include "core/directory_meta.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_LINE "anomalyd-metadata 1"

void directory_meta_fini(struct directory_meta *meta)
{
    free(meta->data);
    *meta = (struct directory_meta){0};
}

/* RFC 9110, section 5.6.2. */
static bool is_token(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL)))
            return false;
    }
    return len > 0;
}

static bool has_control(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return true;
    return false;
}

static void trim(const char **text, size_t *len)
{
    while (*len > 0 && **text == ' ') {
        (*text)++;
        (*len)--;
    }
    while (*len > 0 && (*text)[*len - 1] == ' ')
        (*len)--;
}

/* strcmp of a terminated text and `len` bytes, as if lower-cased. */
static int compare_lower(const char *have, const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (have[i] != c)
            return (unsigned char)have[i] < (unsigned char)c ? -1 : 1;
    }
    return have[len] != '\0';
}

bool directory_meta_next(const struct directory_meta *meta, size_t *at, const char **name,
                         const char **value)
{
    if (*at >= meta->len)
        return false;
    *name = meta->data + *at;
    *at += strlen(*name) + 1;
    *value = meta->data + *at;
    *at += strlen(*value) + 1;
    return true;
}

/* Where a new name belongs; false when it is there already. */
static bool place_of(const struct directory_meta *meta, const char *name, size_t len, size_t *place)
{
    const char *have, *value;
    size_t at = 0;

    for (*place = 0; directory_meta_next(meta, &at, &have, &value); *place = at) {
        int order = compare_lower(have, name, len);

        if (order == 0)
            return false;
        if (order > 0)
            break;
    }
    return true;
}

static int insert_pair(struct directory_meta *meta, size_t place, const char *name, size_t name_len,
                       const char *value, size_t value_len)
{
    size_t more = name_len + value_len + 2;
    char *data = realloc(meta->data, meta->len + more);

    if (data == NULL)
        return -1;
    meta->data = data;
    data += place;
    memmove(data + more, data, meta->len - place);
    for (size_t i = 0; i < name_len; i++)
        data[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i]);
    data[name_len] = '\0';
    memcpy(data + name_len + 1, value, value_len);
    data[more - 1] = '\0';
    meta->len += more;
    meta->n++;
    return 0;
}

int directory_meta_add(struct directory_meta *meta, const char *name, size_t name_len,
                       const char *value, size_t value_len, struct fail *fail)
{
    size_t used = meta->len - 2 * meta->n, place;

    trim(&value, &value_len);
    if (name_len > DIRECTORY_META_MAX || value_len > DIRECTORY_META_MAX ||
        used + name_len + value_len > DIRECTORY_META_MAX)
        return fail_set(fail, "MetadataTooLarge",
                        "the metadata's names and values are longer than %d bytes together",
                        DIRECTORY_META_MAX);
    if (!is_token(name, name_len))
        return fail_set(fail, "InvalidMetadata",
                        "a metadata name must be one or more of A-Z a-z 0-9 !#$%%&'*+-.^_`|~");
    if (has_control(value, value_len))
        return fail_set(fail, "InvalidMetadata", "the value of metadata \"%.*s\" has control bytes",
                        (int)(name_len > 80 ? 80 : name_len), name);
    if (!place_of(meta, name, name_len, &place))
        return fail_set(fail, "InvalidMetadata", "metadata \"%.*s\" is given twice",
                        (int)(name_len > 80 ? 80 : name_len), name);
    if (insert_pair(meta, place, name, name_len, value, value_len) != 0)
        return fail_memory(fail);
    return 0;
}

int directory_meta_copy(struct directory_meta *to, const struct directory_meta *from)
{
    if (from == NULL || from->len == 0)
        return 0;
    to->data = malloc(from->len);
    if (to->data == NULL)
        return -1;
    memcpy(to->data, from->data, from->len);
    to->len = from->len;
    to->n = from->n;
    return 0;
}

void directory_sidecar_fini(struct directory_sidecar *sidecar)
{
    for (size_t i = 0; i < sidecar->n; i++)
        directory_meta_fini(&sidecar->records[i].meta);
    sidecar->n = 0;
}

const struct directory_meta *directory_sidecar_find(const struct directory_sidecar *sidecar,
                                                    const char *etag)
{
    for (size_t i = 0; i < sidecar->n; i++)
        if (strcmp(sidecar->records[i].etag, etag) == 0)
            return &sidecar->records[i].meta;
    return NULL;
}

int directory_sidecar_add(struct directory_sidecar *sidecar, const char *etag,
                          const struct directory_meta *meta)
{
    struct directory_record *r = &sidecar->records[sidecar->n];

    memset(r, 0, sizeof *r);
    memcpy(r->etag, etag, sizeof r->etag - 1);
    if (directory_meta_copy(&r->meta, meta) != 0)
        return -1;
    sidecar->n++;
    return 0;
}

int directory_sidecar_format(const struct directory_sidecar *sidecar,
                             const struct directory_key *key, struct buf *out)
{
    const char *name, *value;
    int bad = buf_addf(out, FIRST_LINE "\nkey %s\n", key->text);

    for (size_t i = 0; i < sidecar->n; i++) {
        const struct directory_record *r = &sidecar->records[i];
        size_t at = 0;

        bad |= buf_addf(out, "object %s\n", r->etag);
        while (directory_meta_next(&r->meta, &at, &name, &value))
            bad |= buf_addf(out, "meta %s %s\n", name, value);
    }
    return bad | buf_adds(out, "end\n");
}

/* One line after the other of a text. */
struct reader {
    const char *text;
    size_t left;
    int number;
    const char *line; /* without its end */
    size_t len;
};

static bool next_line(struct reader *r)
{
    const char *end = memchr(r->text, '\n', r->left);

    if (end == NULL)
        return false;
    r->line = r->text;
    r->len = (size_t)(end - r->text);
    r->left -= r->len + 1;
    r->text = end + 1;
    r->number++;
    return true;
}

static bool line_is(const struct reader *r, const char *text)
{
    return r->len == strlen(text) && memcmp(r->line, text, r->len) == 0;
}

/* Does the line begin with `word` and a blank? Then step over both. */
static bool take_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);

    if (r->len <= n || memcmp(r->line, word, n) != 0 || r->line[n] != ' ')
        return false;
    r->line += n + 1;
    r->len -= n + 1;
    return true;
}

static bool read_object(struct directory_sidecar *sidecar, const struct reader *r)
{
    struct directory_record *record;

    if (sidecar->n == 2 || r->len != 32 || strspn(r->line, "0123456789abcdef") < 32)
        return false;
    record = &sidecar->records[sidecar->n];
    memset(record, 0, sizeof *record);
    memcpy(record->etag, r->line, 32);
    if (directory_sidecar_find(sidecar, record->etag) != NULL)
        return false;
    sidecar->n++;
    return true;
}

static bool read_pair(struct directory_sidecar *sidecar, const struct reader *r)
{
    const char *blank = memchr(r->line, ' ', r->len);
    size_t name_len;

    if (blank == NULL || sidecar->n == 0)
        return false;
    name_len = (size_t)(blank - r->line);
    return directory_meta_add(&sidecar->records[sidecar->n - 1].meta, r->line, name_len, blank + 1,
                              r->len - name_len - 1, NULL) == 0;
}

static bool read_head(struct reader *r, const struct directory_key *key)
{
    return next_line(r) && line_is(r, FIRST_LINE) && next_line(r) && take_word(r, "key") &&
           line_is(r, key->text);
}

int directory_sidecar_parse(struct directory_sidecar *sidecar, const struct directory_key *key,
                            const char *text, size_t len, struct fail *fail)
{
    struct reader r = {.text = text, .left = len > DIRECTORY_SIDECAR_MAX ? 0 : len};
    bool good = read_head(&r, key);

    while (good && next_line(&r)) {
        if (line_is(&r, "end") && r.left == 0 && sidecar->n > 0)
            return 0;
        if (take_word(&r, "object"))
            good = read_object(sidecar, &r);
        else
            good = take_word(&r, "meta") && read_pair(sidecar, &r);
    }
    return fail_set(fail, "MetadataCorrupt", "the metadata file of \"%s\" is damaged at line %d",
                    key->text, good ? r.number + 1 : r.number);
}
