/*
 * trainer/kernels/kern_update.h - from summed gradients to new parameters.
 *
 * AdamW: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", 2019
 * (arXiv:1711.05101), algorithm 2, in PyTorch's order of operations:
 *
 *      g = scale * gradient;   m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2
 *      w = w (1 - lr decay) - (lr / c1) m / (sqrt(v) / sqrt(c2) + epsilon),   c_i = 1 - b_i^t
 *
 * SGD with momentum, as PyTorch's (no dampening, no Nesterov):
 *
 *      g = scale * gradient + decay w;   m = momentum m + g;   w = w - lr m
 *
 * The fast versions use the same operations in the same order, each rounded once
 * (no fused multiply-add), so that they agree with the portable ones bit by bit. One does not:
 * "cuda" adds up squares in an order of its own.
 */
#ifndef TRAINER_KERNELS_KERN_UPDATE_H
#define TRAINER_KERNELS_KERN_UPDATE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* to[i] += from[i]. */
typedef void kern_add_fn(float *to, const float *from, int64_t count);

/*
 * *sum += the sum of x[i]^2 in double, in an order fixed by `count`. NaN or infinite if any
 * x[i] is: the caller checks the result, and so every element.
 */
typedef void kern_sum_squares_fn(double *sum, const float *x, int64_t count);

/*
 * Scalars of one update, already rounded to float by the caller. 1 - beta1 and
 * 1 - beta2 are exact in float from 0.5 up, so c1 and c2 are best computed from the
 * rounded betas: 0.999f is 1.3e-8 off 0.999, but 1 - 0.999f is 1.3e-5 off 0.001.
 */
struct kern_adamw_args {
    float scale;                /* of the gradient: clipping / number of samples */
    float learning_rate, decay; /* decay: 0 for biases and norms */
    float beta1, beta2, epsilon;
    float correction1, correction2; /* c1, c2 for this update's t >= 1 */
};

struct kern_sgd_args {
    float scale;
    float learning_rate, decay, momentum;
};

/* weight, m, v [count] in and out; gradient [count] in. */
typedef void kern_adamw_fn(float *weight, float *m, float *v, const float *gradient, int64_t count,
                           const struct kern_adamw_args *args);

/* weight, m [count] in and out; gradient [count] in. */
typedef void kern_sgd_fn(float *weight, float *m, const float *gradient, int64_t count,
                         const struct kern_sgd_args *args);

kern_add_fn kern_add_portable, kern_add_avx2, kern_add_cuda;
kern_sum_squares_fn kern_sum_squares_portable, kern_sum_squares_avx2, kern_sum_squares_cuda;
kern_adamw_fn kern_adamw_portable, kern_adamw_avx2, kern_adamw_cuda;
kern_sgd_fn kern_sgd_portable, kern_sgd_avx2, kern_sgd_cuda;

/* AdamW on master weights in float, as above; copy [count] out: they, rounded to bfloat16. */
void kern_adamw_bf16_cuda(uint16_t *copy, float *weight, float *m, float *v, const float *gradient,
                          int64_t count, const struct kern_adamw_args *args);

#ifdef __cplusplus
}
#endif

#endif
