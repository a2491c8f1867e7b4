/* trainer/kernels/kern_gelu_cuda_priv.h - GELU and its derivative in float, and over rows in place. */
#ifndef TRAINER_KERNELS_KERN_GELU_CUDA_PRIV_H
#define TRAINER_KERNELS_KERN_GELU_CUDA_PRIV_H

#include <math.h>

#include "trainer/kernels/kern_fn.h"
#include "trainer/kernels/kern_gelu.h"

struct kern_gelu_pair {
    float y, slope;
};

/* As kern_gelu_portable.c, in float. Comparisons are so that NaN stays. */
KERN_FN struct kern_gelu_pair kern_gelu_both(float x, enum kern_gelu form)
{
    const float bound = 40.0f; /* beyond it both forms are 0 or x to the last bit */
    const float low = x < -bound ? -bound : x, mid = low > bound ? bound : low;
    struct kern_gelu_pair pair;

    if (form == KERN_GELU_ERF) {
        const float twice_phi = erfcf(mid * -0.70710678f);
        pair.y = 0.5f * low * twice_phi;
        pair.slope = 0.5f * twice_phi + mid * 0.39894228f * expf(-0.5f * mid * mid);
        return pair;
    }
    const float square = mid * mid;
    const float twice_u = 1.5957691f * (mid + 0.044715f * square * mid);
    const float e = expf(-twice_u); /* infinite far below 0, where the sigmoid is 0 */
    const float sigmoid = 1.0f / (1.0f + e);
    const float of_minus = 1.0f / (1.0f + expf(twice_u));
    const float twice_u_slope = 1.5957691f * (1.0f + 3.0f * 0.044715f * square);
    pair.y = low / (1.0f + e);
    pair.slope = sigmoid + mid * sigmoid * of_minus * twice_u_slope;
    return pair;
}

/* y = gelu(y) of `rows` rows of `width`, ld apart, and its derivative in slope [same] or NULL. */
void kern_gelu_rows_f32(float *y, float *slope, int64_t rows, int64_t width, int64_t ld,
                        enum kern_gelu form);
void kern_gelu_rows_bf16(uint16_t *y, uint16_t *slope, int64_t rows, int64_t width, int64_t ld,
                         enum kern_gelu form);

#endif
