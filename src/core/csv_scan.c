/* csv_scan: see csv_scan.h. */
#include "core/csv_scan.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { BLOCK = 64 };

/* What separates fields and rows. */
struct marks {
    char delimiter;
    char carriage_return; /* CR, or LF where the text has none */
};

/* One way to look at whole blocks. `places` lists their separators at `out`, with `base` added, and
 * gives the end of the list. */
struct path {
    const char *name;
    void (*survey)(const char *text, size_t blocks, struct csv_survey *survey);
    uint16_t *(*places)(const char *text, size_t blocks, struct marks marks, uint32_t base,
                        uint16_t *out);
};

/* List the bits of a mask, eight at a time whether there are so many or not: to stop at the last
 * would cost a wrong guess of the processor for each block. */
__attribute__((always_inline)) static inline uint16_t *list_bits(uint16_t *out, uint64_t mask,
                                                                 uint32_t base)
{
    uint16_t *end = out + __builtin_popcountll(mask);

    do {
        for (int i = 0; i < 8; i++) {
            out[i] = (uint16_t)(base + (uint32_t)__builtin_ctzll(mask | UINT64_C(1) << 63));
            mask &= mask - 1;
        }
        out += 8;
    } while (mask != 0);
    return end;
}

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

    for (int i = 0; i < BLOCK / 8; i++) {
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

    for (; blocks > 0; blocks--, text += BLOCK) {
        uint64_t returns = equal_bits(text, '\r');

        COUNT_LINES(survey->lines, equal_bits(text, '\n'), returns, after);
        survey->carriage_return |= returns != 0;
        survey->quote |= memchr(text, '"', BLOCK) != NULL;
        survey->nul |= memchr(text, 0, BLOCK) != NULL;
    }
    survey->after_return = after != 0;
}

static uint16_t *places_portable(const char *text, size_t blocks, struct marks marks, uint32_t base,
                                 uint16_t *out)
{
    for (; blocks > 0; blocks--, text += BLOCK, base += BLOCK) {
        uint64_t mask = equal_bits(text, marks.delimiter) | equal_bits(text, '\n');

        if (marks.carriage_return != '\n')
            mask |= equal_bits(text, marks.carriage_return);
        out = list_bits(out, mask, base);
    }
    return out;
}

static const struct path portable = {"portable", survey_portable, places_portable};

/* ---- AVX2 and AVX-512 ---- */

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2,bmi,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi2,bmi,popcnt")))

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

    for (; blocks > 0; blocks--, text += BLOCK) {
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

AVX2 static uint16_t *places_avx2(const char *text, size_t blocks, struct marks marks,
                                  uint32_t base, uint16_t *out)
{
    for (; blocks > 0; blocks--, text += BLOCK, base += BLOCK) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)text);
        __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(text + 32));
        uint64_t mask = equal_avx2(low, high, marks.delimiter) | equal_avx2(low, high, '\n');

        if (marks.carriage_return != '\n')
            mask |= equal_avx2(low, high, marks.carriage_return);
        out = list_bits(out, mask, base);
    }
    return out;
}

AVX512 static void survey_avx512(const char *text, size_t blocks, struct csv_survey *survey)
{
    const __m512i feed = _mm512_set1_epi8('\n');
    const __m512i back = _mm512_set1_epi8('\r');
    const __m512i quote = _mm512_set1_epi8('"');
    uint64_t any_return = 0, any_quote = 0, any_nul = 0, after = survey->after_return;

    for (; blocks > 0; blocks--, text += BLOCK) {
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

/* The numbers 0..63 are squeezed by the mask, which leaves the list. */
AVX512 static uint16_t *places_avx512(const char *text, size_t blocks, struct marks marks,
                                      uint32_t base, uint16_t *out)
{
    const __m512i comma = _mm512_set1_epi8(marks.delimiter);
    const __m512i feed = _mm512_set1_epi8('\n');
    const __m512i back = _mm512_set1_epi8(marks.carriage_return);
    const __m512i count = _mm512_set_epi8(
        63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41,
        40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18,
        17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);

    for (; blocks > 0; blocks--, text += BLOCK, base += BLOCK) {
        __m512i block = _mm512_loadu_si512(text);
        __m512i first = _mm512_set1_epi16((short)base);
        uint64_t mask = _mm512_cmpeq_epi8_mask(block, comma) | _mm512_cmpeq_epi8_mask(block, feed) |
                        _mm512_cmpeq_epi8_mask(block, back);
        __m512i list = _mm512_maskz_compress_epi8(mask, count);
        int n = __builtin_popcountll(mask);

        _mm512_storeu_si512(
            out, _mm512_add_epi16(first, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(list))));
        if (n > 32)
            _mm512_storeu_si512(
                out + 32,
                _mm512_add_epi16(first, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(list, 1))));
        out += n;
    }
    return out;
}

static const struct path avx2 = {"avx2", survey_avx2, places_avx2};
static const struct path avx512 = {"avx512", survey_avx512, places_avx512};

#endif

/* ---- the choice ---- */

static const struct path *find_path(const char *name)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2") &&
        (name == NULL || strcmp(name, avx512.name) == 0))
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
    char last[BLOCK];
    size_t whole = n / BLOCK;
    size_t rest = n % BLOCK;

    chosen->survey(text, whole, survey);
    if (rest == 0)
        return;
    memset(last, ' ', sizeof last);
    memcpy(last, text + whole * BLOCK, rest);
    chosen->survey(last, 1, survey);
}

size_t csv_scan_places(const char *text, size_t n, char delimiter, bool carriage_return,
                       uint16_t places[CSV_PLACES])
{
    struct marks marks = {delimiter, carriage_return ? '\r' : '\n'};
    char last[BLOCK];
    size_t whole = n / BLOCK;
    size_t rest = n % BLOCK;
    uint16_t *out = chosen->places(text, whole, marks, 0, places);

    if (rest > 0) {
        memset(last, delimiter == ' ' ? '.' : ' ', sizeof last);
        memcpy(last, text + whole * BLOCK, rest);
        out = chosen->places(last, 1, marks, (uint32_t)(whole * BLOCK), out);
    }
    return (size_t)(out - places);
}
