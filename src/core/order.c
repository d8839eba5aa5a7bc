/* order: see order.h.
 *
 * Doubles are compared as 64-bit keys of the same order. The range of keys that holds the k-th is
 * narrowed by histograms until what is in it fits into a small array, which is sorted.
 */
#include "core/order.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 4096, FEW = 1024 };

static uint64_t key_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits >> 63 ? ~bits : bits | 0x8000000000000000u;
}

static double value_of(uint64_t key)
{
    uint64_t bits = key >> 63 ? key & 0x7fffffffffffffffu : ~key;
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The keys lo..hi hold `inside` of the values, among them the k-th of all; `below` lie below lo. */
struct range {
    uint64_t lo;
    uint64_t hi;
    size_t below;
    size_t inside;
};

static struct range whole(const double *values, size_t n)
{
    double lo = INFINITY;
    double hi = -INFINITY;
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        lo = values[i] < lo ? values[i] : lo;
        hi = values[i] > hi ? values[i] : hi;
        count += values[i] == values[i];
    }
    /* Comparisons do not tell the zeros apart, keys do. */
    return (struct range){key_of(lo == 0 ? -0.0 : lo), key_of(hi == 0 ? 0.0 : hi), 0, count};
}

static void narrow(struct range *r, const double *values, size_t n, size_t k)
{
    size_t counts[BUCKETS] = {0};
    unsigned shift = 0;
    size_t b = 0;

    while ((r->hi - r->lo) >> shift >= BUCKETS)
        shift++;
    for (size_t i = 0; i < n; i++) {
        uint64_t key = key_of(values[i]);

        if (key >= r->lo && key <= r->hi && values[i] == values[i])
            counts[(key - r->lo) >> shift]++;
    }
    while (r->below + counts[b] <= k)
        r->below += counts[b++];
    r->inside = counts[b];
    r->lo += (uint64_t)b << shift;
    if ((r->hi - r->lo) >> shift > 0)
        r->hi = r->lo + (((uint64_t)1 << shift) - 1);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The k-th smallest value (from 0) and the one after it; k < the count of values that are not NaN.
 * `*next` is `*kth` when k is the last. */
static void pair(const double *values, size_t n, size_t k, double *kth, double *next)
{
    struct range r = whole(values, n);
    uint64_t few[FEW];
    uint64_t above = UINT64_MAX;
    size_t found = 0;

    while (r.inside > FEW && r.lo < r.hi)
        narrow(&r, values, n, k);
    for (size_t i = 0; i < n; i++) {
        uint64_t key = key_of(values[i]);

        if (key < r.lo || values[i] != values[i])
            continue;
        if (key > r.hi)
            above = key < above ? key : above;
        else if (found < FEW)
            few[found++] = key;
    }
    qsort(few, found, sizeof few[0], ascending);
    k -= r.below;
    *kth = r.lo == r.hi ? value_of(r.lo) : value_of(few[k]);
    if (k + 1 < r.inside)
        *next = r.lo == r.hi ? *kth : value_of(few[k + 1]);
    else
        *next = above == UINT64_MAX ? *kth : value_of(above);
}

double order_median(const double *values, size_t n)
{
    size_t count = 0;
    double a;
    double b;

    for (size_t i = 0; i < n; i++)
        count += values[i] == values[i];
    if (count == 0)
        return NAN;
    pair(values, n, (count - 1) / 2, &a, &b);
    return count % 2 == 1 ? a : (a + b) / 2;
}

double order_percentile(const double *values, size_t n, double q)
{
    double at = (double)(n - 1) * (q / 100);
    double gap;
    double a;
    double b;

    if (at >= (double)(n - 1)) {
        pair(values, n, n - 1, &a, &b);
        return a;
    }
    pair(values, n, (size_t)at, &a, &b);
    gap = at - floor(at);
    return gap < 0.5 ? a + (b - a) * gap : b - (b - a) * (1 - gap);
}
