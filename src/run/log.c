/* log: see log.h. */
#include "run/log.h"

#include "core/buf.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

enum { MAX_LINE = 64 * 1024 };

static struct {
    FILE *file;
    bool json;
    enum log_level threshold;
} log_state = {NULL, false, LOG_INFO};

static const char *const names[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

void log_output(FILE *file)
{
    log_state.file = file;
}

void log_json(bool on)
{
    log_state.json = on;
}

void log_threshold(enum log_level level)
{
    log_state.threshold = level;
}

enum log_level log_current(void)
{
    return log_state.threshold;
}

const char *log_level_name(enum log_level level)
{
    return names[level];
}

int log_level_named(const char *name)
{
    if (strcasecmp(name, "warn") == 0)
        return LOG_WARNING;
    for (int i = LOG_DEBUG; i <= LOG_CRITICAL; i++)
        if (strcasecmp(name, names[i]) == 0)
            return i;
    return -1;
}

/* How many bytes of the UTF-8 sequence at p[0..n-1]; 0 when it is none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    size_t length = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;

    if (length == 0 || length > n || p[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    /* Longer than need be, half of a surrogate pair, or past the last character. */
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
        (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return length;
}

/* The control characters U+0080 to U+009F: some terminals obey them. */
static bool is_late_control(const unsigned char *p, size_t n)
{
    return n == 2 && p[0] == 0xC2 && p[1] < 0xA0;
}

/* Append text with what could forge or break a line escaped; `quote` is the JSON form. A text that
 * would make the line longer than MAX_LINE is cut between two characters. */
static void add_escaped(struct buf *b, const char *text, bool quote)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t left = strlen(text);

    while (left > 0 && b->len < MAX_LINE) {
        size_t n = utf8_length(p, left);

        if (n == 0) {
            buf_addf(b, quote ? "\\u00%02x" : "\\x%02x", *p);
            n = 1;
        } else if (*p == '\n' && !quote) {
            buf_adds(b, "\n          ");
        } else if (*p == '\t' && !quote) {
            buf_adds(b, "    ");
        } else if (*p < 0x20 || *p == 0x7f) {
            buf_addf(b, "\\u%04x", *p);
        } else if (is_late_control(p, n)) {
            buf_addf(b, "\\u00%02x", p[1]);
        } else {
            if (quote && (*p == '"' || *p == '\\'))
                buf_addc(b, '\\');
            buf_add(b, p, n);
        }
        p += n;
        left -= n;
    }
}

static void add_time(struct buf *b)
{
    struct timespec now;
    struct tm tm;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_addf(b, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

static void add_json(struct buf *b, enum log_level level, const char *message,
                     const struct log_field *fields, size_t n)
{
    buf_adds(b, "{\"time\":\"");
    add_time(b);
    buf_addf(b, "\",\"level\":\"%s\",\"message\":\"", names[level]);
    add_escaped(b, message, true);
    buf_addc(b, '"');
    for (size_t i = 0; i < n; i++) {
        buf_adds(b, ",\"");
        add_escaped(b, fields[i].name, true);
        buf_adds(b, fields[i].raw ? "\":" : "\":\"");
        add_escaped(b, fields[i].value, true);
        if (!fields[i].raw)
            buf_addc(b, '"');
    }
    buf_addc(b, '}');
}

/* Would the value, as it is, look like more than one field? What has lines of its own stays readable:
 * no field follows on its lines. */
static bool wants_quotes(const char *value)
{
    return *value == '\0' || (strpbrk(value, " =\"") != NULL && strchr(value, '\n') == NULL);
}

static void add_text(struct buf *b, enum log_level level, const char *message,
                     const struct log_field *fields, size_t n)
{
    buf_addf(b, "%s:%*s", names[level], (int)(9 - strlen(names[level])), "");
    add_escaped(b, message, false);
    for (size_t i = 0; i < n; i++) {
        bool quotes = wants_quotes(fields[i].value);

        buf_addf(b, quotes ? " %s=\"" : " %s=", fields[i].name);
        add_escaped(b, fields[i].value, quotes);
        if (quotes)
            buf_addc(b, '"');
    }
}

void log_write(enum log_level level, const char *message, const struct log_field *fields, size_t n)
{
    FILE *file = log_state.file != NULL ? log_state.file : stdout;
    struct buf b;

    if (level < log_state.threshold)
        return;
    /* Room for what closes the texts of a line that was cut: it stays whole JSON. */
    buf_init(&b, (size_t)2 * MAX_LINE);
    if (log_state.json)
        add_json(&b, level, message, fields, n);
    else
        add_text(&b, level, message, fields, n);
    fwrite(b.data, 1, b.len, file);
    fputc('\n', file);
    fflush(file);
    buf_fini(&b);
}

void log_line(enum log_level level, const char *format, ...)
{
    char message[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    log_write(level, message, NULL, 0);
}
