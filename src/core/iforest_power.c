/* iforest_power: see iforest_power.h.
 *
 * The quick way computes 2^y to about 2^-64 as an unevaluated sum, y = k / 16 + r, |r| <= 1/32: a
 * table for 2^(k/16), a Taylor series for 2^r with its first term carried in two doubles. glibc's
 * pow() errs by at most 0.512 units in the last place (its sources say so), so wherever the exact
 * value is further than 0.015 units from the middle between two doubles, pow() gives the nearest
 * double and so does this; where it is nearer, pow() itself is asked.
 */
#include "core/iforest_power.h"

#include <math.h>

void iforest_power(double *sums, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++)
        sums[i] = -pow(2.0, scale > 0 ? -(sums[i] / scale) : -1.0);
}

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")))
#define INLINE static inline __attribute__((always_inline)) AVX512

/* 2^(i/16), and what the doubles there leave off. */
static const double powers[16] = {
    0x1.0000000000000p+0, 0x1.0b5586cf9890fp+0, 0x1.172b83c7d517bp+0, 0x1.2387a6e756238p+0,
    0x1.306fe0a31b715p+0, 0x1.3dea64c123422p+0, 0x1.4bfdad5362a27p+0, 0x1.5ab07dd485429p+0,
    0x1.6a09e667f3bcdp+0, 0x1.7a11473eb0187p+0, 0x1.8ace5422aa0dbp+0, 0x1.9c49182a3f090p+0,
    0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0, 0x1.ea4afa2a490dap+0,
};
static const double powers_rest[16] = {
    0x0.0p+0,
    0x1.8a62e4adc610bp-54,
    -0x1.19041b9d78a76p-55,
    0x1.9b07eb6c70573p-54,
    0x1.6f46ad23182e4p-55,
    0x1.ada0911f09ebcp-55,
    0x1.d4397afec42e2p-56,
    0x1.6324c054647adp-54,
    -0x1.bdd3413b26456p-54,
    -0x1.41577ee04992fp-55,
    0x1.6e9f156864b27p-54,
    0x1.c7c46b071f2bep-56,
    0x1.7a1cd345dcc81p-54,
    0x1.11065895048ddp-55,
    0x1.2ed02d75b3707p-55,
    -0x1.e9c23179c2893p-54,
};
static const double LN2 = 0x1.62e42fefa39efp-1;
static const double LN2_REST = 0x1.abc9e3b39803fp-56;

INLINE __m512d all(double x)
{
    return _mm512_set1_pd(x);
}

/* e^p - 1 - p for |p| <= ln(2) / 32. */
INLINE __m512d series(__m512d p)
{
    __m512d q = all(1.0 / 362880);

    q = _mm512_fmadd_pd(q, p, all(1.0 / 40320));
    q = _mm512_fmadd_pd(q, p, all(1.0 / 5040));
    q = _mm512_fmadd_pd(q, p, all(1.0 / 720));
    q = _mm512_fmadd_pd(q, p, all(1.0 / 120));
    q = _mm512_fmadd_pd(q, p, all(1.0 / 24));
    q = _mm512_fmadd_pd(q, p, all(1.0 / 6));
    q = _mm512_fmadd_pd(q, p, all(0.5));
    return _mm512_mul_pd(_mm512_mul_pd(p, p), q);
}

/* 2^y; *sure: the lanes that are certain to be what pow() gives. */
INLINE __m512d power(__m512d y, __mmask8 *sure)
{
    __m512d k = _mm512_roundscale_pd(y, 0x40 | _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512d r = _mm512_sub_pd(y, k);
    __m512i i = _mm512_cvtpd_epi64(_mm512_mul_pd(k, all(16)));
    __m512d t = _mm512_permutex2var_pd(_mm512_loadu_pd(powers), i, _mm512_loadu_pd(powers + 8));
    __m512d rest =
        _mm512_permutex2var_pd(_mm512_loadu_pd(powers_rest), i, _mm512_loadu_pd(powers_rest + 8));
    __m512d p = _mm512_mul_pd(r, all(LN2));
    __m512d p_rest = _mm512_fmadd_pd(r, all(LN2_REST), _mm512_fmsub_pd(r, all(LN2), p));
    __m512d first = _mm512_mul_pd(t, p);
    __m512d first_rest = _mm512_fmsub_pd(t, p, first);
    __m512d sum = _mm512_add_pd(t, first);
    __m512d tail = _mm512_sub_pd(first, _mm512_sub_pd(sum, t));
    __m512d margin = _mm512_mul_pd(sum, all(0x1p-58));

    tail = _mm512_add_pd(tail, first_rest);
    tail = _mm512_fmadd_pd(rest, _mm512_add_pd(all(1), p), tail);
    tail = _mm512_fmadd_pd(t, _mm512_add_pd(p_rest, series(p)), tail);
    *sure = _mm512_cmp_pd_mask(_mm512_add_pd(sum, _mm512_add_pd(tail, margin)),
                               _mm512_add_pd(sum, _mm512_sub_pd(tail, margin)), _CMP_EQ_OQ) &
            _mm512_cmp_pd_mask(y, all(-64), _CMP_GT_OQ);
    return _mm512_scalef_pd(_mm512_add_pd(sum, tail), _mm512_cvtepi64_pd(_mm512_srai_epi64(i, 4)));
}

AVX512 void iforest_power_avx512(double *sums, size_t n, double scale)
{
    size_t i = 0;

    for (; scale > 0 && i + 8 <= n; i += 8) {
        double y[8];
        __mmask8 sure;
        __m512d v = _mm512_div_pd(_mm512_loadu_pd(sums + i), all(scale));
        __m512d score;

        v = _mm512_xor_pd(v, all(-0.0));
        _mm512_storeu_pd(y, v);
        score = power(v, &sure);
        _mm512_storeu_pd(sums + i, _mm512_xor_pd(score, all(-0.0)));
        for (unsigned left = 0xffu & ~sure; left != 0; left &= left - 1) {
            int lane = __builtin_ctz(left);

            sums[i + lane] = -pow(2.0, y[lane]);
        }
    }
    iforest_power(sums + i, n - i, scale);
}

#endif
