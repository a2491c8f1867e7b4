#include <assert.h>

#include "trainer/model/model_priv.h"

/* q, k and v of all tokens; of the last layer of a cls model, q of the cls rows alone. */
static void project_qkv(const struct model_work *work, int64_t layer, const struct model_kept *kept)
{
    const struct model *model = work->model;
    const struct model_layer *matrices = &model->layers[layer];
    const int64_t T = work->T, D = model->config.hidden_size;
    const float *bias = model_at(model, model->block, MODEL_query_bias, layer);
    const struct kern_linear_epilogue all = {.bias = bias};
    const struct kern_linear_epilogue keys_values = {.bias = bias + D};

    if (!model_is_cls_only(model, layer)) {
        model->ops.linear_forward(kept->qkv, 3 * D, kept->normed1, D, work->n * T, &matrices->qkv,
                                  &all);
        return;
    }
    model->ops.linear_forward(kept->qkv, T * 3 * D, kept->normed1, T * D, work->n, &matrices->query,
                              &all);
    model->ops.linear_forward(kept->qkv + D, 3 * D, kept->normed1, D, work->n * T,
                              &matrices->keys_values, &keys_values);
}

static void pre_block_forward(struct model_work *work, int64_t layer)
{
    const struct model *model = work->model;
    const struct model_config *config = &model->config;
    const struct model_layer *matrices = &model->layers[layer];
    const struct model_kept *kept = &work->layers[layer];
    const struct kern_ops *ops = &model->ops;
    const int64_t T = work->T, D = config->hidden_size;
    const int64_t F = config->intermediate_size, H = config->num_attention_heads;
    const struct kern_attention_shape shape = {work->n, T, H, D / H};
    const struct model_rows rows = model_rows_of(work, layer);
    const float epsilon = (float)config->layer_norm_eps;
    float *output = model_output_of(work, layer);
    struct kern_attention_mask mask;
    const struct kern_linear_epilogue join_attention = {
        .bias = model_at(model, model->block, MODEL_out_bias, layer), .residual = kept->x};
    const struct kern_linear_epilogue activate = {
        .bias = model_at(model, model->block, MODEL_up_bias, layer),
        .gelu = config->hidden_act,
        .slope = kept->slope};
    const struct kern_linear_epilogue join_mlp = {
        .bias = model_at(model, model->block, MODEL_down_bias, layer), .residual = kept->middle};

    assert(work->stream == kept->x);
    ops->layernorm_forward(kept->normed1, kept->mean1, kept->rstd1, kept->x, D,
                           model_at(model, model->block, MODEL_norm1_gain, layer),
                           model_at(model, model->block, MODEL_norm1_bias, layer), work->n * T, D,
                           epsilon);
    project_qkv(work, layer, kept);
    ops->attention_forward(kept->heads, kept->attention, kept->qkv, &shape,
                           model_is_cls_only(model, layer) ? 1 : T, model_mask_of(work, &mask));
    ops->linear_forward(kept->middle, rows.ld, kept->heads, rows.ld, rows.count, &matrices->out,
                        &join_attention);
    ops->layernorm_forward(kept->normed2, kept->mean2, kept->rstd2, kept->middle, rows.ld,
                           model_at(model, model->block, MODEL_norm2_gain, layer),
                           model_at(model, model->block, MODEL_norm2_bias, layer), rows.count, D,
                           epsilon);
    ops->linear_forward(kept->wide, F, kept->normed2, D, rows.count, &matrices->up, &activate);
    ops->linear_forward(output, rows.ld, kept->wide, F, rows.count, &matrices->down, &join_mlp);
    work->stream = output;
}

void model_block_forward(struct model_work *work, int64_t layer)
{
    if (work->model->config.norm == MODEL_NORM_PRE) {
        pre_block_forward(work, layer);
    } else {
        model_post_block_forward(work, layer);
    }
}

void model_block_skip(struct model_work *work, int64_t layer)
{
    const int64_t elems = work->T * work->model->config.hidden_size;
    float *output = model_output_of(work, layer);

    work->model->ops.copy_rows(output, elems, work->stream, elems, work->n, elems);
    work->stream = output;
}

void model_pool(const struct model_work *work, float *pooled)
{
    const struct model_config *config = &work->model->config;
    const struct kern_ops *ops = &work->model->ops;
    const int64_t n = work->n, T = work->T, D = config->hidden_size;
    const int64_t R = model_config_rows(config);

    switch (config->pooling) {
    case MODEL_POOLING_CLS: ops->copy_rows(pooled, D, work->stream, T * D, n, D); return;
    case MODEL_POOLING_LAST:
        ops->token_last_forward(pooled, work->stream, work->lengths, n, T, D);
        return;
    case MODEL_POOLING_EVERY: ops->copy_rows(pooled, R * D, work->stream, T * D, n, R * D); return;
    case MODEL_POOLING_MEAN: break;
    }
    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        ops->mean_forward(pooled, work->stream, n, T, D);
    } else {
        ops->token_mean_forward(pooled, work->stream, work->lengths, n, T, D);
    }
}

void model_head_forward(struct model_work *work, float *logits, const float *pooled)
{
    const struct model *model = work->model;
    const struct kern_ops *ops = &model->ops;
    const int64_t D = model->config.hidden_size, K = model->config.num_labels;
    const int64_t rows = work->n * model_config_rows(&model->config);
    const bool has_bias = model_has_tensor(&model->config, MODEL_class_bias);
    const struct kern_linear_epilogue epilogue = {
        .bias = has_bias ? model_at(model, model->block, MODEL_class_bias, 0) : NULL};

    if (model->config.norm == MODEL_NORM_PRE) {
        ops->layernorm_forward(work->head_normed, work->head_mean, work->head_rstd, pooled, D,
                               model_at(model, model->block, MODEL_final_gain, 0),
                               model_at(model, model->block, MODEL_final_bias, 0), rows, D,
                               (float)model->config.layer_norm_eps);
        ops->copy_rows(work->head_pooled, D, pooled, D, rows, D);
    } else {
        ops->copy_rows(work->head_normed, D, pooled, D, rows, D);
    }
    ops->linear_forward(logits, K, work->head_normed, D, rows, &model->classes, &epilogue);
}
