/* fail: how a function of the core says what went wrong.
 *
 * A function that can fail returns 0 or -1 and fills the caller's `struct fail`: `code` is a short
 * word for programs (static storage, the same word Lua sees as its third value), `message` is one
 * line for people that names the thing, the place and, where there is one, the remedy.
 */
#ifndef CORE_FAIL_H
#define CORE_FAIL_H

struct fail {
    const char *code;
    char message[512];
};

/* Fill `fail` (which may be NULL) and return -1, so that a caller can `return fail_set(...)`.
 * `code` must be a string that lives for ever. */
__attribute__((format(printf, 3, 4))) int fail_set(struct fail *fail, const char *code,
                                                   const char *format, ...);

/* The failure of an allocation: code "NoMemory". */
int fail_memory(struct fail *fail);

#endif
