/* iforest_walk_avx512: taking rows down ranked trees with the tree held in registers.
 *
 * The 255 places of a tree fill eight registers and its 256 leaves four; a level is one register
 * permutation for 32 rows. The cell a place asks for is picked out of the features' registers by
 * the bits of its feature number, or, at the top of the tree where there are few places, out of
 * the features those places name.
 */
#include "core/iforest_rank.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")))
#define INLINE static inline __attribute__((always_inline)) AVX512

/* The places of the top five levels, with place 0; trees whose values are added up together. */
enum { TOP = 32, TREES = 10 };

/* A tree as the loop over rows wants it. */
struct held {
    __m512i places[8];
    const uint16_t *const *top; /* [TOP]: the keys of the feature that a top place asks for */
};

INLINE __m512i load(const uint16_t *keys)
{
    return _mm512_loadu_si512(keys);
}

/* The places that 32 rows stand at, on this level. Only the low bits of `at` count in a
 * permutation, so the leading 1 of a place's number falls away by itself. */
INLINE __m512i places_at(const struct held *h, int level, __m512i at)
{
    __m512i a;
    __m512i b;

    if (level < 5)
        return _mm512_permutexvar_epi16(at, h->places[0]);
    if (level == 5)
        return _mm512_permutexvar_epi16(at, h->places[1]);
    if (level == 6)
        return _mm512_permutex2var_epi16(h->places[2], at, h->places[3]);
    a = _mm512_permutex2var_epi16(h->places[4], at, h->places[5]);
    b = _mm512_permutex2var_epi16(h->places[6], at, h->places[7]);
    return _mm512_mask_blend_epi16(_mm512_test_epi16_mask(at, _mm512_set1_epi16(64)), a, b);
}

/* The keys of features f, f + 1, ... by the bits of the feature number; `n` features there are,
 * a constant once inlined. */
INLINE __m512i pick2(const uint16_t *keys, int f, int n, const __mmask32 *bit)
{
    __m512i a = load(keys + f * RANK_BLOCK);

    return f + 1 < n ? _mm512_mask_blend_epi16(bit[0], a, load(keys + (f + 1) * RANK_BLOCK)) : a;
}

INLINE __m512i pick4(const uint16_t *keys, int f, int n, const __mmask32 *bit)
{
    __m512i a = pick2(keys, f, n, bit);

    return f + 2 < n ? _mm512_mask_blend_epi16(bit[1], a, pick2(keys, f + 2, n, bit)) : a;
}

INLINE __m512i pick8(const uint16_t *keys, int f, int n, const __mmask32 *bit)
{
    __m512i a = pick4(keys, f, n, bit);

    return f + 4 < n ? _mm512_mask_blend_epi16(bit[2], a, pick4(keys, f + 4, n, bit)) : a;
}

INLINE __m512i pick16(const uint16_t *keys, int f, int n, const __mmask32 *bit)
{
    __m512i a = pick8(keys, f, n, bit);

    return f + 8 < n ? _mm512_mask_blend_epi16(bit[3], a, pick8(keys, f + 8, n, bit)) : a;
}

INLINE __m512i pick32(const uint16_t *keys, int f, int n, const __mmask32 *bit)
{
    __m512i a = pick16(keys, f, n, bit);

    return f + 16 < n ? _mm512_mask_blend_epi16(bit[4], a, pick16(keys, f + 16, n, bit)) : a;
}

INLINE __m512i pick64(const uint16_t *keys, int n, const __mmask32 *bit)
{
    __m512i a = pick32(keys, 0, n, bit);

    return 32 < n ? _mm512_mask_blend_epi16(bit[5], a, pick32(keys, 32, n, bit)) : a;
}

/* The keys that 32 rows are asked for by the places they stand at. */
INLINE __m512i keys_by_feature(const uint16_t *keys, int n, __m512i places)
{
    __mmask32 bit[6] = {0};

    for (int b = 0; b < 6 && 1 << b < n; b++)
        bit[b] = _mm512_test_epi16_mask(places, _mm512_set1_epi16((short)(1 << b)));
    return pick64(keys, n, bit);
}

/* The same by the way the rows came: `way` holds the turns of the levels above. */
INLINE __m512i keys_by_way1(const struct held *h, size_t r, int p, __mmask32 turn)
{
    return _mm512_mask_blend_epi16(turn, load(h->top[p] + r), load(h->top[p + 1] + r));
}

INLINE __m512i keys_by_way2(const struct held *h, size_t r, int p, const __mmask32 *turns)
{
    return _mm512_mask_blend_epi16(turns[0], keys_by_way1(h, r, p, turns[1]),
                                   keys_by_way1(h, r, p + 2, turns[1]));
}

INLINE __m512i keys_by_way3(const struct held *h, size_t r, int p, const __mmask32 *turns)
{
    return _mm512_mask_blend_epi16(turns[0], keys_by_way2(h, r, p, turns + 1),
                                   keys_by_way2(h, r, p + 4, turns + 1));
}

