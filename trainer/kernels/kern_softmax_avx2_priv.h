/*
 * trainer/kernels/kern_softmax_avx2_priv.h - the softmax of a row of scores, for the attention kernels.
 *
 * Only files compiled with -mavx2 -mfma include this.
 */
#ifndef TRAINER_KERNELS_KERN_SOFTMAX_AVX2_PRIV_H
#define TRAINER_KERNELS_KERN_SOFTMAX_AVX2_PRIV_H

#include <math.h>

#include "trainer/kernels/kern_avx2_priv.h"

/* top + log(sum) is the row's log-sum-exp. */
struct vec_softmax {
    float top, sum;
};

/*
 * Turns the first `keys` >= 1 scores of s, 32-byte aligned, into probabilities, and what follows up to
 * a multiple of LANES into zeros.
 */
static inline struct vec_softmax vec_softmax_row(float *s, int64_t keys)
{
    const int64_t last = (keys + LANES - 1) / LANES * LANES - LANES;
    const __m256 tail = _mm256_castsi256_ps(vec_mask(keys - last));
    const __m256 s_last =
        _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), _mm256_load_ps(s + last), tail);
    __m256 peaks = s_last;

    for (int64_t j = 0; j < last; j += LANES) {
        peaks = _mm256_max_ps(peaks, _mm256_load_ps(s + j));
    }
    const float top = vec_max(peaks);
    const __m256 tops = _mm256_set1_ps(top);
    const __m256 e_last = _mm256_and_ps(tail, vec_exp(_mm256_sub_ps(s_last, tops)));
    __m256 sums = e_last;
    for (int64_t j = 0; j < last; j += LANES) {
        const __m256 e = vec_exp(_mm256_sub_ps(_mm256_load_ps(s + j), tops));
        _mm256_store_ps(s + j, e);
        sums = _mm256_add_ps(sums, e);
    }
    const float sum = vec_sum(sums);
    const __m256 inverse = _mm256_set1_ps(1.0f / sum);
    for (int64_t j = 0; j < last; j += LANES) {
        _mm256_store_ps(s + j, _mm256_mul_ps(inverse, _mm256_load_ps(s + j)));
    }
    _mm256_store_ps(s + last, _mm256_mul_ps(inverse, e_last));
    return (struct vec_softmax){top, sum};
}

#endif
