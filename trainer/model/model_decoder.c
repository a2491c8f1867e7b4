#include "trainer/model/model_decoder.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "trainer/model/model_priv.h"

enum { ROWS = MODEL_DECODER_ROWS, CACHE_LINE_FLOATS = 16 };

/* Of a layer. */
struct decoded {
    struct kern_attention_cache cache;
    int64_t reached;                       /* tokens in it */
    struct kern_linear query, keys_values; /* the model's, in panels of their own */
};

struct model_decoder {
    const struct model *model;
    int64_t positions_max, count;
    int64_t macs;
    struct decoded *layers; /* [L] */
    float *block;           /* all of what follows, one allocation */
    float *stream;          /* [positions_max, D] */
    float *normed;          /* [ROWS, D] */
    float *qkv;             /* [ROWS, 3, D] */
    float *heads;           /* [ROWS, D], of attention */
    float *middle;          /* [ROWS, D], the stream between attention and MLP */
    float *wide;            /* [ROWS, F] */
    float *scores;          /* what attention works in */
};

/* Hands out the pieces of one allocation; with no block yet, only counts. */
static float *carve(float *block, int64_t *used, int64_t elems)
{
    float *piece = block == NULL ? NULL : block + *used;

    *used += (elems + CACHE_LINE_FLOATS - 1) / CACHE_LINE_FLOATS * CACHE_LINE_FLOATS;
    return piece;
}

static void carve_linear(const struct model *model, float *block, int64_t *used,
                         const float *weight, int64_t N, struct kern_linear *linear)
{
    const int64_t D = model->config.hidden_size;

    *linear = (struct kern_linear){.N = N, .K = D, .weight = weight};
    linear->panels = carve(block, used, model->ops.linear_panel_elems(N, D));
}

/* Returns how many floats that is. */
static int64_t carve_all(struct model_decoder *decoder)
{
    const struct model *model = decoder->model;
    const struct model_config *config = &model->config;
    const int64_t D = config->hidden_size, H = config->num_attention_heads;
    const int64_t capacity = (decoder->positions_max + KERN_ATTENTION_CACHE_TILE - 1) /
                             KERN_ATTENTION_CACHE_TILE * KERN_ATTENTION_CACHE_TILE;
    float *block = decoder->block;
    int64_t used = 0;

    for (int64_t l = 0; l < config->num_hidden_layers; l++) {
        struct decoded *layer = &decoder->layers[l];
        layer->cache = (struct kern_attention_cache){.H = H,
                                                     .D = D / H,
                                                     .capacity = capacity,
                                                     .keys = carve(block, &used, capacity * D),
                                                     .values = carve(block, &used, capacity * D)};
        carve_linear(model, block, &used, model_at(model, model->block, MODEL_query_weight, l), D,
                     &layer->query);
        carve_linear(model, block, &used, model_at(model, model->block, MODEL_key_weight, l), 2 * D,
                     &layer->keys_values);
    }
    decoder->stream = carve(block, &used, decoder->positions_max * D);
    decoder->normed = carve(block, &used, ROWS * D);
    decoder->qkv = carve(block, &used, ROWS * 3 * D);
    decoder->heads = carve(block, &used, ROWS * D);
    decoder->middle = carve(block, &used, ROWS * D);
    decoder->wide = carve(block, &used, ROWS * config->intermediate_size);
    decoder->scores = carve(block, &used, KERN_ATTENTION_CACHE_ROWS * capacity);
    return used;
}

static enum err check(const struct model *model)
{
    const struct model_config *config = &model->config;

    if (config->mask != MODEL_MASK_CAUSAL || !config->ties_classifier) {
        return ERR_FAIL(ERR_CONFIG,
                        "the model is no language model: one is a GPT-2 whose classifier is tied "
                        "to its words (GPT2LMHeadModel)");
    }
    if (device_kind(model->ops.device) != DEVICE_CPU) {
        return ERR_FAIL(ERR_CONFIG, "texts are generated on a CPU only");
    }
    return ERR_OK;
}

static enum err allocate(struct model_decoder *decoder)
{
    const struct model *model = decoder->model;
    const int64_t layers = model->config.num_hidden_layers;

