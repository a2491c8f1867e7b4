#include "trainer/model/model_config.h"

#include <inttypes.h>
#include <stddef.h>

enum model_family model_config_family(const struct model_config *config)
{
    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        return MODEL_FAMILY_VIT;
    }
    return config->norm == MODEL_NORM_POST ? MODEL_FAMILY_BERT : MODEL_FAMILY_GPT2;
}

int64_t model_config_patches(const struct model_config *config)
{
    if (config->embedding != MODEL_EMBEDDING_PATCHES) {
        return 0;
    }
    const int64_t side = config->image_size / config->patch_size;
    return side * side;
}

int64_t model_config_tokens(const struct model_config *config)
{
    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        return model_config_patches(config) + (config->has_distillation_token ? 2 : 1);
    }
    const int64_t steps = (config->max_length + MODEL_TOKENS_STEP - 1) / MODEL_TOKENS_STEP;
    const int64_t tokens = steps * MODEL_TOKENS_STEP;
    return tokens < config->max_position_embeddings ? tokens : config->max_position_embeddings;
}

int64_t model_config_rows(const struct model_config *config)
{
    return config->pooling == MODEL_POOLING_EVERY ? config->max_length : 1;
}

int64_t model_config_patch_inputs(const struct model_config *config)
{
    return config->num_channels * config->patch_size * config->patch_size;
}

int64_t model_config_pixels(const struct model_config *config)
{
    return config->num_channels * config->image_size * config->image_size;
}

struct range {
    const char *name;
    int64_t value, least, most;
};

static enum err check_ranges(const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most) {
            return ERR_FAIL(ERR_CONFIG, "%s is %" PRId64 ", it must lie in %" PRId64 " .. %" PRId64,
                            ranges[i].name, ranges[i].value, ranges[i].least, ranges[i].most);
        }
    }
    return ERR_OK;
}

static enum err check_images(const struct model_config *config)
{
    const struct range ranges[] = {
        {"image_size", config->image_size, 1, 4096},
        {"patch_size", config->patch_size, 1, 512},
        {"num_channels", config->num_channels, 1, 64},
    };

    ERR_TRY(check_ranges(ranges, sizeof(ranges) / sizeof(ranges[0])));
    if (config->image_size % config->patch_size != 0) {
        return ERR_FAIL(ERR_CONFIG, "patch_size %" PRId64 " does not divide image_size %" PRId64,
                        config->patch_size, config->image_size);
    }
    if (config->norm != MODEL_NORM_PRE || config->mask != MODEL_MASK_NONE ||
        config->pooling >= MODEL_POOLING_LAST || config->ties_classifier) {
        return ERR_FAIL(ERR_CONFIG, "a model of images has its norms before a layer's halves, no "
                                    "mask, cls or mean pooling and a classifier of its own");
    }
    return ERR_OK;
}

static enum err check_texts(const struct model_config *config)
{
    const bool is_bert = config->norm == MODEL_NORM_POST;
    const struct range ranges[] = {
        {"vocab_size", config->vocab_size, 1, 100000000},
        {"max_position_embeddings", config->max_position_embeddings, 1, 1000000},
        {"type_vocab_size", config->type_vocab_size, is_bert ? 1 : 0, is_bert ? 1000000 : 0},
        {"max_length", config->max_length, 1, config->max_position_embeddings},
    };

    ERR_TRY(check_ranges(ranges, sizeof(ranges) / sizeof(ranges[0])));
    if (config->mask != (is_bert ? MODEL_MASK_LENGTHS : MODEL_MASK_CAUSAL) ||
        config->has_distillation_token) {
        return ERR_FAIL(ERR_CONFIG, "of models of texts BERT (norms behind a layer's halves, a "
                                    "mask of lengths) and GPT-2 (norms before them, causal) are "
                                    "implemented, and nothing between");
    }
    if (is_bert ? config->pooling >= MODEL_POOLING_LAST : config->pooling == MODEL_POOLING_CLS) {
        return ERR_FAIL(ERR_CONFIG, "pooling of a %s must be %s",
                        is_bert ? "BERT" : "GPT-2, whose first token sees no other,",
                        is_bert ? "cls or mean" : "last or mean, of a language model every");
    }
    if (config->pooling == MODEL_POOLING_EVERY && !config->ties_classifier) {
        return ERR_FAIL(ERR_CONFIG, "pooling every is a language model's, whose classifier is tied "
                                    "to the words");
    }
    if (config->ties_classifier && (is_bert || config->num_labels != config->vocab_size)) {
        return ERR_FAIL(ERR_CONFIG,
                        "a classifier tied to the words is GPT-2's and has as many classes as "
                        "there are words: num_labels is %" PRId64 ", vocab_size %" PRId64,
                        config->num_labels, config->vocab_size);
    }
    return ERR_OK;
}

enum err model_config_check(const struct model_config *config)
{
    const struct range ranges[] = {
        {"hidden_size", config->hidden_size, 1, 65536},
        {"num_hidden_layers", config->num_hidden_layers, 1, MODEL_LAYERS_MAX},
        {"num_attention_heads", config->num_attention_heads, 1, 1024},
        {"intermediate_size", config->intermediate_size, 1, 262144},
        {"num_labels", config->num_labels, 2, 100000000},
    };

    ERR_TRY(config->embedding == MODEL_EMBEDDING_PATCHES ? check_images(config)
                                                         : check_texts(config));
    ERR_TRY(check_ranges(ranges, sizeof(ranges) / sizeof(ranges[0])));
    if (config->hidden_size % config->num_attention_heads != 0) {
        return ERR_FAIL(ERR_CONFIG,
                        "num_attention_heads %" PRId64 " does not divide hidden_size %" PRId64,
                        config->num_attention_heads, config->hidden_size);
    }
    if (!(config->layer_norm_eps > 0) || !(config->initializer_range > 0)) {
        return ERR_FAIL(ERR_CONFIG,
                        "layer_norm_eps %g and initializer_range %g must both be above 0",
                        config->layer_norm_eps, config->initializer_range);
    }
    return ERR_OK;
}
