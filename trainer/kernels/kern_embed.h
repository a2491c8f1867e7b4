/*
 * trainer/kernels/kern_embed.h - from images to the stream of tokens, and back to the gradients.
 *
 *      x[b, 0] = cls + positions[0]
 *      x[b, 1 + p] = W patch p of image b + bias + positions[1 + p]
 *
 * A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, equation 1: a convolution whose
 * stride is its size, as one matrix product over patches [C, P, P], the order of PyTorch's Conv2d.weight.
 *
 * The products are those of a table's kern_linear.h, so that their bits and their tolerance are too.
 */
#ifndef TRAINER_KERNELS_KERN_EMBED_H
#define TRAINER_KERNELS_KERN_EMBED_H

#include <stdbool.h>
#include <stdint.h>

#include "trainer/kernels/kern_linear.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kern_ops;

/* B images of C channels, S x S pixels, in patches of P x P; S is a multiple of P; D channels of the stream. */
struct kern_embed_shape {
    int64_t B, C, S, P, D;
};

struct kern_embed {
    const struct kern_linear *linear; /* N = D, K = C P P */
    const float *bias;                /* [D] */
    const float *cls;                 /* [D] */
    const float *positions;           /* [T, D], T = 1 + (S / P)^2 */
};

struct kern_embed_gradients {
    float *weight;    /* [D, C P P] */
    float *bias;      /* [D] */
    float *cls;       /* [D] */
    float *positions; /* [T, D] */
};

/*
 * x        [B, T, D]           out
 * patches  [B, T - 1, C P P]   out, for the backward pass
 * images   [B, C, S, S]        in
 */
typedef void kern_embed_forward_fn(const struct kern_ops *ops, float *x, float *patches,
                                   const float *images, const struct kern_embed *embed,
                                   const struct kern_embed_shape *shape);

/*
 * gradients    in and out; accumulate false: overwritten instead of added to
 * dx, patches  in
 * scratch      [B, T, D]: what is there is lost
 */
typedef void kern_embed_backward_fn(const struct kern_ops *ops,
                                    const struct kern_embed_gradients *gradients, const float *dx,
                                    const float *patches, float *scratch,
                                    const struct kern_embed_shape *shape, bool accumulate);

kern_embed_forward_fn kern_embed_forward_cpu, kern_embed_forward_cuda;
kern_embed_backward_fn kern_embed_backward_cpu, kern_embed_backward_cuda;

/*
 * The same in bfloat16 (kern_bf16.h) on a CUDA device; images and gradients are float. A token is rounded
 * twice: cls or bias with its position, then all of it.
 */
struct kern_embed_bf16 {
    const uint16_t *weight, *bias, *cls, *positions;
};

void kern_embed_forward_bf16_cuda(uint16_t *x, uint16_t *patches, const float *images,
                                  const struct kern_embed_bf16 *embed,
                                  const struct kern_embed_shape *shape);
void kern_embed_backward_bf16_cuda(const struct kern_embed_gradients *gradients, const uint16_t *dx,
                                   const uint16_t *patches, uint16_t *scratch,
                                   const struct kern_embed_shape *shape, bool accumulate);

#ifdef __cplusplus
}
#endif

#endif
