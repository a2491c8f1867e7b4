/*
 * Optimizer updates, eight parameters a vector, operation for operation what
 * kern_update_portable.c does; the last few elements are left to it.
 */
#include "trainer/kernels/kern_update.h"

#include <math.h>

#include "trainer/kernels/kern_avx2_priv.h"

enum {
    LANES_F64 = 4,
    SUMS = 16, /* as in the portable version */
};

static int64_t whole_of(int64_t count)
{
    return count / LANES * LANES;
}

void kern_add_avx2(float *to, const float *from, int64_t count)
{
    const int64_t whole = whole_of(count);

    for (int64_t i = 0; i < whole; i += LANES) {
        _mm256_storeu_ps(to + i, _mm256_add_ps(_mm256_loadu_ps(to + i), _mm256_loadu_ps(from + i)));
    }
    kern_add_portable(to + whole, from + whole, count - whole);
}

void kern_sum_squares_avx2(double *sum, const float *x, int64_t count)
{
    const int64_t whole = count / SUMS * SUMS;
    __m256d sums[SUMS / LANES_F64] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                                      _mm256_setzero_pd()};
    double spilled[SUMS];

    for (int64_t i = 0; i < whole; i += SUMS) {
        for (int s = 0; s < SUMS / LANES_F64; s++) {
            const __m256d x_s = _mm256_cvtps_pd(_mm_loadu_ps(x + i + s * LANES_F64));
            /* The square of a float is exact in double: fused or not, the sum is the same. */
            sums[s] = _mm256_fmadd_pd(x_s, x_s, sums[s]);
        }
    }
    for (int s = 0; s < SUMS / LANES_F64; s++) {
        _mm256_storeu_pd(spilled + s * LANES_F64, sums[s]);
    }
    for (int64_t i = whole; i < count; i++) {
        spilled[i - whole] += (double)x[i] * x[i];
    }
    for (int half = SUMS / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            spilled[i] += spilled[i + half];
        }
    }
    *sum += spilled[0];
}

void kern_adamw_avx2(float *weight, float *m, float *v, const float *gradient, int64_t count,
                     const struct kern_adamw_args *args)
{
    const int64_t whole = whole_of(count);
    const __m256 keep = _mm256_set1_ps(1.0f - args->learning_rate * args->decay);
    const __m256 beta1 = _mm256_set1_ps(args->beta1), take1 = _mm256_set1_ps(1.0f - args->beta1);
    const __m256 beta2 = _mm256_set1_ps(args->beta2), take2 = _mm256_set1_ps(1.0f - args->beta2);
    const __m256 step = _mm256_set1_ps(args->learning_rate / args->correction1);
    const __m256 root2 = _mm256_set1_ps(sqrtf(args->correction2));
    const __m256 scale = _mm256_set1_ps(args->scale), epsilon = _mm256_set1_ps(args->epsilon);

    for (int64_t i = 0; i < whole; i += LANES) {
        const __m256 g = _mm256_mul_ps(scale, _mm256_loadu_ps(gradient + i));
        const __m256 m_i =
            _mm256_add_ps(_mm256_mul_ps(beta1, _mm256_loadu_ps(m + i)), _mm256_mul_ps(take1, g));
        const __m256 v_i = _mm256_add_ps(_mm256_mul_ps(beta2, _mm256_loadu_ps(v + i)),
                                         _mm256_mul_ps(take2, _mm256_mul_ps(g, g)));
        const __m256 below = _mm256_add_ps(_mm256_div_ps(_mm256_sqrt_ps(v_i), root2), epsilon);
        const __m256 kept = _mm256_mul_ps(keep, _mm256_loadu_ps(weight + i));
        _mm256_storeu_ps(m + i, m_i);
        _mm256_storeu_ps(v + i, v_i);
        _mm256_storeu_ps(weight + i,
                         _mm256_sub_ps(kept, _mm256_mul_ps(step, _mm256_div_ps(m_i, below))));
    }
    kern_adamw_portable(weight + whole, m + whole, v + whole, gradient + whole, count - whole,
                        args);
}

void kern_sgd_avx2(float *weight, float *m, const float *gradient, int64_t count,
                   const struct kern_sgd_args *args)
{
    const int64_t whole = whole_of(count);
    const __m256 scale = _mm256_set1_ps(args->scale), decay = _mm256_set1_ps(args->decay);
    const __m256 momentum = _mm256_set1_ps(args->momentum);
    const __m256 learning_rate = _mm256_set1_ps(args->learning_rate);

    for (int64_t i = 0; i < whole; i += LANES) {
        const __m256 w = _mm256_loadu_ps(weight + i);
        const __m256 g = _mm256_add_ps(_mm256_mul_ps(scale, _mm256_loadu_ps(gradient + i)),
                                       _mm256_mul_ps(decay, w));
        const __m256 m_i = _mm256_add_ps(_mm256_mul_ps(momentum, _mm256_loadu_ps(m + i)), g);
        _mm256_storeu_ps(m + i, m_i);
        _mm256_storeu_ps(weight + i, _mm256_sub_ps(w, _mm256_mul_ps(learning_rate, m_i)));
    }
    kern_sgd_portable(weight + whole, m + whole, gradient + whole, count - whole, args);
}