INLINE __m512i keys_by_way4(const struct held *h, size_t r, const __mmask32 *turns)
{
    return _mm512_mask_blend_epi16(turns[0], keys_by_way3(h, r, 16, turns + 1),
                                   keys_by_way3(h, r, 24, turns + 1));
}

/* Which of the two costs fewer blends. */
INLINE __m512i keys_at(const struct held *h, const uint16_t *keys, int n, size_t r, int level,
                       __m512i places, const __mmask32 *turns)
{
    if (level == 0)
        return load(h->top[1] + r);
    if (level == 1)
        return keys_by_way1(h, r, 2, turns[0]);
    if (level == 2)
        return keys_by_way2(h, r, 4, turns);
    if (level == 3 && n >= 8)
        return keys_by_way3(h, r, 8, turns);
    if (level == 4 && n >= 16)
        return keys_by_way4(h, r, turns);
    return keys_by_feature(keys + r, n, places);
}

/* One level down for 32 rows. */
INLINE __m512i down(const struct held *h, const uint16_t *keys, int n, size_t r, int level,
                    __m512i at, __mmask32 *turns)
{
    const __m512i one = _mm512_set1_epi16(1);
    __m512i places = places_at(h, level, at);
    __m512i cells = keys_at(h, keys, n, r, level, places, turns);

    turns[level] = _mm512_cmpgt_epu16_mask(cells, places);
    at = _mm512_add_epi16(at, at);
    return _mm512_mask_add_epi16(at, turns[level], at, one);
}

/* The leaf places, 0..255, that rows r..r+63 come to: two runs of 32 side by side, because a level
 * has to wait for the one above it. */
INLINE __m512i leaves_of(const struct held *h, const uint16_t *keys, int n, size_t r)
{
    __m512i low = _mm512_set1_epi16(1);
    __m512i high = low;
    __mmask32 turns_low[RANK_LEVELS];
    __mmask32 turns_high[RANK_LEVELS];

#pragma GCC unroll 8
    for (int level = 0; level < RANK_LEVELS; level++) {
        low = down(h, keys, n, r, level, low, turns_low);
        high = down(h, keys, n, r + 32, level, high, turns_high);
    }
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(low)),
                              _mm512_cvtepi16_epi8(high), 1);
}

/* The numbers of the values that 64 rows get, dealt out so that byte q of word i is row 8 q + i. */
INLINE __m512i values_of(const __m512i *leaves, __m512i at)
{
    const __m512i deal = _mm512_set_epi64(
        0x3f372f271f170f07, 0x3e362e261e160e06, 0x3d352d251d150d05, 0x3c342c241c140c04,
        0x3b332b231b130b03, 0x3a322a221a120a02, 0x3931292119110901, 0x3830282018100800);
    __m512i a;
    __m512i b;

    at = _mm512_permutexvar_epi8(deal, at);
    a = _mm512_permutex2var_epi8(leaves[0], at, leaves[1]);
    b = _mm512_permutex2var_epi8(leaves[2], at, leaves[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), a, b);
}

/* The values of 8 rows: numbers' lowest bytes, of a tree with up to 32 values. */
INLINE __m512d value_of(const __m512d *values, __m512i numbers)
{
    __m512d a = _mm512_permutex2var_pd(values[0], numbers, values[1]);
    __m512d b = _mm512_permutex2var_pd(values[2], numbers, values[3]);

    return _mm512_mask_blend_pd(_mm512_test_epi64_mask(numbers, _mm512_set1_epi64(16)), a, b);
}

/* The same of a tree with more. */
INLINE __m512d value_listed(const double *values, __m512i numbers)
{
    return _mm512_i64gather_pd(_mm512_and_si512(numbers, _mm512_set1_epi64(255)), values, 8);
}

/* Add what a few trees give to the sums of 64 rows, which stay in registers meanwhile. The numbers
 * of tree t lie at numbers + t * RANK_BLOCK. */
INLINE void add_values(const struct rank_tree *trees, size_t n_trees, const uint8_t *numbers,
                       double *sums)
{
    __m512d sum[8];

#pragma GCC unroll 8
    for (int q = 0; q < 8; q++)
        sum[q] = _mm512_loadu_pd(sums + 8 * q);
    for (size_t t = 0; t < n_trees; t++) {
        const double *list = trees[t].values;
        const __m512d values[4] = {_mm512_loadu_pd(list), _mm512_loadu_pd(list + 8),
                                   _mm512_loadu_pd(list + 16), _mm512_loadu_pd(list + 24)};
        __m512i i = _mm512_loadu_si512(numbers + t * RANK_BLOCK);

        if (trees[t].n_values <= 32) {
#pragma GCC unroll 8
            for (int q = 0; q < 8; q++)
                sum[q] = _mm512_add_pd(sum[q],
                                       value_of(values, _mm512_srli_epi64(i, (unsigned)(8 * q))));
        } else {
#pragma GCC unroll 8
            for (int q = 0; q < 8; q++)
                sum[q] = _mm512_add_pd(sum[q],
                                       value_listed(list, _mm512_srli_epi64(i, (unsigned)(8 * q))));
        }
    }
#pragma GCC unroll 8
    for (int q = 0; q < 8; q++)
        _mm512_storeu_pd(sums + 8 * q, sum[q]);
}

