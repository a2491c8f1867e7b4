/*
 * tests/support/ref64.h - a transformer's row operations in double, by the textbook.
 *
 * What the float kernels are compared with. The equations are those of the kernels'
 * headers, written as literally as they can be; nothing here is fast. Each backward
 * function is itself checked against central differences of its forward function
 * (test_ref64.c). Scratch comes from malloc; a test that cannot have it fails.
 *
 * Shapes and meaning of arguments are those of the kernel of the same name, but all
 * arrays are contiguous and double, and outputs are overwritten.
 */
#ifndef TESTS_SUPPORT_REF64_H
#define TESTS_SUPPORT_REF64_H

#include <stdint.h>

#include "trainer/kernels/kern_attention.h"
#include "trainer/kernels/kern_xent.h"

/* N rows of C channels. */
struct ref64_rows {
    int64_t N, C;
    double epsilon;
};

/* y = layer norm of x. */
void ref64_layernorm(double *y, const double *x, const double *gain, const double *bias,
                     const struct ref64_rows *rows);

/* Gradients of sum(dy * y). */
void ref64_layernorm_backward(double *dx, double *dgain, double *dbias, const double *dy,
                              const double *x, const double *gain, const struct ref64_rows *rows);

/* out [B, T, H, D] from qkv [B, T, 3, H, D]; all T tokens ask. mask NULL: none. */
void ref64_attention(double *out, const double *qkv, const struct kern_attention_shape *shape,
                     const struct kern_attention_mask *mask);

/* The gradient of sum(dout * out); dout 0 for a token is as if it had not asked. */
void ref64_attention_backward(double *dqkv, const double *dout, const double *qkv,
                              const struct kern_attention_shape *shape,
                              const struct kern_attention_mask *mask);

struct ref64_xent {
    double loss, lse;
    double features[KERN_XENT_FEATURES];
    int32_t predicted;
};

/*
 * One row z [K] of finite logits. The features come from probabilities, p = softmax(z)
 * and q = p^2 / sum p^2, and entropies from -sum p log p over p > 0: another way than
 * the kernels'.
 */
void ref64_xent(struct ref64_xent *out, const double *z, int32_t label, int64_t K);

/* The gradient of weight * loss of one row. */
void ref64_xent_backward(double *dz, const double *z, int32_t label, double weight, int64_t K);

#endif
