#include <assert.h>

#include "trainer/model/model_priv.h"

void model_head_backward(struct model_work *work, float *dpooled, const float *dlogits,
                         float *gradients, bool accumulate)
{
    const struct model *model = work->model;
    const struct kern_ops *ops = &model->ops;
    const struct model_config *config = &model->config;
    const int64_t D = config->hidden_size, K = config->num_labels;
    const int64_t rows = work->n * model_config_rows(config);
    const bool has_norm = config->norm == MODEL_NORM_PRE;
    const bool has_bias = model_has_tensor(config, MODEL_class_bias);
    float *dweight =
        model_at(model, gradients, config->ties_classifier ? MODEL_words : MODEL_class_weight, 0);
    float *dbias = has_bias ? model_at(model, gradients, MODEL_class_bias, 0) : NULL;
    float *dnormed = work->dquery; /* [n R, D], free until the last layer's backward pass */

    ops->linear_backward_weight(dweight, dbias, dlogits, K, work->head_normed, D, rows, K, D,
                                accumulate);
    ops->linear_backward_data(has_norm ? dnormed : dpooled, D, dlogits, K, rows, &model->classes,
                              NULL);
    if (has_norm) {
        ops->layernorm_backward(dpooled, NULL, model_at(model, gradients, MODEL_final_gain, 0),
                                model_at(model, gradients, MODEL_final_bias, 0), dnormed,
                                work->head_pooled, D, work->head_mean, work->head_rstd,
                                model_at(model, model->block, MODEL_final_gain, 0), rows, D,
                                accumulate);
    }
}

void model_pool_backward(struct model_work *work, const float *dpooled, bool first)
{
    const struct model_config *config = &work->model->config;
    const struct kern_ops *ops = &work->model->ops;
    const int64_t n = work->n, T = work->T, D = config->hidden_size;
    const int64_t R = model_config_rows(config);

    assert(work->keeps);
    if (first) {
        ops->zero(work->dx, n * T * D);
    }
    switch (config->pooling) {
    case MODEL_POOLING_CLS: ops->add_rows(work->dx, T * D, dpooled, D, 1, n, D); return;
    case MODEL_POOLING_LAST:
        ops->token_last_backward(work->dx, dpooled, work->lengths, n, T, D);
        return;
    case MODEL_POOLING_EVERY: ops->add_rows(work->dx, T * D, dpooled, R * D, 1, n, R * D); return;
    case MODEL_POOLING_MEAN: break;
    }
    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        ops->mean_backward(work->dx, dpooled, n, T, D);
    } else {
        ops->token_mean_backward(work->dx, dpooled, work->lengths, n, T, D);
    }
}

/* dx -> dmiddle: through the MLP and the norm before it. */
static void mlp_backward(struct model_work *work, int64_t layer, float *gradients, bool accumulate)
{
    const struct model *model = work->model;
    const struct model_layer *matrices = &model->layers[layer];
    const struct model_kept *kept = &work->layers[layer];
    const struct kern_ops *ops = &model->ops;
    const int64_t D = model->config.hidden_size, F = model->config.intermediate_size;
    const struct model_rows rows = model_rows_of(work, layer);

    ops->linear_backward_weight(model_at(model, gradients, MODEL_down_weight, layer),
                                model_at(model, gradients, MODEL_down_bias, layer), work->dx,
                                rows.ld, kept->wide, F, rows.count, D, F, accumulate);
    ops->linear_backward_data(work->dwide, F, work->dx, rows.ld, rows.count, &matrices->down,
                              kept->slope);
    ops->linear_backward_weight(model_at(model, gradients, MODEL_up_weight, layer),
                                model_at(model, gradients, MODEL_up_bias, layer), work->dwide, F,
                                kept->normed2, D, rows.count, F, D, accumulate);
    ops->linear_backward_data(work->dnormed, D, work->dwide, F, rows.count, &matrices->up, NULL);
    if (model_is_cls_only(model, layer)) { /* the other rows of the stream got no gradient */
        ops->zero(work->dmiddle, work->n * work->T * D);
    }
    ops->layernorm_backward(
        work->dmiddle, work->dx, model_at(model, gradients, MODEL_norm2_gain, layer),
        model_at(model, gradients, MODEL_norm2_bias, layer), work->dnormed, kept->middle, rows.ld,
        kept->mean2, kept->rstd2, model_at(model, model->block, MODEL_norm2_gain, layer),
        rows.count, D, accumulate);
}

