#include "launch/export/onnx_backbone.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "trainer/model/model_tensors.h"

static const double ONE_OVER_SQRT_2 = 0.70710678118654752;
static const double SQRT_2_OVER_PI = 0.79788456080286536;
static const double CUBIC = 0.044715;

/* Of a score, so that its probability is 0. */
static const float FAR_BELOW = 1e30F;

enum { PART_BYTES = 64 };

static bool is_text(const struct model_config *config)
{
    return config->embedding == MODEL_EMBEDDING_TOKENS;
}

enum err onnx_backbone_check(const struct model_config *config)
{
    if (model_config_family(config) == MODEL_FAMILY_GPT2) {
        return ERR_FAIL(ERR_CONFIG, "there are no ONNX models of a GPT-2: take --format hf");
    }
    if (config->pooling != MODEL_POOLING_CLS && config->pooling != MODEL_POOLING_MEAN) {
        return ERR_FAIL(ERR_CONFIG, "the backbone's pooling is neither cls nor mean");
    }
    return ERR_OK;
}

void onnx_backbone_stream_dims(const struct onnx_backbone *backbone, int64_t dims[3])
{
    dims[0] = ONNX_ANY;
    dims[1] = is_text(backbone->config) ? ONNX_TOKENS : model_config_tokens(backbone->config);
    dims[2] = backbone->config->hidden_size;
}

/* A tensor of model_tensors.def; those outside the layers ignore `layer`. */
static const float *tensor(const struct onnx_backbone *backbone, enum model_tensor which,
                           int64_t layer)
{
    const int64_t index = model_tensor_index(backbone->config, which, layer);

    return backbone->block + backbone->params->params[index].offset;
}

onnx_value onnx_backbone_norm(struct onnx_graph *graph, const char *name, onnx_value input,
                              const float *gain, const float *bias, int64_t width, double epsilon)
{
    char part[PART_BYTES];

    snprintf(part, sizeof(part), "%s.weight", name);
    const onnx_value gains = onnx_graph_weight(graph, part, gain, &width, 1);
    snprintf(part, sizeof(part), "%s.bias", name);
    const onnx_value biases = onnx_graph_weight(graph, part, bias, &width, 1);
    const onnx_value normed = ONNX_OP(graph, name, "LayerNormalization", input, gains, biases);
    onnx_graph_int(graph, "axis", -1);
    onnx_graph_float(graph, "epsilon", (float)epsilon);
    return normed;
}

onnx_value onnx_backbone_linear(struct onnx_graph *graph, const char *name, onnx_value input,
                                const float *weight, const float *bias, int64_t outputs,
                                int64_t inputs)
{
    char part[PART_BYTES];

    snprintf(part, sizeof(part), "%s.weight", name);
    const onnx_value weights = onnx_graph_matrix(graph, part, weight, outputs, inputs);
    snprintf(part, sizeof(part), "%s.bias", name);
    const onnx_value biases = onnx_graph_weight(graph, part, bias, &outputs, 1);
    snprintf(part, sizeof(part), "%s.product", name);
    const onnx_value product = ONNX_OP(graph, part, "MatMul", input, weights);
    return ONNX_OP(graph, name, "Add", product, biases);
}

/* A node of an activation: "mlp.gelu" and "scaled" make "mlp.gelu.scaled". */
static onnx_value step(struct onnx_graph *graph, const char *name, const char *part,
                       const char *type, onnx_value a, onnx_value b)
{
    char text[PART_BYTES];

    snprintf(text, sizeof(text), "%s.%s", name, part);
    return b == NULL ? ONNX_OP(graph, text, type, a) : ONNX_OP(graph, text, type, a, b);
}

/* tanh(sqrt(2/pi) (x + 0.044715 x^3)) */
static onnx_value gelu_tanh(struct onnx_graph *graph, const char *name, onnx_value x)
{
    const onnx_value square = step(graph, name, "square", "Mul", x, x);
    const onnx_value cubic =
        step(graph, name, "cubic", "Mul", square, onnx_graph_scalar(graph, (float)CUBIC));
    const onnx_value factor =
        step(graph, name, "factor", "Add", cubic, onnx_graph_scalar(graph, 1));
    const onnx_value inner = step(graph, name, "inner", "Mul", x, factor);
    const onnx_value scaled =
        step(graph, name, "scaled", "Mul", inner, onnx_graph_scalar(graph, (float)SQRT_2_OVER_PI));

    return step(graph, name, "tanh", "Tanh", scaled, NULL);
}

