/* iforest_walk_avx2: taking rows down ranked trees with byte shuffles.
 *
 * AVX2 can look up 16 bytes at once for 32 rows, so 16-bit places and keys are split into a plane of
 * low and one of high bytes, and a table of more than 16 bytes is looked up in pieces, of which the
 * higher bits of the index choose one. (Its gathers are slower than plain loads.)
 */
#include "core/iforest_rank.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline)) AVX2

enum { ROWS = 32 };

/* The keys of a block and the places of a tree in planes of bytes. */
struct planes {
    uint8_t low[RANK_FEATURES * RANK_BLOCK];
    uint8_t high[RANK_FEATURES * RANK_BLOCK];
    uint8_t place_low[256];
    uint8_t place_high[256];
};

/* Every byte's bit b moved to its top, where a blend looks for it. */
INLINE __m256i to_top(__m256i bytes, int b)
{
    return _mm256_slli_epi16(bytes, 7 - b);
}

INLINE __m256i look16(const uint8_t *table, __m256i index)
{
    __m256i piece = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));

    return _mm256_shuffle_epi8(piece, index);
}

/* A table of 32, 64, 128 or 256 bytes: top[b] has the index's bit b at the top. */
INLINE __m256i look32(const uint8_t *table, __m256i index, const __m256i *top)
{
    return _mm256_blendv_epi8(look16(table, index), look16(table + 16, index), top[4]);
}

INLINE __m256i look64(const uint8_t *table, __m256i index, const __m256i *top)
{
    return _mm256_blendv_epi8(look32(table, index, top), look32(table + 32, index, top), top[5]);
}

INLINE __m256i look128(const uint8_t *table, __m256i index, const __m256i *top)
{
    return _mm256_blendv_epi8(look64(table, index, top), look64(table + 64, index, top), top[6]);
}

INLINE __m256i look256(const uint8_t *table, __m256i index, const __m256i *top)
{
    return _mm256_blendv_epi8(look128(table, index, top), look128(table + 128, index, top), top[7]);
}

/* The bytes of one plane of the places that rows stand at: `at` counts within the level. */
INLINE __m256i place_bytes(const uint8_t *plane, int level, __m256i at, const __m256i *top)
{
    __m256i index = _mm256_and_si256(at, _mm256_set1_epi8(15));

    if (level < 4)
        return look16(plane, _mm256_or_si256(index, _mm256_set1_epi8((char)(1 << level))));
    if (level == 4)
        return look16(plane + 16, index);
    if (level == 5)
        return look32(plane + 32, index, top);
    if (level == 6)
        return look64(plane + 64, index, top);
    return look128(plane + 128, index, top);
}

/* The bytes of one plane of the keys of features f, f + 1, ...; `n` features, a constant once
 * inlined; bit[b] has the feature number's bit b at the top. */
INLINE __m256i pick2(const uint8_t *plane, int f, int n, const __m256i *bit)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)(plane + f * RANK_BLOCK));
    const __m256i *b = (const __m256i *)(plane + (f + 1) * RANK_BLOCK);

    return f + 1 < n ? _mm256_blendv_epi8(a, _mm256_loadu_si256(b), bit[0]) : a;
}

INLINE __m256i pick4(const uint8_t *plane, int f, int n, const __m256i *bit)
{
    __m256i a = pick2(plane, f, n, bit);

    return f + 2 < n ? _mm256_blendv_epi8(a, pick2(plane, f + 2, n, bit), bit[1]) : a;
}

INLINE __m256i pick8(const uint8_t *plane, int f, int n, const __m256i *bit)
{
    __m256i a = pick4(plane, f, n, bit);

    return f + 4 < n ? _mm256_blendv_epi8(a, pick4(plane, f + 4, n, bit), bit[2]) : a;
}

INLINE __m256i pick16(const uint8_t *plane, int f, int n, const __m256i *bit)
{
    __m256i a = pick8(plane, f, n, bit);

    return f + 8 < n ? _mm256_blendv_epi8(a, pick8(plane, f + 8, n, bit), bit[3]) : a;
}

INLINE __m256i pick32(const uint8_t *plane, int f, int n, const __m256i *bit)
{
    __m256i a = pick16(plane, f, n, bit);

    return f + 16 < n ? _mm256_blendv_epi8(a, pick16(plane, f + 16, n, bit), bit[4]) : a;
}

