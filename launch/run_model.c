#include "launch/run_model.h"

#include <inttypes.h>

#include "trainer/kernels/kern_cuda.h"
#include "trainer/model/model_files.h"

/* The choices of model_type in options.def. */
enum { TYPE_VIT, TYPE_BERT, TYPE_GPT2 };

/* What the settings describe, without what the data decide. */
static void describe(const struct options *options, struct model_config *config)
{
    static const enum kern_gelu forms[] = {KERN_GELU_TANH, KERN_GELU_ERF};

    *config = (struct model_config){
        .patch_size = options->patch_size,
        .hidden_size = options->hidden_size,
        .num_hidden_layers = options->num_hidden_layers,
        .num_attention_heads = options->num_attention_heads,
        .intermediate_size = options->intermediate_size,
        .layer_norm_eps = options->layer_norm_eps,
        .initializer_range = options->initializer_range,
        .hidden_act = forms[options->hidden_act],
        .pooling = (enum model_pooling)options->pooling,
    };
    if (options->model_type != TYPE_VIT) {
        config->embedding = MODEL_EMBEDDING_TOKENS;
        config->max_position_embeddings = options->max_seq_length;
    }
    if (options->model_type == TYPE_BERT) {
        config->norm = MODEL_NORM_POST;
        config->mask = MODEL_MASK_LENGTHS;
        config->type_vocab_size = 1;
    } else if (options->model_type == TYPE_GPT2) {
        config->mask = MODEL_MASK_CAUSAL;
    }
}

static enum err fit_images(const struct options *options, const struct data_set_shape *shape,
                           bool is_given, struct model_config *config)
{
    if (!is_given) {
        config->image_size = shape->height;
        config->num_channels = shape->channels;
    }
    if (config->image_size != shape->height || config->num_channels != shape->channels) {
        return ERR_FAIL(ERR_CONFIG,
                        "the model takes %" PRId64 " channels of %" PRId64
                        " pixels; %s has %" PRId64 " of %" PRId64,
                        config->num_channels, config->image_size, options->data_dir,
                        shape->channels, shape->height);
    }
    return ERR_OK;
}

static enum err fit_texts(const struct options *options, const struct run_data *data, bool is_given,
                          struct model_config *config)
{
    const int64_t train = data->train->tokens_max, test = data->test->tokens_max;

    config->max_length = train > test ? train : test;
    if (!is_given) {
        config->vocab_size = data->tokenizer->vocab_count;
    }
    if (config->max_length > config->max_position_embeddings) {
        return ERR_FAIL(ERR_CONFIG,
                        "a text has %" PRId64 " tokens and the model %" PRId64
                        " positions: max_seq_length is %" PRId64,
                        config->max_length, config->max_position_embeddings,
                        options->max_seq_length);
    }
    if (data->tokenizer->vocab_count > config->vocab_size) {
        return ERR_FAIL(ERR_CONFIG,
                        "the tokenizer has %" PRId64 " tokens and the model knows %" PRId64
                        ": they do not belong together",
                        data->tokenizer->vocab_count, config->vocab_size);
    }
    return ERR_OK;
}

/* What every token's label asks for, and one label a text does not. */
static enum err fit_rows(const struct options *options, const struct run_data *data, bool is_given,
                         struct model_config *config)
{
    const bool is_every = config->pooling == MODEL_POOLING_EVERY;

    if (!run_data_is_language(data)) {
        if (is_every && !is_given) {
            return ERR_FAIL(ERR_CONFIG, "pooling every is a language model's: it goes with "
                                        "data_format plain alone");
        }
        config->pooling = is_every ? MODEL_POOLING_LAST : config->pooling;
        return ERR_OK;
    }
    if (model_config_family(config) != MODEL_FAMILY_GPT2 || (!is_every && !is_given)) {
        return ERR_FAIL(ERR_CONFIG, "data_format is plain, for a language model: %s must be gpt2%s",
                        is_given ? options->init_from : "model_type",
                        is_given ? "" : " and pooling every");
    }
    if (options->eval_detail != 0) {
        return ERR_FAIL(ERR_CONFIG, "eval_detail all times rules by running them, and the tokens "
                                    "of a text cannot leave alone: with data_format plain it must "
                                    "be brief");
    }
    config->pooling = MODEL_POOLING_EVERY;
    config->ties_classifier = true;
    config->num_labels = config->vocab_size;
    return ERR_OK;
}

enum err run_model_config(const struct options *options, const struct run_data *data,
                          struct model_config *config_out)
{
    const bool is_given = options->init_from[0] != '\0';
    struct model_config config = {0};

    if (is_given) {
        ERR_TRY_AS(model_files_read_config(options->init_from, &config), "init_from");
    } else {
        describe(options, &config);
    }
    if ((config.embedding == MODEL_EMBEDDING_TOKENS) != (data->train->kind == DATA_TEXTS)) {
        return ERR_FAIL(ERR_CONFIG, "%s is for %s, %s has %s",
                        is_given ? options->init_from : "model_type",
                        data->train->kind == DATA_TEXTS ? "images" : "texts", options->data_dir,
                        run_data_noun(data));
    }
    config.num_labels = data->train->shape.class_count;
    config.ties_classifier = false;
    if (data->train->kind == DATA_TEXTS) {
        ERR_TRY(fit_texts(options, data, is_given, &config));
        ERR_TRY(fit_rows(options, data, is_given, &config));
    } else {
        ERR_TRY(fit_images(options, &data->train->shape, is_given, &config));
    }
    *config_out = config;
    return ERR_OK;
}

enum err run_model_check_device(const struct model_config *config, const struct device *device)
{
    const int64_t channels = config->num_attention_heads < 1
                                 ? 0 /* refused by the model */
                                 : config->hidden_size / config->num_attention_heads;

    if (device_kind(device) == DEVICE_CUDA && channels > KERN_CUDA_HEAD_CHANNELS_MAX) {
        return ERR_FAIL(ERR_CONFIG,
                        "%" PRId64 " heads of %" PRId64
                        " channels: on a CUDA device a head has at most %d",
                        config->num_attention_heads, channels, KERN_CUDA_HEAD_CHANNELS_MAX);
    }
    return ERR_OK;
}
