/*
 * trainer/model/model_config.h - which transformer it is.
 *
 * The names are those of Hugging Face's ViTConfig, BertConfig and GPT2Config (whose n_embd is
 * hidden_size here, and so on); model_files.c reads and writes them as config.json. The enums are where
 * backbones differ. Three families of them are implemented:
 *
 *                   embedding   norm   mask      pooling
 *      ViT, DeiT    PATCHES     PRE    NONE      CLS, MEAN
 *      BERT         TOKENS      POST   LENGTHS   CLS, MEAN
 *      GPT-2        TOKENS      PRE    CAUSAL    LAST, MEAN, EVERY
 *
 * A language model is a GPT-2 with pooling EVERY: its classifier, tied to the words, tells the next
 * token behind each one. The rows of a sample are what it is given of a text: one, or with EVERY
 * max_length, and all texts are so long.
 *
 * Threads: plain values.
 */
#ifndef TRAINER_MODEL_MODEL_CONFIG_H
#define TRAINER_MODEL_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "trainer/kernels/kern_gelu.h"

enum model_embedding { MODEL_EMBEDDING_PATCHES, MODEL_EMBEDDING_TOKENS };

/* PRE: x + f(norm(x)), and a norm at the end; POST: norm(x + f(x)), and one of the embedding. */
enum model_norm { MODEL_NORM_PRE, MODEL_NORM_POST };

/* LENGTHS: all tokens that are there; CAUSAL: of those, the ones up to the token itself. */
enum model_mask { MODEL_MASK_NONE, MODEL_MASK_LENGTHS, MODEL_MASK_CAUSAL };

/*
 * What a head reads of a sample's tokens: token 0; their mean (of patches: without token 0); the last
 * one that is there; every one, a row each.
 */
enum model_pooling {
    MODEL_POOLING_CLS,
    MODEL_POOLING_MEAN,
    MODEL_POOLING_LAST,
    MODEL_POOLING_EVERY
};

/* What of the above go together, and whose names the tensors have. */
enum model_family { MODEL_FAMILY_VIT, MODEL_FAMILY_BERT, MODEL_FAMILY_GPT2, MODEL_FAMILIES };

enum { MODEL_LAYERS_MAX = 256 };

struct model_config {
    /* Of images. */
    int64_t image_size; /* pixels, both ways */
    int64_t patch_size; /* pixels; divides image_size */
    int64_t num_channels;
    bool has_distillation_token; /* DeiT: a second token that is no patch, behind the class token */
    /* Of texts. */
    int64_t vocab_size;              /* V */
    int64_t max_position_embeddings; /* S */
    int64_t type_vocab_size;         /* Y, BERT's; all tokens are of type 0 */
    int64_t max_length;              /* tokens of the longest sample, <= S: memory is for that */
    bool ties_classifier; /* GPT-2: the classifier's matrix is that of the words, K = V, no bias */
    /* Of both. */
    int64_t hidden_size;         /* D */
    int64_t num_hidden_layers;   /* L, <= MODEL_LAYERS_MAX */
    int64_t num_attention_heads; /* H; divides hidden_size */
    int64_t intermediate_size;   /* F */
    int64_t num_labels;          /* K >= 2 */
    double layer_norm_eps;
    double initializer_range; /* standard deviation of the truncated normal */
    enum kern_gelu hidden_act;
    enum model_embedding embedding;
    enum model_norm norm;
    enum model_mask mask;
    enum model_pooling pooling;
    bool full_last_layer; /* compute rows of the last layer that nothing reads: for comparisons */
};

/* Errors: ERR_CONFIG, naming the setting, what it is and what it must be. */
ERR_MUST_CHECK enum err model_config_check(const struct model_config *config);

enum model_family model_config_family(const struct model_config *config);

/*
 * T, the tokens of a sample, at most: the patches and cls (and distillation); of texts max_length up
 * to a multiple of MODEL_TOKENS_STEP, or all positions if those are fewer.
 */
int64_t model_config_tokens(const struct model_config *config);
enum { MODEL_TOKENS_STEP = 8 };

int64_t model_config_rows(const struct model_config *config);         /* R, of a sample */
int64_t model_config_patches(const struct model_config *config);      /* per sample; 0 of texts */
int64_t model_config_patch_inputs(const struct model_config *config); /* channels x patch^2 */
int64_t model_config_pixels(const struct model_config *config);       /* floats of an image */

#endif
