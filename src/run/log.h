/* log: one line per event, as text in uvicorn's form or as JSON.
 *
 * Text: `INFO:     message key=value key="with spaces" ...`; JSON: {"time", "level", "message",
 * fields...}. Control bytes are escaped, so that nothing a client sends can forge a line. It belongs
 * to the loop's thread.
 */
#ifndef RUN_LOG_H
#define RUN_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_CRITICAL };

struct log_field {
    const char *name;
    const char *value;
    bool raw; /* a JSON number or word: not quoted in the JSON form */
};

/* Where lines go and which: the defaults are stdout, text, LOG_INFO. */
void log_output(FILE *file);
void log_json(bool on);
void log_threshold(enum log_level level);
enum log_level log_current(void);

/* "debug", "info", "warning" (or "warn"), "error", "critical" to a level; -1 when it is none. */
int log_level_named(const char *name);
const char *log_level_name(enum log_level level);

/* Write a line when the level is high enough. `message` may have several lines (a traceback): in
 * the text form they follow each other indented, in JSON they are escaped. */
void log_write(enum log_level level, const char *message, const struct log_field *fields, size_t n);

/* The same with printf's ways and no fields. */
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

#endif
