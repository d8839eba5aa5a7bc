/* fail: see fail.h. */
#include "core/fail.h"

#include <stdarg.h>
#include <stdio.h>

int fail_set(struct fail *fail, const char *code, const char *format, ...)
{
    va_list args;

    if (fail == NULL)
        return -1;
    fail->code = code;
    va_start(args, format);
    vsnprintf(fail->message, sizeof fail->message, format, args);
    va_end(args);
    return -1;
}

int fail_memory(struct fail *fail)
{
    return fail_set(fail, "NoMemory", "out of memory");
}