/* erf(x / sqrt 2) */
static onnx_value gelu_erf(struct onnx_graph *graph, const char *name, onnx_value x)
{
    const onnx_value scaled =
        step(graph, name, "scaled", "Mul", x, onnx_graph_scalar(graph, (float)ONE_OVER_SQRT_2));

    return step(graph, name, "erf", "Erf", scaled, NULL);
}

/* x/2 (1 + either) */
onnx_value onnx_backbone_gelu(struct onnx_graph *graph, const char *name, onnx_value input,
                              enum kern_gelu form)
{
    const onnx_value odd =
        form == KERN_GELU_TANH ? gelu_tanh(graph, name, input) : gelu_erf(graph, name, input);
    const onnx_value gain = step(graph, name, "gain", "Add", odd, onnx_graph_scalar(graph, 1));
    const onnx_value half = step(graph, name, "half", "Mul", input, onnx_graph_scalar(graph, 0.5F));

    return ONNX_OP(graph, name, "Mul", half, gain);
}

/* A token that all samples have, as [n, 1, D]. */
static onnx_value repeat_token(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                               const char *name, enum model_tensor which, onnx_value shape)
{
    const int64_t dims[] = {1, 1, backbone->config->hidden_size};
    char part[PART_BYTES];

    snprintf(part, sizeof(part), "%s.token", name);
    return ONNX_OP(graph, name, "Expand",
                   onnx_graph_weight(graph, part, tensor(backbone, which, 0), dims, 3), shape);
}

static onnx_value embed_patches(struct onnx_graph *graph, const struct onnx_backbone *backbone)
{
    const struct model_config *config = backbone->config;
    const int64_t dims[] = {ONNX_ANY, config->num_channels, config->image_size, config->image_size};
    const onnx_value pixel_values = onnx_graph_input(graph, "pixel_values", dims, 4);
    const int64_t D = config->hidden_size, P = config->patch_size, C = config->num_channels;
    const int64_t T = model_config_tokens(config), sides[] = {P, P};
    const int64_t patch_dims[] = {D, C, P, P}, position_dims[] = {1, T, D};
    const int64_t flat_dims[] = {0, D, model_config_patches(config)};

    onnx_graph_scope(graph, "embeddings");
    const onnx_value weight = onnx_graph_weight(
        graph, "patches.weight", tensor(backbone, MODEL_patch_weight, 0), patch_dims, 4);
    const onnx_value bias =
        onnx_graph_weight(graph, "patches.bias", tensor(backbone, MODEL_patch_bias, 0), &D, 1);
    const onnx_value grid = ONNX_OP(graph, "patches", "Conv", pixel_values, weight, bias);
    onnx_graph_ints(graph, "kernel_shape", sides, 2);
    onnx_graph_ints(graph, "strides", sides, 2);
    const onnx_value flat =
        ONNX_OP(graph, "patches.flat", "Reshape", grid, onnx_graph_shape(graph, flat_dims, 3));
    const onnx_value rows = ONNX_OP(graph, "patches.rows", "Transpose", flat);
    onnx_graph_ints(graph, "perm", (const int64_t[]){0, 2, 1}, 3);
    const onnx_value samples = ONNX_OP(graph, "cls.samples", "Shape", pixel_values);
    onnx_graph_int(graph, "start", 0);
    onnx_graph_int(graph, "end", 1);
    const onnx_value shape = ONNX_OP(graph, "cls.shape", "Concat", samples,
                                     onnx_graph_shape(graph, (const int64_t[]){1, D}, 2));
    onnx_graph_int(graph, "axis", 0);
    const onnx_value cls = repeat_token(graph, backbone, "cls", MODEL_cls_token, shape);
    onnx_value others = rows;
    if (config->has_distillation_token) {
        others = ONNX_OP(
            graph, "patches.and_distillation", "Concat",
            repeat_token(graph, backbone, "distillation", MODEL_distillation_token, shape), rows);
        onnx_graph_int(graph, "axis", 1);
    }
    const onnx_value tokens = ONNX_OP(graph, "tokens", "Concat", cls, others);
    onnx_graph_int(graph, "axis", 1);
    return ONNX_OP(graph, "stream", "Add", tokens,
                   onnx_graph_weight(graph, "positions", tensor(backbone, MODEL_positions, 0),
                                     position_dims, 3));
}

