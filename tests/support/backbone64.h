/*
 * tests/support/backbone64.h - a whole transformer in double, by the textbook: ViT, DeiT, BERT, GPT-2.
 *
 * What trainer/model is compared with, values and, through differences of its loss,
 * gradients. Tensors are found by their names in the list, one by one, so that nothing of
 * the model's own layout, packing or order of calls is used here:
 *
 *      ViT    x_0 = [cls; patches W^T + b] + positions
 *      GPT-2  x_0 = words + positions;   BERT  x_0 = norm(words + positions + type 0)
 *
 *      x' = x + O attention(QKV norm1(x)),   x = x' + down gelu(up norm2(x'))
 *      BERT   x' = norm1(x + O attention(QKV x)),   x = norm2(x' + down gelu(up x'))
 *
 *      logits = C norm(pool(x_L)) + c;   BERT: without a norm
 *
 * A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, equations 1-4; J. Devlin et al.,
 * "BERT", NAACL 2019; A. Radford et al., GPT-2, 2019.
 * Nothing is skipped: all tokens go through all layers, whatever the pooling. A text is computed on its own,
 * as wide as it is long: there is no padding here.
 * Memory comes from malloc; a test that cannot have it fails.
 */
#ifndef TESTS_SUPPORT_BACKBONE64_H
#define TESTS_SUPPORT_BACKBONE64_H

#include <stdint.h>

#include "trainer/model/model_config.h"
#include "trainer/model/model_input.h"
#include "trainer/model/param_list.h"

struct backbone64 {
    const struct model_config *config; /* lent */
    const struct param_list *list;     /* lent */
    double *params;                    /* [block_elems], in the list's layout; may be varied */
    uint64_t skips;                    /* a bit for each layer that is left out; 0 at first */
};

/* A copy of `block`, which is laid out as `list` says. End it with backbone64_close(). */
void backbone64_open(struct backbone64 *net, const struct model_config *config,
                     const struct param_list *list, const float *block);
void backbone64_close(struct backbone64 *net);

/*
 * input   n samples     in
 * pooled  [L, n R, D]   out: the pooled stream after every layer; NULL if it is not wanted
 * logits  [n R, K]      out
 */
void backbone64_forward(const struct backbone64 *net, const struct model_input *input, int64_t n,
                        double *pooled, double *logits);

/* The sum of the n R cross entropies. labels [n R] in. */
double backbone64_loss(const struct backbone64 *net, const struct model_input *input,
                       const int32_t *labels, int64_t n);

#endif
