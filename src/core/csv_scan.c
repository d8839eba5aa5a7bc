/* csv_scan: see csv_scan.h. */
#include "core/csv_scan.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* One way to look at whole blocks. */
struct path {
    const char *name;
    void (*survey)(const char *text, size_t blocks, struct csv_survey *survey);
    void (*masks)(const char *text, size_t blocks, char delimiter, bool carriage_return,
                  uint64_t *masks);
};

/* Count the line ends of a block; `after` tells whether the block before ended with CR. */
#define COUNT_LINES(lines, feeds, returns, after)                                                  \
    do {                                                                                           \
        (lines) += (size_t)(__builtin_popcountll((feeds) & ~((returns) << 1 | (after))) +          \
                            __builtin_popcountll(returns));                                        \
        (after) = (returns) >> 63;                                                                 \
    } while (0)

/* ---- plain C: eight bytes at a time ---- */

#define BYTES(x) (UINT64_C(0x0101010101010101) * (uint8_t)(x))

/* Bit i of the result: byte i of the word is 0. */
static uint64_t zero_bytes(uint64_t word)
{
    uint64_t low = (word & BYTES(0x7F)) + BYTES(0x7F);
    uint64_t zeros = ~(low | word | BYTES(0x7F));

    return ((zeros >> 7) * UINT64_C(0x0102040810204080)) >> 56;
}

static uint64_t equal_bits(const char *block, char c)
{
    uint64_t bits = 0;

    for (int i = 0; i < CSV_BLOCK / 8; i++) {
        uint64_t word;

        memcpy(&word, block + i * 8, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        bits |= zero_bytes(word ^ BYTES(c)) << (i * 8);
    }
    return bits;
}

static void survey_portable(const char *text, size_t blocks, struct csv_survey *survey)
{
    uint64_t after = survey->after_return;

    for (; blocks > 0; blocks--, text += CSV_BLOCK) {
        uint64_t returns = equal_bits(text, '\r');

        COUNT_LINES(survey->lines, equal_bits(text, '\n'), returns, after);
        survey->carriage_return |= returns != 0;
        survey->quote |= memchr(text, '"', CSV_BLOCK) != NULL;
        survey->nul |= memchr(text, 0, CSV_BLOCK) != NULL;
    }
    survey->after_return = after != 0;
}

static void masks_portable(const char *text, size_t blocks, char delimiter, bool carriage_return,
                           uint64_t *masks)
{
    for (size_t i = 0; i < blocks; i++, text += CSV_BLOCK) {
        masks[i] = equal_bits(text, delimiter) | equal_bits(text, '\n');
        if (carriage_return)
            masks[i] |= equal_bits(text, '\r');
    }
}

static const struct path portable = {"portable", survey_portable, masks_portable};

/* ---- AVX2 and AVX-512 ---- */

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512bw,popcnt")))

AVX2 static inline uint64_t equal_avx2(__m256i low, __m256i high, char c)
{
    __m256i all = _mm256_set1_epi8(c);
    uint32_t a = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, all));
    uint32_t b = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, all));

    return a | (uint64_t)b << 32;
}

AVX2 static void survey_avx2(const char *text, size_t blocks, struct csv_survey *survey)
{
    const __m256i quote = _mm256_set1_epi8('"');
    const __m256i zero = _mm256_setzero_si256();
    __m256i quotes = zero, nuls = zero;
    uint64_t any_return = 0, after = survey->after_return;

    for (; blocks > 0; blocks--, text += CSV_BLOCK) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)text);
        __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(text + 32));
        uint64_t feeds = equal_avx2(low, high, '\n');
        uint64_t returns = equal_avx2(low, high, '\r');

        COUNT_LINES(survey->lines, feeds, returns, after);
        any_return |= returns;
        quotes = _mm256_or_si256(
            quotes, _mm256_or_si256(_mm256_cmpeq_epi8(low, quote), _mm256_cmpeq_epi8(high, quote)));
        nuls = _mm256_or_si256(nuls, _mm256_cmpeq_epi8(_mm256_min_epu8(low, high), zero));
    }
    survey->carriage_return |= any_return != 0;
    survey->after_return = after != 0;
    survey->quote |= _mm256_movemask_epi8(quotes) != 0;
    survey->nul |= _mm256_movemask_epi8(nuls) != 0;
}