INLINE __m256i pick64(const uint8_t *plane, int n, const __m256i *bit)
{
    __m256i a = pick32(plane, 0, n, bit);

    return 32 < n ? _mm256_blendv_epi8(a, pick32(plane, 32, n, bit), bit[5]) : a;
}

/* 0 in every byte whose 16-bit key is greater than its place, -1 in the others. */
INLINE __m256i not_above(__m256i key_low, __m256i key_high, __m256i low, __m256i high)
{
    __m256i equal = _mm256_cmpeq_epi8(key_high, high);
    __m256i above = _mm256_or_si256(_mm256_subs_epu8(key_high, high),
                                    _mm256_and_si256(equal, _mm256_subs_epu8(key_low, low)));

    return _mm256_cmpeq_epi8(above, _mm256_setzero_si256());
}

/* One level down for 32 rows from r on. */
INLINE __m256i down(const struct planes *p, int n, size_t r, int level, __m256i at)
{
    __m256i top[8];
    __m256i bit[6];
    __m256i high;
    __m256i left;
    __m256i low;

#pragma GCC unroll 8
    for (int b = 4; b < level; b++)
        top[b] = to_top(at, b);
    low = place_bytes(p->place_low, level, at, top);
    high = place_bytes(p->place_high, level, at, top);
    for (int b = 0; b < 6 && 1 << b < n; b++)
        bit[b] = to_top(low, b);
    left = not_above(pick64(p->low + r, n, bit), pick64(p->high + r, n, bit), low, high);
    return _mm256_add_epi8(_mm256_add_epi8(at, at), _mm256_add_epi8(left, _mm256_set1_epi8(1)));
}

/* Take 32 rows down a tree and add what it gives. */
INLINE void walk_rows(const struct planes *p, const struct rank_tree *tree, int n, size_t r,
                      double *sums)
{
    __m256i at = _mm256_setzero_si256();
    __m256i top[8];
    uint8_t numbers[ROWS];

#pragma GCC unroll 8
    for (int level = 0; level < RANK_LEVELS; level++)
        at = down(p, n, r, level, at);
#pragma GCC unroll 8
    for (int b = 4; b < 8; b++)
        top[b] = to_top(at, b);
    at = look256(tree->leaves, _mm256_and_si256(at, _mm256_set1_epi8(15)), top);
    _mm256_storeu_si256((__m256i *)numbers, at);
    for (int i = 0; i < ROWS; i++)
        sums[i] += tree->values[numbers[i]];
}

INLINE void walk(const struct rank_group *g, size_t n, double *sums, struct planes *p, int features)
{
    for (size_t t = 0; t < g->n_trees; t++) {
        for (int i = 0; i < 256; i++) {
            p->place_low[i] = (uint8_t)g->trees[t].places[i];
            p->place_high[i] = (uint8_t)(g->trees[t].places[i] >> 8);
        }
        for (size_t r = 0; r < n; r += ROWS)
            walk_rows(p, &g->trees[t], features, r, sums + r);
    }
}

typedef void walk_planes(const struct rank_group *g, size_t n, double *sums, struct planes *p);

#define WALK(features)                                                                             \
    static AVX2 void walk_##features(const struct rank_group *g, size_t n, double *sums,           \
                                     struct planes *p)                                             \
    {                                                                                              \
        walk(g, n, sums, p, features);                                                             \
    }
RANK_WIDTHS(WALK)

#define ENTRY(features) {features, walk_##features},

void iforest_walk_avx2(const struct rank_group *g, const uint16_t *keys, size_t n, double *sums)
{
    static const struct {
        size_t features;
        walk_planes *walk;
    } walks[] = {RANK_WIDTHS(ENTRY)};
    struct planes p;
    int i = 0;

    for (size_t f = 0; f < g->n_features; f++) {
        for (size_t r = 0; r < n; r++) {
            p.low[f * RANK_BLOCK + r] = (uint8_t)keys[f * RANK_BLOCK + r];
            p.high[f * RANK_BLOCK + r] = (uint8_t)(keys[f * RANK_BLOCK + r] >> 8);
        }
    }
    while (walks[i].features < g->n_features)
        i++;
    walks[i].walk(g, n, sums, &p);
}

#endif
