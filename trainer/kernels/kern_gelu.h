/*
 * trainer/kernels/kern_gelu.h - the Gaussian error linear unit, both forms.
 *
 *      ERF    x * Phi(x) = x/2 * (1 + erf(x / sqrt(2)))          Hugging Face "gelu"
 *      TANH   x * sigmoid(2u),  u = sqrt(2/pi) (x + 0.044715 x^3)  "gelu_new", "gelu_pytorch_tanh"
 *
 * D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units", 2016 (arXiv:1606.08415),
 * section 2. 0.5 (1 + tanh u) = sigmoid(2u) saves half the work and the cancellation.
 *
 * Training takes the derivative along on the way forward, where the exponential that both
 * need is at hand: backward is then one multiplication.
 *
 * |result - exact| <= KERN_GELU_TOLERANCE * max(1, |exact|), gelu and gelu' alike. NaN gives NaN;
 * the infinities give the limits, +Inf and 0 for gelu, 1 and 0 for gelu'.
 */
#ifndef TRAINER_KERNELS_KERN_GELU_H
#define TRAINER_KERNELS_KERN_GELU_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KERN_GELU_TOLERANCE 1e-6f

enum kern_gelu { KERN_GELU_NONE, KERN_GELU_TANH, KERN_GELU_ERF };

/*
 * y[i] = gelu(x[i]) and slope[i] = gelu'(x[i]), i < count. y may be x; slope NULL: not wanted,
 * y has the same bits. `form` is not NONE.
 */
typedef void kern_gelu_fn(float *y, float *slope, const float *x, int64_t count,
                          enum kern_gelu form);

kern_gelu_fn kern_gelu_portable, kern_gelu_avx2, kern_gelu_cuda;

/* The same of bfloat16 (kern_bf16.h), computed in float; results are rounded once. */
void kern_gelu_bf16_cuda(uint16_t *y, uint16_t *slope, const uint16_t *x, int64_t count,
                         enum kern_gelu form);

#ifdef __cplusplus
}
#endif

#endif
