/* From images or tokens to the stream, and back to the gradients. */
#include <assert.h>

#include "trainer/model/model_priv.h"

/*
 * DeiT: the embedding of a ViT goes to a scratch, whose first token is then replaced by two:
 * the class token and the distillation token, each at its position.
 */
static void split_first_token(struct model_work *work, const float *embedded)
{
    static const enum model_tensor tokens[] = {MODEL_cls_token, MODEL_distillation_token};
    const struct model *model = work->model;
    const struct kern_ops *ops = &model->ops;
    const int64_t n = work->n, T = work->T, D = model->config.hidden_size;
    const float *positions = model_at(model, model->block, MODEL_positions, 0);

    for (int t = 0; t < 2; t++) {
        const float *token = model_at(model, model->block, tokens[t], 0);
        ops->copy_rows(work->stream + t * D, T * D, token, 0, n, D);
        ops->add_rows(work->stream + t * D, T * D, positions + t * D, 0, 1, n, D);
    }
    ops->copy_rows(work->stream + 2 * D, T * D, embedded + D, (T - 1) * D, n, (T - 2) * D);
}

static void patches_forward(struct model_work *work, const float *images, int64_t n)
{
    const struct model *model = work->model;
    const struct kern_embed_shape shape = model_embed_shape(work, n);
    const bool has_two = model->config.has_distillation_token;
    const int64_t D = model->config.hidden_size;
    const struct kern_embed embed = {
        .linear = &model->patches,
        .bias = model_at(model, model->block, MODEL_patch_bias, 0),
        .cls = model_at(model, model->block, MODEL_cls_token, 0),
        .positions = model_at(model, model->block, MODEL_positions, 0) + (has_two ? D : 0),
    };
    float *to = has_two ? work->layers[0].heads : work->stream;

    model->ops.embed_forward(&model->ops, to, work->patches, images, &embed, &shape);
    if (has_two) {
        split_first_token(work, to);
    }
}

/* The words, and the norm that BERT has behind them. */
static void tokens_forward(struct model_work *work, const struct model_input *input, int64_t n)
{
    const struct model *model = work->model;
    const struct model_config *config = &model->config;
    const struct kern_ops *ops = &model->ops;
    const int64_t T = input->width, D = config->hidden_size;
    const bool has_types = model_has_tensor(config, MODEL_types);
    const struct kern_tokens_shape shape = {n, T, D, config->vocab_size, input->token_stride};
    const struct kern_tokens from = {
        .words = model_at(model, model->block, MODEL_words, 0),
        .positions = model_at(model, model->block, MODEL_token_positions, 0),
        .type = has_types ? model_at(model, model->block, MODEL_types, 0) : NULL,
    };
    float *to = config->norm == MODEL_NORM_POST ? work->embedded : work->stream;

    work->tokens = input->tokens;
    work->token_stride = input->token_stride;
    ops->copy_rows((float *)(void *)work->lengths, n, (const float *)(const void *)input->lengths,
                   n, 1, n);
    ops->tokens_forward(to, input->tokens, work->lengths, &from, &shape);
    if (config->norm == MODEL_NORM_POST) {
        ops->layernorm_forward(work->stream, work->embed_mean, work->embed_rstd, work->embedded, D,
                               model_at(model, model->block, MODEL_embed_gain, 0),
                               model_at(model, model->block, MODEL_embed_bias, 0), n * T, D,
                               (float)config->layer_norm_eps);
    }
}

void model_embed_forward(struct model_work *work, const struct model_input *input, int64_t n)
{
    const struct model_config *config = &work->model->config;

    assert(n >= 1 && n <= work->samples_max);
    work->n = n;
    work->stream = work->layers[0].x;
    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        work->T = model_config_tokens(config);
        patches_forward(work, input->images, n);
    } else {
        assert(input->width >= 1 && input->width <= model_config_tokens(config));
        work->T = input->width;
        tokens_forward(work, input, n);
    }
}

