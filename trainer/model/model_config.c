#include "trainer/model/model_config.h"

#include <inttypes.h>

int64_t model_config_patches(const struct model_config *config)
{
    const int64_t side = config->image_size / config->patch_size;

    return side * side;
}

int64_t model_config_tokens(const struct model_config *config)
{
    return model_config_patches(config) + 1;
}

int64_t model_config_patch_inputs(const struct model_config *config)
{
    return config->num_channels * config->patch_size * config->patch_size;
}

enum err model_config_check(const struct model_config *config)
{
    const struct {
        const char *name;
        int64_t value, least, most;
    } ranges[] = {
        {"image_size", config->image_size, 1, 4096},
        {"patch_size", config->patch_size, 1, 512},
        {"num_channels", config->num_channels, 1, 64},
        {"hidden_size", config->hidden_size, 1, 65536},
        {"num_hidden_layers", config->num_hidden_layers, 1, MODEL_LAYERS_MAX},
        {"num_attention_heads", config->num_attention_heads, 1, 1024},
        {"intermediate_size", config->intermediate_size, 1, 262144},
        {"num_labels", config->num_labels, 2, 1000000},
    };

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most) {
            return ERR_FAIL(ERR_CONFIG, "%s is %" PRId64 ", it must lie in %" PRId64 " .. %" PRId64,
                            ranges[i].name, ranges[i].value, ranges[i].least, ranges[i].most);
        }
    }
    if (config->image_size % config->patch_size != 0) {
        return ERR_FAIL(ERR_CONFIG, "patch_size %" PRId64 " does not divide image_size %" PRId64,
                        config->patch_size, config->image_size);
    }
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