AVX2 static void masks_avx2(const char *text, size_t blocks, char delimiter, bool carriage_return,
                            uint64_t *masks)
{
    for (size_t i = 0; i < blocks; i++, text += CSV_BLOCK) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)text);
        __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(text + 32));

        masks[i] = equal_avx2(low, high, delimiter) | equal_avx2(low, high, '\n');
        if (carriage_return)
            masks[i] |= equal_avx2(low, high, '\r');
    }
}

AVX512 static void survey_avx512(const char *text, size_t blocks, struct csv_survey *survey)
{
    const __m512i feed = _mm512_set1_epi8('\n');
    const __m512i back = _mm512_set1_epi8('\r');
    const __m512i quote = _mm512_set1_epi8('"');
    uint64_t any_return = 0, any_quote = 0, any_nul = 0, after = survey->after_return;

    for (; blocks > 0; blocks--, text += CSV_BLOCK) {
        __m512i block = _mm512_loadu_si512(text);
        uint64_t feeds = _mm512_cmpeq_epi8_mask(block, feed);
        uint64_t returns = _mm512_cmpeq_epi8_mask(block, back);

        COUNT_LINES(survey->lines, feeds, returns, after);
        any_return |= returns;
        any_quote |= _mm512_cmpeq_epi8_mask(block, quote);
        any_nul |= _mm512_testn_epi8_mask(block, block);
    }
    survey->carriage_return |= any_return != 0;
    survey->after_return = after != 0;
    survey->quote |= any_quote != 0;
    survey->nul |= any_nul != 0;
}

AVX512 static void masks_avx512(const char *text, size_t blocks, char delimiter,
                                bool carriage_return, uint64_t *masks)
{
    const __m512i comma = _mm512_set1_epi8(delimiter);
    const __m512i feed = _mm512_set1_epi8('\n');
    const __m512i back = _mm512_set1_epi8(carriage_return ? '\r' : '\n');

    for (size_t i = 0; i < blocks; i++, text += CSV_BLOCK) {
        __m512i block = _mm512_loadu_si512(text);

        masks[i] = _mm512_cmpeq_epi8_mask(block, comma) | _mm512_cmpeq_epi8_mask(block, feed) |
                   _mm512_cmpeq_epi8_mask(block, back);
    }
}

static const struct path avx2 = {"avx2", survey_avx2, masks_avx2};
static const struct path avx512 = {"avx512", survey_avx512, masks_avx512};

#endif

/* ---- the choice ---- */

static const struct path *find_path(const char *name)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bw") && (name == NULL || strcmp(name, avx512.name) == 0))
        return &avx512;
    if (__builtin_cpu_supports("avx2") && (name == NULL || strcmp(name, avx2.name) == 0))
        return &avx2;
#endif
    return name == NULL || strcmp(name, portable.name) == 0 ? &portable : NULL;
}

static const struct path *chosen = &portable;

__attribute__((constructor)) static void choose_path(void)
{
    chosen = find_path(NULL);
}

const char *csv_scan_path(const char *name)
{
    const struct path *path = find_path(name);

    if (path == NULL)
        return NULL;
    chosen = path;
    return path->name;
}

void csv_scan_survey(const char *text, size_t n, struct csv_survey *survey)
{
    char last[CSV_BLOCK];
    size_t whole = n / CSV_BLOCK;
    size_t rest = n % CSV_BLOCK;

    chosen->survey(text, whole, survey);
    if (rest == 0)
        return;
    memset(last, ' ', sizeof last);
    memcpy(last, text + whole * CSV_BLOCK, rest);
    chosen->survey(last, 1, survey);
}

void csv_scan_masks(const char *text, size_t n, char delimiter, bool carriage_return,
                    uint64_t *masks)
{
    char last[CSV_BLOCK];
    size_t whole = n / CSV_BLOCK;
    size_t rest = n % CSV_BLOCK;

    chosen->masks(text, whole, delimiter, carriage_return, masks);
    if (rest == 0)
        return;
    memset(last, 0, sizeof last);
    memcpy(last, text + whole * CSV_BLOCK, rest);
    chosen->masks(last, 1, delimiter, carriage_return, masks + whole);
    masks[whole] &= (UINT64_C(1) << rest) - 1;
}