    decoder->layers = calloc((size_t)layers, sizeof(*decoder->layers));
    if (decoder->layers == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a list of %" PRId64 " layers", layers);
    }
    const int64_t elems = carve_all(decoder);
    ERR_TRY(device_memory_open_f32(model->ops.device, elems, "a decoder", &decoder->block));
    carve_all(decoder);
    model->ops.zero(decoder->block, elems); /* the caches are to be finite */
    for (int64_t l = 0; l < layers; l++) {
        model->ops.linear_pack(&decoder->layers[l].query);
        model->ops.linear_pack(&decoder->layers[l].keys_values);
    }
    return ERR_OK;
}

enum err model_decoder_open(const struct model *model, int64_t positions_max,
                            struct model_decoder **decoder_out)
{
    ERR_TRY(check(model));
    assert(positions_max >= 1 && positions_max <= model->config.max_position_embeddings);
    struct model_decoder *decoder = calloc(1, sizeof(*decoder));
    if (decoder == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a decoder");
    }
    decoder->model = model;
    decoder->positions_max = positions_max;
    const enum err status = allocate(decoder);
    if (status != ERR_OK) {
        model_decoder_close(decoder);
        return status;
    }
    *decoder_out = decoder;
    return ERR_OK;
}

void model_decoder_close(struct model_decoder *decoder)
{
    if (decoder == NULL) {
        return;
    }
    device_memory_close(decoder->model->ops.device, decoder->block);
    free(decoder->layers);
    free(decoder);
}

int64_t model_decoder_count(const struct model_decoder *decoder)
{
    return decoder->count;
}

int64_t model_decoder_positions(const struct model_decoder *decoder)
{
    return decoder->positions_max;
}

int64_t model_decoder_reached(const struct model_decoder *decoder, int64_t layer)
{
    return decoder->layers[layer].reached;
}

int64_t model_decoder_macs(const struct model_decoder *decoder)
{
    return decoder->macs;
}

const float *model_decoder_stream(const struct model_decoder *decoder, int64_t position)
{
    assert(position >= 0 && position <= decoder->count);
    return decoder->stream + position * decoder->model->config.hidden_size;
}

void model_decoder_put(struct model_decoder *decoder, const int32_t tokens[], int64_t n)
{
    const struct model *model = decoder->model;
    const int64_t D = model->config.hidden_size, at = decoder->count;
    const int32_t length = (int32_t)n;
    const struct kern_tokens_shape shape = {1, n, D, model->config.vocab_size, n};
    const struct kern_tokens from = {
        .words = model_at(model, model->block, MODEL_words, 0),
        .positions = model_at(model, model->block, MODEL_token_positions, 0) + at * D,
    };

    assert(n >= 1 && at + n <= decoder->positions_max);
    model->ops.tokens_forward(decoder->stream + at * D, tokens, &length, &from, &shape);
    decoder->count += n;
}

void model_decoder_cut(struct model_decoder *decoder, int64_t count)
{
    assert(count >= 0 && count <= decoder->count);
    decoder->count = count;
    for (int64_t l = 0; l < decoder->model->config.num_hidden_layers; l++) {
        if (decoder->layers[l].reached > count) {
            decoder->layers[l].reached = count;
        }
    }
}

/* The rows of some tokens in a layer. */
struct rows {
    int64_t layer, first, n;
    float *x; /* [n, D], of the stream */
};

/* Keeps the keys and values of the rows, whose normed stream stays in decoder->normed. */
static void keep_keys_values(struct model_decoder *decoder, const struct rows *rows)
{
    const struct model *model = decoder->model;
    const struct decoded *layer = &decoder->layers[rows->layer];
    const int64_t D = model->config.hidden_size;
    const struct kern_linear_epilogue bias = {
        .bias = model_at(model, model->block, MODEL_key_bias, rows->layer)};

    model->ops.layernorm_forward(decoder->normed, NULL, NULL, rows->x, D,
                                 model_at(model, model->block, MODEL_norm1_gain, rows->layer),
                                 model_at(model, model->block, MODEL_norm1_bias, rows->layer),
                                 rows->n, D, (float)model->config.layer_norm_eps);
    model->ops.linear_forward(decoder->qkv + D, 3 * D, decoder->normed, D, rows->n,
                              &layer->keys_values, &bias);
    model->ops.attention_cache_put(&layer->cache, rows->first, rows->n, decoder->qkv + D,
                                   decoder->qkv + 2 * D, 3 * D);
    decoder->macs += rows->n * 2 * D * D;
}