/* Sums over samples of a token of dx: the gradient of that token, and of its position. */
static void first_token_backward(struct model_work *work, float *gradients, int64_t t,
                                 enum model_tensor token)
{
    const struct model *model = work->model;
    const int64_t T = work->T, D = model->config.hidden_size;
    float *dtoken = model_at(model, gradients, token, 0);
    float *dposition = model_at(model, gradients, MODEL_positions, 0) + t * D;

    for (int64_t b = 0; b < work->n; b++) {
        model->ops.add(dtoken, work->dx + (b * T + t) * D, D);
        model->ops.add(dposition, work->dx + (b * T + t) * D, D);
    }
}

static void patches_backward(struct model_work *work, float *gradients, bool accumulate)
{
    const struct model *model = work->model;
    const struct kern_ops *ops = &model->ops;
    const struct kern_embed_shape shape = model_embed_shape(work, work->n);
    const bool has_two = model->config.has_distillation_token;
    const int64_t T = work->T, D = model->config.hidden_size, n = work->n;
    const float *dx = work->dx;
    struct kern_embed_gradients to = {
        .weight = model_at(model, gradients, MODEL_patch_weight, 0),
        .bias = model_at(model, gradients, MODEL_patch_bias, 0),
        .cls = model_at(model, gradients, MODEL_cls_token, 0),
        .positions = model_at(model, gradients, MODEL_positions, 0),
    };

    if (has_two) { /* as a ViT whose first token got nothing */
        if (!accumulate) {
            ops->zero(to.cls, D);
            ops->zero(to.positions, T * D);
            ops->zero(model_at(model, gradients, MODEL_distillation_token, 0), D);
            ops->zero(to.weight, shape.C * shape.P * shape.P * D);
            ops->zero(to.bias, D);
        }
        first_token_backward(work, gradients, 0, MODEL_cls_token);
        first_token_backward(work, gradients, 1, MODEL_distillation_token);
        ops->zero(work->dmiddle, n * (T - 1) * D);
        ops->copy_rows(work->dmiddle + D, (T - 1) * D, work->dx + 2 * D, T * D, n, (T - 2) * D);
        dx = work->dmiddle;
        to.positions += D;
    }
    ops->embed_backward(ops, &to, dx, work->patches, work->dnormed, &shape, accumulate || has_two);
}

static void tokens_backward(struct model_work *work, float *gradients, bool accumulate)
{
    const struct model *model = work->model;
    const struct model_config *config = &model->config;
    const struct kern_ops *ops = &model->ops;
    const int64_t T = work->T, D = config->hidden_size, V = config->vocab_size;
    const bool has_types = model_has_tensor(config, MODEL_types);
    const struct kern_tokens_shape shape = {work->n, T, D, V, work->token_stride};
    const struct kern_tokens_gradients to = {
        .words = model_at(model, gradients, MODEL_words, 0),
        .positions = model_at(model, gradients, MODEL_token_positions, 0),
        .type = has_types ? model_at(model, gradients, MODEL_types, 0) : NULL,
    };
    const float *dx = work->dx;

    if (!accumulate && !config->ties_classifier) {
        ops->zero(to.words, V * D);
    }
    if (!accumulate) {
        ops->zero(to.positions, config->max_position_embeddings * D);
        if (has_types) {
            ops->zero(to.type, config->type_vocab_size * D);
        }
    }
    if (config->norm == MODEL_NORM_POST) {
        ops->layernorm_backward(
            work->dmiddle, NULL, model_at(model, gradients, MODEL_embed_gain, 0),
            model_at(model, gradients, MODEL_embed_bias, 0), work->dx, work->embedded, D,
            work->embed_mean, work->embed_rstd, model_at(model, model->block, MODEL_embed_gain, 0),
            work->n * T, D, accumulate);
        dx = work->dmiddle;
    }
    ops->tokens_backward(&to, dx, work->tokens, work->lengths, &shape);
}

void model_embed_backward(struct model_work *work, float *gradients, bool accumulate)
{
    if (work->model->config.embedding == MODEL_EMBEDDING_PATCHES) {
        patches_backward(work, gradients, accumulate);
    } else {
        tokens_backward(work, gradients, accumulate);
    }
}
