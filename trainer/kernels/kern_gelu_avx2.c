#include "trainer/kernels/kern_gelu.h"

#include <assert.h>

#include "trainer/kernels/kern_gelu_avx2_priv.h"

void kern_gelu_forward_avx2(float *y, const float *x, int64_t count, enum kern_gelu form)
{
    const int64_t whole = count / LANES * LANES;
    const __m256i rest = vec_mask(count - whole);

    assert(form != KERN_GELU_NONE);
    if (form == KERN_GELU_TANH) {
        for (int64_t i = 0; i < whole; i += LANES) {
            _mm256_storeu_ps(y + i, vec_gelu_tanh(_mm256_loadu_ps(x + i)));
        }
    } else {
        for (int64_t i = 0; i < whole; i += LANES) {
            _mm256_storeu_ps(y + i, vec_gelu_erf(_mm256_loadu_ps(x + i)));
        }
    }
    if (whole < count) {
        const __m256 last = _mm256_maskload_ps(x + whole, rest);
        _mm256_maskstore_ps(y + whole, rest,
                            form == KERN_GELU_TANH ? vec_gelu_tanh(last) : vec_gelu_erf(last));
    }
}

void kern_gelu_backward_avx2(float *dx, const float *dy, const float *x, int64_t count,
                             enum kern_gelu form)
{
    const int64_t whole = count / LANES * LANES;
    const __m256i rest = vec_mask(count - whole);

    assert(form != KERN_GELU_NONE);
    if (form == KERN_GELU_TANH) {
        for (int64_t i = 0; i < whole; i += LANES) {
            const __m256 slope = vec_gelu_tanh_slope(_mm256_loadu_ps(x + i));
            _mm256_storeu_ps(dx + i, _mm256_mul_ps(slope, _mm256_loadu_ps(dy + i)));
        }
    } else {
        for (int64_t i = 0; i < whole; i += LANES) {
            const __m256 slope = vec_gelu_erf_slope(_mm256_loadu_ps(x + i));
            _mm256_storeu_ps(dx + i, _mm256_mul_ps(slope, _mm256_loadu_ps(dy + i)));
        }
    }
    if (whole < count) {
        const __m256 last = _mm256_maskload_ps(x + whole, rest);
        const __m256 slope =
            form == KERN_GELU_TANH ? vec_gelu_tanh_slope(last) : vec_gelu_erf_slope(last);
        _mm256_maskstore_ps(dx + whole, rest,
                            _mm256_mul_ps(slope, _mm256_maskload_ps(dy + whole, rest)));
    }
}
