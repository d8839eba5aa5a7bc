/* xml: see xml.h. */
#include "core/xml.h"

#include "core/buf.h"

#include <expat.h>
#include <limits.h>
#include <string.h>

struct reader {
    XML_Parser parser;
    xml_element *element;
    void *ctx;
    char path[XML_PATH];
    size_t ends[XML_DEPTH]; /* length of the path at each open element's parent */
    int depth;
    struct buf text;
    const char *refused; /* why the reading was stopped; NULL for the callback's own failure */
    int stopped;
};

static void stop(struct reader *r, const char *refused)
{
    if (r->stopped)
        return;
    r->stopped = 1;
    r->refused = refused;
    XML_StopParser(r->parser, XML_FALSE);
}

static void XMLCALL open_element(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    struct reader *r = ctx;
    const char *colon = strrchr(name, ':');
    size_t len = r->depth == 0 ? 0 : strlen(r->path);
    size_t n;

    (void)attributes;
    if (r->stopped)
        return;
    name = colon == NULL ? name : colon + 1;
    n = strlen(name);
    if (r->depth >= XML_DEPTH || len + n + 2 > sizeof r->path) {
        stop(r, "elements too deep");
        return;
    }
    r->ends[r->depth++] = len;
    if (len > 0)
        r->path[len++] = '/';
    memcpy(r->path + len, name, n + 1);
    r->text.len = 0;
}

static void XMLCALL close_element(void *ctx, const XML_Char *name)
{
    struct reader *r = ctx;

    (void)name;
    if (r->stopped)
        return;
    if (buf_addc(&r->text, '\0') != 0 ||
        r->element(r->ctx, r->path, r->text.data, r->text.len - 1) != 0) {
        stop(r, NULL);
        return;
    }
    r->text.len = 0;
    r->path[r->ends[--r->depth]] = '\0';
}

static void XMLCALL add_text(void *ctx, const XML_Char *text, int n)
{
    struct reader *r = ctx;

    if (r->stopped)
        return;
    if (r->text.len + (size_t)n > XML_TEXT)
        stop(r, "a text too long");
    else if (buf_add(&r->text, text, (size_t)n) != 0)
        stop(r, NULL);
}

static void XMLCALL refuse_doctype(void *ctx, const XML_Char *name, const XML_Char *system_id,
                                   const XML_Char *public_id, int subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)subset;
    stop(ctx, "a document type declaration");
}

static int verdict(struct reader *r, enum XML_Status status, struct fail *fail)
{
    if (status == XML_STATUS_OK)
        return 0;
    if (r->stopped && r->refused == NULL)
        return fail_memory(fail);
    return fail_set(fail, "BadXml", "line %lu: %s", XML_GetCurrentLineNumber(r->parser),
                    r->stopped ? r->refused : XML_ErrorString(XML_GetErrorCode(r->parser)));
}

int xml_read(const char *data, size_t n, xml_element *element, void *ctx, struct fail *fail)
{
    struct reader r = {.element = element, .ctx = ctx};
    int rc;

    while (n > 0 && strchr(" \t\r\n", *data) != NULL && *data != '\0') {
        data++;
        n--;
    }
    if (n > INT_MAX)
        return fail_set(fail, "BadXml", "a document of %zu bytes", n);
    r.parser = XML_ParserCreate(NULL);
    if (r.parser == NULL)
        return fail_memory(fail);
    buf_init(&r.text, XML_TEXT + 1);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, open_element, close_element);
    XML_SetCharacterDataHandler(r.parser, add_text);
    XML_SetStartDoctypeDeclHandler(r.parser, refuse_doctype);
    rc = verdict(&r, XML_Parse(r.parser, n == 0 ? "" : data, (int)n, XML_TRUE), fail);
    XML_ParserFree(r.parser);
    buf_fini(&r.text);
    return rc;
}
