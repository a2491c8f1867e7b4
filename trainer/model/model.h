/*
 * trainer/model/model.h - a transformer encoder, piece by piece.
 *
 * The model runs one piece at a time, so that whoever drives it (trainer/step, an
 * evaluation that drops samples half-way) can look at the stream between two layers:
 *
 *      model_embed_forward    images or tokens -> x            [n, T, D]
 *      model_block_forward l  x -> x + attention(norm1(x)), then x + mlp(norm2(x));
 *                             BERT: norm1(x + attention(x)), then norm2(x + mlp(x))
 *      model_pool             x -> R rows a sample             [n R, D], R = model_config_rows()
 *      model_head_forward     pooled -> norm -> logits         [n R, K]; BERT: without a norm
 *
 * and backward in the opposite order, on a gradient stream dx of the same shape:
 * model_head_backward, model_pool_backward, model_block_backward l, model_embed_backward.
 * A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, equations 1-4
 * (pre-norm; GELU; class token); J. Devlin et al., "BERT", NAACL 2019 (arXiv:1810.04805); A. Radford
 * et al., "Language Models are Unsupervised Multitask Learners", 2019 (GPT-2).
 *
 * A `struct model` is the weights: parameters, and the panels that the matrix kernels
 * read. A `struct model_work` is the memory of one pass of up to samples_max samples;
 * with `keeps` it holds what the backward pass needs of every layer, otherwise two
 * buffers take turns.
 *
 * Gradients are sums over samples, never means: the caller divides once, when all ranks
 * have been summed. With accumulate = false a gradient is overwritten, which spares
 * clearing the block.
 *
 * With cls pooling of images nothing reads the last layer's other tokens, so its queries, its
 * output projection and its MLP run on the cls rows alone. The result is the same.
 *
 * Rows of the stream that are padding of a text are finite and read by nobody; of its gradient, zero.
 *
 * Threads: a model is read-only between two model_pack(); each work belongs to one thread.
 */
#ifndef TRAINER_MODEL_MODEL_H
#define TRAINER_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "trainer/kernels/kern_ops.h"
#include "trainer/model/model_config.h"
#include "trainer/model/model_input.h"
#include "trainer/model/model_tensors.h"
#include "trainer/model/param_list.h"

struct model;
struct model_work;

/*
 * Allocates the weights, all zero. `ops` is copied. End it with model_close().
 * Errors: ERR_CONFIG from model_config_check(); ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err model_open(const struct model_config *config, const struct kern_ops *ops,
                                   struct model **model_out);
void model_close(struct model *model); /* NULL is allowed */

const struct model_config *model_config_of(const struct model *model);
const struct kern_ops *model_ops(const struct model *model);
const struct param_list *model_params(const struct model *model);
float *model_block(struct model *model); /* [model_params()->block_elems], of the device */

/* Initial values. Errors: as device_view_open(). */
ERR_MUST_CHECK enum err model_init(struct model *model, uint64_t seed);

/* To be called after every change of the parameters and before the next pass. Cost: one copy
 * of the matrices, two with `for_backward`. */
void model_pack(struct model *model, bool for_backward);

/*
 * Memory for passes of 1 .. samples_max samples. End it with model_work_close().
 * Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err model_work_open(const struct model *model, int64_t samples_max, bool keeps,
                                        struct model_work **work_out);
void model_work_close(struct model_work *work); /* NULL is allowed */
int64_t model_work_bytes(const struct model_work *work);

/*
 * `input` as model_stage_put() gives it, its tokens lent until the pass ends. Starts a pass: n is the sample
 * count from here on, and input->width the T of texts.
 */
void model_embed_forward(struct model_work *work, const struct model_input *input, int64_t n);

/* Layer 0 .. L-1, in order. */
void model_block_forward(struct model_work *work, int64_t layer);

/* Instead of that: the layer is left out, and the stream goes on as it is. */
void model_block_skip(struct model_work *work, int64_t layer);

/* pooled [n R, D] out: of the stream as it is now. */
void model_pool(const struct model_work *work, float *pooled);

/*
 * Keeps only the samples whose index is listed, in that order (ascending): the rest of
 * the pass costs no more than they do. Not with `keeps`. Errors: ERR_DEVICE.
 */
ERR_MUST_CHECK enum err model_keep_samples(struct model_work *work, const uint32_t kept[],
                                           int64_t kept_count);

int64_t model_sample_count(const struct model_work *work);
int64_t model_token_count(const struct model_work *work); /* T of the pass */
const float *model_stream(const struct model_work *work); /* x [n, T, D] as it is now, lent */

/* logits [n R, K] out; pooled [n R, D] in. */
void model_head_forward(struct model_work *work, float *logits, const float *pooled);

/* dpooled [n R, D] out; dlogits [n R, K] in; gradients: a block. After the head's forward. */
void model_head_backward(struct model_work *work, float *dpooled, const float *dlogits,
                         float *gradients, bool accumulate);

/*
 * Adds dpooled [n R, D] to the gradient of the stream. The first call of a backward pass
 * has `first` set: the rest of that gradient is then zero.
 */
void model_pool_backward(struct model_work *work, const float *dpooled, bool first);

/* Layers L-1 .. 0, in order; the gradient of part layer + 1 is complete afterwards. */
void model_block_backward(struct model_work *work, int64_t layer, float *gradients,
                          bool accumulate);

/* Of a layer that was left out: its own gradient is zero, that of the stream goes on as it is. */
void model_block_skip_backward(struct model_work *work, int64_t layer, float *gradients,
                               bool accumulate);

/* The last of a backward pass: a tied classifier has added to the words' gradient before. */
void model_embed_backward(struct model_work *work, float *gradients, bool accumulate);

#endif
