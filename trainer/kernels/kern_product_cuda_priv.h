/*
 * trainer/kernels/kern_product_cuda_priv.h - matrix products by cuBLASLt, column-major as it is.
 *
 *      D[m, n] = op(A)[m, k] op(B)[k, n] + beta C[m, n] + bias[m],   then GELU if asked for
 *
 * once, or for each of `batch` matrices that lie strides apart.
 *
 * Column j of a matrix begins ld elements behind column j - 1: a row-major matrix is the transposed
 * one here. Accumulation is in float, without TF32.
 *
 * The first product of a shape asks the library for an algorithm and keeps it, so that equal shapes
 * take equal ways. Algorithms that let parts of a sum meet in the order in which they are done are
 * not taken. Where the library has none, a plain kernel does it.
 */
#ifndef TRAINER_KERNELS_KERN_PRODUCT_CUDA_PRIV_H
#define TRAINER_KERNELS_KERN_PRODUCT_CUDA_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"

enum kern_type { KERN_F32, KERN_BF16 };

struct kern_product {
    enum kern_type type;   /* of A and B */
    enum kern_type type_d; /* of C, D and bias */
    bool is_a_transposed, is_b_transposed;
    int64_t m, n, k; /* each >= 1 */
    const void *a, *b;
    int64_t lda, ldb;
    const void *c; /* read if adds_c; may be D */
    void *d;
    int64_t ldd; /* of C too */
    bool adds_c; /* beta is 1, else 0 */
    const void *bias;
    bool has_gelu; /* the tanh form, as exact as the library makes it; with a bias */
    int64_t batch; /* 0 and 1: once */
    int64_t stride_a, stride_b, stride_d; /* in elements; of C as of D */
};

struct kern_products; /* the library's handle and the algorithms so far; of one stream */

ERR_MUST_CHECK enum err kern_products_open(struct kern_products **products_out);
void kern_products_close(struct kern_products *products); /* NULL is allowed */

/* Of the thread's current stream. */
struct kern_products *kern_cuda_products(void);

/* Launches on the current stream; uses the scratch. */
void kern_product_run(const struct kern_product *product);

#endif