/* All tokens are of the first type. */
static onnx_value embed_tokens(struct onnx_graph *graph, const struct onnx_backbone *backbone)
{
    const struct model_config *config = backbone->config;
    const int64_t D = config->hidden_size, dims[] = {ONNX_ANY, ONNX_TOKENS};
    const int64_t word_dims[] = {config->vocab_size, D};
    const int64_t position_dims[] = {config->max_position_embeddings, D};
    const onnx_value ids = onnx_graph_input_ints(graph, "input_ids", dims, 2);
    const onnx_value zero = onnx_graph_shape(graph, (const int64_t[]){0}, 1);

    onnx_graph_scope(graph, "embeddings");
    const onnx_value words =
        onnx_graph_weight(graph, "words.weight", tensor(backbone, MODEL_words, 0), word_dims, 2);
    const onnx_value rows = ONNX_OP(graph, "words", "Gather", words, ids);
    const onnx_value count = ONNX_OP(graph, "positions.count", "Shape", ids);
    onnx_graph_int(graph, "start", 1);
    onnx_graph_int(graph, "end", 2);
    const onnx_value all = onnx_graph_weight(
        graph, "positions.weight", tensor(backbone, MODEL_token_positions, 0), position_dims, 2);
    const onnx_value positions = ONNX_OP(graph, "positions", "Slice", all, zero, count, zero);
    const onnx_value placed = ONNX_OP(graph, "placed", "Add", rows, positions);
    const onnx_value type =
        onnx_graph_weight(graph, "type", tensor(backbone, MODEL_types, 0), &D, 1);
    const onnx_value sum = ONNX_OP(graph, "sum", "Add", placed, type);

    return onnx_backbone_norm(graph, "norm", sum, tensor(backbone, MODEL_embed_gain, 0),
                              tensor(backbone, MODEL_embed_bias, 0), D, config->layer_norm_eps);
}

onnx_value onnx_backbone_embed(struct onnx_graph *graph, const struct onnx_backbone *backbone)
{
    return is_text(backbone->config) ? embed_tokens(graph, backbone)
                                     : embed_patches(graph, backbone);
}

struct onnx_backbone_mask onnx_backbone_mask(struct onnx_graph *graph,
                                             const struct onnx_backbone *backbone)
{
    const int64_t dims[] = {ONNX_ANY, ONNX_TOKENS};
    struct onnx_backbone_mask mask = {0};

    if (!is_text(backbone->config)) {
        return mask;
    }
    const onnx_value input = onnx_graph_input_ints(graph, "attention_mask", dims, 2);
    onnx_graph_scope(graph, "mask");
    const onnx_value there = ONNX_OP(graph, "there", "Cast", input);
    onnx_graph_int(graph, "to", ONNX_FLOAT32);
    const onnx_value absent = /* 0, or -1 */
        ONNX_OP(graph, "absent", "Sub", there, onnx_graph_scalar(graph, 1));
    const onnx_value far =
        ONNX_OP(graph, "far_below", "Mul", absent, onnx_graph_scalar(graph, FAR_BELOW));
    mask.scores = ONNX_OP(graph, "scores", "Unsqueeze", far,
                          onnx_graph_shape(graph, (const int64_t[]){1, 2}, 2));
    mask.rows = ONNX_OP(graph, "rows", "Unsqueeze", there,
                        onnx_graph_shape(graph, (const int64_t[]){2}, 1));
    return mask;
}

/* [n, rows, D] -> [n, H, rows, D / H], or with `for_keys` [n, H, D / H, rows]. */
static onnx_value split_heads(struct onnx_graph *graph, const struct model_config *config,
                              const char *name, onnx_value input, bool for_keys)
{
    const int64_t H = config->num_attention_heads, shape[] = {0, 0, H, config->hidden_size / H};
    const int64_t perm[] = {0, 2, 1, 3}, perm_for_keys[] = {0, 2, 3, 1};
    char part[PART_BYTES];

    snprintf(part, sizeof(part), "%s.split", name);
    const onnx_value split =
        ONNX_OP(graph, part, "Reshape", input, onnx_graph_shape(graph, shape, 4));
    snprintf(part, sizeof(part), "%s.heads", name);
    const onnx_value heads = ONNX_OP(graph, part, "Transpose", split);
    onnx_graph_ints(graph, "perm", for_keys ? perm_for_keys : perm, 4);
    return heads;
}

