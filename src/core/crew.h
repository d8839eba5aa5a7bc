/* crew: how a heavy function of the core spreads its work over threads without knowing whose.
 *
 * A core function that can be split takes a `struct crew *` and calls crew_each. The event runtime
 * passes its worker pool, a stock interpreter passes NULL (everything on the calling thread), a
 * benchmark passes crew_threads. The result must not depend on the crew: parts are numbered, and
 * each part writes only its own output.
 */
#ifndef CORE_CREW_H
#define CORE_CREW_H

#include <stddef.h>

struct crew {
    int width; /* how many threads may work at once, the caller's included; >= 1 */
    /* Call fn(ctx, i) once for each i in 0..n-1, in any order, on any of the threads; return when
     * all calls have returned. Never fails: with no free thread the caller does all of it. */
    void (*each)(struct crew *crew, size_t n, void (*fn)(void *ctx, size_t i), void *ctx);
};

/* crew->each, or a plain loop when crew is NULL or n is 1. */
void crew_each(struct crew *crew, size_t n, void (*fn)(void *ctx, size_t i), void *ctx);

/* The width of a crew; 1 for NULL. */
int crew_width(const struct crew *crew);

/* Fill `crew` with one that starts width - 1 threads for each call: for programs and benchmarks
 * that have no pool. Owns nothing. */
void crew_threads(struct crew *crew, int width);

#endif