static void run_rows(struct model_decoder *decoder, const struct rows *rows)
{
    const struct model *model = decoder->model;
    const struct model_config *config = &model->config;
    const struct kern_ops *ops = &model->ops;
    const struct decoded *layer = &decoder->layers[rows->layer];
    const struct model_layer *matrices = &model->layers[rows->layer];
    const int64_t l = rows->layer, n = rows->n, first = rows->first;
    const int64_t D = config->hidden_size, F = config->intermediate_size;
    const struct kern_linear_epilogue query = {
        .bias = model_at(model, model->block, MODEL_query_bias, l)};
    const struct kern_linear_epilogue join_attention = {
        .bias = model_at(model, model->block, MODEL_out_bias, l), .residual = rows->x};
    const struct kern_linear_epilogue activate = {
        .bias = model_at(model, model->block, MODEL_up_bias, l), .gelu = config->hidden_act};
    const struct kern_linear_epilogue join_mlp = {
        .bias = model_at(model, model->block, MODEL_down_bias, l), .residual = decoder->middle};

    keep_keys_values(decoder, rows);
    ops->linear_forward(decoder->qkv, 3 * D, decoder->normed, D, n, &layer->query, &query);
    ops->attention_cache_forward(decoder->heads, decoder->qkv, 3 * D, &layer->cache, first, n,
                                 decoder->scores);
    ops->linear_forward(decoder->middle, D, decoder->heads, D, n, &matrices->out, &join_attention);
    ops->layernorm_forward(decoder->normed, NULL, NULL, decoder->middle, D,
                           model_at(model, model->block, MODEL_norm2_gain, l),
                           model_at(model, model->block, MODEL_norm2_bias, l), n, D,
                           (float)config->layer_norm_eps);
    ops->linear_forward(decoder->wide, F, decoder->normed, D, n, &matrices->up, &activate);
    ops->linear_forward(rows->x, D, decoder->wide, F, n, &matrices->down, &join_mlp);
    /* Both products of attention, over first + 1, ..., first + n keys. */
    decoder->macs += n * (2 * D * D + 2 * D * F) + D * n * (2 * first + n + 1);
}

/* All tokens that have not reached the layer, as many at a time as there is room. */
static void bring_up(struct model_decoder *decoder, int64_t l,
                     void (*do_rows)(struct model_decoder *decoder, const struct rows *rows))
{
    struct decoded *layer = &decoder->layers[l];

    assert(l == 0 || decoder->layers[l - 1].reached == decoder->count);
    while (layer->reached < decoder->count) {
        const int64_t left = decoder->count - layer->reached;
        const struct rows rows = {.layer = l,
                                  .first = layer->reached,
                                  .n = left < ROWS ? left : ROWS,
                                  .x = decoder->stream +
                                       layer->reached * decoder->model->config.hidden_size};
        do_rows(decoder, &rows);
        layer->reached += rows.n;
    }
}

void model_decoder_run(struct model_decoder *decoder, int64_t first, int64_t end)
{
    assert(first >= 0 && end <= decoder->model->config.num_hidden_layers);
    for (int64_t l = first; l < end; l++) {
        bring_up(decoder, l, run_rows);
    }
}

void model_decoder_copy(struct model_decoder *decoder, int64_t first, int64_t end)
{
    assert(first >= 0 && end <= decoder->model->config.num_hidden_layers);
    for (int64_t l = first; l < end; l++) {
        bring_up(decoder, l, keep_keys_values);
    }
}

void model_decoder_head(struct model_decoder *decoder, int64_t first, int64_t n, float *logits)
{
    const struct model *model = decoder->model;
    const int64_t D = model->config.hidden_size, V = model->config.num_labels;
    const int64_t L = model->config.num_hidden_layers;

    assert(n >= 1 && n <= ROWS);
    assert(first >= 0 && first + n <= decoder->layers[L - 1].reached);
    model->ops.layernorm_forward(decoder->normed, NULL, NULL, decoder->stream + first * D, D,
                                 model_at(model, model->block, MODEL_final_gain, 0),
                                 model_at(model, model->block, MODEL_final_bias, 0), n, D,
                                 (float)model->config.layer_norm_eps);
    model->ops.linear_forward(logits, V, decoder->normed, D, n, &model->classes, NULL);
    decoder->macs += n * V * D;
}