/* The numbers of the values that one tree gives to a block of rows. */
INLINE void walk_tree(const struct rank_tree *tree, uint16_t mask, const uint16_t *keys, size_t n,
                      int features, uint8_t *numbers)
{
    const uint16_t *top[TOP];
    struct held h = {.top = top};
    __m512i leaves[4];

    for (int p = 1; p < TOP; p++)
        top[p] = keys + (size_t)(tree->places[p] & mask) * RANK_BLOCK;
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        h.places[i] = _mm512_load_si512(tree->places + 32 * i);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        leaves[i] = _mm512_loadu_si512(tree->leaves + 64 * i);
    for (size_t r = 0; r < n; r += 64)
        _mm512_storeu_si512(numbers + r, values_of(leaves, leaves_of(&h, keys, features, r)));
}

/* All trees for a block whose forest splits on at most `features` features, a constant. */
INLINE void walk(const struct rank_group *g, const uint16_t *keys, size_t n, double *sums,
                 int features)
{
    uint8_t numbers[TREES * RANK_BLOCK];

    for (size_t t = 0; t < g->n_trees; t += TREES) {
        size_t few = g->n_trees - t < TREES ? g->n_trees - t : TREES;

        for (size_t k = 0; k < few; k++)
            walk_tree(&g->trees[t + k], (uint16_t)((1 << g->bits) - 1), keys, n, features,
                      numbers + k * RANK_BLOCK);
        for (size_t r = 0; r < n; r += 64)
            add_values(&g->trees[t], few, numbers + r, sums + r);
    }
}

/* 16 cells as the forest sees them. */
INLINE __m512 cells_of(const double *cells, double median)
{
    const __m512d most = _mm512_set1_pd(0x1.fffffep+127);
    const __m512d least = _mm512_set1_pd(-0x1.fffffep+127);
    __m256 half[2];

#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        __m512d v = _mm512_loadu_pd(cells + 8 * i);
        __mmask8 missing = _mm512_cmp_pd_mask(v, v, _CMP_UNORD_Q);

        v = _mm512_mask_blend_pd(missing, v, _mm512_set1_pd(median));
        v = _mm512_max_pd(_mm512_min_pd(v, most), least);
        half[i] = _mm512_cvtpd_ps(v);
    }
    return _mm512_insertf32x8(_mm512_castps256_ps512(half[0]), half[1], 1);
}

/* rank_place for 16 cells. min and max give their second operand where the first is not less or
 * greater, as the comparisons there do. */
INLINE __m512i places_of(const struct rank_feature *f, __m512 x)
{
    const __m512 lo = _mm512_set1_ps(f->lo);
    __m512 t = _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(f->hi)), lo);

    t = _mm512_mul_ps(_mm512_sub_ps(t, lo), _mm512_set1_ps(f->scale));
    return _mm512_cvttps_epi32(_mm512_min_ps(t, _mm512_set1_ps(f->last)));
}

AVX512 void iforest_rank_keys_avx512(const struct rank_feature *f, unsigned bits,
                                     const double *cells, size_t n, uint16_t *keys)
{
    const __m128i shift = _mm_cvtsi32_si128((int)bits);
    size_t r = 0;

    for (; r + 16 <= n; r += 16) {
        __m512 x = cells_of(cells + r, f->median);
        __m512i at = _mm512_i32gather_epi32(places_of(f, x), f->base, 2);

        at = _mm512_and_si512(at, _mm512_set1_epi32(0xffff));
        for (uint32_t step = (uint32_t)1 << f->steps >> 1; step > 0; step >>= 1) {
            __m512 g = _mm512_i32gather_ps(at, f->at + step - 1, 4);

            at = _mm512_mask_add_epi32(at, _mm512_cmp_ps_mask(g, x, _CMP_LT_OQ), at,
                                       _mm512_set1_epi32((int)step));
        }
        _mm256_storeu_si256((__m256i *)(keys + r),
                            _mm512_cvtepi32_epi16(_mm512_sll_epi32(at, shift)));
    }
    iforest_rank_keys(f, bits, cells + r, n - r, keys + r);
}

#define WALK(features)                                                                             \
    static AVX512 void walk_##features(const struct rank_group *g, const uint16_t *keys, size_t n, \
                                       double *sums)                                               \
    {                                                                                              \
        walk(g, keys, n, sums, features);                                                          \
    }
RANK_WIDTHS(WALK)

#define ENTRY(features) {features, walk_##features},

void iforest_walk_avx512(const struct rank_group *g, const uint16_t *keys, size_t n, double *sums)
{
    static const struct {
        size_t features;
        iforest_walk *walk;
    } walks[] = {RANK_WIDTHS(ENTRY)};
    int i = 0;

    while (walks[i].features < g->n_features)
        i++;
    walks[i].walk(g, keys, n, sums);
}

#endif
