#include "trainer/model/model_input.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

struct model_stage {
    struct model_config config;
    struct device *device;
    int64_t samples_max;
    void *images, *tokens, *lengths; /* of the device; NULL on a CPU, or if the model has none */
};

struct model_input model_input_from(const struct model_config *config,
                                    const struct model_input *input, int64_t first)
{
    struct model_input from = *input;

    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        from.images += first * model_config_pixels(config);
    } else {
        from.tokens += first * input->token_stride;
        from.lengths += first;
    }
    return from;
}

static enum err allocate(struct model_stage *stage)
{
    const struct model_config *config = &stage->config;
    const size_t n = (size_t)stage->samples_max;

    if (device_kind(stage->device) == DEVICE_CPU) {
        return ERR_OK;
    }
    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        const size_t bytes = n * (size_t)model_config_pixels(config) * sizeof(float);
        return device_memory_open(stage->device, bytes, "images", &stage->images);
    }
    ERR_TRY(device_memory_open(stage->device, n * (size_t)config->max_length * sizeof(int32_t),
                               "tokens", &stage->tokens));
    return device_memory_open(stage->device, n * sizeof(int32_t), "lengths", &stage->lengths);
}

enum err model_stage_open(const struct model_config *config, struct device *device,
                          int64_t samples_max, struct model_stage **stage_out)
{
    struct model_stage *stage = calloc(1, sizeof(*stage));

    if (stage == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the input of a pass");
    }
    *stage = (struct model_stage){.config = *config, .device = device, .samples_max = samples_max};
    const enum err status = allocate(stage);
    if (status != ERR_OK) {
        model_stage_close(stage);
        return status;
    }
    *stage_out = stage;
    return ERR_OK;
}

void model_stage_close(struct model_stage *stage)
{
    if (stage == NULL) {
        return;
    }
    device_memory_close(stage->device, stage->lengths);
    device_memory_close(stage->device, stage->tokens);
    device_memory_close(stage->device, stage->images);
    free(stage);
}

/* *longest_out: the greatest length. */
static enum err check_texts(const struct model_config *config, const struct model_input *input,
                            int64_t n, int64_t *longest_out)
{
    const int64_t least = model_config_rows(config);
    int64_t longest = 0;

    for (int64_t i = 0; i < n; i++) {
        const int64_t length = input->lengths[i];
        if (length < least || length > config->max_length || length > input->token_stride) {
            return ERR_FAIL(ERR_CORRUPT,
                            "sample %" PRId64 " of a batch has %" PRId64
                            " tokens, it must have %" PRId64 " .. %" PRId64,
                            i, length, least, config->max_length);
        }
        for (int64_t t = 0; t < length; t++) {
            const int64_t token = input->tokens[i * input->token_stride + t];
            if (token < 0 || token >= config->vocab_size) {
                return ERR_FAIL(ERR_CORRUPT,
                                "sample %" PRId64 " of a batch: token %" PRId64 " is %" PRId64
                                ", the model has words 0 .. %" PRId64,
                                i, t, token, config->vocab_size - 1);
            }
        }
        longest = length > longest ? length : longest;
    }
    *longest_out = longest;
    return ERR_OK;
}

static enum err put_texts(struct model_stage *stage, const struct model_input *input, int64_t n,
                          struct model_input *staged)
{
    const bool is_cpu = device_kind(stage->device) == DEVICE_CPU;
    const int64_t most = model_config_tokens(&stage->config);
    const void *at = NULL;
    int64_t longest = 0;

    ERR_TRY(check_texts(&stage->config, input, n, &longest));
    const int64_t rounded = (longest + MODEL_TOKENS_STEP - 1) / MODEL_TOKENS_STEP;
    staged->width = rounded * MODEL_TOKENS_STEP < most ? rounded * MODEL_TOKENS_STEP : most;
    ERR_TRY(device_stage(stage->device, stage->lengths, input->lengths, (size_t)n * sizeof(int32_t),
                         &at));
    staged->lengths = at;
    if (is_cpu || input->token_stride <= stage->config.max_length) {
        ERR_TRY(device_stage(stage->device, stage->tokens, input->tokens,
                             (size_t)(n * input->token_stride) * sizeof(int32_t), &at));
        staged->tokens = at;
        return ERR_OK;
    }
    for (int64_t i = 0; i < n;
         i++) { /* rows that are wider than any text: the first part of each */
        ERR_TRY(device_stage(stage->device, (int32_t *)stage->tokens + i * stage->config.max_length,
                             input->tokens + i * input->token_stride,
                             (size_t)input->lengths[i] * sizeof(int32_t), &at));
    }
    staged->tokens = stage->tokens;
    staged->token_stride = stage->config.max_length;
    return ERR_OK;
}

enum err model_stage_put(struct model_stage *stage, const struct model_input *input, int64_t n,
                         struct model_input *staged_out)
{
    const void *images = NULL;

    assert(n >= 1 && n <= stage->samples_max);
    *staged_out = *input;
    if (stage->config.embedding == MODEL_EMBEDDING_TOKENS) {
        return put_texts(stage, input, n, staged_out);
    }
    ERR_TRY(device_stage(stage->device, stage->images, input->images,
                         (size_t)(n * model_config_pixels(&stage->config)) * sizeof(float),
                         &images));
    staged_out->images = images;
    return ERR_OK;
}
