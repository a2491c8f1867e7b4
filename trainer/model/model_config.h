/*
 * trainer/model/model_config.h - which transformer it is.
 *
 * The names are those of Hugging Face's ViTConfig; model_files.c reads and writes them
 * as config.json. The four enums are the places where other backbones (BERT, GPT-2)
 * differ from a ViT; each has the one value that is implemented.
 *
 * Threads: plain values.
 */
#ifndef TRAINER_MODEL_MODEL_CONFIG_H
#define TRAINER_MODEL_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "trainer/kernels/kern_gelu.h"

enum model_embedding { MODEL_EMBEDDING_PATCHES };
enum model_norm { MODEL_NORM_PRE };
enum model_mask { MODEL_MASK_NONE };

/* What a head reads of the T tokens: token 0, or the mean of tokens 1 .. T-1. */
enum model_pooling { MODEL_POOLING_CLS, MODEL_POOLING_MEAN };

enum { MODEL_LAYERS_MAX = 256 };

struct model_config {
    int64_t image_size; /* pixels, both ways */
    int64_t patch_size; /* pixels; divides image_size */
    int64_t num_channels;
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

int64_t model_config_patches(const struct model_config *config);      /* per sample */
int64_t model_config_tokens(const struct model_config *config);       /* T: the patches and cls */
int64_t model_config_patch_inputs(const struct model_config *config); /* channels x patch^2 */

#endif
