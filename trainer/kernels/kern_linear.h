/*
 * trainer/kernels/kern_linear.h - y = x W^T + b and its two backward products.
 *
 *      forward          Y[M, N]   = X[M, K] W[N, K]^T + bias[N] (+ residual[M, N])
 *      backward data    dX[M, K]  = dY[M, N] W[N, K]
 *      backward weight  dW[N, K] += dY[M, N]^T X[M, K],   dbias[N] += column sums of dY
 *
 * W lies as PyTorch's Linear.weight does: [out, in]. The element-wise work that
 * stands beside a product in a transformer is fused into it: the bias and the
 * residual preload the accumulators; GELU follows the forward product while its rows are in
 * cache, and leaves its derivative for the backward one to be multiplied by.
 *
 * The weights of a layer are the same for all micro-batches of a step, so a backend
 * may rearrange them once per step into panels that its inner loop reads straight
 * through: that is struct kern_linear.
 *
 * |result - exact| <= KERN_LINEAR_TOLERANCE * the sum of the magnitudes of all that is added
 * up: |a||b| over the inner dimension, |bias|, |residual|, and what was there to accumulate to.
 * GELU and its slope add KERN_GELU_TOLERANCE.
 *
 * Forward and backward data give a row of the result the same bits whether it is computed
 * alone or among others, in the portable and the AVX2 version. The BLAS version promises that
 * only for equal M: the library may pick another kernel for another size. So does the CUDA version.
 */
#ifndef TRAINER_KERNELS_KERN_LINEAR_H
#define TRAINER_KERNELS_KERN_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/kernels/kern_gelu.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * float32 rounding of one sum in another order. Measured worst over the sizes of the tests and
 * inner dimensions up to 6400 with normal numbers: 3.1e-7.
 */
#define KERN_LINEAR_TOLERANCE 2e-6f

/* One weight matrix as a backend wants it. The owner of the memory fills the first five. */
struct kern_linear {
    int64_t N, K;        /* out and in features, >= 1 */
    const float *weight; /* [N, K] */
    float *panels;       /* linear_panel_elems(N, K) floats, 64-byte aligned; forward */
    float *panels_data;  /* the same size; backward data. NULL: forward only */
};

/* Floats that `panels` and `panels_data` need, each; 0 if the backend reads W in place. */
typedef int64_t kern_linear_panel_elems_fn(int64_t N, int64_t K);

/* Rearranges linear->weight into both panels. To be called after every change of W. */
typedef void kern_linear_pack_fn(const struct kern_linear *linear);

/* What a forward product does besides. NULL where it does not. */
struct kern_linear_epilogue {
    const float *bias;     /* [N] */
    const float *residual; /* [M, N], stride ld_y; may be y itself */
    enum kern_gelu gelu;   /* if not KERN_GELU_NONE: y is gelu of all that */
    float *slope;          /* [M, N] out, stride ld_y: its derivative, with gelu */
};

/*
 * y         [M, N]  out, row stride ld_y >= N; must not overlap x
 * x         [M, K]  in, row stride ld_x >= K
 * M         >= 0 rows
 * epilogue  NULL: the product alone
 */
typedef void kern_linear_forward_fn(float *y, int64_t ld_y, const float *x, int64_t ld_x, int64_t M,
                                    const struct kern_linear *linear,
                                    const struct kern_linear_epilogue *epilogue);

/*
 * dx         [M, K]  out, row stride ld_dx >= K; must not overlap dy
 * dy         [M, N]  in, row stride ld_dy >= N
 * slope      [M, K]  in, stride ld_dx: dx is multiplied by it; NULL: it is not
 */
typedef void kern_linear_backward_data_fn(float *dx, int64_t ld_dx, const float *dy, int64_t ld_dy,
                                          int64_t M, const struct kern_linear *linear,
                                          const float *slope);

/*
 * dweight  [N, K]  in and out, contiguous
 * dbias    [N]     in and out; NULL if there is none
 * dy       [M, N]  in, row stride ld_dy
 * x        [M, K]  in, row stride ld_x
 * accumulate  false: dweight and dbias are overwritten instead of added to
 */
typedef void kern_linear_backward_weight_fn(float *dweight, float *dbias, const float *dy,
                                            int64_t ld_dy, const float *x, int64_t ld_x, int64_t M,
                                            int64_t N, int64_t K, bool accumulate);

kern_linear_panel_elems_fn kern_linear_panel_elems_portable, kern_linear_panel_elems_blas,
    kern_linear_panel_elems_avx2, kern_linear_panel_elems_cuda;
kern_linear_pack_fn kern_linear_pack_portable, kern_linear_pack_blas, kern_linear_pack_avx2,
    kern_linear_pack_cuda;
kern_linear_forward_fn kern_linear_forward_portable, kern_linear_forward_blas,
    kern_linear_forward_avx2, kern_linear_forward_cuda;
kern_linear_backward_data_fn kern_linear_backward_data_portable, kern_linear_backward_data_blas,
    kern_linear_backward_data_avx2, kern_linear_backward_data_cuda;
kern_linear_backward_weight_fn kern_linear_backward_weight_portable,
    kern_linear_backward_weight_blas, kern_linear_backward_weight_avx2,
    kern_linear_backward_weight_cuda;

/*
 * The same in bfloat16 (kern_bf16.h) on a CUDA device: weights and bias are rounded copies of master
 * weights, sums are in float and rounded once, or with GELU's derivative twice; gradients of weights
 * are float.
 */
struct kern_linear_bf16 {
    int64_t N, K;
    const uint16_t *weight; /* [N, K] */
};

struct kern_linear_bf16_epilogue {
    const uint16_t *bias;     /* [N] */
    const uint16_t *residual; /* [M, N], stride ld_y; may be y itself */
    enum kern_gelu gelu;
    uint16_t *slope; /* [M, N] out, stride ld_y, with gelu */
};

void kern_linear_forward_bf16_cuda(uint16_t *y, int64_t ld_y, const uint16_t *x, int64_t ld_x,
                                   int64_t M, const struct kern_linear_bf16 *linear,
                                   const struct kern_linear_bf16_epilogue *epilogue);
void kern_linear_backward_data_bf16_cuda(uint16_t *dx, int64_t ld_dx, const uint16_t *dy,
                                         int64_t ld_dy, int64_t M,
                                         const struct kern_linear_bf16 *linear,
                                         const uint16_t *slope);
void kern_linear_backward_weight_bf16_cuda(float *dweight, float *dbias, const uint16_t *dy,
                                           int64_t ld_dy, const uint16_t *x, int64_t ld_x,
                                           int64_t M, int64_t N, int64_t K, bool accumulate);

/*
 * Puts the BLAS library on one thread, so that its results depend on no thread count.
 * Returns the matmul name of struct kern_ops: "openblas " and the library's name for the
 * kernels it chose for this CPU. Static storage. Threads: before others start.
 */
const char *kern_linear_blas_start(void);

#ifdef __cplusplus
}
#endif

#endif