/* Queries of `rows`, keys and values of `all`; both normed. */
static onnx_value attend(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                         int64_t layer, onnx_value rows, onnx_value all,
                         const struct onnx_backbone_mask *mask)
{
    const struct model_config *config = backbone->config;
    const int64_t D = config->hidden_size, H = config->num_attention_heads;
    const float scale = (float)(1 / sqrt((double)D / (double)H));
    const onnx_value query =
        onnx_backbone_linear(graph, "query", rows, tensor(backbone, MODEL_query_weight, layer),
                             tensor(backbone, MODEL_query_bias, layer), D, D);
    const onnx_value key =
        onnx_backbone_linear(graph, "key", all, tensor(backbone, MODEL_key_weight, layer),
                             tensor(backbone, MODEL_key_bias, layer), D, D);
    const onnx_value value =
        onnx_backbone_linear(graph, "value", all, tensor(backbone, MODEL_value_weight, layer),
                             tensor(backbone, MODEL_value_bias, layer), D, D);
    const onnx_value products =
        ONNX_OP(graph, "products", "MatMul", split_heads(graph, config, "query", query, false),
                split_heads(graph, config, "key", key, true));
    onnx_value scores = ONNX_OP(graph, "scores", "Mul", products, onnx_graph_scalar(graph, scale));
    if (mask->scores != NULL) {
        scores = ONNX_OP(graph, "scores.masked", "Add", scores, mask->scores);
    }
    const onnx_value probabilities = ONNX_OP(graph, "probabilities", "Softmax", scores);
    onnx_graph_int(graph, "axis", -1);
    const onnx_value context = ONNX_OP(graph, "context", "MatMul", probabilities,
                                       split_heads(graph, config, "value", value, false));
    const onnx_value turned = ONNX_OP(graph, "context.rows", "Transpose", context);
    onnx_graph_ints(graph, "perm", (const int64_t[]){0, 2, 1, 3}, 4);
    const onnx_value joined = ONNX_OP(graph, "context.joined", "Reshape", turned,
                                      onnx_graph_shape(graph, (const int64_t[]){0, 0, D}, 3));
    return onnx_backbone_linear(graph, "output", joined, tensor(backbone, MODEL_out_weight, layer),
                                tensor(backbone, MODEL_out_bias, layer), D, D);
}

static onnx_value take_first_row(struct onnx_graph *graph, const char *name, onnx_value input)
{
    return ONNX_OP(graph, name, "Slice", input, onnx_graph_shape(graph, (const int64_t[]){0}, 1),
                   onnx_graph_shape(graph, (const int64_t[]){1}, 1),
                   onnx_graph_shape(graph, (const int64_t[]){1}, 1));
}

/* The MLP of a layer, in its scope. */
static onnx_value think(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                        int64_t layer, onnx_value input)
{
    const struct model_config *config = backbone->config;
    const int64_t D = config->hidden_size, F = config->intermediate_size;
    const onnx_value wide =
        onnx_backbone_linear(graph, "up", input, tensor(backbone, MODEL_up_weight, layer),
                             tensor(backbone, MODEL_up_bias, layer), F, D);

    return onnx_backbone_linear(
        graph, "down", onnx_backbone_gelu(graph, "gelu", wide, config->hidden_act),
        tensor(backbone, MODEL_down_weight, layer), tensor(backbone, MODEL_down_bias, layer), D, F);
}

static onnx_value norm1(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                        int64_t layer, onnx_value input)
{
    const struct model_config *config = backbone->config;

    return onnx_backbone_norm(graph, "norm", input, tensor(backbone, MODEL_norm1_gain, layer),
                              tensor(backbone, MODEL_norm1_bias, layer), config->hidden_size,
                              config->layer_norm_eps);
}

static onnx_value norm2(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                        int64_t layer, onnx_value input)
{
    const struct model_config *config = backbone->config;

    return onnx_backbone_norm(graph, "norm", input, tensor(backbone, MODEL_norm2_gain, layer),
                              tensor(backbone, MODEL_norm2_bias, layer), config->hidden_size,
                              config->layer_norm_eps);
}

