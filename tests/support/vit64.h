/*
 * tests/support/vit64.h - a whole vision transformer in double, by the textbook.
 *
 * What trainer/model is compared with, values and, through differences of its loss,
 * gradients. Tensors are found by their Hugging Face names in the list, one by one, so
 * that nothing of the model's own layout, packing or order of calls is used here:
 *
 *      x_0 = [cls; patches W^T + b] + positions
 *      x' = x + O attention(QKV norm1(x)),   x = x' + down gelu(up norm2(x'))
 *      logits = C norm(pool(x_L)) + c
 *
 * A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, equations 1-4.
 * Nothing is skipped: all tokens go through all layers, whatever the pooling.
 * Memory comes from malloc; a test that cannot have it fails.
 */
#ifndef TESTS_SUPPORT_VIT64_H
#define TESTS_SUPPORT_VIT64_H

#include <stdint.h>

#include "trainer/model/model_config.h"
#include "trainer/model/param_list.h"

struct vit64 {
    const struct model_config *config; /* lent */
    const struct param_list *list;     /* lent */
    double *params;                    /* [block_elems], in the list's layout; may be varied */
};

/* A copy of `block`, which is laid out as `list` says. End it with vit64_close(). */
void vit64_open(struct vit64 *vit, const struct model_config *config, const struct param_list *list,
                const float *block);
void vit64_close(struct vit64 *vit);

/*
 * images  [n, C, S, S]  in
 * pooled  [L, n, D]     out: the pooled stream after every layer; NULL if it is not wanted
 * logits  [n, K]        out
 */
void vit64_forward(const struct vit64 *vit, const float *images, int64_t n, double *pooled,
                   double *logits);

/* The sum of the n cross entropies. labels [n] in. */
double vit64_loss(const struct vit64 *vit, const float *images, const int32_t *labels, int64_t n);

#endif