/* dqkv (in dwide) -> dnormed: the transpose of project_qkv(). */
static void qkv_backward(struct model_work *work, int64_t layer, float *gradients, bool accumulate)
{
    const struct model *model = work->model;
    const struct model_layer *matrices = &model->layers[layer];
    const float *normed = work->layers[layer].normed1;
    const struct kern_ops *ops = &model->ops;
    const int64_t T = work->T, D = model->config.hidden_size;
    const int64_t n = work->n;
    float *dweight = model_at(model, gradients, MODEL_query_weight, layer);
    float *dbias = model_at(model, gradients, MODEL_query_bias, layer);
    const float *dqkv = work->dwide;

    if (!model_is_cls_only(model, layer)) {
        ops->linear_backward_weight(dweight, dbias, dqkv, 3 * D, normed, D, n * T, 3 * D, D,
                                    accumulate);
        ops->linear_backward_data(work->dnormed, D, dqkv, 3 * D, n * T, &matrices->qkv, NULL);
        return;
    }
    ops->linear_backward_weight(dweight, dbias, dqkv, T * 3 * D, normed, T * D, n, D, D,
                                accumulate);
    ops->linear_backward_weight(dweight + D * D, dbias + D, dqkv + D, 3 * D, normed, D, n * T,
                                2 * D, D, accumulate);
    ops->linear_backward_data(work->dquery, D, dqkv, T * 3 * D, n, &matrices->query, NULL);
    ops->linear_backward_data(work->dnormed, D, dqkv + D, 3 * D, n * T, &matrices->keys_values,
                              NULL);
    ops->add_rows(work->dnormed, T * D, work->dquery, D, 1, n, D);
}

static void pre_block_backward(struct model_work *work, int64_t layer, float *gradients,
                               bool accumulate)
{
    const struct model *model = work->model;
    const struct model_layer *matrices = &model->layers[layer];
    const struct model_kept *kept = &work->layers[layer];
    const struct kern_ops *ops = &model->ops;
    const int64_t T = work->T, D = model->config.hidden_size;
    const int64_t H = model->config.num_attention_heads;
    const struct kern_attention_shape shape = {work->n, T, H, D / H};
    const struct model_rows rows = model_rows_of(work, layer);
    struct kern_attention_mask mask;

    mlp_backward(work, layer, gradients, accumulate);
    ops->linear_backward_weight(model_at(model, gradients, MODEL_out_weight, layer),
                                model_at(model, gradients, MODEL_out_bias, layer), work->dmiddle,
                                rows.ld, kept->heads, rows.ld, rows.count, D, D, accumulate);
    ops->linear_backward_data(work->dnormed, rows.ld, work->dmiddle, rows.ld, rows.count,
                              &matrices->out, NULL);
    ops->attention_backward(work->dwide, work->dnormed, kept->qkv, kept->attention, &shape,
                            model_is_cls_only(model, layer) ? 1 : T, model_mask_of(work, &mask));
    qkv_backward(work, layer, gradients, accumulate);
    ops->layernorm_backward(
        work->dx, work->dmiddle, model_at(model, gradients, MODEL_norm1_gain, layer),
        model_at(model, gradients, MODEL_norm1_bias, layer), work->dnormed, kept->x, D, kept->mean1,
        kept->rstd1, model_at(model, model->block, MODEL_norm1_gain, layer), work->n * T, D,
        accumulate);
}

void model_block_backward(struct model_work *work, int64_t layer, float *gradients, bool accumulate)
{
    assert(work->keeps);
    if (work->model->config.norm == MODEL_NORM_PRE) {
        pre_block_backward(work, layer, gradients, accumulate);
    } else {
        model_post_block_backward(work, layer, gradients, accumulate);
    }
}

void model_block_skip_backward(struct model_work *work, int64_t layer, float *gradients,
                               bool accumulate)
{
    int64_t begin = 0, end = 0;

    assert(work->keeps);
    if (!accumulate) {
        param_list_part(&work->model->params, (int)layer + 1, &begin, &end);
        work->model->ops.zero(gradients + begin, end - begin);
    }
}