static onnx_value layer_pre_norm(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                                 int64_t layer, onnx_value stream,
                                 const struct onnx_backbone_mask *mask)
{
    const struct model_config *config = backbone->config;
    const bool is_cls_only = !is_text(config) && config->pooling == MODEL_POOLING_CLS &&
                             layer == config->num_hidden_layers - 1;

    onnx_graph_scope(graph, "layer.%" PRId64 ".attention", layer);
    const onnx_value all = norm1(graph, backbone, layer, stream);
    const onnx_value normed_rows = is_cls_only ? take_first_row(graph, "norm.cls", all) : all;
    const onnx_value rows = is_cls_only ? take_first_row(graph, "cls", stream) : stream;
    const onnx_value attended = attend(graph, backbone, layer, normed_rows, all, mask);
    const onnx_value middle = ONNX_OP(graph, "stream", "Add", rows, attended);

    onnx_graph_scope(graph, "layer.%" PRId64 ".mlp", layer);
    const onnx_value thought = think(graph, backbone, layer, norm2(graph, backbone, layer, middle));
    return ONNX_OP(graph, "stream", "Add", middle, thought);
}

static onnx_value layer_post_norm(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                                  int64_t layer, onnx_value stream,
                                  const struct onnx_backbone_mask *mask)
{
    onnx_graph_scope(graph, "layer.%" PRId64 ".attention", layer);
    const onnx_value attended = attend(graph, backbone, layer, stream, stream, mask);
    const onnx_value joined = ONNX_OP(graph, "stream", "Add", stream, attended);
    const onnx_value middle = norm1(graph, backbone, layer, joined);

    onnx_graph_scope(graph, "layer.%" PRId64 ".mlp", layer);
    const onnx_value thought = think(graph, backbone, layer, middle);
    return norm2(graph, backbone, layer, ONNX_OP(graph, "stream", "Add", middle, thought));
}

onnx_value onnx_backbone_layer(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                               int64_t layer, onnx_value stream,
                               const struct onnx_backbone_mask *mask)
{
    return backbone->config->norm == MODEL_NORM_POST
               ? layer_post_norm(graph, backbone, layer, stream, mask)
               : layer_pre_norm(graph, backbone, layer, stream, mask);
}

/* Of the tokens that are there. */
static onnx_value mean_of_tokens(struct onnx_graph *graph, onnx_value stream,
                                 const struct onnx_backbone_mask *mask)
{
    const onnx_value axis = onnx_graph_shape(graph, (const int64_t[]){1}, 1);
    const onnx_value there = ONNX_OP(graph, "there", "Mul", stream, mask->rows);
    const onnx_value sum = ONNX_OP(graph, "sum", "ReduceSum", there, axis);
    onnx_graph_int(graph, "keepdims", 0);
    const onnx_value count = ONNX_OP(graph, "count", "ReduceSum", mask->rows, axis);
    onnx_graph_int(graph, "keepdims", 0);

    return ONNX_OP(graph, "pooled", "Div", sum, count);
}

onnx_value onnx_backbone_pool(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                              onnx_value stream, const struct onnx_backbone_mask *mask)
{
    const int64_t T = model_config_tokens(backbone->config);

    if (backbone->config->pooling == MODEL_POOLING_CLS) {
        const onnx_value row = take_first_row(graph, "cls", stream);
        return ONNX_OP(graph, "pooled", "Squeeze", row,
                       onnx_graph_shape(graph, (const int64_t[]){1}, 1));
    }
    if (is_text(backbone->config)) {
        return mean_of_tokens(graph, stream, mask);
    }
    const onnx_value patches =
        ONNX_OP(graph, "patches", "Slice", stream, onnx_graph_shape(graph, (const int64_t[]){1}, 1),
                onnx_graph_shape(graph, (const int64_t[]){T}, 1),
                onnx_graph_shape(graph, (const int64_t[]){1}, 1));
    const onnx_value pooled = ONNX_OP(graph, "pooled", "ReduceMean", patches);
    onnx_graph_ints(graph, "axes", (const int64_t[]){1}, 1);
    onnx_graph_int(graph, "keepdims", 0);
    return pooled;
}

onnx_value onnx_backbone_classify(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                                  onnx_value pooled)
{
    const struct model_config *config = backbone->config;

    onnx_value normed = pooled;
    if (config->norm == MODEL_NORM_PRE) {
        normed = onnx_backbone_norm(graph, "norm", pooled, tensor(backbone, MODEL_final_gain, 0),
                                    tensor(backbone, MODEL_final_bias, 0), config->hidden_size,
                                    config->layer_norm_eps);
    }
    return onnx_backbone_linear(
        graph, "classifier", normed, tensor(backbone, MODEL_class_weight, 0),
        tensor(backbone, MODEL_class_bias, 0), config->num_labels, config->hidden_size);
}
