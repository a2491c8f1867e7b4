/*
 * trainer/kernels/kern_layernorm.h - layer normalisation.
 *
 *      xhat[n, c] = (x[n, c] - mean[n]) * rstd[n],   y = xhat * gain[c] + bias[c]
 *      mean[n] = mean over c of x;   rstd[n] = 1 / sqrt(mean over c of (x - mean)^2 + epsilon)
 *
 * J. L. Ba, J. R. Kiros and G. Hinton, "Layer Normalization", 2016 (arXiv:1607.06450),
 * equation 4. The variance is the mean of squared deviations, not E[x^2] - mean^2,
 * which loses its digits when |mean| is large.
 *
 * |fast - portable| <= KERN_LAYERNORM_TOLERANCE * max(1, |portable|).
 */
#ifndef TRAINER_KERNELS_KERN_LAYERNORM_H
#define TRAINER_KERNELS_KERN_LAYERNORM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KERN_LAYERNORM_TOLERANCE 1e-5f

/*
 * y     [N, C]  out, contiguous; may be x itself
 * mean  [N]     out; kept for the backward pass; NULL (with rstd) when there is none
 * rstd  [N]     out
 * x     [N, C]  in, row stride ld_x >= C (so that the cls rows alone can be normalised)
 * gain, bias [C] in
 */
typedef void kern_layernorm_forward_fn(float *y, float *mean, float *rstd, const float *x,
                                       int64_t ld_x, const float *gain, const float *bias,
                                       int64_t N, int64_t C, float epsilon);

/*
 * dx        [N, C]  out, row stride ld_x: the gradient of x, plus `residual`; NULL: not wanted
 * residual  [N, C]  in, stride ld_x, the gradient that went round the norm; NULL: none; may be dx
 * dgain, dbias [C]  in and out
 * dy        [N, C]  in, contiguous
 * x         [N, C]  in, stride ld_x, and mean, rstd [N] as the forward pass left them
 * accumulate  false: dgain and dbias are overwritten instead of added to
 */
typedef void kern_layernorm_backward_fn(float *dx, const float *residual, float *dgain,
                                        float *dbias, const float *dy, const float *x, int64_t ld_x,
                                        const float *mean, const float *rstd, const float *gain,
                                        int64_t N, int64_t C, bool accumulate);

kern_layernorm_forward_fn kern_layernorm_forward_portable, kern_layernorm_forward_avx2,
    kern_layernorm_forward_cuda;
kern_layernorm_backward_fn kern_layernorm_backward_portable, kern_layernorm_backward_avx2,
    kern_layernorm_backward_cuda;

/*
 * The same with the stream and its gradients in bfloat16 (kern_bf16.h); gain, bias, their gradients
 * and the statistics of rows are float. Arithmetic is in float; results are rounded once.
 */
void kern_layernorm_forward_bf16_cuda(uint16_t *y, float *mean, float *rstd, const uint16_t *x,
                                      int64_t ld_x, const float *gain, const float *bias, int64_t N,
                                      int64_t C, float epsilon);
void kern_layernorm_backward_bf16_cuda(uint16_t *dx, const uint16_t *residual, float *dgain,
                                       float *dbias, const uint16_t *dy, const uint16_t *x,
                                       int64_t ld_x, const float *mean, const float *rstd,
                                       const float *gain, int64_t N, int64_t C, bool accumulate);

#ifdef __cplusplus
}
#endif

#endif
