#include "trainer/kernels/kern_gelu.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include "trainer/kernels/kern_avx2_priv.h"

/* 2u = x (LINEAR_TERM + CUBIC_TERM x^2): 2 sqrt(2/pi), and 0.044715 times that. */
static const float LINEAR_TERM = 1.59576912f;
static const float CUBIC_TERM = 0.0713548128f;

/*
 * Beyond it both forms are 0 or x in float32; held inside it, no infinity meets a 0.
 * In min and max the bound is the first operand: they return the second if one is NaN.
 */
static const float BOUND = 13.0f;

static inline __m256 hold(__m256 x)
{
    return _mm256_max_ps(_mm256_set1_ps(-BOUND), _mm256_min_ps(_mm256_set1_ps(BOUND), x));
}

/*
 * x s, and its derivative s + x s (1 - s) (2u)', with s = sigmoid(2u). 1 - s is s exp(-2u):
 * the difference would lose what x (2u)' then magnifies.
 */
static inline __m256 tanh_gelu(__m256 x, __m256 *slope_out)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 held = hold(x);
    const __m256 squared = _mm256_mul_ps(held, held);
    const __m256 factor =
        _mm256_fnmadd_ps(squared, _mm256_set1_ps(CUBIC_TERM), _mm256_set1_ps(-LINEAR_TERM));
    const __m256 e = vec_exp(_mm256_mul_ps(held, factor));
    const __m256 s = _mm256_div_ps(one, _mm256_add_ps(one, e));
    const __m256 argument_slope =
        _mm256_fmadd_ps(squared, _mm256_set1_ps(3.0f * CUBIC_TERM), _mm256_set1_ps(LINEAR_TERM));
    const __m256 s_slope = _mm256_mul_ps(s, _mm256_mul_ps(s, e));

    *slope_out = _mm256_fmadd_ps(_mm256_mul_ps(held, argument_slope), s_slope, s);
    return _mm256_mul_ps(_mm256_max_ps(_mm256_set1_ps(-BOUND), x), s);
}

/*
 * Q(a) = 1 - Phi(a) for 0 <= a <= BOUND and the normal density at a.
 * M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 1964, 26.2.17:
 * the error of Q is below 7.5e-8 and falls with the density.
 */
static inline __m256 normal_tail(__m256 a, __m256 *density_out)
{
    const __m256 half_square = _mm256_mul_ps(a, _mm256_mul_ps(a, _mm256_set1_ps(-0.5f)));
    const __m256 density = _mm256_mul_ps(vec_exp(half_square), _mm256_set1_ps(0.398942280f));
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(a, _mm256_set1_ps(0.2316419f), one));
    __m256 p = _mm256_set1_ps(1.330274429f);
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-1.821255978f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(1.781477937f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-0.356563782f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(0.319381530f));
    *density_out = density;
    return _mm256_mul_ps(_mm256_mul_ps(p, t), density);
}

/*
 * x Phi(x) = max(x, 0) - |x| Q(|x|), without cancellation on either side, and its derivative
 * Phi(x) + x phi(x).
 */
static inline __m256 erf_gelu(__m256 x, __m256 *slope_out)
{
    const __m256 held = hold(x);
    const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), held);
    __m256 density;
    const __m256 tail = normal_tail(magnitude, &density);
    const __m256 cumulative =
        _mm256_blendv_ps(_mm256_sub_ps(_mm256_set1_ps(1.0f), tail), tail, held);

    *slope_out = _mm256_fmadd_ps(held, density, cumulative);
    return _mm256_fnmadd_ps(magnitude, tail, _mm256_max_ps(_mm256_setzero_ps(), x));
}

/* `is_tanh` and `has_slope` are constants where this is inlined. */
static inline __attribute__((always_inline)) void
gelu_rows(float *y, float *slope, const float *x, int64_t count, bool is_tanh, bool has_slope)
{
    const int64_t whole = count / LANES * LANES;
    const __m256i rest = vec_mask(count - whole);
    __m256 derivative;

    for (int64_t i = 0; i < whole; i += LANES) {
        const __m256 at = _mm256_loadu_ps(x + i);
        _mm256_storeu_ps(y + i, is_tanh ? tanh_gelu(at, &derivative) : erf_gelu(at, &derivative));
        if (has_slope) {
            _mm256_storeu_ps(slope + i, derivative);
        }
    }
    if (whole < count) {
        const __m256 at = _mm256_maskload_ps(x + whole, rest);
        _mm256_maskstore_ps(y + whole, rest,
                            is_tanh ? tanh_gelu(at, &derivative) : erf_gelu(at, &derivative));
        if (has_slope) {
            _mm256_maskstore_ps(slope + whole, rest, derivative);
        }
    }
}

void kern_gelu_avx2(float *y, float *slope, const float *x, int64_t count, enum kern_gelu form)
{
    assert(form != KERN_GELU_NONE);
    if (form == KERN_GELU_TANH && slope != NULL) {
        gelu_rows(y, slope, x, count, true, true);
    } else if (form == KERN_GELU_TANH) {
        gelu_rows(y, NULL, x, count, true, false);
    } else if (slope != NULL) {
        gelu_rows(y, slope, x, count, false, true);
    } else {
        gelu_rows(y, NULL, x, count, false, false);
    }
}
