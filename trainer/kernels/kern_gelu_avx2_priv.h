/*
 * trainer/kernels/kern_gelu_avx2_priv.h - GELU and its derivative on eight floats.
 *
 * Shared by the element-wise functions and by what follows a matrix product, so that
 * both give the same bits. Only files compiled with -mavx2 -mfma include this.
 */
#ifndef TRAINER_KERNELS_KERN_GELU_AVX2_PRIV_H
#define TRAINER_KERNELS_KERN_GELU_AVX2_PRIV_H

#include "trainer/kernels/kern_avx2_priv.h"

/* 2u = x (A + B x^2): A = 2 sqrt(2/pi), B = 0.044715 A. */
#define VEC_GELU_A 1.59576912f
#define VEC_GELU_B 0.0713548128f

/*
 * Beyond it both forms are 0 or x in float32; held inside it, no infinity meets a 0.
 * In min and max the bound is the first operand: they return the second if one is NaN.
 */
#define VEC_GELU_BOUND 13.0f

static inline __m256 vec_gelu_bound(__m256 x)
{
    return _mm256_max_ps(_mm256_set1_ps(-VEC_GELU_BOUND),
                         _mm256_min_ps(_mm256_set1_ps(VEC_GELU_BOUND), x));
}

/* exp(-2u) */
static inline __m256 vec_gelu_tanh_exp(__m256 x, __m256 x_squared)
{
    const __m256 factor =
        _mm256_fnmadd_ps(x_squared, _mm256_set1_ps(VEC_GELU_B), _mm256_set1_ps(-VEC_GELU_A));
    return vec_exp(_mm256_mul_ps(x, factor));
}

static inline __m256 vec_gelu_tanh(__m256 x)
{
    const __m256 held = _mm256_max_ps(_mm256_set1_ps(-VEC_GELU_BOUND), x);
    const __m256 e = vec_gelu_tanh_exp(held, _mm256_mul_ps(held, held));
    return _mm256_div_ps(held, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

/*
 * s + x s (1 - s) (2u)' with s = sigmoid(2u). 1 - s is s exp(-2u): the difference would
 * lose what x (2u)' then magnifies.
 */
static inline __m256 vec_gelu_tanh_slope(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 held = vec_gelu_bound(x);
    const __m256 squared = _mm256_mul_ps(held, held);
    const __m256 e = vec_gelu_tanh_exp(held, squared);
    const __m256 s = _mm256_div_ps(one, _mm256_add_ps(one, e));
    const __m256 argument_slope =
        _mm256_fmadd_ps(squared, _mm256_set1_ps(3.0f * VEC_GELU_B), _mm256_set1_ps(VEC_GELU_A));
    const __m256 s_slope = _mm256_mul_ps(s, _mm256_mul_ps(s, e));
    return _mm256_fmadd_ps(_mm256_mul_ps(held, argument_slope), s_slope, s);
}

/*
 * Q(a) = 1 - Phi(a) for 0 <= a <= VEC_GELU_BOUND and the normal density at a.
 * M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 1964, 26.2.17:
 * the error of Q is below 7.5e-8 and falls with the density.
 */
static inline __m256 vec_normal_tail(__m256 a, __m256 *density_out)
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

static inline __m256 vec_magnitude(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

/* x Phi(x) = max(x, 0) - |x| Q(|x|), without cancellation on either side. */
static inline __m256 vec_gelu_erf(__m256 x)
{
    const __m256 magnitude = vec_magnitude(vec_gelu_bound(x));
    __m256 density;
    const __m256 tail = vec_normal_tail(magnitude, &density);
    return _mm256_fnmadd_ps(magnitude, tail, _mm256_max_ps(_mm256_setzero_ps(), x));
}

/* Phi(x) + x phi(x) */
static inline __m256 vec_gelu_erf_slope(__m256 x)
{
    const __m256 held = vec_gelu_bound(x);
    __m256 density;
    const __m256 tail = vec_normal_tail(vec_magnitude(held), &density);
    const __m256 cumulative =
        _mm256_blendv_ps(_mm256_sub_ps(_mm256_set1_ps(1.0f), tail), tail, held);
    return _mm256_fmadd_ps(held, density, cumulative);
}

#endif
