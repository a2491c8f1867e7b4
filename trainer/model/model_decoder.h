/*
 * trainer/model/model_decoder.h - a causal language model, token by token: keys and values of the tokens
 * before are kept, so that a new token costs one row.
 *
 * What a token needs is done layer by layer, and not all at once. Of every layer the decoder knows for
 * how many tokens it has been computed; further up it is never more:
 *
 *      tokens     0 1 2 3 4 5 6 7
 *      layer 3    # # # #             reached 4
 *      layer 2    # # # #             reached 4
 *      layer 1    # # # # # # #       reached 7: three tokens left behind this layer
 *      layer 0    # # # # # # # #     reached 8 = count
 *
 * model_decoder_run() brings a layer up to date: the rows of all tokens that it has not seen, in one
 * product. Everything a generation does is that, over some layers:
 *
 *      a prompt              put n, run 0 .. L
 *      a token               put 1, run 0 .. L
 *      an early exit         put 1, run 0 .. E, read the stream; the layers above are left behind, and
 *                            done with those of the next token that goes there, or
 *                            model_decoder_copy() makes do with the stream as it is
 *      a draft of k tokens   k times (put 1, run 0 .. E, read the stream)
 *      its verification      run E .. L: k rows at once, and nothing of the draft is done twice
 *      what was refused      model_decoder_cut()
 *
 * A row has the same bits however tokens and layers were put together, and those of
 * model_block_forward() and model_head_forward(): that is promised by the kernels, "own" and "portable"
 * matrix products (of a BLAS library within KERN_LINEAR_TOLERANCE). kern_attention_cache.h has its limit.
 *
 * Floor of a token: all matrices are read once, (4 D^2 + 2 D F) L + V D floats, for up to three rows at the
 * speed of that reading (kern_linear_few_avx2_priv.h).
 *
 * Memory: 8 D bytes a token and layer, 4 D a token; (3 D^2) L floats of panels, as queries are not
 * wanted where states are copied, and products for 64 rows.
 *
 * Threads: a decoder belongs to one thread. CPU only.
 */
#ifndef TRAINER_MODEL_MODEL_DECODER_H
#define TRAINER_MODEL_MODEL_DECODER_H

#include <stdint.h>

#include "comm/base/err.h"
#include "trainer/model/model.h"

struct model_decoder;

/*
 * For texts of up to positions_max tokens, 1 .. max_position_embeddings. The model is lent, packed, until the
 * close. Errors: ERR_CONFIG for a model that is no language model (GPT-2 with its classifier tied to its
 * words) or not on a CPU; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err model_decoder_open(const struct model *model, int64_t positions_max,
                                           struct model_decoder **decoder_out);
void model_decoder_close(struct model_decoder *decoder); /* NULL is allowed */

/* Appends n tokens, each 0 .. V-1; count + n <= positions_max. They have reached no layer yet. */
void model_decoder_put(struct model_decoder *decoder, const int32_t tokens[], int64_t n);

int64_t model_decoder_count(const struct model_decoder *decoder);
int64_t model_decoder_positions(const struct model_decoder *decoder); /* positions_max */

/* For how many tokens a layer has keys and values. */
int64_t model_decoder_reached(const struct model_decoder *decoder, int64_t layer);

/* Layers first .. end - 1 for all tokens that are there; these have been through the layers before. */
void model_decoder_run(struct model_decoder *decoder, int64_t first, int64_t end);

/*
 * Gives layers first .. end - 1 keys and values of all tokens that are there, of their stream as it is now: a
 * token's state at its exit stands for those it would have in these layers (T. Schuster et al.,
 * "Confident Adaptive Language Modeling", NeurIPS 2022, arXiv:2207.07061, section 3.2). An approximation;
 * 2 D^2 multiply-adds a token and layer in place of 4 D^2 + 2 D F and attention.
 */
void model_decoder_copy(struct model_decoder *decoder, int64_t first, int64_t end);

/* Forgets all tokens but the first `count`. */
void model_decoder_cut(struct model_decoder *decoder, int64_t count);

/* Rows [count - position, D] of the stream from a token on, lent until it runs; each is behind the layers it reached. */
const float *model_decoder_stream(const struct model_decoder *decoder, int64_t position);

/* logits [n, V] out, of tokens first .. first + n - 1, which have been through all layers. n <= 64. */
void model_decoder_head(struct model_decoder *decoder, int64_t first, int64_t n, float *logits);
enum { MODEL_DECODER_ROWS = 64 };

/* Multiply-adds so far, counted as in exits/exits_cost.h, attention over the tokens that are there. */
int64_t model_decoder_macs(const struct model_decoder *decoder);

#endif
